"""Completions: a text or token ids, continued as they are."""

from __future__ import annotations

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
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_what_is_wrong_is_a_400_that_names_it(body: dict[str, Any], param: str | None) -> None:
    async with running(ScriptedEngine(lambda prompt: "x")) as server:
        status, answer = await server.post("/v1/completions", body)
        assert (status, answer["error"]["param"]) == (400, param)
        assert server.service.gate.inside == 0


async def test_an_engine_that_dies_says_so_in_the_stream() -> None:
    async with running(ScriptedEngine(lambda prompt: "x")) as server:
        server.engine.die = True
        with pytest.raises(openai.APIError):
            async for _ in await server.client.completions.create(model="gpt-oss-20b", prompt="x", stream=True):
                pass
