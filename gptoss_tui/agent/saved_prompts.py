"""Prompts saved in Markdown files, each of which is a command named after its file: the user's own and the project's.

A file may begin with front matter, of which only `description` and `argument-hint` are used. In its text, `$ARGUMENTS`
stands for everything typed after the name, `$1` to `$9` for single words of it (quotes keep words together), and `$$`
for a dollar sign. The arguments are inserted once; placeholders in them are not expanded.

Anyone who can write to a project can write its prompts. Therefore hidden characters in them are made visible, they are
never run as a command or a shell line, and a front end shows the text of a prompt before its first use in a workspace.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gptoss_tui.agent.agents_md import owners_in, steps_to_workspace
from gptoss_tui.agent.front_matter import split_front_matter
from gptoss_tui.agent.policy.store import RuleStore, approvals_directory
from gptoss_tui.agent.slash import NAME
from gptoss_tui.errors import PolicyError
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.settings import config_path

MAX_PROMPTS: Final = 200
MAX_BYTES: Final = 200_000
_PROJECT_PLACES: Final = (".gptoss-tui/commands", ".agents/commands", ".claude/commands")
_PLACE: Final = re.compile(r"\$(ARGUMENTS\b|[1-9]|\$)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A saved prompt: the name of its command, its description, the hint for its arguments, and its text.

    `place` is the path of a project's prompt, relative to the root of the repository; empty for the user's own.
    """

    name: str
    description: str
    hint: str
    text: str
    place: str = ""

    @property
    def about(self) -> str:
        """The description, followed by the place if the prompt is the project's."""
        return f"{self.description} ({self.place})" if self.place else self.description

    @property
    def takes(self) -> str:
        """What can be typed after the name, for help texts; empty when the prompt takes no arguments."""
        return self.hint or ("[arguments]" if _PLACE.search(self.text) else "")

    def fill(self, argument: str) -> str:
        """The message for the `argument` that was typed after the name."""
        filled = fill(self.text, argument)
        return f" {filled}" if self.place and filled.startswith(("/", "!")) else filled


def own_prompts_folder() -> Path:
    """The folder of the user's own prompts, next to the settings."""
    return config_path().parent / "prompts"


def saved_prompts(own: Path | None, workspace: Path) -> list[Prompt]:
    """The prompts for `workspace`. The user's own, in the folder `own`, take precedence over the project's."""
    found = [*(read_prompts(own) if own is not None else ()), *project_prompts(workspace)]
    by_name: dict[str, Prompt] = {}
    for prompt in found:
        by_name.setdefault(prompt.name, prompt)
    return list(by_name.values())


def read_prompts(folder: Path) -> list[Prompt]:
    """The prompts in a folder, sorted by name. Files that cannot be read or do not name a command are skipped."""
    try:
        paths = sorted(path for path in folder.glob("*.md") if path.is_file())
    except OSError:
        return []
    return [prompt for path in paths[:MAX_PROMPTS] if (prompt := _read(path)) is not None]


def project_prompts(workspace: Path) -> list[Prompt]:
    """The prompts of the project, from the workspace up to the root of its repository. Never raises."""
    root, steps = steps_to_workspace(workspace)
    places = [(step / place).as_posix() for step in reversed(steps) for place in _PROJECT_PLACES]
    owners = owners_in(workspace)
    found: list[Prompt] = []
    with contextlib.suppress(PathError), Tree(root) as tree:
        for path in (path for place in places for path in _files(root, place)):
            with contextlib.suppress(PathError):
                data, status = tree.read(tree.resolve(path), limit=MAX_BYTES)
                text = to_terminal_text(data.decode("utf-8", "replace").replace("\r\n", "\n"))
                prompt = parse_prompt(Path(path).stem.lower(), text, to_terminal_line(path))
                if status.st_uid in owners and prompt.text.strip() and len(found) < MAX_PROMPTS:
                    found.append(prompt)
    return found


def parse_prompt(name: str, content: str, place: str = "") -> Prompt:
    """Parse a prompt from the content of its file."""
    front, body = split_front_matter(content)
    text = body.strip("\n")
    first = next((line.strip("# ").strip() for line in text.split("\n") if line.strip()), "")
    whose = "a prompt of the project" if place else "a prompt of yours"
    description = front.get("description") or first[:80] or whose
    hint = front.get("argument-hint", "")
    return Prompt(name, to_terminal_line(description), to_terminal_line(hint), text, place)


def fill(text: str, argument: str) -> str:
    """Replace the placeholders in `text`; if there are none, append the argument below the text."""
    words = split_words(argument)

    def place(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        if match[1] == "ARGUMENTS":
            return argument
        number = int(match[1]) - 1
        return words[number] if number < len(words) else ""

    filled = _PLACE.sub(place, text)
    has_place = any(match[1] != "$" for match in _PLACE.finditer(text))
    return filled if has_place or not argument else f"{filled}\n\n{argument}"


def split_words(text: str) -> list[str]:
    """The words of an argument. Quotes keep words together; with an unclosed quote, quotes are plain characters."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def find_prompt(name: str, workspace: Path) -> Prompt | None:
    """The prompt with that name, or None."""
    found = saved_prompts(own_prompts_folder(), Path(os.path.realpath(workspace)))
    return next((prompt for prompt in found if prompt.name == name), None)


def was_shown(prompt: Prompt, workspace: Path) -> bool:
    """Whether the user has seen the current text of a prompt in this workspace. True for the user's own prompts."""
    if not prompt.place:
        return True
    with contextlib.suppress(PolicyError):
        return _digest(prompt) in _store(workspace).read().shown
    return False


def note_shown(prompt: Prompt, workspace: Path) -> None:
    """Remember that the user has seen the prompt. If that cannot be saved, it will be shown again."""
    with contextlib.suppress(PolicyError):
        _store(workspace).note_shown(_digest(prompt))


def _store(workspace: Path) -> RuleStore:
    return RuleStore(Path(os.path.realpath(workspace)), approvals_directory())


def _digest(prompt: Prompt) -> str:
    return hashlib.sha256(prompt.text.encode()).hexdigest()


def _files(root: Path, place: str) -> Iterator[str]:
    """The Markdown files in a folder whose names are valid command names, sorted."""
    try:
        names = sorted(os.listdir(root / place))
    except OSError:
        return
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if dot and ending == "md" and NAME.fullmatch(stem.lower()):
            yield f"{place}/{name}"


def _read(path: Path) -> Prompt | None:
    if not NAME.fullmatch(path.stem.lower()):
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    prompt = parse_prompt(path.stem.lower(), content)
    return prompt if prompt.text.strip() else None
