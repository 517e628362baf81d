"""Compare our engine and llama.cpp on the same machine, taking turns: `python benchmarks/peers.py --help`.

Needs llama.cpp's `llama-bench`, a GGUF (`random_gguf.py`) and a checkpoint of the same shapes: a directory made by
`gptoss-tui models random --like gpt-oss-20b DIR` or, on a GPU, `random:gpt-oss-20b`. Only one engine runs at a time, so
the machine needs memory for one. Prints each run, and the median of each engine. llama-bench is used in its fastest
way: on a CPU it loads without mapping, on a GPU it uses flash attention. Memory is that of the host.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens per second of one run, and the peak memory of its largest process, in GB."""

    prefill: float
    decode: float
    memory: float


def measured(command: list[str]) -> tuple[str, float]:
    """Run `command`; return its output, and the peak memory of it or of a process that it waited for, in GB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return output, usage.ru_maxrss * unit / 1e9


def ours(args: argparse.Namespace) -> Run:
    """Measure one run of our engine."""
    command = [sys.executable, "-m", "gptoss_tui", "bench", "--json", "--backend", args.backend, "--model", args.model]
    command += ["--dense", args.dense, "--context", str(args.prompt + args.decode + 16)]
    command += ["--prompt-tokens", str(args.prompt), "--max-tokens", str(args.decode)]
    command += ["--no-drafts"] if args.backend == "triton" else ["--threads", str(args.threads)]
    output, memory = measured(command)
    (row,) = json.loads(output)["runs"]
    return Run(row["prefill_rate"], row["decode_rate"], memory)


def llama(args: argparse.Namespace) -> Run:
    """Measure one run of llama-bench."""
    command = [str(args.llama_bench), "-m", str(args.gguf), "-p", str(args.prompt), "-n", str(args.decode)]
    command += ["-r", "1", "-o", "json"]
    command += ["-ngl", "99", "-fa", "1"] if args.backend == "triton" else ["-t", str(args.threads), "-lm", "none"]
    output, memory = measured(command)
    rates = {row["n_gen"] > 0: float(row["avg_ts"]) for row in json.loads(output)}
    return Run(rates[False], rates[True], memory)


def main() -> None:
    """Take turns, then print the medians and our speed relative to the peer's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama-bench", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--backend", choices=("native", "triton"), default="native")
    parser.add_argument("--model", required=True, help="a directory, or random:gpt-oss-20b")
    parser.add_argument("--dense", choices=("int8", "exact"), default="int8", help="llama.cpp's file has Q8_0")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    engines = {args.backend: ours, "llama.cpp": llama}
    runs: dict[str, list[Run]] = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, engine in engines.items():
            run = engine(args)
            runs[name].append(run)
            rates = f"prefill {run.prefill:8.2f} t/s  decode {run.decode:7.2f} t/s"
            print(f"{name:<10} {rates}  {run.memory:6.2f} GB  load {os.getloadavg()[0]:.1f}", flush=True)
    medians = {
        name: (statistics.median(run.prefill for run in done), statistics.median(run.decode for run in done))
        for name, done in runs.items()
    }
    (prefill, decode), (peer_prefill, peer_decode) = medians[args.backend], medians["llama.cpp"]
    print(f"medians: {args.backend} {prefill:.2f} and {decode:.2f}, llama.cpp {peer_prefill:.2f} and {peer_decode:.2f}")
    print(f"{args.backend} is {prefill / peer_prefill:.2f}x in prefill, {decode / peer_decode:.2f}x in decode")


if __name__ == "__main__":
    main()
