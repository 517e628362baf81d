"""Converts messages to tokens and back: prompt rendering and a tolerant streaming parser. Does not need torch.

Text never becomes a control token: content is always encoded as ordinary text, and only the renderer writes special
ids.
"""
