"""The terminal app: a Textual front on the agent's events. It holds no agent logic and never imports torch."""

from __future__ import annotations

import os
from importlib import import_module

_FPS = "TEXTUAL_FPS"

# Textual paints what a key changed up to a frame later. At its 60 frames a second that is most of the time from key to
# screen; the stream has its own, slower clock (controllers/frames.py). It is read once, and no business of programs
# that are started from here.
if _FPS not in os.environ:
    os.environ[_FPS] = "240"
    import_module("textual.constants")
    del os.environ[_FPS]
