"""The `browser` tool: search, open and find, in the page format that the models were trained on."""
