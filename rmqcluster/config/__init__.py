"""Settings: where they come from, what is allowed, and what they are called."""
