"""Plot how close decode comes to the limit set by memory: `python benchmarks/floor_plot.py FILE [FILE ...]`.

Each file is the output of `gptoss-tui bench --json`, and gives one line of the plot: the share of the floor by length
of the prompt. Writes docs/images/share-of-floor.svg, or the file named by `--output`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from gptoss_tui.engine.types import RANDOM_PREFIX

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "share-of-floor.svg"

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 736, 64, 336

COLOURS = ("#2f7fd6", "#c2571a", "#2a9363")
"""Colours of the lines; each has a contrast of 3 or more with white and with black."""

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 15px; }
  .quiet { fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .grid { stroke: #3d444d; }
  }
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A prompt's length in tokens, the rate of decode after it in tokens per second, and its share of the floor."""

    prompt: int
    rate: float
    share: float


@dataclass(frozen=True, slots=True)
class Line:
    """The runs of a model on a device, by length of the prompt."""

    name: str
    device: str
    runs: tuple[Run, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    lines = [read_report(path) for path in args.reports]
    if len(lines) > len(COLOURS):
        parser.error(f"at most {len(COLOURS)} files")
    args.output.write_text(plot(lines), encoding="utf-8")
    print(args.output)


def read_report(path: Path) -> Line:
    """Read the runs of a report whose floor is known. Raises SystemExit if there are none."""
    report = json.loads(path.read_text(encoding="utf-8"))
    runs = [
        Run(run["prompt_tokens"], run["decode_rate"], run["floor_share"])
        for run in report["runs"]
        if run["floor_share"] is not None
    ]
    if not runs:
        raise SystemExit(f"{path} has no run with a floor")
    model = report["model"]
    return Line(
        model["model"].removeprefix(RANDOM_PREFIX), model["device"], tuple(sorted(runs, key=lambda run: run.prompt))
    )


def plot(lines: Sequence[Line]) -> str:
    """Return the plot as SVG."""
    prompts = sorted({run.prompt for line in lines for run in line.runs})
    body = "\n".join(
        [*_axes(prompts), *(part for n, line in enumerate(lines) for part in _drawn(n, line, prompts, len(lines)))]
    )
    devices = ", ".join(dict.fromkeys(line.device for line in lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="Share of the floor by length of the prompt">\n<style>{STYLE}</style>\n'
        f"{_text(LEFT, 26, 'Decode: share of what the memory’s bandwidth allows', 'title')}\n"
        f"{_text(LEFT, 46, devices, 'quiet')}\n{body}\n</svg>\n"
    )


def _axes(prompts: Sequence[int]) -> Iterator[str]:
    """Draw a grid line for each fifth, and the lengths of prompts below."""
    for fifth in range(6):
        y = _y(fifth / 5)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 4, f"{fifth / 5:.0%}", "quiet", "end")
    for prompt in prompts:
        yield _text(_x(prompt, prompts), BOTTOM + 22, f"{prompt:,}", "quiet", "middle")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 46, "tokens before the answer", "quiet", "middle")


def _drawn(number: int, line: Line, prompts: Sequence[int], count: int) -> Iterator[str]:
    """Draw a line with its points, their rates and its name. The first line's rates are above it, the others' below."""
    colour, above = COLOURS[number], number == 0
    places = [(_x(run.prompt, prompts), _y(run.share)) for run in line.runs]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="line" stroke="{colour}" points="{points}"/>'
    for run, (x, y) in zip(line.runs, places, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        yield _text(x, y - 12 if above else y + 22, f"{run.rate:.0f} t/s", "quiet", "middle")
    x = RIGHT - 150 * (count - number)
    yield f'<circle cx="{x}" cy="42" r="5" fill="{colour}"/>'
    yield _text(x + 12, 46, line.name)


def _x(prompt: int, prompts: Sequence[int]) -> float:
    """The x coordinate of a length, on a logarithmic scale with room at both ends for the rates."""
    first, last = math.log(prompts[0]), math.log(prompts[-1])
    place = (math.log(prompt) - first) / (last - first) if last > first else 0.5
    return LEFT + 40 + place * (RIGHT - LEFT - 80)


def _y(share: float) -> float:
    return BOTTOM - min(share, 1.0) * (BOTTOM - TOP)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


if __name__ == "__main__":
    main()
