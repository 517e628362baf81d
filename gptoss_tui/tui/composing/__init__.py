"""What goes into a prompt before it is sent: pasted chips, file mentions, drafts, the external editor."""
