"""Operating-system processes: children, signals, locks, privileges. Knows nothing of RabbitMQ or Redis."""
