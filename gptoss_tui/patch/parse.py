"""Parses patch text into a `Patch`, without accessing the disk.

    Patch  := "*** Begin Patch" { Add | Delete | Update } "*** End Patch"
    Add    := "*** Add File: " path { "+" line }
    Delete := "*** Delete File: " path
    Update := "*** Update File: " path [ "*** Move to: " path ] { Hunk }
    Hunk   := { "@@" [ " " header ] } { (" " | "-" | "+") text } [ "*** End of File" ]

Other forms that models write are tolerated; they are listed in `docs/patch.md`, and each one that occurs becomes a note
of the patch. Lines end with `\\n` or `\\r\\n` and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gptoss_tui.errors import PatchError
from gptoss_tui.patch.types import AddFile, DeleteFile, FileOperation, Hunk, HunkLine, LineKind, Patch, UpdateFile
from gptoss_tui.patch.unwrap import unwrap

MAX_PATCH_CHARS = 8 << 20
_CONTROL = re.compile(r"\*\*\* ?(Begin Patch|End Patch|End of File|(?:(Add|Update|Delete) File|Move to): *(.*?))\s*\Z")
_LINE_RANGE = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)\Z")
UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_KINDS: dict[str, LineKind] = {" ": " ", "-": "-", "+": "+"}
_UNIFIED = ("--- ", "+++ ")
_DIFF_FILE = re.compile(r"diff --git |--- \S|\+\+\+ \S|@@ -\d")
_FORM = "*** Begin Patch\n*** Update File: path\n@@\n unchanged line\n-old line\n+new line\n*** End Patch"


def parse(text: str) -> Patch:
    """Parse a patch. Raises PatchError that names the line and what is wrong with it."""
    if len(text) > MAX_PATCH_CHARS:
        raise PatchError(f"The patch is larger than {MAX_PATCH_CHARS >> 20} MiB.", hint="Send it in parts.")
    bare, notes = unwrap(text)
    if UNWRITABLE.search(bare):
        raise PatchError("The patch holds NUL characters or lone surrogates, which no text file can hold.")
    return _Parser(bare, notes).patch()


class _Parser:
    """Recursive descent over the lines of a patch."""

    def __init__(self, text: str, notes: Iterable[str]) -> None:
        lines = text.removesuffix("\n").split("\n")
        self._lines = [line.rstrip("\r") for line in lines]
        self._at = 0
        self._notes = dict.fromkeys(notes)
        if any(line.endswith("\r") for line in lines):
            self.note("the patch has CRLF line ends; files keep their own")

    def patch(self) -> Patch:
        operations: list[FileOperation] = []
        begun = ended = False
        while self._at < len(self._lines):
            line = self._lines[self._at]
            control = self.control(line)
            if control == "Begin Patch":
                if begun:
                    self.note("*** Begin Patch was repeated: all parts were taken as one patch")
                begun, ended = True, False
            elif control == "End Patch":
                if ended:
                    self.note("*** End Patch was repeated")
                ended = True
            elif control in ("Add", "Update", "Delete"):
                operations.append(self._operation(control))
                continue
            elif line.strip():
                self._stray(line, inside=bool(operations) and not ended)
            else:
                self.note("blank lines outside of the file parts were ignored")
            self._at += 1
        if not operations:
            raise self._no_operation()
        if not begun:
            self.note("*** Begin Patch was missing")
        if not ended:
            self.note("*** End Patch was missing: the patch may be cut off")
        merged = _merged(operations, self.note)
        return Patch(merged, tuple(self._notes))

    def _no_operation(self) -> PatchError:
        """The error for a text that changes no file, which may be a unified diff: of git, or of `diff -u`."""
        if any(map(_DIFF_FILE.match, self._lines)):
            what = "This is a unified diff, as from `git diff`, which is another format; nothing was changed."
            return PatchError(what, hint=f"The form here is:\n{_FORM}")
        return PatchError("The patch holds no file operation.", hint=f"The form is:\n{_FORM}")

    def _operation(self, kind: str) -> FileOperation:
        path = self._path(self._lines[self._at])
        self._at += 1
        if kind == "Delete":
            return DeleteFile(path)
        return self._add(path) if kind == "Add" else self._update(path)

    def _path(self, line: str) -> str:
        match = _CONTROL.match(line)
        path = match[3] if match else ""
        if not path:
            raise self.error("the path is missing")
        for quote in ("`", '"', "'"):
            if len(path) > 2 and path[0] == path[-1] == quote:
                self.note(f"quotes around the path {path[1:-1]} were dropped")
                return path[1:-1]
        return path

    def _body(self) -> list[tuple[int, str]]:
        """The lines up to the next operation or the end, with their indices."""
        start = self._at
        while self._at < len(self._lines) and _control(self._lines[self._at]) in (None, "End of File", "Move to"):
            self._at += 1
        return list(enumerate(self._lines[start : self._at], start))

    def _add(self, path: str) -> AddFile:
        body = [(i, line) for i, line in self._body() if _control(line) != "End of File"]
        while body and not body[-1][1].strip():
            body.pop()
            self.note(f"{path}: blank lines without + at the end were ignored")
        marked = [line.startswith("+") for _, line in body if line.strip()]
        if marked and not any(marked):
            self.note(f"{path}: the + in front of the lines was missing")
            return AddFile(path, tuple(line for _, line in body))
        for index, line in body:
            if line.strip() and not line.startswith("+"):
                raise self.error(f"every line of a new file starts with +, but this one does not: {line!r}", index)
            if not line.startswith("+"):
                self.note(f"{path}: blank lines without + were kept as blank lines")
        return AddFile(path, tuple(line[1:] if line.startswith("+") else "" for _, line in body))

    def _update(self, path: str) -> UpdateFile:
        move_to = None
        if self._at < len(self._lines) and self.control(self._lines[self._at]) == "Move to":
            move_to = self._path(self._lines[self._at])
            self._at += 1
        builder = _Hunks(self, path)
        body = self._body()
        unified = len(body) > 1 and body[0][1].startswith(_UNIFIED[0]) and body[1][1].startswith(_UNIFIED[1])
        if unified:
            self.note(f"{path}: the lines --- and +++ of a unified diff were ignored")
        for index, line in body[2:] if unified else body:
            builder.feed(index, line)
        hunks = builder.finish()
        if not hunks and move_to is None:
            raise self.error(f"the update of {path} holds no changed line", self._at - 1)
        return UpdateFile(path, hunks, move_to)

    def _stray(self, line: str, *, inside: bool) -> None:
        if inside or line.startswith("*** "):
            raise self.error(f"this line belongs to no file: {line!r}")
        self.note("text outside of the patch was ignored")

    def control(self, line: str) -> str | None:
        """Classify a line that is being parsed, as `_control` does, and note deviations in its form."""
        found = _control(line)
        if found and line != line.rstrip():
            self.note("blanks after control lines were ignored")
        if found and not line.startswith("*** "):
            self.note("control lines without the space after *** were accepted")
        return found

    def note(self, note: str) -> None:
        """Record a tolerated deviation; each is noted only once."""
        self._notes[note] = None

    def error(self, what: str, index: int | None = None) -> PatchError:
        return PatchError(f"Patch line {(self._at if index is None else index) + 1}: {what}.")


class _Hunks:
    """Collects the hunks of one file, line by line."""

    def __init__(self, parser: _Parser, path: str) -> None:
        self._parser = parser
        self._path = path
        self._hunks: list[Hunk] = []
        self._headers: list[str] = []
        self._lines: list[HunkLine] = []
        self._blanks = 0  # the number of lines at the end of _lines that are completely empty in the patch
        self._start = 0
        self._ended = False

    def feed(self, index: int, line: str) -> None:
        """Add the next line of the update."""
        kind = _KINDS.get(line[:1])
        if kind is not None and not self._ended:
            self._append(index, HunkLine(kind, line[1:]))
        elif line.startswith("@@"):
            self._header(index, line)
        elif (control := self._parser.control(line)) == "End of File":
            self._close(at_end=True)
            self._ended = True
        elif control is not None or (line.startswith("***") and line.rstrip("* ") == ""):
            raise self._parser.error(f"unexpected {line.strip()!r} inside the update of {self._path}", index)
        elif line.startswith("\\ No newline"):
            self._parser.note(f"{self._path}: '\\ No newline at end of file' was ignored")
        elif line.strip() or not self._ended:
            self._ended = False
            blanks = 0 if line else self._blanks + 1
            self._append(index, self._unmarked(line) if kind is None else HunkLine(kind, line[1:]), blanks)

    def _append(self, index: int, line: HunkLine, blanks: int = 0) -> None:
        if not self._lines and not self._headers:
            self._start = index
        self._lines.append(line)
        self._blanks = blanks

    def _unmarked(self, line: str) -> HunkLine:
        """An unchanged line without its leading space, which is only noted for lines that are not blank."""
        if line.strip():
            self._parser.note(f"{self._path}: unchanged lines without a space in front were taken as unchanged lines")
        return HunkLine(" ", line)

    def _header(self, index: int, line: str) -> None:
        self._close(at_end=False)
        self._ended = False
        if not self._headers:
            self._start = index
        if _LINE_RANGE.match(line):
            self._parser.note(f"{self._path}: line numbers of a unified diff were ignored")
            return
        header = line[2:].strip()
        if header.endswith("@@"):
            self._parser.note(f"{self._path}: @@ at the end of @@ lines was ignored")
            header = header[:-2].rstrip()
        if header:
            self._headers.append(header)

    def _close(self, *, at_end: bool) -> None:
        """End the hunk. Empty lines at its end are taken as a separator, unless they are its only old lines."""
        lines = self._lines
        solid = lines[: len(lines) - self._blanks]
        if not at_end and (not solid or any(line.kind != "+" for line in solid)):
            if len(solid) < len(lines):
                self._parser.note(f"{self._path}: blank lines after a hunk were ignored")
            lines = solid
        if lines:
            number = len(self._hunks) + 1
            if len(self._headers) > 1:
                self._parser.note(f"{self._path}: hunk {number} is looked for in {' > '.join(self._headers)}")
            self._hunks.append(Hunk(number, self._start + 1, tuple(self._headers), tuple(lines), at_end))
            self._headers = []
        self._lines, self._blanks = [], 0

    def finish(self) -> tuple[Hunk, ...]:
        self._close(at_end=False)
        if self._headers:
            raise self._parser.error(f"nothing stands below '@@ {self._headers[-1]}'", self._start)
        return tuple(self._hunks)


def _control(line: str) -> str | None:
    """The kind of a control line: `Add`, `Update`, `Delete`, `Move to`, `Begin Patch`, ...; None for other lines."""
    if not line.startswith("***"):
        return None
    match = _CONTROL.match(line)
    if not match:
        return None
    return match[2] or ("Move to" if match[1].startswith("Move to") else match[1])


def _merged(operations: list[FileOperation], note: Callable[[str], None]) -> tuple[FileOperation, ...]:
    """Merge several updates of one file, because models repeat the file line for each hunk."""
    merged: dict[str, UpdateFile] = {}
    out: list[FileOperation | str] = []
    for operation in operations:
        if not isinstance(operation, UpdateFile):
            out.append(operation)
            continue
        earlier = merged.get(operation.path)
        if earlier is None:
            merged[operation.path] = operation
            out.append(operation.path)
            continue
        if earlier.move_to and operation.move_to:
            raise PatchError(f"{operation.path}: it is moved twice.")
        hunks = (*earlier.hunks, *operation.hunks)
        numbered = tuple(Hunk(i, h.patch_line, h.headers, h.lines, h.at_end) for i, h in enumerate(hunks, 1))
        merged[operation.path] = UpdateFile(operation.path, numbered, earlier.move_to or operation.move_to)
        note(f"{operation.path}: its updates were taken together")
    return tuple(merged[item] if isinstance(item, str) else item for item in out)
