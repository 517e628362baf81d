"""The readable torch engine."""
