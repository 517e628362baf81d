"""A server of somebody else's as the engine: OpenAI's completions, llama.cpp's, Ollama's. No torch, no process."""
