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

WORKSPACE_FUNCTIONS = (APPLY_PATCH, READ_FILE, LIST_FILES, SEARCH_FILES)
