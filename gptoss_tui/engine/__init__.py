"""Tokens in, tokens out. The engine knows only token ids: nothing about text, harmony, tools or users."""
