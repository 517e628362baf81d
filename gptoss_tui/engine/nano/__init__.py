"""The built-in demo checkpoint."""
