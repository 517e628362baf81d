"""Tokens in, tokens out. The engine knows token ids only: no text, no harmony, no tools, no people."""
