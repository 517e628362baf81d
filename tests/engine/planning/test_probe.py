"""The probe in its own process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.engine.planning import probe


def test_facts_and_bandwidth_from_another_process() -> None:
    found = probe.run_probe(bandwidth=True, threads=1)
    assert found["torch"]
    assert found["threads"] == 1
    assert found["bandwidth"] > 1e8
    assert isinstance(found["cuda"], list)


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os; os._exit(9)")
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    assert probe.run_probe() == {"error": "exit code 9"}
