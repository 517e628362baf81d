"""The `python` tool: a stateful interpreter in a sandbox, never outside one."""
