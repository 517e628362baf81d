"""`bench`: what it measures and what it says. No test here looks at how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui import cli
from gptoss_tui.engine.metal.apple import parse_chip
from gptoss_tui.engine.planning import probe
from tests.engine.metal.test_device import SYSCTL


@pytest.fixture(autouse=True)
def small_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bandwidth of its own for each test would only cost time."""
    monkeypatch.setattr(probe, "run_probe", lambda **_: {"torch": "2", "threads": 2, "bandwidth": 1e9})


def test_json_has_every_figure(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(tiny_model), "--prompt-tokens", "20", "7", "--max-tokens", "5", "--json"]
    assert cli.main(["bench", *arguments, "--dtype", "float32"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"]["model"] == "tiny"
    assert result["model"]["dtype"] == "float32"
    assert result["bandwidth"] == 1e9
    assert result["load_seconds"] > 0
    assert result["machine"]["cpu"]
    assert [(run["prompt_tokens"], run["generated_tokens"]) for run in result["runs"]] == [(20, 5), (7, 5)]
    for run in result["runs"]:
        assert run["floor_rate"] == pytest.approx(1e9 / run["floor_bytes"])
        assert run["floor_share"] == pytest.approx(run["decode_rate"] / run["floor_rate"])
        assert min(run["first_token_seconds"], run["prefill_rate"], run["decode_rate"]) > 0
    assert result["runs"][0]["floor_bytes"] > result["runs"][1]["floor_bytes"], "a longer context reads more"


def test_the_chip_is_told_as_the_probe_found_it(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Mac, where it asks Metal what the GPU may hold."""
    chip = "Apple M2 Max, 38 GPU cores, 64 GiB of unified memory, 51.8 GiB for the GPU (by default)"
    monkeypatch.setattr(probe, "measured_chip", lambda: parse_chip(SYSCTL, ""))
    monkeypatch.setattr("sys.argv", ["probe", "--device", "metal"])
    probe.main()
    assert "about 48.0 GiB for the GPU" in json.loads(capsys.readouterr().out)["chip"]
    monkeypatch.setattr(probe, "run_probe", lambda **_: {"torch": "2", "bandwidth": 1e9, "chip": chip})
    assert cli.main(["bench", "--model", str(tiny_model), "--prompt-tokens", "9", "--max-tokens", "3"]) == 0
    assert chip in capsys.readouterr().out.splitlines()


def test_a_table_for_people(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "run_probe", lambda **_: {"error": "no torch"})
    assert cli.main(["bench", "--model", str(tiny_model), "--prompt-tokens", "9", "--max-tokens", "3"]) == 0
    captured = capsys.readouterr()
    header, row = captured.out.splitlines()[-2:]
    assert header.split() == ["prompt", "first", "token", "prefill", "decode", "bytes/token", "floor", "reached"]
    assert row.split()[0] == "9"
    assert row.split()[-2:] == ["-", "-"], "without a bandwidth there is no floor"
    assert "prompt of 9 tokens" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt-tokens", "0"], "at least 1"),
        (["--max-tokens", "0"], "at least 1"),
        (["--prompt-tokens", "10", "60", "--context", "64"], "exceed the context of 64"),
    ],
)
def test_lengths_that_cannot_be(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["bench", "--model", str(tiny_model), *arguments]) == 2
    assert message in capsys.readouterr().err
