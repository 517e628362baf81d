"""Stores responses on disk, so that later requests can continue them: one file each, readable only by its owner."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platformdirs import user_state_path

from gptoss_tui.errors import SessionError
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.responses.ids import is_response_id, response_of

DIRECTORY_VARIABLE: Final = "GPTOSS_TUI_RESPONSES"
KEEP_DAYS = 30
KEEP_FILES = 10_000
KEEP_BYTES = 2 * 2**30
_SAVES_BETWEEN_TIDYING = 500
_OURS = re.compile(r"resp_[0-9a-f]{32}\.json|resp_\w+\.new")
_MAX_CHAIN = 10_000
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A response, the input of its request, and its owner (`Access.key`)."""

    response: Mapping[str, Any]
    input: tuple[Mapping[str, Any], ...]
    owner: str = ""

    @property
    def previous(self) -> str | None:
        """The id of the response that it continues."""
        previous: str | None = self.response.get("previous_response_id")
        return previous


def responses_directory() -> Path:
    """Where responses are stored: `$GPTOSS_TUI_RESPONSES`, or the user's state directory."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named).expanduser() if named else user_state_path("gptoss-tui", appauthor=False) / "responses"


class ResponseStore:
    """A folder of responses. Files are written atomically; damaged ones are treated as missing."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or responses_directory()
        self._saved = 0

    def save(self, stored: Stored) -> None:
        """Store a response. Raises SessionError if that fails."""
        path = self._path(str(stored.response["id"]))
        body = {"version": _VERSION, "owner": stored.owner, "input": stored.input, "response": stored.response}
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(
                dir=self._directory, prefix="resp_", suffix=".new"
            )  # readable only by its owner
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                os.replace(name, path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._tidy_sometimes()
        except OSError as error:
            raise SessionError(f"The response cannot be stored: {error}", hint="send 'store': false") from error

    def _tidy_sometimes(self) -> None:
        self._saved += 1
        if self._saved % _SAVES_BETWEEN_TIDYING == 0:
            self.tidy()

    def load(self, response_id: str, owner: str) -> Stored | None:
        """Load a response of that owner; None if there is none."""
        if not is_response_id(response_id):
            return None
        try:
            body = json.loads(self._path(response_id).read_text(encoding="utf-8"))
            stored = Stored(body["response"], tuple(body["input"]), body["owner"])
            known = body["version"] == _VERSION and isinstance(stored.response.get("output"), list)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return stored if known and stored.owner == owner else None

    def delete(self, response_id: str, owner: str) -> bool:
        """Delete a response; False if there is none."""
        if self.load(response_id, owner) is None:
            return False
        self._path(response_id).unlink(missing_ok=True)
        return True

    def context(self, response_id: str, owner: str) -> list[Mapping[str, Any]]:
        """All items up to the end of a response, oldest first. Raises ApiError if one in the chain is missing."""
        parts: list[list[Mapping[str, Any]]] = []
        wanted: str | None = response_id
        while wanted is not None and len(parts) < _MAX_CHAIN:
            stored = self.load(wanted, owner)
            if stored is None:
                raise invalid(
                    f"Previous response with id '{wanted[:80]}' not found.",
                    "previous_response_id",
                    "previous_response_not_found",
                )
            parts.append([*stored.input, *stored.response["output"]])
            wanted = stored.previous
        return [item for part in reversed(parts) for item in part]

    def item(self, item_id: str, owner: str) -> Mapping[str, Any]:
        """Find an item by its id. Raises ApiError if it is not stored."""
        stored = self.load(response_of(item_id) or "", owner)
        items = (*stored.input, *stored.response["output"]) if stored is not None else ()
        found: Mapping[str, Any] | None = next((item for item in items if item.get("id") == item_id), None)
        if found is None:
            raise ApiError(404, f"Item with id '{item_id[:80]}' not found.", param="input", code="item_not_found")
        return found

    def tidy(self) -> None:
        """Delete responses older than `KEEP_DAYS`, and the oldest ones beyond `KEEP_FILES` and `KEEP_BYTES`."""
        oldest, size = time.time() - KEEP_DAYS * 86400, 0
        for number, (modified, bytes_of, path) in enumerate(sorted(self._files(), reverse=True)):
            size += bytes_of
            if number >= KEEP_FILES or size > KEEP_BYTES or modified < oldest:
                with suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Modification time, size and path of each of our files. Other files in the folder are ignored."""
        with suppress(OSError):
            for entry in os.scandir(self._directory):
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    yield about.st_mtime, about.st_size, Path(entry.path)

    def _path(self, response_id: str) -> Path:
        return self._directory / f"{response_id}.json"
