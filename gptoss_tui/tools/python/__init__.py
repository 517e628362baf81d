"""The `python` tool: a stateful interpreter that only ever runs in a sandbox."""
