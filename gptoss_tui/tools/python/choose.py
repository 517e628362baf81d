"""Chooses the sandbox that runs Python: the one in the settings, else Docker, else bubblewrap, else none at all."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from gptoss_tui.errors import ToolError
from gptoss_tui.settings import SandboxChoice
from gptoss_tui.tools.python.probes import self_test
from gptoss_tui.tools.python.sandbox import Sandbox, SandboxError

HOW_TO_GET_ONE: Final = "start Docker and run `gptoss-tui sandbox build`, or on Linux install bubblewrap"


async def choose_sandbox(name: SandboxChoice, image: str, workspace: Path | None = None) -> Sandbox:
    """Return a sandbox that passed its self-test. Raises ToolError that says why there is none and how to get one.

    `image` is the Docker image; `workspace`, if given, can be read inside. No image is ever pulled, and nothing runs
    outside a sandbox.
    """
    finders: Mapping[str, Callable[[], Awaitable[Sandbox]]] = {
        "docker": lambda: find_tested_docker(image, workspace),
        "bubblewrap": lambda: find_tested_bubblewrap(workspace),
    }
    reasons = []
    for tried in finders if name == "auto" else (name,):
        try:
            return await finders[tried]()
        except SandboxError as error:
            reasons.append(f"{tried}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    raise ToolError(f"Python cannot run: there is no working sandbox. {'; '.join(reasons)}", hint=HOW_TO_GET_ONE)


def packages_folder() -> Path:
    """The folder, one per Python version, in which `gptoss-tui sandbox build` installs packages for bubblewrap."""
    return user_data_path("gptoss-tui") / f"python-packages-{sys.version_info.major}.{sys.version_info.minor}"


async def find_tested_docker(image: str, workspace: Path | None = None) -> Sandbox:
    """Return Docker with `image` after a self-test. Raises SandboxError."""
    from gptoss_tui.tools.python.docker_engine import find_docker

    sandbox = await find_docker(image, workspace)
    await self_test(sandbox)
    return sandbox


async def find_tested_bubblewrap(workspace: Path | None = None, packages: Path | None = None) -> Sandbox:
    """Return the first bubblewrap that passes its self-test. Raises SandboxError.

    Several are tried because a Python may need libraries that the sandbox does not have.
    """
    from gptoss_tui.tools.python.bubblewrap import candidates

    last = SandboxError("bubblewrap has no Python")
    for sandbox in candidates(workspace, packages or packages_folder()):
        try:
            await self_test(sandbox)
        except SandboxError as error:
            last = error
        else:
            return sandbox
    raise last
