"""What the user has allowed permanently in a workspace, and whether they trust it: a small file in their state folder.

The file is named after the workspace's path and lies outside of all workspaces, so nothing that a model may write can
extend its permissions. It is replaced atomically, and read again when another process has changed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from platformdirs import user_state_path

from gptoss_tui.agent.policy.files import parse_rule
from gptoss_tui.agent.policy.rules import Rule
from gptoss_tui.errors import PolicyError
from gptoss_tui.tools.expansion import to_data

FORMAT_VERSION: Final = 1
DIRECTORY_VARIABLE: Final = "GPTOSS_TUI_APPROVALS"
_MAX_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """What is saved about a workspace.

    `trusted` is the digest of the workspace's own file when it was trusted. `shown` are the digests of the project's
    texts that the user has seen, newest last.
    """

    rules: tuple[Rule, ...] = ()
    trusted: str = ""
    shown: tuple[str, ...] = ()


def approvals_directory() -> Path:
    """The folder of saved rules: `$GPTOSS_TUI_APPROVALS`, or `approvals` in the user's state folder."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given).expanduser() if given else user_state_path("gptoss-tui", appauthor=False) / "approvals"


class RuleStore:
    """The file of one workspace."""

    def __init__(self, workspace: Path, directory: Path) -> None:
        self._workspace = str(workspace)
        self.path = directory / f"{hashlib.sha256(os.fsencode(workspace)).hexdigest()[:24]}.json"

    def read(self) -> Kept:
        """Read the file; an empty `Kept` when there is none. Raises PolicyError when it cannot be read or parsed."""
        try:
            data = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error
        if not isinstance(data, dict) or data.get("v") != FORMAT_VERSION or data.get("workspace") != self._workspace:
            raise self._damaged("it belongs to another version or workspace")
        trusted, entries, shown = data.get("trusted"), data.get("rules"), data.get("shown", [])
        if not isinstance(trusted, str) or not isinstance(entries, list) or not isinstance(shown, list):
            raise self._damaged("it has another shape")
        return Kept(tuple(self._rule(entry) for entry in entries), trusted, tuple(map(str, shown)))

    def add(self, *rules: Rule) -> None:
        """Save rules permanently. Raises PolicyError, and saves nothing, also if a rule could not be read back."""
        for rule in rules:
            _read(_entry(rule))
        with self._changing() as kept:
            known = {rule.id for rule in kept.rules}
            self._write(replace(kept, rules=(*kept.rules, *(rule for rule in rules if rule.id not in known))))

    def remove(self, rule_id: str) -> None:
        """Remove a rule. Raises PolicyError."""
        with self._changing() as kept:
            self._write(replace(kept, rules=tuple(rule for rule in kept.rules if rule.id != rule_id)))

    def trust(self, digest: str) -> None:
        """Trust the workspace's own file with this digest; with an empty one, none. Raises PolicyError."""
        with self._changing() as kept:
            self._write(replace(kept, trusted=digest))

    def note_shown(self, digest: str) -> None:
        """Remember that the user has seen the text with this digest. Raises PolicyError."""
        with self._changing() as kept:
            others = tuple(known for known in kept.shown if known != digest)
            self._write(replace(kept, shown=(*others, digest)[-_MAX_SHOWN:]))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Kept]:
        """Lock the file against other processes for the duration of the block, and yield its content."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refused(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(descriptor)

    def _write(self, kept: Kept) -> None:
        data = {
            "v": FORMAT_VERSION,
            "workspace": self._workspace,
            "trusted": kept.trusted,
            "rules": [_entry(rule) for rule in kept.rules],
            "shown": list(kept.shown),
        }
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.stem}-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(data, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise self._refused(error) from error

    def _rule(self, entry: object) -> Rule:
        try:
            return _read(entry)
        except PolicyError as error:
            raise self._damaged(error.message) from error

    def _damaged(self, why: str) -> PolicyError:
        return PolicyError(
            f"{self.path} cannot be read ({why}); the approvals kept for {self._workspace} do not count",
            hint="fix the file, or delete it and answer again",
        )

    def _refused(self, error: OSError) -> PolicyError:
        return PolicyError(
            f"{self.path} cannot be written: {error.strerror or error}; nothing was kept",
            hint=f"make the folder writable or set {DIRECTORY_VARIABLE}",
        )


def _entry(rule: Rule) -> dict[str, Any]:
    facts = {"kind": rule.kind, "pattern": to_data(rule.pattern), "verdict": rule.verdict, "reach": rule.reach}
    return {"id": rule.id, **facts, "created": rule.created}


def _read(entry: object) -> Rule:
    """The inverse of `_entry`. Raises PolicyError."""
    if not isinstance(entry, dict) or not isinstance(created := entry.get("created"), str):
        raise PolicyError("a rule has another shape")
    facts = {key: value for key, value in entry.items() if key not in ("id", "created")}
    return parse_rule(facts, "a rule", "workspace", created=created, written=False)
