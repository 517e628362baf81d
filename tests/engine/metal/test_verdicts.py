"""Kernels are tried in processes of their own, which may end at any of them, and what came of it is remembered."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal import verdicts
from gptoss_tui.engine.metal.device import ON_CPU_VARIABLE
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.verdicts import Trial, refusals, remember, try_kernels
from tests.engine.metal.conftest import SHAPES

SHAPE = SHAPES["uneven"]

CHILD = """
import json, os, sys, time
names = sys.argv[sys.argv.index("--dtype") + 2:]
print("MTLCompiler: hello")
print(1)
print(json.dumps({"ready": "a GPU"}), flush=True)
for name in names:
    if name == "output":
        os.abort()
    if name in ("gate_up", "late"):
        time.sleep(60)
    if name == "down":
        sys.exit("the compiler fell over")
    if name == "draw":
        sys.exit(0)
    print(json.dumps({"step": name, "refused": "wrong" if name == "odd" else None}), flush=True)
    if name == "odd":
        break
"""
"""In place of the probe: a process that dies, hangs and gives up, as a GPU's driver may make it."""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for what is remembered."""
    monkeypatch.setattr(verdicts, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path


def test_one_that_ends_its_process_spoils_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever it does: each has its reason, and those behind it are tried, until the device has hung twice."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    popen = verdicts.subprocess.Popen
    monkeypatch.setattr(verdicts, "SECONDS", 3)
    monkeypatch.setattr(
        verdicts.subprocess, "Popen", lambda command, **given: popen([command[0], str(program), *command[4:]], **given)
    )
    assert try_kernels(SHAPE, "bfloat16", ("odd", *NAMES, "draw", "late", "later")).verdicts == {
        "qkv": None,
        "output": "its process was ended by SIGABRT",
        "odd": "wrong",
        "gate_up": "nothing came of it for 3 seconds",
        "down": "the compiler fell over",
        "head": None,
        "draw": "it was not tried",
        "late": "nothing came of it for 3 seconds",
        "later": "it was not tried, as 2 others hung",
    }


@pytest.mark.skipif(sys.platform == "darwin", reason="here the kernels can be tried")
def test_the_probe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Metal, in its own words: it cannot begin, or MLX refuses every kernel. Steps have a speed."""
    monkeypatch.delenv(ON_CPU_VARIABLE)
    assert "Apple silicon" in str(try_kernels(SHAPE, "bfloat16").failure)
    monkeypatch.setenv(ON_CPU_VARIABLE, "1")
    found = try_kernels(SHAPE, "bfloat16", ("qkv",), speed=True)
    assert found.refused == {"qkv": "[metal_kernel] No Metal back-end."}
    assert found.speed.keys() == {"bandwidth", "layers", "head"}
    assert all(value > 0 for value in found.speed.values())


def test_what_was_found_is_remembered(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a shape, a dtype and a machine as it is; a file that says nothing is made again."""
    tried = list[tuple[ModelConfig, str]]()

    def trial(config: ModelConfig, dtype: str) -> Trial:
        tried.append((config, dtype))
        return Trial(dict.fromkeys(NAMES) | {"head": "logits: bad"})

    monkeypatch.setattr(verdicts, "try_kernels", trial)
    for _ in range(2):
        assert refusals(SHAPE, "bfloat16") == {"head": "logits: bad"}
    assert tried == [(SHAPE, "bfloat16")]
    other = replace(SHAPE, num_experts=16)
    for config, dtype in ((SHAPE, "float32"), (other, "bfloat16"), (other, "bfloat16")):
        refusals(config, dtype)
    assert tried[1:] == [(SHAPE, "float32"), (other, "bfloat16")]
    monkeypatch.setattr(verdicts, "mlx_version", lambda: "99")
    refusals(SHAPE, "bfloat16")
    assert len(tried) == 4
    (mine,) = (path for path in cache.rglob("*.json") if json.loads(path.read_text())["machine"]["mlx"] == "99")
    for damaged in ("", "{", "[]", "{}"):
        mine.write_text(damaged)
        assert refusals(SHAPE, "bfloat16") == {"head": "logits: bad"}
    assert len(tried) == 8


@pytest.mark.parametrize(
    "found",
    [
        Trial(failure="no such chip"),
        Trial({"qkv": "its process was ended by SIGKILL"}),
        Trial({"qkv": "[malloc] Unable to allocate 9 bytes."}),
    ],
)
def test_what_may_pass_is_not_remembered(found: Trial, cache: Path) -> None:
    """A lack of memory is no fault of a kernel; but it is not used for now."""
    remember(SHAPE, "bfloat16", found)
    assert list(cache.rglob("*.json")) == []
    assert set(found.refused) == (set(NAMES) if found.failure else {"qkv"})
