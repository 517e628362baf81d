"""Completions: a text or token ids, continued as they are."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.server.running import running
from tests.server.scripted import ScriptedEngine


async def test_a_text_is_continued_with_tokens_and_logprobs() -> None:
    async with running(ScriptedEngine(lambda prompt: " wörld 🌍!<|return|>")) as server:
        made = await server.client.completions.create(
            model="gpt-oss-20b", prompt="hello", max_tokens=50, logprobs=2, extra_body={"return_token_ids": True}
        )
        stream = await server.client.completions.create(
            model="gpt-oss-20b", prompt="hello", max_tokens=50, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    choice = made.choices[0]
    ids = load_tokenizer().encode(" wörld 🌍!")
    assert (choice.text, choice.finish_reason) == (" wörld 🌍!", "stop")
    assert choice.to_dict()["token_ids"] == [*ids, 200_002]
    assert choice.logprobs is not None
    assert choice.logprobs.token_logprobs == [-0.5] * (len(ids) + 1)
    assert all(choice.logprobs.top_logprobs or [0])
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == " wörld 🌍!"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (1, len(ids) + 1)
    assert server.engine.prompts == ["hello", "hello"], "nothing stands around the prompt"


async def test_token_ids_several_prompts_and_choices() -> None:
    tokenizer = load_tokenizer()
    prompts: list[list[int]] = [tokenizer.encode("one"), [200_006, *tokenizer.encode("user")]]
    async with running(ScriptedEngine(lambda prompt: f" after {prompt}")) as server:
        made = await server.client.completions.create(
            model="gpt-oss-20b", prompt=prompts, n=2, max_tokens=20, seed=5, echo=True, stop="user"
        )
    assert [choice.text for choice in made.choices] == ["one after one"] * 2 + ["<|start|>user after <|start|>"] * 2
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert [params.seed for params in server.engine.params] == [5, 6, 5, 6]
    assert made.usage is not None
    assert made.usage.prompt_tokens == 3


async def test_an_echoed_prompt_has_its_logprobs_and_offsets_count_through() -> None:
    """As evaluation harnesses ask for them: how likely is this text?"""
    prompt, said = "the 🌍 is", " röund"
    tokenizer = load_tokenizer()
    asked: dict[str, Any] = {"model": "gpt-oss-20b", "prompt": prompt, "logprobs": 2, "echo": True}
    async with running(ScriptedEngine(lambda prompt: said + "<|return|>")) as server:
        made = await server.client.completions.create(**asked)
        stream = await server.client.completions.create(**asked, stream=True)
        choices = [chunk.choices[0] async for chunk in stream]
        alone = await server.client.completions.create(**{**asked, "max_tokens": 0})
    ids, more = tokenizer.encode(prompt), tokenizer.encode(said)
    logprobs = made.choices[0].logprobs
    assert made.choices[0].text == prompt + said
    assert logprobs is not None
    assert logprobs.token_logprobs == [None, *[-0.25] * (len(ids) - 1), *[-0.5] * (len(more) + 1)]
    assert (logprobs.top_logprobs or [])[0] is None
    offsets = logprobs.text_offset or []
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(prompt + said)
    assert offsets[len(ids)] == len(prompt)
    for name in ("tokens", "token_logprobs", "text_offset"):
        parts = [getattr(choice.logprobs, name) for choice in choices if choice.logprobs]
        assert [one for part in parts for one in part] == getattr(logprobs, name)
    assert alone.choices[0].text == prompt
    assert alone.choices[0].logprobs is not None
    assert alone.choices[0].logprobs.token_logprobs == logprobs.token_logprobs[: len(ids)]
    assert len(server.engine.prompts) == 2, "no token was asked for"


async def test_tokens_are_called_by_their_ids_where_a_client_wants_that() -> None:
    body = {"prompt": "hello", "max_tokens": 2, "logprobs": 2, "echo": True, "return_tokens_as_token_ids": True}
    async with running(ScriptedEngine(lambda prompt: " one two")) as server:
        status, made = await server.post("/v1/completions", body)
    assert status == 200
    told = made["choices"][0]["logprobs"]
    ids = load_tokenizer().encode("hello one two")
    assert told["tokens"] == [f"token_id:{token}" for token in ids]
    assert all(name.startswith("token_id:") for top in told["top_logprobs"][1:] for name in top)


async def test_no_alternatives_are_told_where_none_were_asked_for() -> None:
    """But the engine is asked for one: without any it may round what it says of the token."""
    async with running(ScriptedEngine(lambda prompt: " one two")) as server:
        _, made = await server.post("/v1/completions", {"prompt": "hello", "max_tokens": 2, "logprobs": 0})
    told = made["choices"][0]["logprobs"]
    assert (told["token_logprobs"], told["top_logprobs"]) == ([-0.5, -0.5], [{}, {}])
    assert [params.top_logprobs for params in server.engine.params] == [1]


async def test_the_prompts_ids_are_told_once() -> None:
    body = {"prompt": "hello", "return_token_ids": True, "stream": True}
    async with (
        running(ScriptedEngine(lambda prompt: " one two three")) as server,
        server.http.post(f"{server.url}/v1/completions", json=body) as response,
    ):
        lines = [line async for line in response.content if line.startswith(b"data: {")]
    told = [json.loads(line[6:])["choices"][0]["prompt_token_ids"] for line in lines]
    assert told == [load_tokenizer().encode("hello"), *[None] * (len(told) - 1)]


async def test_without_a_limit_it_is_short() -> None:
    async with running(ScriptedEngine(lambda prompt: "a " * 100)) as server:
        made = await server.client.completions.create(model="gpt-oss-20b", prompt="x")
    assert made.choices[0].finish_reason == "length"
    assert made.usage is not None
    assert made.usage.completion_tokens == 16


BAD: list[tuple[dict[str, Any], str | None]] = [
    ({}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [201_088]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": ["x"] * 100}, "prompt"),
    ({"prompt": "x", "suffix": "y"}, "suffix"),
    ({"prompt": "x", "best_of": 3}, "best_of"),
    ({"prompt": "x", "logprobs": 50}, "logprobs"),
    ({"prompt": [5] * 9000}, None),
    ({"prompt": [5] * 8500, "echo": True, "logprobs": 0}, "prompt"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_what_is_wrong_is_a_400_that_names_it(body: dict[str, Any], param: str | None) -> None:
    async with running(ScriptedEngine(lambda prompt: "x", context=8800)) as server:
        status, answer = await server.post("/v1/completions", body)
        assert (status, answer["error"]["param"]) == (400, param)
        assert server.service.gate.inside == 0


async def test_an_engine_that_dies_says_so_in_the_stream() -> None:
    async with running(ScriptedEngine(lambda prompt: "x")) as server:
        server.engine.die = True
        with pytest.raises(openai.APIError):
            async for _ in await server.client.completions.create(model="gpt-oss-20b", prompt="x", stream=True):
                pass
