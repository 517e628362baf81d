"""Which sandbox runs Python: the one that the settings name, else Docker, else bubblewrap, else none at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gptoss_tui.errors import ToolError
from gptoss_tui.settings import SandboxChoice
from gptoss_tui.tools.python.probes import self_test
from gptoss_tui.tools.python.sandbox import Sandbox, SandboxError

HOW_TO_GET_ONE: Final = "start Docker and `docker pull` the image, or on Linux install bubblewrap"


async def choose_sandbox(name: SandboxChoice, image: str) -> Sandbox:
    """A sandbox that passed its self-test. Raises ToolError that says why there is none and how to get one.

    `image` is Docker's. Nothing is pulled and nothing ever runs outside a sandbox.
    """
    finders: Mapping[str, Callable[[], Awaitable[Sandbox]]] = {
        "docker": lambda: _find_docker(image),
        "bubblewrap": _find_bubblewrap,
    }
    reasons = []
    for tried in finders if name == "auto" else (name,):
        try:
            return await finders[tried]()
        except SandboxError as error:
            reasons.append(f"{tried}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    raise ToolError(f"Python cannot run: there is no working sandbox. {'; '.join(reasons)}", hint=HOW_TO_GET_ONE)


async def _find_docker(image: str) -> Sandbox:
    from gptoss_tui.tools.python.docker_engine import find_docker

    sandbox = await find_docker(image)
    await self_test(sandbox)
    return sandbox


async def _find_bubblewrap() -> Sandbox:
    """The first that holds; a Python may need libraries that the sandbox does not have."""
    from gptoss_tui.tools.python.bubblewrap import candidates

    last = SandboxError("bubblewrap has no Python")
    for sandbox in candidates():
        try:
            await self_test(sandbox)
        except SandboxError as error:
            last = error
        else:
            return sandbox
    raise last
