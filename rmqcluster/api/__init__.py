"""The HTTP face of a supervisor."""
