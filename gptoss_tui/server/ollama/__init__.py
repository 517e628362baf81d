"""Ollama's API, for programs that know no other server.

A request becomes one for chat completions (`request.py`), or with `raw` a prompt that is continued as it is; what comes
of it is told in lines of JSON, or as one object (`answer.py`). `models.py` says what there is.
"""
