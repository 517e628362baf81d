"""The terminal app: a Textual front end for the agent's events. It holds no agent logic and never imports torch."""

from __future__ import annotations

import os
from importlib import import_module

_FPS = "TEXTUAL_FPS"

# Textual paints the effect of a key press up to one frame later. At its default of 60 frames a second, that is most of
# the time from key to screen. The stream has its own, slower clock (controllers/frames.py). Textual reads the variable
# once; it is removed again so that programs started from here do not inherit it.
if _FPS not in os.environ:
    os.environ[_FPS] = "240"
    import_module("textual.constants")
    del os.environ[_FPS]
