"""Reads message headers, however badly they are written.

    [role] [to=recipient] [<|channel|>channel [to=recipient]] [[<|constrain|>]content type] <|message|>

A header is given as segments: the special token that opens each segment (None for the first) and the text after it.
Reading never fails; whatever had to be guessed or left out is reported in `notes`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from gptoss_tui.harmony.messages import Role
from gptoss_tui.harmony.tokenizer import CHANNEL, CONSTRAIN, SPECIAL_TOKENS

CHANNELS = ("analysis", "commentary", "final")
UNCLEAR_RECIPIENT = "unclear"
"""Recipient of a call whose header names two, or one that cannot reply. No tool has this name, so nothing runs."""

Segment = tuple[int | None, str]

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_TO = re.compile(r"\s*to=\s*([\w.:/-]*)(\S*)")
_REPEATED_ROLE = re.compile(r"\s*(assistant)+")
_NAMESPACED = re.compile(r"(functions|browser)\.\w")
_TYPES = ("json", "code", "text")
_HEADER_WORDS = re.compile(r"(?:\W|_)*(?:(?:analysis|commentary|final|json|code|channel|constrain|message)(?:\W|_)*)*")


@dataclass(frozen=True, slots=True)
class Header:
    """A header as it was understood.

    `rest` is the text after the header if `<|message|>` is missing. `notes` say what was recovered. `doubt` is set when
    the author, the recipient or the start of the content had to be guessed: a call with such a header must not run.
    """

    role: Role
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    rest: str = ""
    notes: tuple[str, ...] = ()
    channel_known: bool = True
    doubt: str = ""


@dataclass(slots=True)
class _Found:
    role: Role = "assistant"
    name: str | None = None
    channels: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    constrained: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    rest: str = ""
    notes: list[str] = field(default_factory=list)
    doubt: str = ""

    def guess(self, note: str) -> None:
        """Add a note about a guess that a call depends on."""
        self.notes.append(note)
        self.doubt = self.doubt or note


def read_header(segments: Sequence[Segment], *, has_role: bool, complete: bool, sampled: bool = True) -> Header:
    """Read a header.

    `has_role`: the first segment begins with the author. `complete`: `<|message|>` followed; otherwise, text that is
    not part of a header becomes `rest`. `sampled`: a model wrote it, so authors other than the assistant are noted.
    """
    found = _Found()
    last = len(segments) - 1
    for i, (special, text) in enumerate(segments):
        if i == 0:
            text = _read_role(text, found, complete=complete) if has_role else _read_behind_role(text, found)
        elif special == CHANNEL:
            if found.words or found.constrained:
                found.notes.append("the channel stood behind the content type")
            text = _read_channel(text, found, complete=complete)
        elif special == CONSTRAIN:
            text = _read_constrain(text, found)
        elif special is not None:
            found.notes.append(f"{SPECIAL_TOKENS.get(special, 'a reserved token')} inside a header was ignored")
        _read_words(text, found, keep_rest=not complete and i == last)
    return _settle(found, complete=complete, sampled=sampled)


def is_cut_short(header: Header, *, has_role: bool) -> bool:
    """Whether the `rest` of an incomplete header at the end of a stream could be the start of another header word."""
    words = ["to="]
    if has_role:
        words += _ROLES
    if header.channel_known or header.recipient:
        words += _TYPES
    return any(word.startswith(header.rest.strip()) for word in words)


def _read_role(text: str, found: _Found, *, complete: bool) -> str:
    word, behind = _first_word(text)
    author, _, name = word.partition(":")
    if author in _ROLES:
        found.role, found.name = _ROLES[author], name or None
        return behind
    if word.startswith("assistant"):
        return _read_behind_role(word.removeprefix("assistant") + behind, found)
    if _NAMESPACED.match(word) or "to=assistant" in behind or word == "python":
        found.role, found.name = "tool", word
        return behind
    if not word:
        found.notes.append("the author was missing")
        return text
    if not complete:
        return text
    found.guess(f"unknown author {word[:40]!r} was taken as the assistant")
    return behind


def _read_behind_role(text: str, found: _Found) -> str:
    """Handle the text after `assistant`: it should be empty or begin with a space, not repeat or continue the word."""
    repeated = _REPEATED_ROLE.match(text)
    behind = text[repeated.end() :] if repeated else text
    if behind != text or (behind and not behind[0].isspace()):
        found.notes.append("the author was written twice or ran into the next word")
    return behind


def _read_channel(text: str, found: _Found, *, complete: bool) -> str:
    word, behind = _first_word(text)
    if word.startswith("to="):
        found.notes.append("no channel stood behind <|channel|>")
        return text
    name = _REPEATED_ROLE.sub("", word, count=1) if word.startswith("assistant") else word
    for channel in CHANNELS:
        if name.startswith(channel):
            found.channels.append(channel)
            if text.startswith(channel) and word == channel:
                return behind
            found.notes.append(f"channel {word[:40]!r} was read as {channel}")
            extra = name.removeprefix(channel)
            return behind if complete and not extra.startswith("to=") else extra + behind
    found.channels.append(word)
    return behind


def _read_constrain(text: str, found: _Found) -> str:
    word, behind = _first_word(text)
    if word.startswith("to="):
        found.notes.append("no content type stood behind <|constrain|>")
        return text
    found.constrained.append(f"{SPECIAL_TOKENS[CONSTRAIN]}{word}")
    return behind


def _first_word(text: str) -> tuple[str, str]:
    """Split off the first word of `text`, up to white space or `<`; returns it and what follows."""
    stripped = text.lstrip()
    word = re.split(r"[\s<]", stripped, maxsplit=1)[0]
    return word, stripped[len(word) :]


def _read_words(text: str, found: _Found, *, keep_rest: bool) -> None:
    """Read recipients (`to=`) in any place, a content type, and any other words."""
    while text.strip():
        if match := _TO.match(text):
            if found.words or found.constrained:
                found.notes.append("the recipient stood behind the content type")
            if match[1]:
                found.recipients.append(match[1])
            if match[2]:
                cut = f"the recipient was cut before {match[2][:40]!r}"
                # Control text that ran into a name is not part of it; anything else may be.
                found.notes.append(cut) if _HEADER_WORDS.fullmatch(match[2]) else found.guess(cut)
            text = text[match.end() :]
            continue
        word = text.split(maxsplit=1)[0]
        if keep_rest and (word not in _TYPES or not (found.recipients or found.channels)):
            break
        found.words.append(word)
        text = text.lstrip()[len(word) :]
    if keep_rest:
        found.rest = text.removeprefix(" ") if found.channels or found.recipients else text


def _settle(found: _Found, *, complete: bool, sampled: bool) -> Header:
    if not found.channels and found.words and found.words[0] in CHANNELS:
        found.channels.append(found.words.pop(0))
        found.notes.append("the channel stood without <|channel|>")
    has_header = bool(found.channels or found.recipients)
    if not complete and not has_header:
        found.notes.clear()  # `_settle_channel` describes it in one sentence
    recipient = _settle_recipient(found)
    content_type = _settle_content_type(found)
    channel: str | None = None
    known = True
    if found.role in ("assistant", "tool"):
        channel, known = _settle_channel(found, recipient, complete=complete)
    if not complete and has_header:
        found.guess("<|message|> was missing after the header")
    if sampled and found.role != "assistant":
        found.notes.append(f"the model wrote a message as {found.name or found.role}")
    return Header(
        found.role,
        found.name,
        channel,
        recipient,
        content_type,
        found.rest,
        tuple(found.notes),
        channel_known=known,
        doubt=found.doubt,
    )


def _settle_recipient(found: _Found) -> str | None:
    if not found.recipients:
        named = [w for w in found.words if _NAMESPACED.match(w)]
        if not named:
            return None
        found.words = [w for w in found.words if w not in named]
        found.guess(f"recipient {named[0][:40]!r} stood without to=")
        found.recipients = named
    if len(set(found.recipients)) > 1:
        found.guess("the header named two recipients, so the call has none")
        return UNCLEAR_RECIPIENT
    if len(found.recipients) > 1:
        found.notes.append("the recipient was written twice")
    recipient = found.recipients[0]
    if found.role == "assistant" and _is_author(recipient):
        # The author of the reply would be read as something other than a tool.
        found.guess(f"recipient {recipient[:40]!r} is no tool's name, so the call has none")
        return UNCLEAR_RECIPIENT
    return None if recipient == "all" else recipient


def _is_author(name: str) -> bool:
    return name.partition(":")[0] in _ROLES or name.startswith("assistant")


def _settle_content_type(found: _Found) -> str | None:
    types = found.constrained + found.words
    if len(types) > 1:
        found.notes.append(f"extra words in the header were ignored: {' '.join(types[1:])[:60]!r}")
    return types[0] if types else None


def _settle_channel(found: _Found, recipient: str | None, *, complete: bool) -> tuple[str | None, bool]:
    """The channel, and whether the header named one of the three."""
    named = [c for c in found.channels if c in CHANNELS]
    if named:
        if len(found.channels) > 1:
            found.notes.append("the channel was written twice")
        return named[-1], True
    if found.role == "tool" and not found.channels:
        return None, False
    channel = "commentary" if recipient else "final"
    if found.channels:
        found.notes.append(f"unknown channel {found.channels[0][:40]!r} was taken as {channel}")
    elif complete:
        found.notes.append(f"the channel was missing and taken as {channel}")
    else:
        found.notes.append(f"text without a header was taken as {channel}")
    return channel, False
