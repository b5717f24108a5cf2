"""The missing operator for RabbitMQ on Docker Swarm, coordinated by Redis."""

__version__ = "0.1.0"
