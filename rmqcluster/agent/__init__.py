"""The shell around the pure core: observe, decide, act."""
