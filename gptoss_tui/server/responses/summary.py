"""Summaries of thoughts, for clients that do not show the thoughts themselves.

A summary contains only the model's own words: the first and last sentence of the thought, or all of it.
"""

from __future__ import annotations

import re

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
_MOST = 200


def summarize(thought: str, wanted: str) -> str:
    """`detailed` is the whole thought, `concise` and `auto` its first and last sentence, `none` nothing."""
    text = thought.strip()
    if wanted == "none" or not text:
        return ""
    if wanted == "detailed":
        return text
    sentences = _BETWEEN_SENTENCES.split(text)
    ends = [sentences[0]] if len(sentences) == 1 else [sentences[0], sentences[-1]]
    return " … ".join(_cut(sentence) for sentence in ends)


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= _MOST else f"{sentence[:_MOST].rstrip()}…"
