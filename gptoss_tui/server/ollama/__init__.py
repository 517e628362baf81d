"""Ollama's API, for programs that support no other server.

A request is turned into one for chat completions (`request.py`), or with `raw` into a prompt that is continued as it
is. The result is sent as lines of JSON or as one object (`answer.py`). `models.py` describes the available models.
"""
