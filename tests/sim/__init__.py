"""The simulation: production decisions against a world that is made of one seed."""
