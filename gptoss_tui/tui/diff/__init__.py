"""Diffs on the screen, unified or side by side, with changed words highlighted."""

from __future__ import annotations

from gptoss_tui.tui.diff.parse import DiffRow, count_changes, parse_unified
from gptoss_tui.tui.diff.render import Layout, RenderedDiff, draw_diff, render_diff

__all__ = ["DiffRow", "Layout", "RenderedDiff", "count_changes", "draw_diff", "parse_unified", "render_diff"]
