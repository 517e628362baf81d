"""Finds out, in a separate process, which kernels must not be used on this machine, and remembers it.

A kernel that a compiler, a driver or a chip cannot handle may do worse than compute wrong results: it may crash the
process or hang. So each kernel is first tried in another process, on random weights of the model's shapes. The verdict
is valid for this chip, macOS, MLX and our version; `gptoss-tui doctor` tries again. This module does not import MLX.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from gptoss_tui import __version__
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.apple import read_chip
from gptoss_tui.engine.metal.device import mlx_version
from gptoss_tui.engine.metal.failures import is_lack_of_memory
from gptoss_tui.engine.metal.kernels import NAMES

SECONDS = 60
"""How long a process may be silent: compiling a kernel takes a second, running it no time, making weights a few."""

HANGS = 2
"""After so many hangs the device seems to hang on anything: the rest is not tried, so that a start takes minutes at
most."""


@dataclass(slots=True)
class Trial:
    """The result of a trial: for each step, why its kernels are refused, or None. `failure`: why it could not begin.

    `speed` has the bytes per second that this machine reads, and the fractions that layers and vocabulary reach.
    """

    verdicts: dict[str, str | None] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)
    failure: str | None = None

    @property
    def refused(self) -> dict[str, str]:
        """The steps whose kernels must not be used, and why."""
        if self.failure is not None:
            return dict.fromkeys(NAMES, self.failure)
        return {name: reason for name, reason in self.verdicts.items() if reason is not None}


def refusals(config: ModelConfig, dtype: str) -> dict[str, str]:
    """Why kernels must not be used for models of this shape, by step: as remembered or, if not known yet, tried now."""
    try:
        known: dict[str, str] = json.loads(_path(config, dtype).read_text(encoding="utf-8"))["refused"]
    except (OSError, ValueError, KeyError, TypeError):
        found = try_kernels(config, dtype)
        known = found.refused
        remember(config, dtype, found)
    return known


def remember(config: ModelConfig, dtype: str, found: Trial) -> None:
    """Save the result of a trial, if the cache can be written, unless a lack of memory may have caused it."""
    reasons = found.refused.values()
    if found.failure is not None or any(is_lack_of_memory(reason) or "SIGKILL" in reason for reason in reasons):
        return
    path = _path(config, dtype)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump({"machine": _machine(), "refused": found.refused}, file, indent=2)
        os.replace(file.name, path)


def try_kernels(config: ModelConfig, dtype: str, names: Sequence[str] = NAMES, *, speed: bool = False) -> Trial:
    """Try kernels in separate processes. If one of these dies, another continues after the kernel that caused it."""
    found, hangs = Trial(), 0
    while left := [name for name in names if name not in found.verdicts]:
        before = len(found.verdicts)
        if hangs == HANGS:
            found.verdicts |= dict.fromkeys(left, f"it was not tried, as {HANGS} others hung")
            break
        ready, problem = _run(["--config", json.dumps(asdict(config)), "--dtype", dtype, *left], found)
        if not ready:
            found.failure = problem or "they could not be tried"
            return found
        hangs += problem == _hang()
        if problem or len(found.verdicts) == before:
            stuck = next((name for name in left if name not in found.verdicts), None)
            found.verdicts |= {stuck: problem or "it was not tried"} if stuck else {}
    if speed:
        _run(["--config", json.dumps(asdict(config)), "--dtype", dtype, "--speed", *_right(found)], found)
    return found


def _right(found: Trial) -> list[str]:
    return [name for name, reason in found.verdicts.items() if reason is None]


def _hang() -> str:
    return f"nothing came of it for {SECONDS} seconds"


class _Watchdog:
    """Kills a process that has been silent for `SECONDS`; each call of `heard` restarts the time. `bit`: it did."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.bit = False
        self._process = process

    def __enter__(self) -> _Watchdog:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def heard(self) -> None:
        self._timer.cancel()
        self._start()

    def _start(self) -> None:
        self._timer = threading.Timer(SECONDS, self._bite)
        self._timer.daemon = True
        self._timer.start()

    def _bite(self) -> None:
        self.bit = True
        self._process.kill()


def _run(arguments: list[str], found: Trial) -> tuple[bool, str | None]:
    """Run a process and add what it reports to `found`. Returns whether it got started, and why it ended too early."""
    command = [sys.executable, "-P", "-m", "gptoss_tui.engine.metal.probe", *arguments]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            return False, str(error)
        with _Watchdog(process) as watchdog, process:
            assert process.stdout is not None
            ready = _listen(process.stdout, found, watchdog.heard)
        if watchdog.bit:
            return ready, _hang()
        errors.seek(0)
        return ready, _end(process.returncode, errors.read().decode(errors="replace")) if process.returncode else None


def _listen(lines: Iterable[bytes], found: Trial, heard: Callable[[], None]) -> bool:
    """Record what a process reports until it ends. Returns whether it got started."""
    ready = False
    for line in lines:
        try:
            said: Any = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):  # output of a driver, or a truncated line
            continue
        heard()
        ready = ready or "ready" in said
        if "step" in said:
            found.verdicts[said["step"]] = said["refused"]
        found.speed.update(said.get("speed", {}))
    return ready


def _end(code: int, errors: str) -> str:
    lines = errors.strip().splitlines()
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return lines[-1] if lines else f"its process ended with exit code {code}"


def _path(config: ModelConfig, dtype: str) -> Path:
    """The file with the verdicts for this shape, on this machine in its present state."""
    text = json.dumps([_machine(), asdict(config), dtype])
    return (
        user_cache_path("gptoss-tui") / "metal" / f"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}.json"
    )


def _machine() -> dict[str, str]:
    """Everything that a verdict depends on beside the shape. Includes a hash of the sources, which may change without
    a new version of ours."""
    chip, here = read_chip(), Path(__file__).parent
    sources = hashlib.blake2b(digest_size=8)
    for file in (*sorted((here / "kernels").glob("*.metal")), here / "kernels" / "source.py", here / "steps.py"):
        sources.update(file.read_bytes())
    return {
        "chip": f"{chip.name}, {chip.gpu_cores} GPU cores" if chip else platform.processor(),
        "macos": platform.mac_ver()[0] or platform.release(),
        "mlx": str(mlx_version()),
        "gptoss-tui": __version__,
        "kernels": sources.hexdigest(),
    }
