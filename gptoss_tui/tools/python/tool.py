"""The `python` tool as the agent sees it. Every run shows its exact code and needs approval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.builtin import python_namespace
from gptoss_tui.harmony.messages import ToolNamespace
from gptoss_tui.settings import SandboxChoice
from gptoss_tui.tools.base import Citation, Effect, Tool, ToolResult
from gptoss_tui.tools.python.choose import choose_sandbox
from gptoss_tui.tools.python.sandbox import Limits
from gptoss_tui.tools.python.session import PythonSession

MAX_CODE = 200_000
_SUMMARY_CHARS = 60


_STATELESS: Final = """\
Use this tool to execute Python code in your chain of thought. The code is shown to the user, who allows or denies it.
When you send a message containing Python code to python, it is run as a program of its own: nothing is kept between \
calls, so send the whole program each time, and print what you want to see. It may take 120 seconds. Internet access \
is disabled."""


class Python:
    """The `python` namespace with its one tool. `sandbox`, `image` and `stateful` are as in the settings.

    If `workspace` is given, code can read it inside the sandbox.
    """

    def __init__(
        self,
        sandbox: SandboxChoice,
        image: str,
        limits: Limits | None = None,
        *,
        stateful: bool = True,
        workspace: Path | None = None,
    ) -> None:
        self._session = PythonSession(
            lambda: choose_sandbox(sandbox, image, workspace),
            limits or Limits(),
            stateful=stateful,
            figures=user_cache_path("gptoss-tui") / "figures",
        )
        self._stateful = stateful
        self._tool = PythonTool(self._session)

    @property
    def namespace(self) -> ToolNamespace:
        return python_namespace() if self._stateful else ToolNamespace("python", _STATELESS)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (self._tool,)

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """Always empty: code has no pages."""
        return ()

    @property
    def source(self) -> str:
        """Always empty: the results come from the code itself."""
        return ""

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """Always empty: code has no pages."""
        return ()

    def reset(self) -> None:
        """End the interpreter."""
        self._session.reset()


@dataclass(frozen=True, slots=True)
class PythonTool:
    """Runs code in the session's interpreter."""

    session: PythonSession
    name: str = field(default="python", init=False)

    async def prepare(self, arguments: str) -> PythonCall:
        """Plan a call. Raises ToolError when there is no code, or no sandbox to run it in."""
        return await self.plan(_code(arguments))

    async def plan(self, code: str) -> PythonCall:
        """Return a call that runs exactly `code`. Raises ToolError."""
        if not code.strip():
            raise ToolError("python: there is no code. The argument is the Python code itself.")
        if len(code) > MAX_CODE:
            raise ToolError(f"python: the code is longer than {MAX_CODE} characters.")
        try:
            data = code.encode()
        except UnicodeEncodeError:
            raise ToolError("python: the code is not valid text.") from None
        sandbox = await self.session.sandbox()
        self.session.warm()
        effect = Effect(
            kind="python",
            title="Run Python",
            preview=code,
            preview_type="code",
            digest=hashlib.sha256(data).hexdigest(),
            reach="sandbox",
            details=(("sandbox", sandbox.description),),
        )
        return PythonCall(self.session, code, effect)


@dataclass(frozen=True, slots=True)
class PythonCall:
    """Code that was parsed but has not run."""

    session: PythonSession
    code: str
    effect: Effect

    @property
    def source(self) -> str:
        """The code, so that the user can change it before allowing it."""
        return self.code

    async def revise(self, text: str) -> PythonCall:
        """Plan the user's edited code instead. Raises ToolError."""
        return await PythonTool(self.session).plan(text)

    @property
    def summary(self) -> str:
        """The first line that is not an import or a comment, and the number of lines."""
        lines = [line.strip() for line in self.code.splitlines() if line.strip()]
        shown = next((line for line in lines if not line.startswith(("import ", "from ", "#"))), lines[0])
        cut = shown if len(shown) <= _SUMMARY_CHARS else f"{shown[:_SUMMARY_CHARS]}…"
        return f"python {cut}" + (f" ({len(lines)} lines)" if len(lines) > 1 else "")

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Run the code. Cancelling interrupts it, see `PythonSession.run`. Raises ToolError."""
        return await self.session.run(self.code, on_output)


def _code(arguments: str) -> str:
    """Extract the code: the text as it is, the contents of a code fence, or the `code` of a JSON object."""
    stripped = arguments.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped[stripped.index("\n") + 1 : -3].rstrip()
    if stripped.startswith("{"):
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            return arguments
        if isinstance(value, dict) and list(value) == ["code"] and isinstance(value["code"], str):
            return value["code"]
    return arguments
