"""A real cluster and a real Redis on this machine, no containers."""
