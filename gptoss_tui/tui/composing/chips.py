"""Chips: short labels that stand for long pasted text in a draft, and are spelled out when it is sent.

A chip is its label in the text, so moving, copying and undoing it are those of text; `Chips` knows what it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

CHIP_LINES = 12
CHIP_CHARS = 1200

_LABEL = re.compile(r"\[paste (\d+): [\d,]+ (?:lines?|characters)\]")


@dataclass(slots=True)
class Chips:
    """What was pasted into the composer, by label. Labels are never used twice, so an undone edit finds its chip."""

    pasted: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def fold(self, text: str) -> str:
        """`text` itself when it is short, else the label of a chip that stands for it."""
        lines = text.count("\n") + (not text.endswith("\n"))
        if lines <= CHIP_LINES and len(text) <= CHIP_CHARS:
            return text
        for label, known in self.pasted.items():
            if known == text:
                return label
        self._count += 1
        size = f"{lines:,} lines" if lines > CHIP_LINES else f"{len(text):,} characters"
        label = f"[paste {self._count}: {size}]"
        self.pasted[label] = text
        return label

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where chips stand in `text`, in order."""
        return [match.span() for match in _LABEL.finditer(text) if match[0] in self.pasted]

    def expand(self, text: str) -> str:
        """`text` with its chips spelled out, once: what a paste says is never read as a chip."""
        return _LABEL.sub(lambda match: self.pasted.get(match[0], match[0]), text)

    def refold(self, text: str, labels: Mapping[str, str]) -> str:
        """`text` with what the chips `labels` stand for put back behind their labels, where it is unchanged."""
        for label, pasted in sorted(labels.items(), key=lambda one: -len(one[1])):
            if label not in text:
                text = text.replace(pasted, label, 1)
        return text

    def used(self, text: str) -> dict[str, str]:
        """The chips that `text` holds."""
        return {text[start:end]: self.pasted[text[start:end]] for start, end in self.spans(text)}

    def restore(self, pasted: Mapping[str, str]) -> None:
        """Know the chips of a draft that was saved."""
        for label, text in pasted.items():
            match = _LABEL.fullmatch(label)
            if match is not None:
                self.pasted[label] = text
                self._count = max(self._count, int(match[1]))


def span_around(spans: list[tuple[int, int]], place: int) -> tuple[int, int] | None:
    """The span that has `place` inside, not at its ends."""
    return next(((start, end) for start, end in spans if start < place < end), None)
