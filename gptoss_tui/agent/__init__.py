"""The turn loop: typed events out, typed commands in. Knows nothing of any screen."""
