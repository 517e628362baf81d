"""What stands beside the conversation: one module a pane, and `dock.PANES`, the registry of all of them."""
