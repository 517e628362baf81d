"""Vim keys in the composer: what they mean for a text, independent of any widget."""
