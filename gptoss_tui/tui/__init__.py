"""The terminal app: a Textual front on the agent's events. It holds no agent logic and never imports torch."""
