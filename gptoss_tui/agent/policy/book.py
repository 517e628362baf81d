"""All rules that apply in a workspace, from every source, and the modes that the workspace allows."""

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
    """The workspace's own policy file: whether it exists, whether the user trusts it, and its content."""

    path: Path
    exists: bool = False
    trusted: bool = False
    written: Written = field(default_factory=Written)


@dataclass(frozen=True, slots=True)
class _State:
    """Everything that was read from the files, and the problems with reading them."""

    kept: Kept = field(default_factory=Kept)
    user: Written = field(default_factory=Written)
    file: WorkspaceFile = field(default_factory=lambda: WorkspaceFile(Path(WORKSPACE_FILE)))
    digest: str = _NO_FILE
    problems: tuple[PolicyError, ...] = ()


class RuleBook:
    """The rules of a session. Without a workspace there are only those of the session itself.

    A file that cannot be parsed is a problem: since it is not known what the file would forbid, no rule allows anything
    then, and the mode is at most `ask`.
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
        """All rules that apply, those of the session first."""
        state = self._read()
        said = state.file.written if state.file.trusted else state.file.written.tightened()
        found = (*self._session, *state.kept.rules, *state.user.rules, *said.rules)
        return tuple(rule for rule in found if rule.verdict != "allow") if state.problems else found

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that may be chosen here. The file of an untrusted workspace can only remove some."""
        state = self._read()
        if state.problems:
            return up_to("ask")
        cap = state.file.written.mode
        return up_to(cap) if cap is not None and not state.file.trusted else MODES

    @property
    def suggested_mode(self) -> Mode | None:
        """The initial mode that a trusted workspace asks for, or None."""
        file = self._read().file
        return file.written.mode if file.trusted else None

    @property
    def problems(self) -> tuple[PolicyError, ...]:
        """The errors of the files that could not be read or parsed."""
        return self._read().problems

    @property
    def workspace_file(self) -> WorkspaceFile:
        """The current state of the workspace's own file."""
        return self._read().file

    def grant(self, grant: Grant, scope: Scope, reach: Reach) -> tuple[Rule, ...]:
        """Create the rules of `grant`, for the session or permanently. Raises PolicyError when they cannot be saved."""
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
        """Revoke a rule and return it. Rules in the user's own `approvals.toml` are removed from the file.

        Raises UsageError for an unknown id, or when the rule cannot be removed by the program: because it is in the
        workspace's file, or written in a form that cannot be edited reliably. Raises PolicyError when a file cannot be
        written.
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
        """Trust or distrust the workspace's own file in its current state. If it changes, it must be trusted again.

        Raises PolicyError when this cannot be saved.
        """
        if self._store is None:
            raise PolicyError("There is no workspace to trust")
        self._store.trust(self._read().digest if trusted else "")
        return self.workspace_file

    def forget_session(self) -> None:
        """Drop the rules of the session."""
        self._session = ()

    # -- files ------------------------------------------------------------------------------------------------------

    def _read(self) -> _State:
        """The content of the files, which are read again when one of them has changed."""
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
    """Describe a rule in one line: `allow commands that begin with npm test`."""
    return f"{rule.verdict} {describe(rule.kind, rule.pattern)}"


def _workspace_text(workspace: Path) -> str | None:
    """Read the workspace's file safely, since it may be a link, a pipe or huge. Raises PolicyError.

    Returns None when there is no such file.
    """
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
