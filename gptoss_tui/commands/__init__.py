"""One module a subcommand. Each has `run(args) -> int` and imports what it needs when it is called."""
