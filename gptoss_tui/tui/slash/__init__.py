"""Slash commands, in one registry for the composer's completion, the palette, `/help` and the docs."""
