"""A remote server as the engine: OpenAI's completions API, llama.cpp or Ollama. Needs neither torch nor a process."""
