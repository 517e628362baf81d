"""Figures within the conversation, on terminals that can draw them amid text."""
