"""Reaching the network for a tool: which addresses may be opened, and how much of them is read."""
