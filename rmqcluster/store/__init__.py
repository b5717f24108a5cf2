"""Redis, and nothing else: keys, records as JSON, atomic steps. The only room that imports redis."""
