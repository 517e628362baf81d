"""Messages to tokens and back: prompt rendering, tolerant streaming parser. Knows nothing of torch.

Text never becomes a control token: content is always encoded as ordinary text, and special ids come from the
renderer alone.
"""
