"""The panes beside the conversation: one module for each, and `dock.PANES`, the registry of all of them."""
