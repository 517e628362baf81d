"""Shared by the tools that edit files: an edit is planned, shown as a diff, and exactly that plan is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui import patch
from gptoss_tui.errors import PatchError, ToolError
from gptoss_tui.patch.protected import reason
from gptoss_tui.tools.base import Effect, OutdatedCallError, ToolResult
from gptoss_tui.tools.formats import format_applied
from gptoss_tui.tools.patch_parts import without_files

WritePlan = Callable[[patch.Plan], None]
"""Writes a plan to disk, or raises PatchError. The undo store's version keeps the previous contents."""

_VERBS = {"A": "Create", "M": "Change", "D": "Delete", "R": "Move"}


@dataclass(frozen=True, slots=True)
class EditCall:
    """A planned edit by `tool`, with the effect to show.

    `source` is the edit in the patch language, so that the user can change it before allowing it; empty if it cannot
    be changed.
    """

    tool: str
    plan: patch.Plan
    effect: Effect
    write: WritePlan
    make_plan: Callable[[], patch.Plan]
    source: str = ""

    @property
    def summary(self) -> str:
        return f"{self.tool} {', '.join(label for _, label in self.plan.summary)}"

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Write the plan, all of it or nothing. A cancelled run still waits for the write to finish.

        Raises ToolError with nothing changed, and OutdatedCallError when a file is no longer as the plan saw it.
        """
        writing = asyncio.ensure_future(asyncio.to_thread(self.write, self.plan))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        except patch.OutdatedPlanError as error:
            raise OutdatedCallError(_for_model(error).message) from error
        except PatchError as error:
            raise _for_model(error) from error
        return ToolResult(format_applied(self.plan.summary), data={"paths": list(self.plan.paths)})

    async def again(self) -> EditCall:
        """Plan the edit again for the current files. Raises ToolError."""
        return await prepare_edit(self.tool, self.make_plan, self.write, self.source)

    async def revise(self, text: str) -> EditCall:
        """Plan the user's edited patch instead. Raises ToolError."""
        root = self.plan.root

        def plan() -> patch.Plan:
            return patch.plan(patch.parse(text), root, protected=True)

        return await prepare_edit(self.tool, plan, self.write, text)

    async def without(self, paths: tuple[str, ...]) -> EditCall:
        """Plan the edit without the files `paths`. Raises ToolError."""
        call = await self.revise(await asyncio.to_thread(without_files, self.source, paths, self.plan.root))
        wanted = {change.path for change in self.plan.changes if not {change.path, change.new_path} & set(paths)}
        if {change.path for change in call.plan.changes} != wanted:
            raise ToolError("These files cannot be left out: the rest of the patch needs them.")
        return call


async def prepare_edit(tool: str, make_plan: Callable[[], patch.Plan], write: WritePlan, source: str = "") -> EditCall:
    """Plan an edit off the event loop. Raises ToolError that tells the model what to send instead."""
    try:
        planned, effect = await asyncio.to_thread(_planned, make_plan)
    except PatchError as error:
        raise _for_model(error) from error
    return EditCall(tool, planned, effect, write, make_plan, source)


def _planned(make_plan: Callable[[], patch.Plan]) -> tuple[patch.Plan, Effect]:
    planned = make_plan()
    effect = Effect(
        kind="edit",
        title=_title(planned),
        preview=patch.unified_diff(planned),
        preview_type="diff",
        digest=patch.digest(planned),
        paths=planned.paths,
        warnings=planned.notes,
        reach="workspace",
        must_ask=tuple(reason(path, owner) for path, owner in planned.protected),
    )
    return planned, effect


def _title(planned: patch.Plan) -> str:
    if len(planned.changes) == 1:
        kind, label = planned.summary[0]
        return f"{_VERBS[kind]} {label}"
    return f"Change {len(planned.changes)} files"


def _for_model(error: PatchError) -> ToolError:
    return ToolError(f"{error.message}\n{error.hint}" if error.hint else error.message)
