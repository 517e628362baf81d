"""A hundred generations, made by our renderer, and all the ways in which one token of them can go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import CHANNEL, Tokenizer

_THOUGHTS = (
    "We need to see what the folder holds before anything is changed. The totals are off by one day, so the place is",
    "It is where the dates are read: `datetime.strptime(row[0], '%d.%m.%Y')`. I list the files first, then read one.",
    "The error says `KeyError: 'naïve'`; that is the key with the diaeresis 🙂. Two spellings, NFC and NFD: normalise.",
    "Both when the table is filled; the lookup stays. Then run the tests again, and see what is left of it after that.",
    "User asks in German: „Bitte füge eine Zeile hinzu“. The file ends without a newline, so take the last line along.",
    "Write the patch with three lines of context, then say in one sentence what was done. No commentary is needed.",
    "Channel, message, end: words of the format may stand in a text: analysis to=functions.read_file json, or <|end|>.",
    "None of that is control text here, because it is made of ordinary tokens. So just think about it 漢字 and go on.",
    "1. Read `pyproject.toml`.\n2. Find `[tool.ruff]`.\n3. Set `line-length = 120`.\nIs there a second one? It wins.",
    "If so, the change has to go to `ruff.toml`.\n\n\tSearch for both before editing.  That is two calls -- or three.",
)
_PATCH = """*** Begin Patch
*** Update File: src/totals.py
@@ def total(rows):
     result = 0
-    for row in rows[1:]:
+    for row in rows:
         result += row.amount
     return result
*** End Patch"""
_ENDINGS = (
    Message("assistant", json.dumps({"path": "src"}), "commentary", "functions.list_files", "<|constrain|>json"),
    Message("assistant", '{"path":"a/b.py","start":10}', "commentary", "functions.read_file"),
    Message("assistant", '{\n  "pattern": "def total\\\\(",\n  "path": "."\n}', "commentary", "functions.search_files"),
    Message("assistant", _PATCH, "commentary", "functions.apply_patch", "code"),
    Message("assistant", '{"query":"strptime two digit year"}', "analysis", "browser.search", "code"),
    Message("assistant", "import math\nprint(math.tau)\n", "analysis", "python", "code"),
    Message("assistant", "Die Zeile steht jetzt am Ende der Datei, und die Tests laufen durch.", "final"),
    Message("assistant", '{"ok": true, "files": ["src/totals.py"]}', "final", None, "<|constrain|>json"),
    Message("assistant", "| file | lines |\n|---|---|\n| `a.py` | 12 |\n\n```python\nx = 1\n```\n", "final"),
    Message("assistant", "", "final"),
)
_PREAMBLE = Message(
    "assistant", "I will look at the files that have to do with dates, then change one line.", "commentary"
)

TOOLS = ("functions.list_files", "functions.read_file", "functions.search_files", "functions.apply_patch")
"""The functions that the transcripts call; beside them stand `browser.search` and `python`."""


def transcripts(tokenizer: Tokenizer) -> list[list[int]]:
    """Each thought with each ending, from behind `<|start|>assistant`.

    Every other one has a preamble and names the recipient behind the channel, which is how models write.
    """
    opening = len(assistant_start(tokenizer))
    found: list[list[int]] = []
    for number, thought in enumerate(_THOUGHTS):
        for ending in _ENDINGS:
            odd = (number + len(found)) % 2 == 1
            messages = [Message("assistant", thought, "analysis"), *([_PREAMBLE] if odd else [])]
            ids = [token for message in messages for token in render_message(tokenizer, message)]
            last = render_message(tokenizer, ending)
            found.append([*ids, *(_recipient_last(tokenizer, ending, last) if odd else last)][opening:])
    return found


def _recipient_last(tokenizer: Tokenizer, message: Message, ids: list[int]) -> list[int]:
    """The same message with `to=` behind the channel."""
    if message.recipient is None or message.channel is None:
        return ids
    to = tokenizer.encode(f" to={message.recipient}")
    channel = [CHANNEL, *tokenizer.encode(message.channel)]
    at = len(assistant_start(tokenizer))
    assert ids[at : at + len(to) + len(channel)] == [*to, *channel]
    return [*ids[:at], *channel, *to, *ids[at + len(to) + len(channel) :]]


def one_token_wrong(ids: list[int]) -> Iterator[list[int]]:
    """Every deletion, every duplication and every swap of neighbours that changes something."""
    for at, token in enumerate(ids):
        yield ids[:at] + ids[at + 1 :]
        yield [*ids[:at], token, *ids[at:]]
        if at and ids[at - 1] != token:
            yield [*ids[: at - 1], token, ids[at - 1], *ids[at + 1 :]]
