"""The `browser` tool: search, open and find, with the page format that the models were trained on."""
