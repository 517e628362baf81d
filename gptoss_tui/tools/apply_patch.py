"""`apply_patch`: applies a patch to files of the workspace, all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui import patch
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.patch.unwrap import unwrap
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.declarations import APPLY_PATCH
from gptoss_tui.tools.edits import EditCall, WritePlan, prepare_edit


@dataclass(frozen=True, slots=True)
class ApplyPatchTool:
    """Creates, changes, moves and deletes files. `write` writes the plan to disk."""

    workspace: Workspace
    write: WritePlan = patch.apply

    @property
    def name(self) -> str:
        return APPLY_PATCH.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return APPLY_PATCH

    async def prepare(self, arguments: str) -> EditCall:
        """Parse and plan the patch. Raises ToolError that tells the model what to send instead."""
        root = self.workspace.root
        source = unwrap(arguments)[0]

        def plan() -> patch.Plan:
            return patch.plan(patch.parse(arguments), root, protected=True)

        return await prepare_edit(self.name, plan, self.write, source)
