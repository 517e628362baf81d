"""gptoss-tui: a terminal coding assistant for OpenAI's gpt-oss models that owns its engine."""

__version__ = "0.1.0"
