"""Measure what HTTP costs: tokens of nano through the server, and the same generation directly from the engine.

    python benchmarks/server.py [--runs 5] [--tokens 200]

Both take turns, and the best of the runs counts, since the machine may be shared. `CPU` is this process's time per
token: that of the server and the engine's client without the model, which other load hardly changes. The HTTP client is
a separate process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gptoss_tui.engine.types import GenerationEvent, SamplingParams, TokenBatch
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.harmony.tokenizer import CALL, END, RETURN, load_tokenizer
from gptoss_tui.server.gate import Gate
from gptoss_tui.server.guard import Rules
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.run import Address, listen, serving
from gptoss_tui.server.service import Service
from gptoss_tui.settings import Settings

QUESTION = "Hello! Who are you?"
ENDLESS = {str(token): -100 for token in (END, RETURN, CALL)}

CLIENT = """
import http.client, sys
port, path, body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port))
connection.request("POST", path, body, {"Content-Type": "application/json"})
response = connection.getresponse()
assert response.status == 200, response.read()
while response.read1(65536):
    pass
"""


class Recorder(EngineClient):
    """Records what was requested of it, and when tokens arrived."""

    last: tuple[tuple[int, ...], SamplingParams]
    first = 0.0
    tokens = 0
    seconds = 0.0

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        self.last, self.first, self.tokens = (tuple(token_ids), params), 0.0, 0
        async for event in super().generate(token_ids, params):
            if isinstance(event, TokenBatch):
                self.first = self.first or time.perf_counter()
                self.tokens += len(event.tokens)
            yield event
        self.seconds = (time.perf_counter() - self.first) / max(self.tokens - 1, 1)


@asynccontextmanager
async def server() -> AsyncIterator[tuple[Recorder, int]]:
    """A server with nano, and its port."""
    settings = Settings()
    engine = Recorder(settings.engine_spec())
    host = EngineHost(engine, load_tokenizer())
    await host.load()
    try:
        with listen(Address(port=0)) as sock:
            async with serving(Service(host, Gate(), ("nano",)), Rules(), sock):
                yield engine, sock.getsockname()[1]
    finally:
        await host.close()


async def through_http(engine: Recorder, port: int, path: str, body: dict[str, object]) -> tuple[float, float]:
    """Seconds and CPU seconds a token."""
    cpu = time.process_time()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, str(port), path, json.dumps(body))
    assert await process.wait() == 0
    return engine.seconds, (time.process_time() - cpu) / engine.tokens


async def bare(engine: Recorder) -> tuple[float, float]:
    """The last generation once more, without the server."""
    cpu = time.process_time()
    async for _ in engine.generate(*engine.last):
        pass
    return engine.seconds, (time.process_time() - cpu) / engine.tokens


async def measure(runs: int, tokens: int) -> None:
    """Print a line for each API."""
    chat = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": tokens, "logit_bias": ENDLESS}
    response = {"input": QUESTION, "max_output_tokens": tokens, "logit_bias": ENDLESS, "store": False}
    text = {"prompt": QUESTION, "max_tokens": tokens, "ignore_eos": True}
    asked = {"/v1/chat/completions": chat, "/v1/responses": response, "/v1/completions": text}
    async with server() as (engine, port):
        for path, body in asked.items():
            await through_http(engine, port, path, {**body, "stream": True})
            streamed: dict[str, object] = {**body, "stream": True}
            pairs = [(await through_http(engine, port, path, streamed), await bare(engine)) for _ in range(runs)]
            (http, http_cpu), (alone, alone_cpu) = (
                (min(pair[which][0] for pair in pairs), min(pair[which][1] for pair in pairs)) for which in (0, 1)
            )
            print(
                f"{path:<22} {tokens} tokens: {1e3 * http:.2f} ms a token, alone {1e3 * alone:.2f} ms "
                f"({100 * (http / alone - 1):+.1f} %); CPU {1e6 * http_cpu:.0f} us a token, alone "
                f"{1e6 * alone_cpu:.0f} us: {100 * (http_cpu - alone_cpu) / alone:.1f} % of decode"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=200)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.runs, arguments.tokens))
