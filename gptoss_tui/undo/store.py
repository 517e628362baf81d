"""The edits of one workspace: applied atomically even in a crash, and kept so that the user can undo them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from platformdirs import user_state_path

from gptoss_tui.errors import PatchError, UndoError
from gptoss_tui.patch.apply import REFUSED, write
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.patch.disk import make_folder
from gptoss_tui.patch.journal import Record, new_record
from gptoss_tui.patch.recover import Stuck, remove_folder, roll_back, tidy
from gptoss_tui.patch.types import Plan, Write
from gptoss_tui.undo.database import Database, prune
from gptoss_tui.undo.journal import TurnJournal, unfinished
from gptoss_tui.undo.ledger import Ledger, goals, ledger_folders, ledgers
from gptoss_tui.undo.settle import Settlement, settle
from gptoss_tui.undo.types import Choice, Kind, TurnEdits, UndoReport

_log = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "GPTOSS_TUI_UNDO"
MAX_BYTES = 256 << 20
MAX_TURNS = 1000


def undo_directory() -> Path:
    """The folder of all undo stores: `$GPTOSS_TUI_UNDO`, or one in the user's state directory."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given).expanduser().absolute() if given else user_state_path("gptoss-tui") / "undo"


class UndoStore:
    """The undo store of the workspace at `root`. Nothing on disk is read or created before it is needed.

    Several processes can use one store: a lock serializes them. `max_bytes` limits the size of the compressed contents,
    and `max_turns` the number of turns; the oldest turns are deleted first.
    """

    def __init__(
        self, root: Path, directory: Path | None = None, *, max_bytes: int = MAX_BYTES, max_turns: int = MAX_TURNS
    ) -> None:
        self.root = Path(os.path.realpath(root))
        self.directory = (directory or undo_directory()) / _key(self.root)
        self._database = Database(self.directory / "edits.sqlite")
        self._limits = (max_bytes, max_turns)
        self._turn = _unnamed()

    def begin(self, turn: str) -> None:
        """Assign all further edits to `turn`, a name that must be unique in this workspace."""
        self._turn = turn

    def recover(self) -> tuple[str, ...]:
        """Finish or roll back what a killed process began. Returns a sentence about each. Raises UndoError."""
        if not self._database.exists:
            return ()
        with self._locked():
            return self._settled()

    def apply(self, planned: Plan) -> None:
        """Write `planned` in one transaction and keep it under the current turn. Raises the errors of `patch.apply`."""
        try:
            with self._ready():
                journal = TurnJournal(self._database, self._turn, "apply")
                write(planned.root, planned.writes, journal, protected=bool(planned.protected))
                self._prune()
        except UndoError as error:
            raise PatchError(f"{REFUSED} {error.message}", hint=error.hint) from error

    def note(self, writes: Sequence[Write], folders: Sequence[str] = ()) -> None:
        """Keep what a command has already changed under the current turn, as an edit that can be undone.

        Raises UndoError.
        """
        with self._ready():
            TurnJournal(self._database, self._turn, "apply").noted(new_record(writes, folders), writes)
            self._prune()

    def turns(self) -> tuple[TurnEdits, ...]:
        """Return all turns whose edits are kept, oldest first. Raises UndoError."""
        if not self._database.exists:
            return ()
        with self._database.connect() as connection:
            return tuple(ledger.summary() for ledger in ledgers(connection).values())

    def undo(
        self, turn: str | None = None, choices: Mapping[str, Choice] | None = None, *, check: bool = False
    ) -> UndoReport:
        """Undo the edits of `turn`; None means the last turn with edits in effect.

        Files that changed since are merged if other lines changed. If one cannot be merged, nothing is written and the
        report has conflicts: call again with a choice for each of them. With `check`, nothing is written, and the
        report says what would be done. Raises UndoError when there is nothing to undo or the disk refuses.
        """
        return self._change(turn, "undo", choices or {}, check=check)

    def redo(
        self, turn: str | None = None, choices: Mapping[str, Choice] | None = None, *, check: bool = False
    ) -> UndoReport:
        """Redo undone edits; `turn` None means the turn that was undone last. Otherwise like `undo`."""
        return self._change(turn, "redo", choices or {}, check=check)

    def _change(self, turn: str | None, kind: Kind, choices: Mapping[str, Choice], *, check: bool) -> UndoReport:
        with self._ready(), self._tree() as tree:
            with self._database.connect() as connection:
                ledger = _picked(ledgers(connection), turn, kind)
                pairs = ledger.done if kind == "undo" else ledger.undone
                wanted = list(goals(connection, pairs, back=kind == "undo"))
                folders = ledger_folders(connection, ledger.turn) if kind == "undo" else ()
            settlement = settle(tree, wanted, choices)
            report = settlement.report(ledger.turn)
            if report.done and not check:
                self._write(settlement, TurnJournal(self._database, ledger.turn, kind))
                for folder in folders:
                    remove_folder(tree, folder)
        return report

    def _write(self, settlement: Settlement, journal: TurnJournal) -> None:
        if not settlement.writes:
            return
        try:
            write(self.root, settlement.writes, journal, refused="Nothing was changed.", protected=True)
        except PatchError as error:
            raise UndoError(error.message, hint=error.hint) from error
        self._prune()

    def _prune(self) -> None:
        """Prune the database. An error is only logged: the edit is already done, and the next one prunes again."""
        try:
            with self._database.connect() as connection:
                prune(connection, *self._limits)
        except UndoError as error:
            _log.warning("%s", error)

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Hold the lock, after recovering any unfinished transactions."""
        with self._locked():
            for notice in self._settled():
                _log.warning("%s", notice)
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            make_folder(self.directory)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.directory, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _tree(self) -> Tree:
        try:
            return Tree(self.root)
        except PathError as error:
            raise UndoError(error.message) from error

    def _settled(self) -> tuple[str, ...]:
        """Roll back open transactions and tidy up committed ones. Raises UndoError if a file cannot be restored."""
        notices = []
        if aside := self._database.set_aside_if_damaged():
            notices.append(f"The undo store was damaged; it is kept as {aside}, and a new one begins.")
        with self._database.connect() as connection:
            records = list(unfinished(connection))
            if not records:
                return tuple(notices)
            with self._tree() as tree:
                for record, committed in records:
                    notices.append(self._ended(tree, record, committed=committed))
        return tuple(filter(None, notices))

    def _ended(self, tree: Tree, record: Record, *, committed: bool) -> str:
        """End one transaction and remove it from the journal."""
        journal = TurnJournal(self._database, self._turn, "apply")
        if committed:
            if tidy(tree, record):
                journal.closed(record)
            return ""
        stuck = roll_back(tree, record)
        if again := [item for item in stuck if not item.final]:
            raise UndoError(
                f"An interrupted change cannot be undone yet: {'; '.join(map(str, again))}",
                hint="make the files writable, or rename the backups by hand",
            )
        journal.withdrawn(record)
        return _notice(record, stuck)


def _picked(found: Mapping[str, Ledger], turn: str | None, kind: Kind) -> Ledger:
    fit = [ledger for ledger in found.values() if (ledger.done if kind == "undo" else ledger.undone)]
    if turn is not None:
        fit = [ledger for ledger in fit if ledger.turn == turn]
    if not fit:
        of = "" if turn is None else f" of {turn}"
        what = "in force that could be taken back" if kind == "undo" else "taken back that could be made again"
        raise UndoError(f"No edits{of} are {what}; nothing was changed.")
    return max(fit, key=lambda ledger: ledger.last)


def _notice(record: Record, stuck: tuple[Stuck, ...]) -> str:
    names = dict.fromkeys(step.path for step in record.steps)
    lost = {item.path for item in stuck}
    text = f"A change of {len(names)} files was interrupted and has been taken back: {', '.join(names)}."
    if len(names) == 1:
        text = f"A change of {next(iter(names))} was interrupted and has been taken back."
    if lost:
        text += f" Left as they are now, since they were changed meanwhile: {'; '.join(map(str, stuck))}."
    return text


def _unusable(directory: Path, error: OSError) -> UndoError:
    return UndoError(
        f"The undo store in {directory} cannot be used: {error.strerror}",
        hint=f"free some space or make the folder writable; {DIRECTORY_VARIABLE} names another one",
    )


def _key(root: Path) -> str:
    """A folder name for a workspace: readable, and unique for each path."""
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', root.name)[:40] or 'root'}-{digest}"


def _unnamed() -> str:
    return f"edits-{secrets.token_hex(4)}"
