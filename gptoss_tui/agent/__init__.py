"""The agent and its turn loop: takes typed commands and emits typed events. It is independent of any user interface."""
