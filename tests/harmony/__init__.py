"""Tests of gptoss_tui.harmony."""
