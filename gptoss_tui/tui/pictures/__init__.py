"""Figures in the conversation, where the terminal can draw them among text."""
