"""Editing the draft in the user's own editor: `$VISUAL`, `$EDITOR`, or the first of the usual ones that is found."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gptoss_tui.errors import GptOssError

USUAL = ("nano", "vim", "vi", "emacs")


class EditorError(GptOssError):
    """The editor could not be used; the draft is unchanged."""


def editor_command(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The editor and its arguments. Raises EditorError when there is none."""
    for variable in ("VISUAL", "EDITOR"):
        named = environ.get(variable, "").strip()
        if named:
            try:
                command = shlex.split(named)
            except ValueError as error:
                raise EditorError(f"${variable} cannot be read: {error}", hint="check its quotes") from error
            if shutil.which(command[0], path=environ.get("PATH")) is None:
                raise EditorError(f"${variable} names {command[0]}, which was not found", hint="set another editor")
            return command
    for name in USUAL:
        if found := shutil.which(name, path=environ.get("PATH")):
            return [found]
    raise EditorError("No editor was found", hint="set EDITOR to the command of your editor")


def edit_text(text: str, command: list[str]) -> str:
    """Return `text` as edited. Blocks until the editor is closed. Raises EditorError when it fails."""
    with tempfile.TemporaryDirectory(prefix="gptoss-tui-") as folder:  # created with mode 0700
        path = Path(folder, "prompt.md")
        path.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*command, str(path)], check=False).returncode
            if code:
                raise EditorError(f"{command[0]} ended with exit code {code}; the draft is unchanged")
            edited = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise EditorError(f"{command[0]} could not be run: {error.strerror}; the draft is unchanged") from error
    return edited.removesuffix("\n") if not text.endswith("\n") else edited
