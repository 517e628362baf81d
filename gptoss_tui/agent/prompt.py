"""What the model is told before the first user message.

The text is short and does not change within a conversation, so that the KV cache keeps it. nano is trained on exactly
these messages: whoever changes them retrains it (`docs/nano.md`).
"""

from __future__ import annotations

from gptoss_tui.harmony.messages import (
    DeveloperContent,
    Effort,
    FunctionDeclaration,
    Preamble,
    ResponseFormat,
    SystemContent,
    ToolNamespace,
)

INSTRUCTIONS = """\
You are the coding assistant of gptoss-tui, a terminal app. You work in one folder, the workspace; paths are relative to it.

- To create, change, move or delete files, call functions.apply_patch. The user sees the patch and allows or denies it.
- Before you change a file that you have not seen, read it with functions.read_file. Find things with functions.search_files and functions.list_files.
- Change only what was asked, in the style of the file. Write complete code, no placeholders.
- When the work is done, say in one or two sentences what you did."""  # noqa: E501

PATCH_GUIDE = """\
A patch looks like this:
*** Begin Patch
*** Add File: new.txt
+every line of a new file starts with +
*** Update File: old.txt
@@ optional line that stands above the place
 unchanged line
-removed line
+added line
*** Delete File: gone.txt
*** End Patch
In an update, give up to 3 unchanged lines before and after each change. To move a file, put "*** Move to: path" under its "*** Update File:" line."""  # noqa: E501


def build_preamble(
    *,
    effort: Effort,
    current_date: str | None,
    functions: tuple[FunctionDeclaration, ...],
    builtin_tools: tuple[ToolNamespace, ...] = (),
    developer_message: str | None = None,
    response_format: ResponseFormat | None = None,
) -> Preamble:
    """The system and developer messages of a conversation.

    `current_date` is YYYY-MM-DD and stays fixed for a session. `builtin_tools` are the browser and python namespaces.
    `developer_message` is the user's own text; it stands after ours. `response_format` is of answers for
    programs.
    """
    names = {f.name for f in functions}
    parts = [INSTRUCTIONS] if names else []
    if "apply_patch" in names:
        parts.append(PATCH_GUIDE)
    if developer_message:
        parts.append(developer_message)
    developer = None
    if parts or functions or response_format:
        developer = DeveloperContent(
            instructions="\n\n".join(parts) or None,
            functions=ToolNamespace("functions", functions=functions) if functions else None,
            response_format=response_format,
        )
    return Preamble(
        system=SystemContent(effort=effort, current_date=current_date, tools=builtin_tools),
        developer=developer,
    )
