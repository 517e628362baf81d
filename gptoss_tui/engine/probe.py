"""What torch finds on this machine, as one JSON object on stdout: `python -m gptoss_tui.engine.probe [--bandwidth]`.

A front runs it in a process of its own (`run_probe`): importing torch is slow, and a broken install may crash.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from gptoss_tui.engine.metal.device import measured_chip

BANDWIDTH_BYTES = 512 * 2**20
BANDWIDTH_RUNS = 5
BANDWIDTH_METHOD = f"best of {BANDWIDTH_RUNS} sums of a {BANDWIDTH_BYTES >> 20} MiB float32 tensor"

_GPU_SUMS = 16
"""In a row, so that waiting for a GPU does not show."""

_PROBE_SECONDS = 120


def run_probe(*, bandwidth: bool = False, device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """The facts of `facts`, from another process; with `bandwidth` also what `measure_bandwidth` says.

    Has the one key `error`, a line of text, when torch cannot be imported or the process dies.
    """
    command = [sys.executable, "-P", "-m", "gptoss_tui.engine.probe", "--device", device]
    command += ["--bandwidth"] if bandwidth else []
    command += ["--threads", str(threads)] if threads else []
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def facts() -> dict[str, Any]:
    """Versions of torch and Triton, the CPU path that torch takes, CUDA devices and whether Metal is there."""
    import torch

    return {
        "torch": torch.__version__,
        "triton": _triton_version(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": [_cuda_device(index) for index in range(torch.cuda.device_count())],
        "metal": torch.backends.mps.is_available(),
    }


def measure_bandwidth(device: str) -> float:
    """Bytes a second that `device` reads from its memory: the floor under every decoded token."""
    if device == "metal":
        return _measure_metal()
    import torch

    data = torch.ones(BANDWIDTH_BYTES // 4, dtype=torch.float32, device=device)
    sums = 1 if device == "cpu" else _GPU_SUMS
    seconds = []
    for _ in range(BANDWIDTH_RUNS):
        start = time.perf_counter()
        for _ in range(sums):
            total = data.sum()
        total.item()
        seconds.append(time.perf_counter() - start)
    return sums * BANDWIDTH_BYTES / min(seconds)


def _measure_metal() -> float:
    """As `measure_bandwidth`, on the GPU that MLX has; the CPU of an Apple chip reads more slowly."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.device import on_gpu

    data = mx.ones(BANDWIDTH_BYTES // 4, dtype=mx.float32)
    sums = _GPU_SUMS if on_gpu() else 1
    mx.eval(data)
    seconds = []
    for _ in range(BANDWIDTH_RUNS):
        start = time.perf_counter()
        mx.eval([data.sum() for _ in range(sums)])
        seconds.append(time.perf_counter() - start)
    return sums * BANDWIDTH_BYTES / min(seconds)


def _cuda_device(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memory": properties.total_memory,
        "free": torch.cuda.mem_get_info(index)[0],
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
    }


def _triton_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def main() -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(prog="python -m gptoss_tui.engine.probe")
    parser.add_argument("--bandwidth", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    found = facts()
    if args.device == "metal" and (chip := measured_chip()):
        found["chip"] = chip.describe()
    if args.bandwidth:
        found["bandwidth"] = measure_bandwidth(args.device)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
