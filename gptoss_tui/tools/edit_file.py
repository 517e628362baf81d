"""`edit_file`: replaces text in one file, for models that do this better than patches."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui import patch
from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.declarations import EDIT_FILE
from gptoss_tui.tools.edits import EditCall, WritePlan, prepare_edit


@dataclass(frozen=True, slots=True)
class EditFileTool:
    """Changes or creates one file, using the engine of `apply_patch`. `write` writes the plan to disk."""

    workspace: Workspace
    write: WritePlan = patch.apply

    @property
    def name(self) -> str:
        return EDIT_FILE.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return EDIT_FILE

    async def prepare(self, arguments: str) -> EditCall:
        """Find the text and plan the edit. Raises ToolError that tells the model what to send instead."""
        values = parse_arguments(arguments, EDIT_FILE)
        if values["count"] < 1:
            raise ToolError("edit_file: count is at least 1.")
        replacement = patch.ReplaceText(values["path"], values["old_text"], values["new_text"], values["count"])
        root = self.workspace.root

        def plan() -> patch.Plan:
            return patch.plan(patch.Patch((replacement,)), root, protected=True)

        return await prepare_edit(self.name, plan, self.write)
