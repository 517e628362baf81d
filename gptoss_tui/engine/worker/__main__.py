"""`python -m gptoss_tui.engine.worker FD`: started by the client, with one end of a socket pair as FD."""

from __future__ import annotations

import sys

from gptoss_tui.engine.worker.process import main

main(int(sys.argv[1]))
