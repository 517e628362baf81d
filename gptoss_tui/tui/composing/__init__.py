"""Composing a prompt before it is sent: chips for pasted text, file mentions, drafts, the external editor."""
