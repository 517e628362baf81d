"""The sandbox for commands: bubblewrap with a writable workspace, all else read-only, and no network unless approved.

A command needs the machine's own programs, so unlike in the Python sandbox it sees the file system: read-only, without
the places where keys are stored, and with its own /tmp and /run. It runs as an ordinary user without privileges, in its
own process namespace, behind the system call filter. Unix sockets are out of reach (the Docker engine's would be a way
out), and the only network is a loopback of its own.

Root switches to `nobody` first, who gets the workspace through an id-mapped mount (see `idmap`).
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gptoss_tui.patch.repository import git_folders
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.python.seccomp import assemble, machines
from gptoss_tui.tools.shell import idmap
from gptoss_tui.tools.shell.process import Launch
from gptoss_tui.tools.shell.protect import GIT, missing_hooks, protected_paths, secret_paths

BASH: Final = "/bin/bash"
_NOBODY = str(idmap.NOBODY)
_SOCKETS = (socket.AF_INET, socket.AF_INET6)
_KEPT_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "VIRTUAL_ENV", "JAVA_HOME")
_SET_VARIABLES = {
    **{"TERM": "dumb", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"},
    **{"TMPDIR": "/tmp", "XDG_CACHE_HOME": "/tmp/.cache", "npm_config_cache": "/tmp/.npm", "SHELL": BASH},
}
_OWN_FOLDERS = ("/tmp", "/var/tmp", "/run")
_RUN_FILES = ("/run/current-system", "/run/systemd/resolve", "/run/resolvconf")
_SYSTEM_FOLDERS = frozenset(
    {"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/run", "/sys", "/usr", "/var"}
)
_PROCESSES = 2048


@dataclass(frozen=True, slots=True)
class Access:
    """What the user allowed besides the workspace: the network, and writing the workspace's git repository."""

    network: bool = False
    git: bool = False


@dataclass(frozen=True, slots=True)
class ShellSandbox:
    """Runs commands with the bubblewrap at `program` in the workspace at `root`, which is absolute and resolved.

    Secrets in `home` are hidden. `processes` limits a command's processes and threads.
    """

    program: str
    root: Path
    home: Path = field(default_factory=Path.home)
    processes: int = _PROCESSES

    def describe(self, access: Access) -> str:
        """One line for users."""
        network = "network on" if access.network else "no network"
        git = ", .git writable" if access.git else ""
        return f"bubblewrap: this workspace is writable{git}, the rest is read-only, {network}"

    def launch(
        self,
        command: str,
        directory: Path,
        access: Access,
        seccomp: int,
        protected: Iterable[Path],
    ) -> Launch:
        """Return how to start `command` in `directory`. `seccomp` is a descriptor from `filter_program()`.

        `protected` are the protected files of the workspace, most important first.
        """
        argv = [*self._prefix(), *self._arguments(directory, access, seccomp, protected)]
        argv += [BASH, "--noprofile", "--norc", "-c", _first(self.processes), "bash", command]
        variables = environment(os.environ)
        if not _enterable(self.home / "x"):
            variables["HOME"] = "/tmp"
        return Launch(argv, Path("/"), variables, (seccomp,))

    def _prefix(self) -> list[str]:
        if os.geteuid() != 0:
            return [self.program]
        return [sys.executable, "-I", "-S", "-B", idmap.__file__, str(self.root), self.program]

    def _arguments(self, directory: Path, access: Access, seccomp: int, protected: Iterable[Path]) -> list[str]:
        user, group = (_NOBODY, _NOBODY) if os.geteuid() == 0 else (str(os.getuid()), str(os.getgid()))
        return [
            *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", user, "--gid", group),
            *(("--share-net",) if access.network else ()),
            *("--as-pid-1", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
            *("--proc", "/proc"),
            *(word for folder in _OWN_FOLDERS for word in self._own_folder(folder)),
            *(word for file in _RUN_FILES for word in ("--ro-bind-try", file, file)),
            *self._opened(),
            *self._workspace(access, protected),
            *self._hidden(),
            *("--chdir", str(directory), "--seccomp", str(seccomp)),
        ]

    def _own_folder(self, folder: str) -> tuple[str, ...]:
        return ("--perms", "1777", "--tmpfs", folder) if os.path.isdir(folder) and not os.path.islink(folder) else ()

    def _opened(self) -> Iterator[str]:
        """If we are root: cover the topmost folder above the workspace that nobody may not enter with an empty one."""
        if os.geteuid() == 0 and (closed := _closed(self.root)):
            yield from ("--tmpfs", str(closed))

    def _hidden(self) -> Iterator[str]:
        """Hide secrets, even if the workspace is the home folder; but no secret folder that contains the workspace."""
        for path in secret_paths(self.home):
            inside = path.is_relative_to(self.root)
            gone = not inside and any(path.is_relative_to(folder) for folder in _OWN_FOLDERS)
            if gone or self.root.is_relative_to(path) or not (inside or _enterable(path)):
                continue
            yield from ("--tmpfs", str(path)) if path.is_dir() else ("--ro-bind", "/dev/null", str(path))

    def _workspace(self, access: Access, protected: Iterable[Path]) -> Iterator[str]:
        """Mount the workspace, and what is read-only in it. Mount points cannot be renamed away inside."""
        source = Path(idmap.WORKSPACE) if os.geteuid() == 0 else self.root
        yield from ("--bind", str(source), str(self.root))
        for folder in git_folders(self.root, self.root / GIT) if access.git else ():
            if folder.is_dir():
                yield from ("--bind", str(source / folder.relative_to(self.root)), str(folder))
        for path in protected_paths(self.root, protected, git=access.git):
            yield from ("--ro-bind", str(source / path.relative_to(self.root)), str(path))
        if access.git and (hooks := missing_hooks(self.root)):
            yield from ("--perms", "0755", "--tmpfs", str(hooks), "--remount-ro", str(hooks))


def _first(processes: int) -> str:
    """The script of the first process. It only waits for the command, since signals work differently for process 1.

    When it ends, the kernel ends everything else in the namespace. What bash prints about a killed command is dropped.
    """
    return (
        f"ulimit -c 0; ulimit -u {processes} 2>/dev/null; exec 3>&2 2>/dev/null; "
        f'{BASH} --noprofile --norc -c "$1" 2>&3 3>&-; exit $?'
    )


def find_shell_sandbox(root: Path) -> ShellSandbox:
    """Return this machine's sandbox for `root`. Raises SandboxError that says why there is none."""
    if sys.platform != "linux":
        raise SandboxError("there is no sandbox for commands on this system")
    if platform.machine() not in machines():
        raise SandboxError(f"there is no system call filter for {platform.machine()}")
    if str(root) in _SYSTEM_FOLDERS:
        raise SandboxError(
            f"the workspace is {root}, which belongs to the system", hint="start in a folder of your own"
        )
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        raise SandboxError("bubblewrap is not installed", hint="install it: apt install bubblewrap")
    return ShellSandbox(program, root)


def filter_program() -> int:
    """Write the system call filter to a new descriptor, which the caller must close."""
    descriptor = os.memfd_create("seccomp")
    os.write(descriptor, assemble(platform.machine(), tuple(int(family) for family in _SOCKETS), setuid=False))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def environment(variables: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """The environment variables for a model's command: none that may contain a key."""
    kept = {name: variables[name] for name in _KEPT_VARIABLES if name in variables}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, **_SET_VARIABLES}


def _closed(path: Path) -> Path | None:
    """The topmost folder above `path` that not everybody may enter, or None."""
    return next((place for place in reversed(path.parents) if not place.stat().st_mode & 0o001), None)


def _enterable(path: Path) -> bool:
    """Whether the user inside can reach `path` at all. If not, it needs no hiding and cannot be mounted on."""
    return os.geteuid() != 0 or _closed(path) is None
