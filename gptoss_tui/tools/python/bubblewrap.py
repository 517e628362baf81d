"""The daemonless sandbox on Linux: bubblewrap's namespaces, as an ordinary user, with our system call filter.

If root starts bubblewrap, it does not isolate: uid 0 inside remains the host's uid 0, which may write to /proc/sys. So
root switches to `nobody` first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gptoss_tui.tools.python.sandbox import HOME, PACKAGES, PYTHON_FLAGS, WORKSPACE, Limits, SandboxError
from gptoss_tui.tools.python.seccomp import assemble, machines
from gptoss_tui.tools.shell import idmap

NOBODY = 65534
_TOP_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts")
_DIAGNOSIS_BYTES = 2000
_SIGNALS = {137: "it was killed; perhaps it used too much memory", 139: "it crashed"}


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Runs the host's Python at `python`, which is installed in `prefix`, with the bubblewrap at `program`.

    `workspace` can be read inside; `packages` is a folder of Python packages.
    """

    program: str
    python: Path
    prefix: Path
    workspace: Path | None = None
    packages: Path | None = None

    @property
    def name(self) -> str:
        return "bubblewrap"

    @property
    def description(self) -> str:
        files = "none of your files" if self.workspace is None else f"your workspace to read at {WORKSPACE}"
        return (
            f"runs in bubblewrap: no network, {files}; it can read the system's programs, "
            "and the Linux kernel is shared"
        )

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        """All limits, because namespaces limit no resources."""
        return {
            "memory": limits.memory,
            "processes": limits.processes,
            "files": limits.files,
            "file_size": limits.scratch,
            "output": limits.output,
        }

    async def start(self, limits: Limits) -> BubblewrapProcess:
        """Raises SandboxError when bubblewrap cannot be started."""
        # Not in a thread: with --die-with-parent the process dies with the thread that created it.
        return self._start(limits)

    def _start(self, limits: Limits) -> BubblewrapProcess:
        seccomp = os.memfd_create("seccomp")
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - the process closes it
        ours, theirs = socket.socketpair()
        mapped = self._mapped()
        nobody = NOBODY if os.geteuid() == 0 and not mapped else None
        no_groups: list[str | int] | None = None if nobody is None else []
        try:
            os.write(seccomp, assemble(platform.machine()))
            os.lseek(seccomp, 0, os.SEEK_SET)
            process = subprocess.Popen(
                [*mapped, *self._command(limits, seccomp)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=errors,
                env={},
                cwd="/",
                pass_fds=(seccomp,),
                start_new_session=True,
                user=nobody,
                group=nobody,
                extra_groups=no_groups,
            )
        except OSError as error:
            errors.close()
            ours.close()
            raise SandboxError(f"bubblewrap cannot be started: {error}") from error
        finally:
            theirs.close()
            os.close(seccomp)
        return BubblewrapProcess(process, ours, errors)

    def _mapped(self) -> list[str]:
        """The command prefix that gives `nobody` access to the workspace if we are root; see `shell.idmap`."""
        if self.workspace is None or os.geteuid() != 0:
            return []
        return [sys.executable, "-I", "-S", "-B", idmap.__file__, str(self.workspace)]

    def _command(self, limits: Limits, seccomp: int) -> list[str]:
        scratch = str(limits.scratch)
        return [
            self.program,
            *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY)),
            # bubblewrap's own init process would run without the system call filter, with its memory within reach.
            *("--as-pid-1", "--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *(
                "--clearenv",
                "--setenv",
                "PATH",
                "/usr/bin:/bin",
                "--setenv",
                "HOME",
                HOME,
                "--setenv",
                "LANG",
                "C.UTF-8",
            ),
            *("--ro-bind", "/usr", "/usr", *_system_folders(), *self._own_python(), *self._extras()),
            *("--proc", "/proc", "--dev", "/dev", "--size", scratch, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
            *("--size", scratch, "--tmpfs", "/tmp", "--size", scratch, "--tmpfs", HOME),
            *("--chdir", HOME, "--remount-ro", "/", "--seccomp", str(seccomp)),
            *(str(self.python), *PYTHON_FLAGS),
        ]

    def _own_python(self) -> tuple[str, ...]:
        if self.prefix.is_relative_to("/usr"):
            return ()
        return "--ro-bind", str(self.prefix), str(self.prefix)

    def _extras(self) -> Iterator[str]:
        if self.workspace is not None:
            source = idmap.WORKSPACE if self._mapped() else str(self.workspace)
            yield from ("--ro-bind", source, WORKSPACE)
        if self.packages is not None:
            yield from ("--ro-bind", str(self.packages), PACKAGES)


class BubblewrapProcess:
    """bubblewrap and what runs in it. When bubblewrap dies, the kernel kills everything inside."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, errors: IO[bytes]) -> None:
        channel.setblocking(False)
        self._process, self._channel, self._errors = process, channel, errors

    async def read(self, size: int) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._channel, size)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._channel, data)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if self._process.poll() is None:
            # Kill the whole group: until the sandbox is set up, the process inside does not die with bubblewrap.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            threading.Thread(target=self._process.wait, name="reap bubblewrap", daemon=True).start()

    async def wait(self) -> str:
        code = await asyncio.to_thread(self._process.wait)
        self._channel.close()
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        said = self._errors.read(_DIAGNOSIS_BYTES).decode("utf-8", "replace").strip()
        self._errors.close()
        return said or _SIGNALS.get(code, f"exit code {code}" if code > 0 else "")


def candidates(workspace: Path | None = None, packages: Path | None = None) -> Iterator[Bubblewrap]:
    """Yield the bubblewrap sandboxes that may work here, best first. Raises SandboxError that says why there is none.

    `packages` were installed by our own Python and are only used with it.
    """
    if sys.platform != "linux":
        raise SandboxError("bubblewrap needs Linux")
    if platform.machine() not in machines():
        raise SandboxError(f"there is no system call filter for {platform.machine()}")
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        raise SandboxError("bubblewrap is not installed", hint="install it: apt install bubblewrap")
    pythons = [(python, prefix) for python, prefix in _pythons() if not Path.home().is_relative_to(prefix)]
    found = [(python, prefix) for python, prefix in pythons if _reachable(python) and _reachable(prefix)]
    if not found:
        raise SandboxError(
            "bubblewrap found no Python that every user can read",
            hint="install the system's Python: apt install python3",
        )
    for python, prefix in found:
        fits = packages is not None and packages.is_dir() and python == _own_python() and _reachable(packages)
        yield Bubblewrap(program, python, prefix, workspace, packages if fits else None)


def check_packages(folder: Path) -> None:
    """Raises SandboxError if bubblewrap could not mount packages installed in `folder`, which must exist."""
    for path in (_own_python(), Path(os.path.realpath(sys.base_prefix)), folder):
        if not _reachable(path):
            raise SandboxError(
                f"bubblewrap would not show the packages: it runs as another user than root, who may not go to {path}",
                hint="run as an ordinary user, or build the image for Docker",
            )


def _pythons() -> Iterator[tuple[Path, Path]]:
    """Yield Python programs with the folders they are installed in: our own, then the system's."""
    own = _own_python()
    yield own, Path(os.path.realpath(sys.base_prefix))
    system = Path(os.path.realpath("/usr/bin/python3"))
    if system != own and system.is_file():
        yield system, Path("/usr")


def _own_python() -> Path:
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def _reachable(path: Path) -> bool:
    """Whether the user that bubblewrap runs as can access `path`."""
    if os.geteuid() != 0:
        return os.access(path, os.X_OK)
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def _system_folders() -> Iterator[str]:
    """Mounts of /bin, /lib and so on as the host has them, and of what the linker and matplotlib need from /etc."""
    for name in _TOP_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            yield from ("--symlink", os.readlink(folder), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))
    for file in _SYSTEM_FILES:
        yield from ("--ro-bind-try", file, file)
