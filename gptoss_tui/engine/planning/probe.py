"""Prints what torch finds on this machine as one JSON object.

    python -m gptoss_tui.engine.planning.probe [--bandwidth | --gpu]

Front ends run it in a separate process (`run_probe`), because importing torch is slow and a broken install may crash.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from gptoss_tui.engine.metal.device import measured_chip

BANDWIDTH_BYTES = 512 * 2**20
BANDWIDTH_RUNS = 5
BANDWIDTH_METHOD = f"best of {BANDWIDTH_RUNS} sums of a {BANDWIDTH_BYTES >> 20} MiB float32 tensor"

_GPU_SUMS = 16
"""Number of sums in a row, so that the time waiting for a GPU does not matter."""

_PROBE_SECONDS = 120


def run_probe(
    *, bandwidth: bool = False, device: str = "cpu", threads: int | None = None, gpu: bool = False
) -> dict[str, Any]:
    """Run `facts` in another process; with `bandwidth`, also `measure_bandwidth`; with `gpu`, only `find_gpu`.

    The result has only the key `error`, a line of text, if torch cannot be imported or the process fails.
    """
    command = [sys.executable, "-P", "-m", "gptoss_tui.engine.planning.probe", "--device", device]
    command += ["--bandwidth"] if bandwidth else []
    command += ["--threads", str(threads)] if threads else []
    command += ["--gpu"] if gpu else []
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
    """Versions of torch and Triton, torch's CPU instruction set, CUDA devices, and whether Metal is available."""
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
    """Memory bandwidth of `device` in bytes per second, which limits how fast tokens can be decoded."""
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
    """Like `measure_bandwidth`, on MLX's GPU; the CPU of an Apple chip reads more slowly."""
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
    parser = argparse.ArgumentParser(prog="python -m gptoss_tui.engine.planning.probe")
    parser.add_argument("--bandwidth", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gpu", action="store_true")
    args = parser.parse_args()
    if args.gpu:
        from gptoss_tui.engine.planning.here import find_gpu

        gpu = find_gpu()
        print(json.dumps({"gpu": gpu and asdict(gpu)}))
        return
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
