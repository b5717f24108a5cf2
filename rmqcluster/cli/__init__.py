"""The command line: translates options and calls the rooms below."""
