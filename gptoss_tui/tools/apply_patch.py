"""`apply_patch`: the patch is planned when it is prepared, shown as a diff, and exactly that plan is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui import patch
from gptoss_tui.errors import PatchError, ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.base import Effect, ToolResult, Workspace
from gptoss_tui.tools.declarations import APPLY_PATCH
from gptoss_tui.tools.formats import format_applied

WritePlan = Callable[[patch.Plan], None]

_VERBS = {"A": "Create", "M": "Change", "D": "Delete", "R": "Move"}


@dataclass(frozen=True, slots=True)
class ApplyPatchTool:
    """Creates, changes, moves and deletes files of the workspace, all of a patch or nothing.

    `write` puts a plan onto the disk: that of an undo store keeps what was there before.
    """

    workspace: Workspace
    write: WritePlan = patch.apply

    @property
    def name(self) -> str:
        return APPLY_PATCH.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return APPLY_PATCH

    async def prepare(self, arguments: str) -> ApplyPatchCall:
        """Parse and plan. Raises ToolError with what the model should send instead."""
        return await asyncio.to_thread(self._prepare, arguments)

    def _prepare(self, arguments: str) -> ApplyPatchCall:
        try:
            planned = patch.plan(patch.parse(arguments), self.workspace.root)
        except PatchError as error:
            raise _for_model(error) from error
        effect = Effect(
            kind="edit",
            title=_title(planned),
            preview=patch.unified_diff(planned),
            preview_type="diff",
            digest=patch.digest(planned),
            paths=planned.paths,
            warnings=planned.notes,
            reach="workspace",
        )
        return ApplyPatchCall(planned, effect, self.write)


@dataclass(frozen=True, slots=True)
class ApplyPatchCall:
    """A planned patch and what to show of it."""

    plan: patch.Plan
    effect: Effect
    write: WritePlan

    @property
    def summary(self) -> str:
        return f"apply_patch {', '.join(label for _, label in self.plan.summary)}"

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Write the plan. Raises ToolError, with nothing changed. Cancelling waits for the write: all or nothing."""
        writing = asyncio.ensure_future(asyncio.to_thread(self.write, self.plan))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        except PatchError as error:
            raise _for_model(error) from error
        return ToolResult(format_applied(self.plan.summary), data={"paths": list(self.plan.paths)})


def _title(planned: patch.Plan) -> str:
    if len(planned.changes) == 1:
        kind, label = planned.summary[0]
        return f"{_VERBS[kind]} {label}"
    return f"Change {len(planned.changes)} files"


def _for_model(error: PatchError) -> ToolError:
    return ToolError(f"{error.message}\n{error.hint}" if error.hint else error.message)
