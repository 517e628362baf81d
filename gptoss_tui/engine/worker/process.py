"""The worker process: one thread owns the device, another reads requests, so a cancel takes effect within a step.

The process ends by itself when the front end is gone: the reading thread sees the end of the stream and exits
immediately, whatever the device is doing. All output goes to the front end's bounded buffer, never to the terminal.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NoReturn

from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.failures import out_of_memory
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    GenerationEvent,
    LoadProgress,
    PrefillProgress,
    ScoredPosition,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.engine.worker.protocol import (
    SCORE_CHUNK,
    Cancel,
    Described,
    Done,
    Failed,
    Generate,
    Generated,
    Info,
    Load,
    Progress,
    Reply,
    Request,
    Score,
    Scored,
    decode_request,
    encode_reply,
    receive,
)
from gptoss_tui.errors import EngineError, GptOssError

FRAME_SECONDS = 1 / 30
"""Tokens are held back for at most one frame of the screen, to be sent together; the first one is never held back."""

MAX_WAITING = 64

_PR_SET_PDEATHSIG = 1
_NOTHING_DONE = Usage(0, 0, 0, 0, 0.0, 0.0)


class Worker:
    """Serves one front end over one socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._send_lock = threading.Lock()
        self._waiting: queue.Queue[Request] = queue.Queue(MAX_WAITING)
        self._cancelled: set[int] = set()
        self._spec: EngineSpec | None = None
        self._backend: Backend | None = None
        self._info: EngineInfo | None = None

    def serve(self) -> NoReturn:
        """Handle requests in order on this thread, which owns the device. Never returns."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while True:
            self._handle(self._waiting.get())

    def _read(self) -> None:
        """The reading thread: answers everything that must not wait for the device."""
        code = 70
        try:
            while (payload := receive(self._socket)) is not None:
                self._accept(decode_request(payload))
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _accept(self, request: Request) -> None:
        match request:
            case Cancel():
                self._cancelled.add(request.id)
            case Info():
                self._send(Described(request.id, self._info))
            case _:
                try:
                    self._waiting.put_nowait(request)
                except queue.Full:
                    self._send(Failed(request.id, EngineError(f"{MAX_WAITING} requests are waiting already")))

    def _handle(self, request: Request) -> None:
        try:
            match request:
                case Load():
                    self._load(request)
                case Generate():
                    self._generate(request)
                case Score():
                    self._score(request)
        except GptOssError as error:
            self._send(Failed(request.id, error))
        except Exception as error:
            traceback.print_exc()
            self._send(Failed(request.id, _as_engine_error(error)))
        finally:
            self._cancelled.discard(request.id)

    def _load(self, request: Load) -> None:
        if self._backend is None or self._spec != request.spec:
            self._unload()
            self._backend = load_backend(request.spec, lambda step: self._report(request.id, step))
            self._spec = request.spec
            self._info = self._describe(self._backend)
        self._send(Progress(request.id, LoadProgress("ready", 1.0, done=True, info=self._info)))

    def _report(self, request_id: int, step: LoadProgress) -> None:
        # Only `_load` knows when the load is complete: a backend's own last step is reported like any other.
        self._send(Progress(request_id, LoadProgress(step.stage, step.fraction)))

    def _generate(self, request: Generate) -> None:
        backend = self._loaded()

        def cancelled() -> bool:
            return request.id in self._cancelled

        if cancelled():
            self._send(Generated(request.id, Finished("cancelled", _NOTHING_DONE)))
            return
        for event in batch_tokens(backend.generate(request.token_ids, request.params, cancelled)):
            if isinstance(event, Finished):
                self._info = self._describe(backend)
            self._send(Generated(request.id, event))

    def _score(self, request: Score) -> None:
        backend = self._loaded()
        scored = backend.score(request.token_ids, request.top, lambda: request.id in self._cancelled, request.start)
        for batch in batch_positions(scored):
            self._send(Scored(request.id, batch))
        self._info = self._describe(backend)
        self._send(Done(request.id))

    def _unload(self) -> None:
        backend, self._backend, self._spec, self._info = self._backend, None, None, None
        if backend is not None:
            backend.close()

    def _describe(self, backend: Backend) -> EngineInfo:
        info = backend.info()
        return replace(info, model=self._spec.name) if self._spec and self._spec.name else info

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise EngineError("No model is loaded", hint="load a model first")
        return self._backend

    def _send(self, reply: Reply) -> None:
        frame = encode_reply(reply)
        with self._send_lock:
            try:
                self._socket.sendall(frame)
            except OSError:
                os._exit(0)


def batch_tokens(
    events: Iterable[PrefillProgress | Token | Finished], clock: Callable[[], float] = time.monotonic
) -> Iterator[GenerationEvent]:
    """Merge the tokens of each `FRAME_SECONDS`, so that the front end wakes up at the frame rate of its screen.

    The first token is sent alone and immediately; no token is held back past another event.
    """
    pending: list[Token] = []
    due = 0.0
    started = False
    for event in events:
        if isinstance(event, Token):
            pending.append(event)
            now = clock()
            if started and now < due:
                continue
            started, due = True, now + FRAME_SECONDS
            yield TokenBatch(tuple(pending))
            pending.clear()
            continue
        if pending:
            yield TokenBatch(tuple(pending))
            pending.clear()
        yield event


def batch_positions(
    positions: Iterable[ScoredPosition], clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[ScoredPosition, ...]]:
    """Merge the positions of each `FRAME_SECONDS` into batches of at most `SCORE_CHUNK`."""
    pending: list[ScoredPosition] = []
    due = clock() + FRAME_SECONDS
    for position in positions:
        pending.append(position)
        if len(pending) == SCORE_CHUNK or clock() >= due:
            yield tuple(pending)
            pending.clear()
            due = clock() + FRAME_SECONDS
    if pending:
        yield tuple(pending)


def _as_engine_error(error: Exception) -> EngineError:
    """An unexpected exception as an EngineError. The traceback is on stderr, which the front end keeps."""
    text = str(error) or "no details"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return out_of_memory()
    return EngineError(f"The engine failed: {type(error).__name__}: {text}", hint="restart the engine and try again")


def _end_with_parent() -> None:
    """Ask Linux to kill this process when its parent's thread ends, in case the end of the socket is not noticed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(fd: int) -> NoReturn:
    """Serve the front end at the other end of socket `fd` until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    Worker(socket.socket(fileno=fd)).serve()
