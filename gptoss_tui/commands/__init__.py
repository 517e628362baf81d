"""The subcommands, one module each. Each has `run(args) -> int`, and imports what it needs only when it runs."""
