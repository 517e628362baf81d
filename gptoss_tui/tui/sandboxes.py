"""For the status line, in a few words: which sandbox confines the code that models run, and where they search."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gptoss_tui.errors import GptOssError

if TYPE_CHECKING:
    from gptoss_tui.settings import Settings

NONE = "no sandbox"
"""Shown when tools that need a sandbox are switched on but none works; the tools do not run then."""


async def sandbox_in_use(settings: Settings) -> str:
    """The sandboxes of the shell and of Python and the source of the browser, for those tools that are switched on."""
    names = []
    if settings.offers_shell:
        names.append(await asyncio.to_thread(_of_the_shell, settings))
    if settings.python:
        names.append(await _of_python(settings))
    if settings.browser:
        names.append(_of_the_browser(settings))
    return ", ".join(dict.fromkeys(names))


def _of_the_shell(settings: Settings) -> str:
    from gptoss_tui.tools.shell.sandbox import find_shell_sandbox

    try:
        find_shell_sandbox(settings.workspace)
    except GptOssError:
        return NONE
    return "bubblewrap"


def _of_the_browser(settings: Settings) -> str:
    from gptoss_tui.tools.browser.choose import backend_name

    name = backend_name(settings)
    return "local documents" if name == "local" else f"web by {name}"


async def _of_python(settings: Settings) -> str:
    from gptoss_tui.tools.python.choose import choose_sandbox

    try:
        sandbox = await choose_sandbox(settings.python_sandbox, settings.python_image)
    except GptOssError:
        return NONE
    return "bubblewrap" if "bubblewrap" in sandbox.description else "Docker"
