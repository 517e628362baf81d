"""Workers that do not keep to the protocol: whatever they send, a call ends in time and nothing else is believed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from gptoss_tui.tools.python.frames import encode, pack
from gptoss_tui.tools.python.interpreter import Interpreter
from gptoss_tui.tools.python.sandbox import Limits, SandboxError
from tests.tools.python.conftest import ignore

READY = encode({"ready": True})
DONE = {"id": 1, "done": True, "ok": True, "dropped": 0, "strays": 0}
CASES = 20_000


@dataclass
class Script:
    """A process without a sandbox that answers the first bytes with `first` and the code with `second`."""

    first: bytes
    second: bytes
    hangs: bool = False
    name: str = "script"
    description: str = ""

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        return {}

    async def start(self, limits: Limits) -> ScriptProcess:
        return ScriptProcess(self)


class ScriptProcess:
    def __init__(self, script: Script) -> None:
        self._left = [script.first, script.second]
        self._hangs = script.hangs
        self._out: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self, size: int) -> bytes:
        return await self._out.get()

    async def write(self, data: bytes) -> None:
        if self._left:
            answer = self._left.pop(0)
            for start in range(0, len(answer), 60_000):
                self._out.put_nowait(answer[start : start + 60_000])
            if not self._left and not self._hangs:
                self._out.put_nowait(b"")

    def kill(self) -> None:
        self._out.put_nowait(b"")

    async def wait(self) -> str:
        return "killed"


async def outcome_of(second: bytes, *, hangs: bool = False) -> tuple[str, str, bool]:
    interpreter = await Interpreter.start(Script(READY, second, hangs), Limits(seconds=0.1, output=10_000))
    outcome = await interpreter.run("1", ignore)
    return outcome.ending, outcome.text, outcome.alive


async def test_a_good_one() -> None:
    assert await outcome_of(encode({"id": 1, "text": "hi"}) + encode(DONE)) == ("ok", "hi", True)


@pytest.mark.parametrize(
    "second",
    [
        b"",
        b"\xff\xff\xff\xff",
        pack(b"[]"),
        encode({"id": 2, "text": "of another cell"}),
        encode({**DONE, "id": 2}),
        encode({**DONE, "id": "1"}),
        encode({"id": 1}),
        encode({"id": 1, "text": 5}),
        encode({"id": 1, "text": "\u4e2d"}),
        encode({"id": 1, "done": True}),
        encode({**DONE, "ok": 1}),
        encode({**DONE, "dropped": "many"}),
        encode({**DONE, "strays": None}),
        encode({**DONE, "strays": -1}),
        encode({**DONE, "dropped": -5}),
        encode(DONE)[:-1],
        READY,
        encode({"id": 1, "figure": "!!", "last": True}),
        encode({"id": 1, "figure": "aGVsbG8=", "last": True}),
        encode({"id": 1, "figure": "A" * 900_000, "last": False}) * 6,
        encode({"id": 1, "figure": "iVBORw0KGgo=", "last": True}) * 9,
    ],
)
async def test_bad_frames_end_the_worker(second: bytes) -> None:
    ending, _, alive = await outcome_of(second)
    assert (ending, alive) == ("died", False)


async def test_more_output_than_allowed_is_cut_and_a_flood_ends_the_worker() -> None:
    much = b"".join(encode({"id": 1, "text": "x" * 9000}) for _ in range(3))
    ending, text, _ = await outcome_of(much + encode(DONE))
    assert (ending, len(text)) == ("ok", 10_000)
    ending, text, alive = await outcome_of(encode({"id": 1, "text": "x" * 9000}) * 200 + encode(DONE))
    assert (ending, len(text), alive) == ("died", 10_000, False)


async def test_silence_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.tools.python.interpreter._GRACE_SECONDS", 0.1)
    assert await outcome_of(b"", hangs=True) == ("timeout", "", False)


class SocketProcess(ScriptProcess):
    """Reads as a socket does: bytes that have come are the read's, also when it is cancelled before it can say so."""

    def __init__(self) -> None:
        super().__init__(Script(b"", b"", hangs=True))
        self._came: asyncio.Future[bytes] | None = None

    async def read(self, size: int) -> bytes:
        if not self._out.empty():
            return self._out.get_nowait()
        self._came = asyncio.get_running_loop().create_future()
        return await self._came

    def send(self, data: bytes) -> None:
        if self._came is None or self._came.done():
            self._out.put_nowait(data)
        else:
            self._came.set_result(data)

    def kill(self) -> None:
        self.send(b"")


async def test_bytes_that_come_as_a_cell_is_cancelled_are_not_lost() -> None:
    process = SocketProcess()
    interpreter = Interpreter(process, Limits(seconds=60.0))
    began = asyncio.Event()
    task = asyncio.create_task(interpreter.run("1", lambda text: began.set()))
    await asyncio.sleep(0)
    first, second = encode({"id": 1, "text": "up"}), encode({"id": 1, "text": "more"})
    process.send(first + second[:7])
    await began.wait()
    await asyncio.sleep(0)
    process.send(second[7:])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    process.send(encode(DONE))
    assert await interpreter.interrupt()
    await interpreter.end()


async def test_random_bytes_and_mutations() -> None:
    rng = random.Random(5)
    good = encode({"id": 1, "text": "hello"}) + encode(DONE)
    for _ in range(CASES):
        data = bytearray(good if rng.random() < 0.7 else rng.randbytes(rng.randrange(200)))
        for _ in range(rng.randrange(1, 6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        ending, text, alive = await outcome_of(bytes(data))
        assert ending in ("ok", "error", "died"), data
        assert alive == (ending != "died"), data
        assert len(text) <= 10_000


async def test_a_worker_that_does_not_start_is_a_sandbox_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.tools.python.interpreter._START_SECONDS", 0.2)
    for first in (b"", b"junk", encode({"ready": False}), encode(DONE)):
        with pytest.raises(SandboxError, match="did not start in script: killed"):
            await Interpreter.start(Script(first, b""), Limits())
