"""Random faults under load, by a seed: nothing that was confirmed may be lost, and all is whole in the end."""
