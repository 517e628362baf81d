"""The engine in a process of its own: protocol, worker loop, async client."""
