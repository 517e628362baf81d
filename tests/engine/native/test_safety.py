"""What must not end the process or pass unseen: other machines, limits, forks, what is outside, what is no number."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.build import LIBRARY
from gptoss_tui.engine.native.library import ISA_VARIABLE, available
from gptoss_tui.engine.types import Dtype, EngineSpec, Finished, SamplingParams, Token
from gptoss_tui.errors import EngineError
from tests.engine.native.conftest import SETS

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

PROMPT = [5, 17, 100, 3, 60, 8, 44]
GREEDY = SamplingParams(temperature=0.0, max_tokens=3)


def load(directory: Path, dtype: Dtype = "bfloat16", threads: int = 1) -> NativeBackend:
    return load_backend(EngineSpec(directory, "native", dtype=dtype, context=64, threads=threads), lambda step: None)


def ids(backend: NativeBackend, prompt: list[int]) -> list[int]:
    """The likeliest tokens after the prompt, with nothing cached."""
    backend._cache.clear()
    events = list(backend.generate(prompt, GREEDY, lambda: False))
    assert isinstance(events[-1], Finished)
    return [event.id for event in events if isinstance(event, Token)]


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("qemu-x86_64") is None or not Path("/usr/bin/python3").exists(),
    reason="no emulator of other processors",
)
@pytest.mark.parametrize(("processor", "sets"), [("Nehalem", 0b1), ("max", 0b11)])
def test_older_processors_are_asked_before_their_code_runs(processor: str, sets: int) -> None:
    """Neither has AVX-512, the first no AVX2: looking for what a machine has must not run what it does not have."""
    script = f"import ctypes; print(ctypes.CDLL({str(LIBRARY)!r}).gt_instruction_sets())"
    command = ["qemu-x86_64", "-cpu", processor, "/usr/bin/python3", "-ISc", script]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout.strip()) == (0, str(sets)), said.stderr


def in_a_process(script: str) -> str:
    """What Python prints that runs `script` behind the imports and functions of this file."""
    head = f"from pathlib import Path\nfrom {__name__} import *\n"
    said = subprocess.run(
        [sys.executable, "-c", head + script],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="address space has no limit elsewhere")
def test_more_threads_than_the_system_gives_are_an_error(checkpoint: Callable[[str], Path]) -> None:
    """Those that began end again, and fewer work."""
    script = f"""
import resource, threading
small = Path({str(checkpoint("small"))!r})
threading.stack_size()
free = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize"))) << 10
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (free + (1 << 30), before[1]))
try:
    load(small, threads=5000)
except EngineError as error:
    print(error.hint)
resource.setrlimit(resource.RLIMIT_AS, before)
print(len(ids(load(small, threads=2), PROMPT)))
"""
    hint, tokens = in_a_process(script).splitlines()
    assert "--threads" in hint
    assert tokens == "3"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_runs_by_itself(checkpoint: Callable[[str], Path]) -> None:
    """It has none of the threads: nothing waits for them, and the tokens are the same."""
    script = f"""
import os, signal
backend = load(Path({str(checkpoint("small"))!r}), threads=3)
backend.model.share_steps()
wanted = ids(backend, PROMPT)
if (child := os.fork()) == 0:
    signal.alarm(60)
    same = ids(backend, PROMPT) == wanted
    backend.close()
    os._exit(0 if same else 1)
print(os.waitpid(child, 0)[1], ids(backend, PROMPT) == wanted)
backend.close()
"""
    assert in_a_process(script) == "0 True"


def test_what_is_outside_is_refused(checkpoint: Callable[[str], Path]) -> None:
    """Tokens of another vocabulary, chunks that are too long, none: before any memory is touched."""
    backend = load(checkpoint("small"))
    model, cache = backend.model, backend._cache
    model.run(cache, PROMPT)
    for wrong in ([model.config.vocab_size], [-1], [1, 2, 999], [1] * 65, [1] * 60, []):
        with pytest.raises(ValueError, match="cannot run"):
            model.run(cache, wrong)
    with pytest.raises(ValueError, match="NULL"):
        model.logits(64)
    assert cache.tokens == PROMPT
    backend.close()


def test_closing_twice_is_closing(checkpoint: Callable[[str], Path]) -> None:
    """The contract says so."""
    backend = load(checkpoint("small"))
    backend.close()
    backend.close()


PLACES = (
    *("embedding", "norm", "unembedding"),
    *(f"0.{name}" for name in ("attn_norm", "sinks", "mlp_norm", "qkv", "qkv_bias", "out", "out_bias")),
    *(f"1.{name}" for name in ("sinks", "router", "router_bias", "up_bias", "down_bias")),
)


@pytest.fixture(params=[(isa, dtype) for isa in SETS for dtype in ("bfloat16", "float32")], ids="-".join)
def backend(
    request: pytest.FixtureRequest, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[NativeBackend]:
    """Each instruction set, fast and exact."""
    isa, dtype = request.param
    monkeypatch.setenv(ISA_VARIABLE, isa)
    loaded = load(checkpoint("small"), dtype)
    yield loaded
    loaded.close()


def test_what_is_no_number_is_never_lost(backend: NativeBackend) -> None:
    """One in any part of the model, in a chunk and in a step: an error, as in torch, not an answer made of garbage."""
    model, weights = backend.model, backend.model.weights
    wanted = ids(backend, PROMPT)
    lost = []
    for place in PLACES:
        sections = weights.dense if place.endswith(("unembedding", "qkv", "out")) else weights.shared
        section = sections[place]
        before = section.copy()
        coarse = sections["coarse"].copy() if place == "unembedding" and not model.wide else None
        if place.endswith(("norm", "sinks", "bias")):
            section.view(np.float32)[:] = np.nan
        elif place.endswith(("qkv", "out", "unembedding")) and not model.wide:
            # The scales of the first group's blocks, behind its values.
            columns = model.config.query_width if place.endswith("out") else model.config.hidden_size
            blocks = -(-columns // 32)
            section[blocks * 512 : blocks * 544].view(np.uint16)[:] = 0x7FC0
            if coarse is not None:  # made of the same rows
                sections["coarse"][blocks * 256 : blocks * 288].view(np.uint16)[:] = 0x7FC0
        else:
            section.view(np.uint16)[:] = 0x7FC0
        for prompt in (PROMPT, PROMPT[:1]):
            try:
                ids(backend, prompt)
            except EngineError:
                continue
            lost.append((place, len(prompt)))
        section[:] = before
        if coarse is not None:
            sections["coarse"][:] = coarse
    assert lost == []
    assert ids(backend, PROMPT) == wanted
