"""All rules that hold in a workspace, from wherever they come, and the most that its own file lets happen."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from gptoss_tui.agent.policy.files import WORKSPACE_FILE, Written, read_user_rules, read_workspace_rules
from gptoss_tui.agent.policy.grants import Grant
from gptoss_tui.agent.policy.modes import MODES, Mode, up_to
from gptoss_tui.agent.policy.rules import Rule, Scope, describe, rule_id
from gptoss_tui.agent.policy.store import Kept, RuleStore, approvals_directory
from gptoss_tui.agent.policy.written import remove_user_rule
from gptoss_tui.errors import PolicyError, UsageError
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.settings import config_path
from gptoss_tui.tools.base import Reach

USER_FILE: Final = "approvals.toml"
_MAX_FILE: Final = 64 << 10
_NO_FILE: Final = "no file"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """The workspace's own file: whether there is one, whether the user vouched for it, and what it says."""

    path: Path
    exists: bool = False
    trusted: bool = False
    written: Written = field(default_factory=Written)


@dataclass(frozen=True, slots=True)
class _State:
    """Everything that was read, and what could not be."""

    kept: Kept = field(default_factory=Kept)
    user: Written = field(default_factory=Written)
    file: WorkspaceFile = field(default_factory=lambda: WorkspaceFile(Path(WORKSPACE_FILE)))
    digest: str = _NO_FILE
    problems: tuple[PolicyError, ...] = ()


class RuleBook:
    """The rules of a session. Without a workspace only those of the session itself.

    A file that cannot be understood is a problem: then no rule allows anything and the mode is `ask` at most, since
    what the file would have forbidden is not known.
    """

    def __init__(self, workspace: Path | None = None, *, store: Path | None = None, user: Path | None = None) -> None:
        self._workspace = workspace
        self._user = user or config_path().with_name(USER_FILE)
        self._store = RuleStore(workspace, store or approvals_directory()) if workspace else None
        self._session: tuple[Rule, ...] = ()
        self._state = _State()
        self._seen: tuple[object, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule that holds, those of the session first."""
        state = self._read()
        said = state.file.written if state.file.trusted else state.file.written.tightened()
        found = (*self._session, *state.kept.rules, *state.user.rules, *said.rules)
        return tuple(rule for rule in found if rule.verdict != "allow") if state.problems else found

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that may be chosen here: a workspace that nobody vouched for can only take some away."""
        state = self._read()
        if state.problems:
            return up_to("ask")
        cap = state.file.written.mode
        return up_to(cap) if cap is not None and not state.file.trusted else MODES

    @property
    def suggested_mode(self) -> Mode | None:
        """The mode to begin with that a trusted workspace asks for."""
        file = self._read().file
        return file.written.mode if file.trusted else None

    @property
    def problems(self) -> tuple[PolicyError, ...]:
        """The files that could not be understood."""
        return self._read().problems

    @property
    def workspace_file(self) -> WorkspaceFile:
        """The workspace's own file as it is now."""
        return self._read().file

    def grant(self, grant: Grant, scope: Scope, reach: Reach) -> tuple[Rule, ...]:
        """Make the rules of `grant`, for the session or kept for the workspace. Raises PolicyError when not kept."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        rules = tuple(
            Rule(rule_id(kind, pattern, "allow", reach, scope), kind, pattern, scope, now, "allow", reach)
            for kind, pattern in grant.rules
        )
        if scope == "session":
            self._session = tuple({rule.id: rule for rule in (*self._session, *rules)}.values())
        elif self._store is None:
            raise PolicyError("There is no workspace to keep rules for")
        else:
            self._store.add(*rules)
        return rules

    def revoke(self, rule_id: str) -> Rule:
        """Take a rule back, also out of the user's own `approvals.toml`.

        Raises UsageError when there is none of that id, or it stands where this program does not write: in the
        workspace's file, or in a form that cannot be told apart. Raises PolicyError when a file cannot be written.
        """
        rule = next((rule for rule in self.rules if rule.id == rule_id), None)
        if rule is None:
            raise UsageError(f"There is no rule {rule_id!r}")
        if rule.place and not (rule.scope == "user" and remove_user_rule(self._user, rule_id)):
            where, _, number = rule.place.rpartition(": ")
            raise UsageError(f"The rule is in {where} ({number})", hint="delete it there")
        if rule.place:
            self._seen = ()
        elif rule.scope == "session":
            self._session = tuple(kept for kept in self._session if kept.id != rule_id)
        elif self._store is not None:
            self._store.remove(rule_id)
        return rule

    def trust(self, trusted: bool = True) -> WorkspaceFile:
        """Vouch for the workspace's own file as it is now, or stop. A file that changes has to be trusted anew.

        Raises PolicyError when it cannot be kept.
        """
        if self._store is None:
            raise PolicyError("There is no workspace to trust")
        self._store.trust(self._read().digest if trusted else "")
        return self.workspace_file

    def forget_session(self) -> None:
        """Take back what was allowed for the session."""
        self._session = ()

    # -- files ------------------------------------------------------------------------------------------------------

    def _read(self) -> _State:
        """What the files say, read again when one of them changed."""
        if self._workspace is None or self._store is None:
            return self._state
        paths = (self._store.path, self._user, self._workspace / WORKSPACE_FILE)
        seen = tuple(_signature(path) for path in paths)
        if seen != self._seen:
            self._seen, self._state = seen, self._load(self._workspace, self._store)
        return self._state

    def _load(self, workspace: Path, store: RuleStore) -> _State:
        problems: list[PolicyError] = []
        kept = _or(store.read, Kept(), problems)
        user = _or(self._load_user, Written(), problems)
        path = workspace / WORKSPACE_FILE
        text = _or(lambda: _workspace_text(workspace), None, problems)
        written = Written()
        if text is not None:
            written = _or(lambda: read_workspace_rules(text, str(path)), written, problems)
        digest = _NO_FILE if text is None else hashlib.sha256(text.encode()).hexdigest()
        file = WorkspaceFile(path, text is not None, kept.trusted == digest, written)
        return _State(kept, user, file, digest, tuple(problems))

    def _load_user(self) -> Written:
        try:
            return read_user_rules(self._user.read_text(encoding="utf-8"), str(self._user))
        except FileNotFoundError:
            return Written()
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{self._user}: {error}") from error


def describe_rule(rule: Rule) -> str:
    """A rule in one line: `allow commands that begin with npm test`."""
    return f"{rule.verdict} {describe(rule.kind, rule.pattern)}"


def _workspace_text(workspace: Path) -> str | None:
    """The workspace's file, which may be anything: a link, a pipe, a gigabyte. Raises PolicyError."""
    try:
        with Tree(workspace) as tree:
            if tree.stat(WORKSPACE_FILE) is None:
                return None
            return tree.read(WORKSPACE_FILE, limit=_MAX_FILE)[0].decode("utf-8")
    except PathError as error:
        raise PolicyError(f"{workspace}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{workspace / WORKSPACE_FILE}: {error}") from error


def _or(read: Callable[[], T], otherwise: T, problems: list[PolicyError]) -> T:
    try:
        return read()
    except PolicyError as error:
        problems.append(error)
        return otherwise


def _signature(path: Path) -> object:
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return (status.st_mtime_ns, status.st_size, status.st_ino)
    return None
