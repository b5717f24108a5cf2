"""Deploys the stack to Docker Swarm and looks after it from outside: what the make targets call."""
