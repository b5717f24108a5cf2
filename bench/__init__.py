"""Measures rmqcluster against RabbitMQ's own means on this machine; `python -m bench` writes docs/benchmarks.md."""
