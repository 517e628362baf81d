"""What a request leaves for the next: the KV cache that the backends share, and what is kept beside it."""
