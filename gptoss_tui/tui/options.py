"""How the app is started: everything that it takes from the settings and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.tui.terminal.attention import Way
from gptoss_tui.tui.terminal.graphics import Way as PictureWay
from gptoss_tui.tui.theme import AUTO

if TYPE_CHECKING:
    from gptoss_tui.harmony.messages import Effort
    from gptoss_tui.settings import Mode


@dataclass(frozen=True, slots=True)
class Options:
    """With the defaults, nothing is read from the user's folders or written there.

    `prompt` is sent as the first message. `resume` is the id of a conversation to continue; empty to choose one from a
    list. `pictures` None asks the terminal; `vim` None does what was chosen last.
    """

    prompt: str | None = None
    resume: str | None = None
    effort: Effort = "medium"
    mode: Mode = "ask"
    workspace: str = ""
    history_path: Path | None = None
    state_path: Path | None = None
    show_pages: bool = False
    theme: str = AUTO
    keys: Mapping[str, str] = field(default_factory=dict)
    vim: bool | None = None
    notifications: Way = "off"
    pictures: PictureWay | None = None


DEFAULTS = Options()
