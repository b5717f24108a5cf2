"""A failover under load, counted message by message."""
