"""Random JSON Schemas, each followed by a model at temperature 1: the answer is an instance, or was cut and says so.

A few here; `GPTOSS_TUI_SCHEMAS=500 pytest -s -o timeout=0` tries so many.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.agent.structured import AnswerSchema
from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.catalog import resolve_model
from gptoss_tui.engine.checkpoint.random_weights import random_checkpoint
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.types import EngineSpec, Finished, SamplingParams, Token
from gptoss_tui.harmony.tokenizer import CHANNEL, END, MESSAGE, RETURN, START, STOP_TOKENS, Tokenizer, load_tokenizer
from gptoss_tui.vocabulary import VOCAB_SIZE
from tests.engine.grammar.schemas import random_schema
from tests.engine.shapes import TINY

COUNT = int(os.environ.get("GPTOSS_TUI_SCHEMAS", "4"))
TOKENS = 160


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="module", params=["nano", "random"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    path = resolve_model("nano") if request.param == "nano" else tmp_path_factory.mktemp("random")
    if request.param == "random":
        random_checkpoint(replace(TINY, vocab_size=VOCAB_SIZE), path)
    loaded = load_backend(EngineSpec(Path(path), context=512), lambda _: None)
    yield loaded
    loaded.close()


def test_every_answer_is_an_instance_or_was_cut(backend: Backend, tokenizer: Tokenizer) -> None:
    source = random.Random(7)
    ends: Counter[str] = Counter()
    for number in range(COUNT):
        schema = AnswerSchema(random_schema(source))
        text, reason = answer(backend, tokenizer, schema, seed=number)
        ends[reason] += 1
        if reason == "stop":
            assert schema.problem(text) is None, (schema.schema, text)
    print(f"{COUNT} schemas: {dict(ends)}")
    assert set(ends) <= {"stop", "length"}
    assert ends["stop"] > COUNT / 4


def answer(backend: Backend, tokenizer: Tokenizer, schema: AnswerSchema, seed: int) -> tuple[str, str]:
    """The text of the final channel, whose header is given, and why it ended."""
    header = [CHANNEL, *tokenizer.encode("final"), MESSAGE]
    prompt = [START, *tokenizer.encode("user"), MESSAGE, *tokenizer.encode(json.dumps(schema.schema)[:200]), END, START]
    walk = Walk(message_automaton(tokenizer, ["functions.read_file"], answer=schema.grammar))
    for token in header:
        walk.advance(token)
    params = SamplingParams(seed=seed, max_tokens=TOKENS, stop_token_ids=STOP_TOKENS, constraint=walk.rest)
    events = list(backend.generate([*prompt, *tokenizer.encode("assistant"), *header], params, lambda: False))
    ids = [event.id for event in events if isinstance(event, Token)]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (ids[-1] == RETURN) == (end.reason == "stop")
    return tokenizer.decode(ids[:-1] if end.reason == "stop" else ids), end.reason
