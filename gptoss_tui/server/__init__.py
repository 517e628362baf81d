"""Serves the engine over HTTP, to clients of OpenAI's API (Responses, chat completions, completions) and of Ollama's.

`app.py` puts the parts together, `turn.py` runs what a request asks for, and each API has a folder or module that reads
its requests and writes its answers.
"""
