"""The pure room: records, rules and arithmetic. Standard library only; no clock, no I/O, no randomness."""
