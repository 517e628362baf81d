"""Chips: short labels that stand for long pasted text in a draft and are expanded when it is sent.

A chip is just its label in the text, so it can be moved, copied and undone like any text; `Chips` maps labels to the
pasted text.
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
    """The pasted texts by label. Labels are never reused, so undoing an edit brings its chip back."""

    pasted: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def fold(self, text: str) -> str:
        """Return `text` itself if it is short, else the label of a chip that stands for it."""
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
        """The spans of the chips in `text`, in order."""
        return [match.span() for match in _LABEL.finditer(text) if match[0] in self.pasted]

    def expand(self, text: str) -> str:
        """`text` with its chips expanded once: labels inside pasted text are not expanded."""
        return _LABEL.sub(lambda match: self.pasted.get(match[0], match[0]), text)

    def refold(self, text: str, labels: Mapping[str, str]) -> str:
        """Replace pasted text that is still unchanged in `text` by its label from `labels`: the inverse of `expand`."""
        for label, pasted in sorted(labels.items(), key=lambda one: -len(one[1])):
            if label not in text:
                text = text.replace(pasted, label, 1)
        return text

    def used(self, text: str) -> dict[str, str]:
        """The chips in `text`, with the text that they stand for."""
        return {text[start:end]: self.pasted[text[start:end]] for start, end in self.spans(text)}

    def restore(self, pasted: Mapping[str, str]) -> None:
        """Add the chips of a saved draft."""
        for label, text in pasted.items():
            match = _LABEL.fullmatch(label)
            if match is not None:
                self.pasted[label] = text
                self._count = max(self._count, int(match[1]))


def span_around(spans: list[tuple[int, int]], place: int) -> tuple[int, int] | None:
    """The span that contains `place` strictly inside, not at its ends."""
    return next(((start, end) for start, end in spans if start < place < end), None)
