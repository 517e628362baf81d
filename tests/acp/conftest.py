"""The folders of these tests."""

from __future__ import annotations

from tests.folders import own_folders, work

__all__ = ["own_folders", "work"]
