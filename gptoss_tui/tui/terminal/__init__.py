"""The terminal below Textual: filtering its input, asking for its features, and notifying the user."""
