"""What the model is told about each function. One place, because nano is trained on exactly these texts."""

from __future__ import annotations

from gptoss_tui.harmony.messages import FunctionDeclaration

APPLY_PATCH = FunctionDeclaration(
    name="apply_patch",
    description="Create, change, move or delete files of the workspace. The argument is the patch text itself.",
    parameters={
        "type": "string",
        "description": "Formatted patch code",
        "default": "*** Begin Patch\n*** End Patch\n",
    },
)

READ_FILE = FunctionDeclaration(
    name="read_file",
    description="Read a text file of the workspace.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Relative to the workspace"},
            "start_line": {"type": "integer", "description": "First line to read, from 1", "default": 1},
            "num_lines": {"type": "integer", "description": "How many lines to read", "default": 400},
        },
        "required": ["path"],
    },
)

LIST_FILES = FunctionDeclaration(
    name="list_files",
    description="List the files of the workspace, without those that .gitignore names.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Folder to list", "default": "."},
            "pattern": {"type": "string", "description": "Glob on the relative path, for example *.py"},
        },
    },
)

SEARCH_FILES = FunctionDeclaration(
    name="search_files",
    description="Find the lines of the workspace's files that match a regular expression.",
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "description": "Python regular expression"},
            "path": {"type": "string", "description": "File or folder to search", "default": "."},
        },
        "required": ["pattern"],
    },
)

EDIT_FILE = FunctionDeclaration(
    name="edit_file",
    description="Replace a text in a file of the workspace, or create a file.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Relative to the workspace"},
            "old_text": {
                "type": "string",
                "description": "The text to replace, exactly as it is in the file; empty to create the file",
            },
            "new_text": {"type": "string", "description": "What stands there afterwards"},
            "count": {"type": "integer", "description": "How often old_text is in the file", "default": 1},
        },
        "required": ["path", "old_text", "new_text"],
    },
)

UPDATE_PLAN = FunctionDeclaration(
    name="update_plan",
    description=(
        "Show the user the plan of a task as a checklist, and how far it is. For tasks of several steps: send the "
        "whole plan before the work begins, and again whenever a step is done or the plan changes. It does nothing "
        "else."
    ),
    parameters={
        "type": "object",
        "properties": {
            "explanation": {"type": "string", "description": "Why the plan is as it is, or why it changed"},
            "plan": {
                "type": "array",
                "description": "All steps in their order, at most one of them in_progress",
                "items": {
                    "type": "object",
                    "properties": {
                        "step": {"type": "string", "description": "One short sentence"},
                        "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                    },
                    "required": ["step", "status"],
                },
            },
        },
        "required": ["plan"],
    },
)

WORKSPACE_FUNCTIONS = (APPLY_PATCH, READ_FILE, LIST_FILES, SEARCH_FILES)
