"""One RabbitMQ broker: its files, its boot, its ports, its tools. Knows nothing of Redis."""
