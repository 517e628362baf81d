"""Ollama's API, as its documentation describes it and its own client speaks it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from ollama import AsyncClient, ResponseError

from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.server.running import Running, running
from tests.server.scripted import ScriptedEngine, final

THINK = "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
CALL = f'{THINK} to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{{"city": "Bonn"}}<|call|>'
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO = {"role": "user", "content": "hello"}


async def lines(server: Running, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with server.http.post(f"{server.url}/api/chat", json=body) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in response.content]


async def test_lines_add_up_to_the_whole() -> None:
    transcript = f"{THINK}<|channel|>final<|message|>Grüße, 🌍!<|return|>"
    async with running(ScriptedEngine(lambda prompt: transcript)) as server:
        options = {"temperature": 0.5, "num_predict": 100, "seed": 3, "num_ctx": 4096}
        body = {"model": "gpt-oss-20b", "messages": [HELLO], "options": options, "think": "high"}
        streamed = await lines(server, body)
        status, whole = await server.post("/api/chat", {**body, "stream": False})
    assert status == 200
    assert "".join(line["message"]["content"] for line in streamed) == whole["message"]["content"] == "Grüße, 🌍!"
    assert "".join(line["message"].get("thinking", "") for line in streamed) == whole["message"]["thinking"]
    assert [line["done"] for line in streamed] == [False] * (len(streamed) - 1) + [True]
    assert streamed[-1]["done_reason"] == "stop"
    assert streamed[-1]["eval_count"] == whole["eval_count"] > 10
    params = server.engine.params[0]
    assert (params.temperature, params.max_tokens, params.seed) == (0.5, 100, 3)
    assert "Reasoning: high" in server.engine.prompts[0]


async def test_calls_are_objects_and_answered_in_their_order() -> None:
    engine = ScriptedEngine(lambda prompt: final("It is sunny.")(prompt) if "SUN" in prompt else CALL)
    async with running(engine) as server:
        said = (await lines(server, {"messages": [HELLO], "tools": [WEATHER]}))[-2]["message"]
        assert said["tool_calls"] == [{"function": {"name": "get_weather", "arguments": {"city": "Bonn"}}}]
        assistant = {"role": "assistant", "content": "", "thinking": "I think.", "tool_calls": said["tool_calls"]}
        messages = [HELLO, assistant, {"role": "tool", "content": "SUN", "tool_name": "get_weather"}]
        status, whole = await server.post("/api/chat", {"messages": messages, "tools": [WEATHER], "stream": False})
    assert (status, whole["message"]["content"]) == (200, "It is sunny.")
    assert engine.prompts[1].startswith(engine.prompts[0] + CALL)


async def test_formats_loading_and_errors() -> None:
    async with running(ScriptedEngine(final("{}"))) as server:
        body = {"messages": [HELLO], "stream": False, "think": False}
        for style in ("json", {"type": "object"}):
            status, whole = await server.post("/api/chat", {**body, "format": style})
            assert (status, whole["message"]["content"]) == (200, "{}")
        status, loaded = await server.post("/api/chat", {"model": "gpt-oss-20b"})
        assert (status, loaded["done_reason"]) == (200, "load")
        bad = [{"messages": [{**HELLO, "images": ["aGk="]}]}, {"messages": [HELLO], "format": {"type": "nonsense"}},
               {"messages": [HELLO], "think": "a lot"}, {"messages": [HELLO], "options": 5}]  # fmt: skip
        for wrong in bad:
            status, answer = await server.post("/api/chat", wrong)
            assert (status, type(answer["error"])) == (400, str)
        status, answer = await server.post("/api/chat", {"model": "llama3", "messages": [HELLO]})
        assert status == 404


async def test_who_is_there() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        _, tags = await server.get("/api/tags")
        assert [model["name"] for model in tags["models"]] == ["gpt-oss-20b", "openai/gpt-oss-20b"]
        status, shown = await server.post("/api/show", {"model": "gpt-oss-20b"})
        assert (status, shown["model_info"]["gptoss.context_length"]) == (200, 8192)
        assert (await server.get("/api/version"))[0] == 200
        assert all(len(model["digest"]) == 64 for model in tags["models"]), "its client cuts them"
        assert (await server.post("/api/show", {"model": "gpt-oss-20b:latest"}))[0] == 200
        assert (await server.post("/api/show", {"model": "gpt-oss-120b:latest"}))[0] == 404
        async with server.http.head(f"{server.url}/") as answer:
            assert answer.status == 200, "its client asks this first"


async def test_generate_is_a_chat_of_one_message() -> None:
    transcript = f"{THINK}<|channel|>final<|message|>Grüße, 🌍!<|return|>"
    async with running(ScriptedEngine(lambda prompt: transcript)) as server:
        client = AsyncClient(server.url)
        asked: dict[str, Any] = {"prompt": "hello", "system": "Be brief.", "think": "low", "options": {"seed": 3}}
        whole = await client.generate("gpt-oss-20b", **asked)
        assert (whole.response, whole.thinking, whole.done_reason) == ("Grüße, 🌍!", "I think.", "stop")
        assert whole.eval_count is not None
        assert whole.eval_count > 10
        parts = [part async for part in await client.generate("gpt-oss-20b", **asked, stream=True)]
        assert "".join(part.response or "" for part in parts) == whole.response
        assert "".join(part.thinking or "" for part in parts) == whole.thinking
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        loaded = await client.generate("gpt-oss-20b")
        assert (loaded.response, loaded.done_reason) == ("", "load")
    prompt = server.engine.prompts[0]
    assert "Be brief." in prompt
    assert prompt.endswith("<|start|>user<|message|>hello<|end|><|start|>assistant")


async def test_a_raw_prompt_is_continued_as_it_is() -> None:
    """What looks like a control token is text, and the end of an answer is the end."""
    async with running(ScriptedEngine(lambda prompt: " upon a time<|return|>")) as server:
        client = AsyncClient(server.url)
        asked: dict[str, Any] = {"prompt": "<|start|>Once", "raw": True}
        whole = await client.generate("gpt-oss-20b", **asked)
        assert (whole.response, whole.done_reason) == (" upon a time", "stop")
        parts = [part async for part in await client.generate("gpt-oss-20b", **asked, stream=True)]
        assert "".join(part.response or "" for part in parts) == " upon a time"
        cut = await client.generate("gpt-oss-20b", **asked, options={"num_predict": 2})
        assert (cut.response, cut.done_reason, cut.eval_count) == (" upon a", "length", 2)
    assert server.engine.prompts == ["<|start|>Once"] * 3
    assert whole.prompt_eval_count == len(load_tokenizer().encode("<|start|>Once")) > 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"suffix": "x"},
        {"template": "x"},
        {"context": [1]},
        {"images": ["aGk="]},
        {"raw": True, "system": "x"},
        {"raw": True, "format": "json"},
        {"raw": 5},
        {"prompt": 5},
    ],
    ids=str,
)
async def test_what_generate_cannot_do_is_a_400(wrong: dict[str, Any]) -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        status, answer = await server.post("/api/generate", {"prompt": "hello", "stream": False, **wrong})
    assert (status, type(answer["error"])) == (400, str)


async def test_what_is_loaded() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        client = AsyncClient(server.url)
        loaded = (await client.ps()).models
        assert [model.model for model in loaded] == [model.model for model in (await client.list()).models]
        assert loaded[0].context_length == 8192
        assert loaded[0].expires_at is not None
        assert loaded[0].expires_at > datetime.now(UTC)
        with pytest.raises(ResponseError, match="does not exist"):
            await client.generate("llama3", prompt="x")
        server.service.host.info = None
        assert (await client.ps()).models == []
