"""The prompts that `/init` and `/review` send, and how they are shown again: as the commands that were typed."""

from __future__ import annotations

from gptoss_tui.agent.attached import split_message

_INIT = """\
Write AGENTS.md in the workspace: what somebody new, or an assistant, must know to work here. Look first: the README, \
the files that say how to build and test, and a few of the sources. If there is an AGENTS.md, read it and mend it. Say \
in short sentences how to set up, build, run and test, how the code is laid out, and which rules of style and work you \
saw followed. Write only what you found in files, no guesses, at most 60 lines."""

_REVIEW = """\
Review changes of this workspace as a careful colleague would. Look at them first: {what}. Read as much of the files \
around them as you need to judge. Then list what is wrong, the worst first: mistakes, cases that are not handled, \
security, tests that are missing. Each with the file and line, why it is wrong, and what to do instead. Leave matters \
of taste out, and say so when there is nothing to find. Do not change any file."""
_UNCOMMITTED = "`git status --short`, `git diff HEAD`, and new files that git does not know"
_BEFORE, _, _AFTER = _REVIEW.partition("{what}")
_TITLE_CHARS = 40
"""A title that was cut is at least this long."""


def init_request(matters: str) -> str:
    """The prompt that `/init matters` sends."""
    return f"{_INIT}\n\n{matters}".rstrip()


def review_request(what: str) -> str:
    """The prompt that `/review what` sends."""
    return f"{_BEFORE}{what or _UNCOMMITTED}{_AFTER}"


def typed(message: str) -> str:
    """What the user typed of a message: without attachments, and the command for a prompt that a command sent."""
    text = split_message(message)[0]
    if text.startswith(_INIT):
        return f"/init {text.removeprefix(_INIT).strip()}".rstrip()
    if text.startswith(_BEFORE) and text.endswith(_AFTER):
        what = text.removeprefix(_BEFORE).removesuffix(_AFTER)
        return "/review" if what == _UNCOMMITTED else f"/review {what}"
    return text


def typed_title(title: str) -> str:
    """The command for a cut title of such a prompt; other titles are returned unchanged."""
    begin = title.rstrip("…")
    if len(begin) < _TITLE_CHARS:
        return title
    return next((name for name, text in (("/init", _INIT), ("/review", _BEFORE)) if text.startswith(begin)), title)
