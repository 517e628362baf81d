"""The program inside the sandbox: reads code from frames, runs it in one namespace, and sends back the output.

The source of this module is sent into the sandbox as the first frame, so it may only use the standard library of
Python 3.8. A frame is a length (4 bytes, big endian) and a JSON object:

    host to worker    {"id", "code"} | {"interrupt": id}
    worker to host    {"ready"} | {"id", "text"} | {"id", "figure", "last"} | {"id", "done", "ok", "dropped", "strays"}

Closing the worker's stdin ends it. Figures that a cell leaves open in matplotlib are closed and sent as PNG, encoded as
Base64 and split into pieces. If the kernel has Landlock, the worker gives up all file access rights that it does not
need, so that a hole in the sandbox's mounts is not enough to escape.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import ctypes
import io
import json
import linecache
import os
import queue
import resource
import signal
import struct
import sys
import threading
import traceback
import types
import warnings
from typing import Any

MAX_CODE_FRAME = 4 << 20
_CHUNK = 32 << 10
_HERE = "<worker>"
_DRAIN_SECONDS = 5.0
_FIGURE_PIECE = 256 << 10
_MAX_FIGURES = 8
_MAX_FIGURE_BYTES = 4 << 20
PACKAGES = "/opt/python-packages"

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS_BY_ABI = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_WRITABLE = ("/tmp", "/mnt/data", "/dev/shm", "/dev/null")


class Channel:
    """Sends and receives frames, on descriptors that the cell's code does not get."""

    def __init__(self) -> None:
        self._in, self._out = os.dup(0), os.dup(1)
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one frame. Ends the worker when the host no longer reads."""
        data = json.dumps(message).encode()
        view = memoryview(len(data).to_bytes(4, "big") + data)
        try:
            with self._lock:
                while view:
                    view = view[os.write(self._out, view) :]
        except OSError:
            os._exit(0)

    def receive(self) -> dict[str, Any]:
        """Read one frame. Ends the worker when the host is gone."""
        size = int.from_bytes(self._exactly(4), "big")
        if size > MAX_CODE_FRAME:
            os._exit(2)
        message: dict[str, Any] = json.loads(self._exactly(size))
        return message

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = os.read(self._in, size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return bytes(data)


class Output:
    """Captures what Python and its children write to descriptors 1 and 2; sends it as frames of the running cell."""

    def __init__(self, channel: Channel, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._read, self._write = os.pipe()
        self._marker = b"\0" + os.urandom(16)
        self._drained = threading.Event()
        self._cell: int | None = None
        self._sent = 0
        self.dropped = 0
        self.stdout, self.stderr = _text_stream(1), _text_stream(2)

    def begin(self, cell: int | None) -> None:
        """Attribute all further output to `cell`; with None it is discarded."""
        self._sent = self.dropped = 0
        self._cell = cell
        os.dup2(self._write, 1)
        os.dup2(self._write, 2)
        sys.stdout, sys.stderr = self.stdout, self.stderr

    def write(self, text: str) -> None:
        """Write to the output, regardless of what the cell did to its streams."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._write, data) :]

    def drain(self) -> None:
        """Wait until everything written so far has been sent."""
        for stream in (sys.stdout, sys.stderr, self.stdout, self.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self._drained.clear()
        os.write(self._write, self._marker)
        self._drained.wait(_DRAIN_SECONDS)

    def pump(self) -> None:
        """Forward the pipe to frames; runs in a thread. A marker in the pipe means that a cell's output is complete."""
        held = b""
        while True:
            held += os.read(self._read, _CHUNK)
            while True:
                before, marker, rest = held.partition(self._marker)
                if not marker:
                    break
                self._forward(before)
                held = rest
                self._drained.set()
            keep = _partial(held, self._marker)
            self._forward(held[: len(held) - keep])
            held = held[len(held) - keep :]

    def _forward(self, data: bytes) -> None:
        cell = self._cell
        if not data or cell is None:
            return
        room = max(0, self._limit - self._sent)
        self._sent += len(data)
        self.dropped += max(0, len(data) - room)
        if room:
            self._channel.send({"id": cell, "text": data[:room].decode("latin-1")})


def _text_stream(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _partial(data: bytes, marker: bytes) -> int:
    """The number of bytes at the end of `data` that may be the beginning of `marker`."""
    return next((n for n in range(min(len(marker) - 1, len(data)), 0, -1) if data.endswith(marker[:n])), 0)


class Worker:
    """Runs cells one after another in the same namespace."""

    def __init__(self, channel: Channel, output: Output) -> None:
        self._channel = channel
        self._output = output
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._main = types.ModuleType("__main__")
        self._running: int | None = None
        self._count = 0
        self._pid = os.getpid()
        sys.modules["__main__"] = self._main

    def listen(self) -> None:
        """Take requests, and interrupt the running cell when asked to; runs in a thread."""
        while True:
            message = self._channel.receive()
            if "code" in message:
                self._requests.put(message)
            elif message.get("interrupt") == self._running is not None:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def serve(self) -> None:
        """Run the requested cells until the host closes the channel; runs in the main thread."""
        while True:
            request = self._requests.get()
            cell = request["id"]
            signal.signal(signal.SIGINT, self._interrupted)
            self._output.begin(cell)
            ok = False
            try:
                self._running = cell
                ok = self._run(request["code"])
                self._send_figures(cell)
                self._running = None
            except BaseException:
                self._running = None
            if os.getpid() != self._pid:
                os._exit(0)  # a child that the cell forked and that reached the end of the cell, too
            self._output.drain()
            done = {"id": cell, "done": True, "ok": ok, "dropped": self._output.dropped, "strays": _strays()}
            self._output.begin(None)
            self._channel.send(done)

    def _send_figures(self, cell: int) -> None:
        """Send and close matplotlib's open figures, if the cell used it. A drawing error is written to the output."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        room = _MAX_FIGURE_BYTES
        try:
            for number in pyplot.get_fignums()[:_MAX_FIGURES]:
                picture = io.BytesIO()
                pyplot.figure(number).savefig(picture, format="png", bbox_inches="tight")
                data = base64.b64encode(picture.getvalue()).decode()
                room -= len(data)
                if room < 0:
                    raise ValueError("the figures are too large; make them smaller")
                for start in range(0, len(data), _FIGURE_PIECE):
                    last = start + _FIGURE_PIECE >= len(data)
                    self._channel.send({"id": cell, "figure": data[start : start + _FIGURE_PIECE], "last": last})
        except Exception as error:
            self._output.write(_describe(error))
        finally:
            with contextlib.suppress(Exception):
                pyplot.close("all")

    def _interrupted(self, number: int, frame: object) -> None:
        if self._running is not None:
            raise KeyboardInterrupt

    def _run(self, code: str) -> bool:
        """Run one cell and print the value of a final expression. Returns False, after a traceback, if it raised."""
        self._count += 1
        name = f"<cell {self._count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            value = self._execute(code, name)
            if value is not None and not code.rstrip().endswith(";"):
                self._main.__dict__["_"] = value
                print(repr(value), file=self._output.stdout)
        except BaseException as error:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            self._output.write(_describe(error))
            return False
        return True

    def _execute(self, code: str, name: str) -> object:
        tree = ast.parse(code, name)
        last = tree.body[-1] if tree.body else None
        space = self._main.__dict__
        if not isinstance(last, ast.Expr):
            exec(compile(tree, name, "exec", dont_inherit=True), space)
            return None
        tree.body.pop()
        exec(compile(tree, name, "exec", dont_inherit=True), space)
        return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), space)


def _describe(error: BaseException) -> str:
    """Format a traceback without our own frames."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename in (_HERE, ast.__file__):
        at = at.tb_next
    try:
        described = traceback.TracebackException(type(error), error, at)
        if described.stack and described.stack[-1].filename == _HERE:
            described.stack.pop()  # the handler of the signal that interrupted the cell
        return "".join(described.format())
    except Exception:
        return f"{type(error).__name__}\n"


def _strays() -> int:
    """The number of processes in the sandbox besides its first one and this one; 1 when they cannot be counted."""
    own = {"1", str(os.getpid())}
    try:
        return sum(name.isdigit() and name not in own for name in os.listdir("/proc"))
    except OSError:  # the cell has used up all its file descriptors
        return 1


def _limit(limits: dict[str, int]) -> None:
    names = {"memory": "RLIMIT_AS", "processes": "RLIMIT_NPROC", "files": "RLIMIT_NOFILE", "file_size": "RLIMIT_FSIZE"}
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for key, name in names.items():
        if key in limits:
            resource.setrlimit(getattr(resource, name), (limits[key], limits[key]))


def _landlock() -> None:
    """Restrict file access to reading, executing, and writing in the working folders, as far as the kernel supports it.

    Also forbids TCP, and signals and abstract sockets that reach out of the sandbox. This is a second line of defence
    behind the mounts. It applies to this thread and to those that it starts.
    """
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    abi = syscall(_LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        return
    rights = sum(bits for since, bits in _RIGHTS_BY_ABI if abi >= since)
    attributes = struct.pack("=QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    rules = syscall(_LANDLOCK_CREATE, attributes, 24 if abi >= 6 else 16 if abi >= 4 else 8, 0)
    allowed = [("/", _EXECUTE | _READ_FILE | _READ_DIR)]
    allowed += [(path, rights if os.path.isdir(path) else _WRITE_FILE | _READ_FILE | _TRUNCATE) for path in _WRITABLE]
    for path, granted in allowed:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        _checked(syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", granted & rights, place), 0))
        os.close(place)
    _checked(syscall(_LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)


def _checked(result: int) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def serve() -> None:
    """Take over the process: the channel moves off descriptors 0 to 2, which then belong to the cell's code."""
    channel = Channel()
    limits = channel.receive()
    _landlock()
    os.environ.update(MPLBACKEND="Agg", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MPLCONFIGDIR="/tmp")
    if os.path.isdir(PACKAGES):
        sys.path.append(PACKAGES)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    output = Output(channel, limits["output"])
    output.begin(None)
    worker = Worker(channel, output)
    for job in (worker.listen, output.pump):
        threading.Thread(target=job, daemon=True).start()
    _limit(limits)
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")
    channel.send({"ready": True})
    worker.serve()


if __name__ == "__worker__":
    serve()
