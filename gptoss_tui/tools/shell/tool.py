"""`shell`: a command is shown with its directory and its sandbox, and exactly what was shown is run."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tools.base import Effect, PreparedCall, Tool, ToolResult, Workspace
from gptoss_tui.tools.expansion import Words
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell.arguments import SHELL, Request, read_request
from gptoss_tui.tools.shell.git import writes_git
from gptoss_tui.tools.shell.held import Findings, Survey, hold_back, protected_in, refused_in, survey, writable_in
from gptoss_tui.tools.shell.probes import self_test
from gptoss_tui.tools.shell.process import Launch, Limits, Outcome, run_process
from gptoss_tui.tools.shell.sandbox import Access, ShellSandbox, filter_program, find_shell_sandbox
from gptoss_tui.tools.shell.user import user_launch
from gptoss_tui.tools.shell.wrappers import command_words

_SUMMARY_CHARS = 80
NOTHING = Findings()
_PATCH = re.compile(
    r"\A\s*(?:apply_?patch|applypatch)\s*(?:<<-?\s*(['\"]?)(?P<mark>\w+)\1\s*\n(?P<here>.*?)\n\s*(?P=mark)\s*\Z"
    r"|(?P<quote>['\"])(?P<text>\s*\*\*\* Begin Patch.*)(?P=quote)\s*\Z)",
    re.DOTALL,
)


@dataclass(slots=True)
class ShellTool:
    """Runs commands in the workspace. `patch` is the tool for patches that a model sends through the shell."""

    workspace: Workspace
    patch: Tool | None = None
    find: Callable[[Path], ShellSandbox] = find_shell_sandbox
    _sandbox: ShellSandbox | None = field(default=None, init=False)
    _missing: str = field(default="", init=False)
    _finding: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def name(self) -> str:
        return SHELL.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return SHELL

    async def prepare(self, arguments: str) -> PreparedCall:
        """Plan a call. Raises ToolError that tells the model what to send instead."""
        request = read_request(arguments)
        if found := _PATCH.match(request.command):
            if self.patch is None:
                raise ToolError("shell: apply_patch is switched off here.")
            if self._directory(request.workdir) != self.workspace.root:
                raise ToolError("shell: paths of a patch begin at the workspace. Name them so, and leave workdir out.")
            return await self.patch.prepare(found["here"] or found["text"])
        return await self.plan(request)

    async def plan(self, request: Request) -> ShellCall:
        """Return a call that runs exactly `request`. Raises ToolError."""
        directory = self._directory(request.workdir)
        sandbox = await self.sandbox()
        commands = command_words(request.command)
        access = Access(network=request.network, git=writes_git(request.command, commands))
        effect = _effect(request, directory, commands, access, sandbox, self._missing)
        if sandbox and (open_to_it := await asyncio.to_thread(writable_in, sandbox.root)):
            effect = _crowded(effect, str(open_to_it.relative_to(sandbox.root)))
        return ShellCall(request, directory, access, sandbox, effect, self)

    async def sandbox(self) -> ShellSandbox | None:
        """The sandbox, after its self-test; None if none works here. It is looked for only once."""
        async with self._finding:
            if self._sandbox is None and not self._missing:
                try:
                    found = self.find(self.workspace.root)
                    await self_test(found)
                    self._sandbox = found
                except SandboxError as error:
                    self._missing = f"{error.message} ({error.hint})" if error.hint else error.message
            return self._sandbox

    def _directory(self, workdir: str) -> Path:
        """The folder that the model names. Raises ToolError when it is not a folder of the workspace."""
        root = self.workspace.root
        try:
            path = Path(os.path.realpath(root / os.path.expanduser(workdir)))
            there = path.is_dir()
        except (OSError, ValueError):  # too long, not accessible, or not valid as a name
            raise ToolError("shell: workdir names no folder of the workspace.") from None
        if not path.is_relative_to(root):
            raise ToolError(f"shell: {workdir} is not in the workspace. Commands run in {root} and below.")
        if not there:
            raise ToolError(f"shell: there is no folder {workdir} in the workspace.")
        return path


@dataclass(frozen=True, slots=True)
class ShellCall:
    """A command that was parsed but has not run. Without a sandbox it runs with all of the user's rights."""

    request: Request
    directory: Path
    access: Access
    sandbox: ShellSandbox | None
    effect: Effect
    tool: ShellTool

    @property
    def source(self) -> str:
        """The command, so that the user can change it before allowing it."""
        return self.request.command

    async def revise(self, text: str) -> ShellCall:
        """Plan the user's edited command instead, with the same folder, time limit and network. Raises ToolError."""
        if not text.strip():
            raise ToolError("shell: there is no command.")
        return await self.tool.plan(replace(self.request, command=text))

    @property
    def summary(self) -> str:
        """The first line, and the number of lines."""
        lines = self.request.command.strip().splitlines()
        cut = lines[0] if len(lines[0]) <= _SUMMARY_CHARS else f"{lines[0][:_SUMMARY_CHARS]}…"
        return f"shell {cut}" + (f" ({len(lines)} lines)" if len(lines) > 1 else "")

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Run the command. Cancelling ends it and all that it started. Raises ToolError when it cannot be started."""
        limits = Limits(seconds=self.request.seconds)
        outcome, found = await self._run(limits, on_output)
        data = {"code": outcome.code, "ending": outcome.ending, "sandboxed": self.sandbox is not None}
        return ToolResult(report(outcome, limits, found), ok=outcome.code == 0, data=data)

    async def _run(self, limits: Limits, on_output: Callable[[str], None]) -> tuple[Outcome, Findings]:
        if self.sandbox is None:
            launch = user_launch(self.request.command, self.directory)
            return await _started(launch, limits, on_output), NOTHING
        root = self.sandbox.root
        try:
            before = await asyncio.to_thread(survey, root)
        except OSError as error:
            raise ToolError(
                f"shell: nothing was run: {root} cannot be listed ({error.strerror}), so its protected files could not "
                "be kept from a command. The user can make it readable: chmod u+rwx."
            ) from error
        seccomp = filter_program()
        try:
            files = protected_in(before, root)
            launch = await asyncio.to_thread(
                self.sandbox.launch, self.request.command, self.directory, self.access, seccomp, files
            )
            outcome = await _started(launch, limits, on_output)
        except BaseException:
            found, _ = await self._held_back(root, before)
            _say(found, on_output)
            raise
        finally:
            os.close(seccomp)
        found, cancelled = await self._held_back(root, before)
        if cancelled:
            _say(found, on_output)
            raise asyncio.CancelledError
        refused = refused_in(before, outcome.text, git=self.access.git) if outcome.code else ()
        return outcome, replace(found, closed=tuple(before.closed), refused=refused)

    async def _held_back(self, root: Path, before: Survey) -> tuple[Findings, bool]:
        """Run `hold_back` to its end, even if this is cancelled meanwhile. Also returns whether it was cancelled."""
        work = functools.partial(hold_back, root, before, git=self.access.git)
        done = asyncio.get_running_loop().run_in_executor(None, work)
        cancelled = False
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError:
                cancelled = True
        return done.result(), cancelled


def _say(found: Findings, on_output: Callable[[str], None]) -> None:
    if lines := notes(found):
        on_output("\n" + "\n".join(lines) + "\n")


async def _started(launch: Launch, limits: Limits, on_output: Callable[[str], None]) -> Outcome:
    try:
        return await run_process(launch, limits, on_output)
    except OSError as error:
        raise ToolError(f"shell: the command could not be started: {error}") from error


def report(outcome: Outcome, limits: Limits, found: Findings = NOTHING) -> str:
    """The text that the model reads: the output, how the command ended, and what the user should look at."""
    said = []
    if outcome.ending == "timeout":
        said.append(f"[Stopped: it ran for more than {limits.seconds:g} seconds. All that it had started was ended.]")
    elif outcome.code:
        said.append(f"[exit code {outcome.code}]")
    elif not outcome.text:
        said.append("[No output, exit code 0.]")
    said += notes(found)
    return "\n".join((outcome.text.rstrip("\n"), *said)).lstrip("\n") if said else outcome.text


def notes(found: Findings) -> list[str]:
    """Notes on protected files, one line each."""
    lines = []
    if found.held or found.removed:
        kept = f" What the command wrote was moved to {found.place}, numbered in this order." if found.place else ""
        lost = f" Removed, since it could not be kept: {_listed(found.removed)}." if found.removed else ""
        lines.append(
            f"[Held back: {_listed((*found.held, *found.removed))}. Other programs obey such files, so they need a yes "
            f"of their own: write them with a patch, which asks.{kept}{lost}]"
        )
    if found.stuck:
        lines.append(
            f"[NOT held back, since it could not be taken away: {_listed(found.stuck)}. Other programs obey it: the "
            "user should remove it.]"
        )
    if found.left:
        lines.append(f"[It made {_listed(found.left)}, which other programs obey: the user should look at it.]")
    if found.refused:
        lines.append(
            f"[A command can only read {_listed(found.refused)}, which other programs obey. If it failed for that: "
            "write such a file with a patch, which asks, or let the user run the command, with ! in front of it.]"
        )
    if found.closed:
        lines.append(f"[Read-only, since it cannot be looked into: {_listed(found.closed)}.]")
    if unseen := tuple(name for name in found.unseen if name not in found.closed):
        lines.append(f"[Nobody could look for files that other programs obey in {_listed(unseen)}.]")
    if not found.complete:
        lines.append("[There are too many files: not all were looked through for those that other programs obey.]")
    return lines


def _listed(names: tuple[str, ...]) -> str:
    """List file names. They are chosen by the command, so they are escaped to not look like lines or ends of notes."""
    return ", ".join(to_terminal_line(name) for name in names)


def _crowded(effect: Effect, name: str) -> Effect:
    """Make the effect ask in every mode, because not all protected files can be made read-only."""
    warning = f"There are so many protected files that it can write some of them, such as {to_terminal_line(name)}."
    asked = (*effect.must_ask, "not all protected files are read-only")
    return replace(effect, paths=(*effect.paths, name), warnings=(*effect.warnings, warning), must_ask=asked)


def _effect(
    request: Request,
    directory: Path,
    commands: tuple[Words, ...],
    access: Access,
    sandbox: ShellSandbox | None,
    missing: str,
) -> Effect:
    held = sandbox.describe(access) if sandbox else f"NONE, it runs unsandboxed with all your rights: {missing}"
    warnings = []
    if sandbox is None:
        warnings.append("This command runs UNSANDBOXED: it can do everything that you can do.")
    if access.network and sandbox:
        warnings.append("It may use the network.")
    if access.git and sandbox:
        warnings.append("It may change the repository in .git, and make files that other programs obey.")
    bound = json.dumps([request.command, str(directory), access.network, access.git, sandbox is not None])
    return Effect(
        kind="command",
        title="Run a command" if sandbox else "Run a command without a sandbox",
        preview=request.command,
        preview_type="command",
        digest=hashlib.sha256(bound.encode()).hexdigest(),
        paths=(".git",) if access.git else (),
        warnings=tuple(warnings),
        reach="host" if sandbox is None else "network" if access.network else "sandbox",
        commands=commands,
        must_ask=() if sandbox else ("no sandbox holds it",),
        details=(("in", str(directory)), ("sandbox", held), ("stops after", f"{request.seconds} seconds")),
    )
