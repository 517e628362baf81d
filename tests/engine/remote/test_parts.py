"""Addresses, and what a stream may look like."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.engine.remote import events
from gptoss_tui.engine.remote.address import KEY_VARIABLE, Address, parse_address, remote_name
from gptoss_tui.engine.remote.completions import TextCompletions, TokenCompletions
from gptoss_tui.engine.remote.dialect import Dialect, read_event
from gptoss_tui.engine.remote.events import EventDecoder
from gptoss_tui.engine.remote.llamacpp import LlamaCpp
from gptoss_tui.engine.remote.ollama import OllamaParsed, OllamaRaw
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.errors import EngineError, UsageError
from gptoss_tui.harmony.spelling import Spelling
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from gptoss_tui.vocabulary import VOCAB_SIZE

SPELLING = Spelling(load_tokenizer())
DIALECTS: list[Dialect] = [
    TokenCompletions("m"),
    TextCompletions("m", SPELLING),
    LlamaCpp("m", SPELLING),
    OllamaRaw("m", SPELLING, 99),
    OllamaParsed("m", SPELLING, 99),
]
NAMES = """\
choices text token_ids finish_reason stop_reason matched_stop logprobs token_logprobs top_logprobs usage
prompt_tokens_details cached_tokens content tokens stop stop_type tokens_predicted prompt_progress total cache processed
timings cache_n completion_probabilities id logprob response thinking tool_calls function name arguments done
done_reason token_id:5 token_id:x"""
FIELDS = st.sampled_from(NAMES.split())
EVENTS = [{"text": "🦙 naïve"}, {"n": 1, "deep": {"data: ": "\n\n"}}, {"last": True}]


@pytest.mark.parametrize(
    ("text", "root", "model"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000", ""),
        ("http://localhost:8000", "http://localhost:8000", ""),
        ("HTTPS://gpu.example/api/v1/#openai/gpt-oss-20b", "https://gpu.example/api", "openai/gpt-oss-20b"),
        ("http://[::1]:11434/v1#gpt-oss%3A20b", "http://[::1]:11434", "gpt-oss:20b"),
        (" http://host:8000/v1/chat/completions\n", "http://host:8000", ""),
        ("http://host/api/v1/models", "http://host/api", ""),
        ("http://host:1234#gpt-oss-20b@q4_k_m", "http://host:1234", "gpt-oss-20b@q4_k_m"),
    ],
)
def test_addresses(text: str, root: str, model: str) -> None:
    assert parse_address(text) == Address(root, model)
    assert remote_name(text) == model


@pytest.mark.parametrize(
    "text",
    [
        *("http://", "http://host:port/v1", "http://host:0", "http://h/v1?key=hunter2", "http://[:1", "http://."),
        *("http://ho\nst/v1", "http://host /v1", "http://host/a b/v1"),
    ],
)
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is not the address") as caught:
        parse_address(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["host", "[bad", "host:99999"])
def test_a_password_in_an_address_is_refused_and_not_repeated(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(f"http://me:hunter2@{host}/v1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "taken", "here"),
    [
        *((host, host, True) for host in ("127.0.0.1:1", "localhost", "my.localhost", "[::1]:1")),
        *((host, host, False) for host in ("a", "8.8.8.8", "localhost.example", "[2001:db8::1]")),
        *((host, "127.0.0.1", True) for host in ("127.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]")),
        *(("LocalHost.:80", "localhost:80", True), ("[::]:9", "[::1]:9", True), ("10.1", "10.0.0.1", False)),
    ],
)
def test_what_is_this_machine(host: str, taken: str, here: bool) -> None:
    address = parse_address(f"http://{host}")
    assert (address.host, address.is_loopback) == (taken, here)


def test_an_address_stands_where_a_model_does() -> None:
    spec = Settings(model="http://h:1/v1#gpt-oss-20b", context=100).engine_spec()
    assert (spec.url, spec.name, spec.backend, spec.context) == (
        "http://h:1/v1#gpt-oss-20b",
        "gpt-oss-20b",
        "remote",
        100,
    )
    with pytest.raises(UsageError, match="only runs local models"):
        Settings(model="http://h:1/v1", backend="triton").engine_spec()
    with pytest.raises(UsageError, match="needs a server"):
        Settings(backend="remote").engine_spec()


def test_nano_on_a_server_gets_what_nano_was_trained_with() -> None:
    assert not Settings(model="http://h:1/v1#nano").offers_shell
    assert Settings(model="http://h:1/v1#gpt-oss-20b").offers_shell


def test_the_key_is_taken_before_anything_starts_and_nothing_heavy_comes_in() -> None:
    program = f"""
import sys, os, contextlib, io
from gptoss_tui.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["--version"])
assert {KEY_VARIABLE!r} not in os.environ
from gptoss_tui.engine.remote.address import take_key
assert take_key() == take_key() == "abc"
import gptoss_tui.engine.remote.client
print([name for name in ("torch", "numpy", "llguidance") if name in sys.modules])
"""
    environment = os.environ | {KEY_VARIABLE: " abc "}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def framed(kind: str, end: str) -> bytes:
    if kind == "lines":
        return "".join(json.dumps(event, ensure_ascii=False) + end for event in EVENTS).encode()
    pieces = [f": ping{end}{end}", f"retry: 3000{end}"]
    said = (json.dumps(event, ensure_ascii=False) for event in EVENTS)
    pieces += [f"event: message{end}id: 7{end}data:{text}{end}{end}" for text in said]
    return ("".join(pieces) + f"data: [DONE]{end}{end}").encode()


@given(st.sampled_from(["sse", "lines"]), st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_may_be_cut_anywhere(kind: str, end: str, cuts: list[int]) -> None:
    data = framed(kind, end)
    decoder = EventDecoder()
    read = []
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(bounds):
        read += list(decoder.feed(data[start:stop]))
    assert read + list(decoder.finish()) == EVENTS
    assert decoder.done is (kind == "sse")


def test_an_event_without_a_last_line_end_counts() -> None:
    decoder = EventDecoder()
    assert [*decoder.feed(b'data: {"a": 1}'), *decoder.finish()] == [{"a": 1}]


@pytest.mark.parametrize("data", [b"data: {oops\n\n", b"data: [1]\n\n", b"{\n", b"{" + b'"a":{' * 100_000 + b"\n"])
def test_what_is_no_event_is_an_error(data: bytes) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        list(EventDecoder().feed(data))


@pytest.mark.parametrize("data", [b"x" * 1001, (b"data: " + b"x" * 300 + b"\n") * 4, b"data:\n" * 1001])
def test_nothing_without_an_end_is_kept(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(events, "MAX_EVENT", 1000)
    with pytest.raises(EngineError, match="without an end"):
        list(EventDecoder().feed(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(FIELDS, json_values, max_size=6), st.sampled_from(DIALECTS))
def test_no_event_is_more_than_an_error(event: dict[str, Any], dialect: Dialect) -> None:
    """A server may send anything: what is read is tokens of the vocabulary, or the error says what is wrong."""
    exchange = dialect.open(SPELLING.greeting(), SamplingParams(top_logprobs=1), 5)
    try:
        reading = read_event(exchange, event)
    except EngineError:
        return
    for token in (*reading.tokens, *exchange.finish(stopped=True)):
        assert 0 <= token.id < VOCAB_SIZE
        assert not math.isinf(token.logprob)
        assert all(math.isfinite(logprob) for _, logprob in token.top)
