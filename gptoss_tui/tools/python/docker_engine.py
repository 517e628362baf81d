"""The Docker sandbox: a container without network, privileges or a writable file system.

The worker is the container's first process and communicates over the attached socket. Code is never sent with `exec`
or `put_archive`, which have no deadline and which a read-only container refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss_tui.tools.python.sandbox import HOME, OUT_OF_MEMORY, PYTHON_FLAGS, WORKSPACE, Limits, SandboxError
from gptoss_tui.tools.python.seccomp import docker_profile

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_PING_SECONDS = 3
_CALL_SECONDS = 10
_PATIENCE_SECONDS = 1.5
"""An engine with a busy disk takes seconds to create a container. After this time we check that it still responds."""
_USER = "65534:65534"
_OWNER, _HOST, _BOOT = "gptoss-tui.pid", "gptoss-tui.host", "gptoss-tui.boot"
_DIAGNOSIS_BYTES = 2000
_STDERR = 2


@dataclass(frozen=True, slots=True)
class Docker:
    """Runs the Python of `image`, which the engine already has."""

    client: DockerClient
    image: str
    workspace: Path | None = None

    @property
    def name(self) -> str:
        return "docker"

    @property
    def description(self) -> str:
        files = "none of your files" if self.workspace is None else f"your workspace to read at {WORKSPACE}"
        return f"runs in a Docker container of {self.image}: no network, {files}; the kernel is shared"

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        """Only the output limit: the container enforces the others."""
        return {"output": limits.output}

    async def start(self, limits: Limits) -> DockerProcess:
        """Raises SandboxError when the engine does not start the container."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._start, limits))
        try:
            container, stream = await _unless_frozen(starting)
        except BaseException:
            # The engine may still create the container; remove it if it does.
            starting.add_done_callback(_end)
            raise
        return DockerProcess(container, stream)

    def _start(self, limits: Limits) -> tuple[Container, Any]:
        container: Container | None = None
        try:
            container = self.client.containers.create(self.image, **_options(limits, self.workspace))
            stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            if not isinstance(stream._sock, socket.socket) or isinstance(stream._sock, ssl.SSLSocket):
                raise OSError("only engines on a local socket can be used")
            container.start()
        except Exception as error:  # requests, urllib3 and the SDK each have their own exceptions
            if container is not None:
                with contextlib.suppress(Exception):
                    container.remove(force=True)
            raise SandboxError(f"Docker does not start the container: {error}") from error
        return container, stream


class DockerProcess:
    """The worker in its container. `stream` is the attached socket as the SDK returns it."""

    def __init__(self, container: Container, stream: Any) -> None:
        self._container = container
        self._stream = stream
        self._socket: socket.socket = stream._sock
        self._socket.setblocking(False)
        self._kind = self._left = 0
        self._stderr = bytearray()
        self._ended = False
        self._remover: threading.Thread | None = None
        self._why = ""

    async def read(self, size: int) -> bytes:
        """Demultiplex Docker's stream: an 8-byte header (stream, 3 zeros, length), then the bytes."""
        while True:
            if not self._left:
                head = await self._exactly(8)
                if head is None:
                    return b""
                self._kind, self._left = head[0], int.from_bytes(head[4:], "big")
            data = await self._some(min(size, self._left))
            self._left -= len(data)
            if not data or self._kind != _STDERR:
                return data
            self._stderr = (self._stderr + data)[-_DIAGNOSIS_BYTES:]

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def kill(self) -> None:
        """Start removing the container, which takes about 0.1 s. The program does not exit before that is done."""
        if self._remover is None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._remover = threading.Thread(target=self._remove, name="remove container")
            self._remover.start()

    async def wait(self) -> str:
        self.kill()
        assert self._remover is not None
        await asyncio.to_thread(self._remover.join, _PING_SECONDS)  # do not wait for a frozen engine
        self._stream.close()
        return self._stderr.decode("utf-8", "replace").strip() or self._why

    def _remove(self) -> None:
        with contextlib.suppress(Exception):
            if self._ended:
                self._container.wait(timeout=_PING_SECONDS)
                self._container.reload()
                state = self._container.attrs["State"]
                self._why = OUT_OF_MEMORY if state["OOMKilled"] else f"exit code {state['ExitCode']}"
        with contextlib.suppress(Exception):
            self._container.remove(force=True)

    async def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            piece = await self._some(size - len(data))
            if not piece:
                return None
            data += piece
        return data

    async def _some(self, size: int) -> bytes:
        """Read up to `size` bytes; empty at the end."""
        if self._remover is not None:
            return b""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        except OSError:
            data = b""
        self._ended = self._ended or not data
        return data


def _options(limits: Limits, workspace: Path | None) -> dict[str, Any]:
    from docker.types import Mount, Ulimit

    scratch = f"rw,noexec,nosuid,nodev,size={limits.scratch},mode=1777,uid=65534,gid=65534"
    environment = ("PATH=/usr/local/bin:/usr/bin:/bin", f"HOME={HOME}", "LANG=C.UTF-8")
    mounts = [] if workspace is None else [Mount(WORKSPACE, str(workspace), type="bind", read_only=True)]
    return {
        "mounts": mounts,
        "entrypoint": ["/usr/bin/env", "-i", *environment, "python3", *PYTHON_FLAGS],
        "command": [],
        "stdin_open": True,
        "network_mode": "none",
        "read_only": True,
        "mem_limit": limits.memory,
        "memswap_limit": limits.memory,
        "pids_limit": limits.processes,
        "nano_cpus": 1_000_000_000,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges", f"seccomp={docker_profile()}"],
        "user": _reader(workspace),
        "ipc_mode": "none",
        "tmpfs": {"/tmp": scratch, HOME: scratch},
        "ulimits": [
            Ulimit(name="nofile", soft=limits.files, hard=limits.files),
            Ulimit(name="core", soft=0, hard=0),
        ],
        "log_config": {"Type": "none"},
        "hostname": "sandbox",
        "working_dir": HOME,
        "labels": {_OWNER: str(os.getpid()), _HOST: socket.gethostname(), _BOOT: _boot()},
    }


def _reader(workspace: Path | None) -> str:
    """The container's user: nobody, or the workspace's owner so that it can be read, unless that is root."""
    if workspace is None or (status := workspace.stat()).st_uid == 0:
        return _USER
    return f"{status.st_uid}:{status.st_gid}"


async def find_docker(image: str, workspace: Path | None = None) -> Docker:
    """Return the engine if it answers within 3 seconds and has `image`. Raises SandboxError saying what is missing."""
    return await asyncio.to_thread(_find, image, workspace)


def _end(starting: asyncio.Future[tuple[Container, Any]]) -> None:
    """Remove a container that nobody waits for any more, if it was started."""
    if not starting.cancelled() and starting.exception() is None:
        DockerProcess(*starting.result()).kill()


async def _unless_frozen(starting: asyncio.Future[tuple[Container, Any]]) -> tuple[Container, Any]:
    """Wait for `starting` as long as the engine responds at all. Raises SandboxError when it does not."""
    await asyncio.wait({starting}, timeout=_PATIENCE_SECONDS)
    if not starting.done():
        asking = asyncio.create_task(asyncio.to_thread(_connect))
        await asyncio.wait({starting, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            (await asking).close()
    return await asyncio.shield(starting)


def _connect() -> DockerClient:
    """Connect to the engine, which must answer within 3 seconds. Raises SandboxError."""
    import docker

    try:
        client = docker.from_env(timeout=_PING_SECONDS)
        client.ping()
    except Exception as error:  # requests, urllib3 and the SDK each have their own exceptions
        raise SandboxError(f"the engine does not answer: {error}", hint="start Docker") from error
    return client


def _find(image: str, workspace: Path | None) -> Docker:
    from docker.errors import ImageNotFound

    client = _connect()
    try:
        client.images.get(image)
    except ImageNotFound:
        client.close()
        raise SandboxError(
            f"the image {image} does not exist", hint=f"run `gptoss-tui sandbox build`, or docker pull {image}"
        ) from None
    except Exception as error:
        client.close()
        raise SandboxError(f"the engine cannot say whether {image} is here: {error}") from error
    client.api.timeout = _CALL_SECONDS
    remove_leftovers(client)
    return Docker(client, image, workspace)


def remove_leftovers(client: DockerClient) -> int:
    """Remove the containers of programs that were killed and could not do so themselves. Returns how many there were.

    Only this machine's containers are considered: other machines, and containers with the app inside, may use the same
    engine, and their process ids mean nothing here. Returns 0 if the engine does not answer.
    """
    ours = [_OWNER, f"{_HOST}={socket.gethostname()}"]
    count = 0
    with contextlib.suppress(Exception):
        for container in client.containers.list(all=True, ignore_removed=True, filters={"label": ours}):
            owner = container.labels[_OWNER]
            if container.labels.get(_BOOT) != _boot() or not (owner.isdigit() and _alive(int(owner))):
                container.remove(force=True)
                count += 1
    return count


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _boot() -> str:
    """An id of this boot of the machine; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
