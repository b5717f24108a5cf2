"""A real cluster and its own Redis on this machine, without containers; the tests drive the same code."""
