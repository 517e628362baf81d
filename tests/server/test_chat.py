"""Chat completions, asked for by OpenAI's own client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from gptoss_tui.errors import GrammarError
from tests.server.running import running
from tests.server.scripted import ScriptedEngine, final

THINK = "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
ANSWER = f"{THINK}<|channel|>final<|message|>Grüße, 🌍!<|return|>"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = f'{THINK} to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{{"city": "Bonn"}}<|call|>'
HELLO: Any = [{"role": "user", "content": "hello"}]


async def test_a_whole_answer_has_thoughts_usage_and_the_models_name() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER)) as server:
        answer = await server.client.chat.completions.create(model="openai/gpt-oss-20b", messages=HELLO)
    message = answer.choices[0].message
    assert message.content == "Grüße, 🌍!"
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == message.model_extra["reasoning"] == "I think."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "openai/gpt-oss-20b"
    usage = answer.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 7
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_a_stream_adds_up_to_the_whole(batch: int) -> None:
    """Whatever the size of batches, and wherever they cut a character in two."""
    async with running(ScriptedEngine(lambda prompt: ANSWER, batch=batch)) as server:
        stream = await server.client.chat.completions.create(
            model="gpt-oss-20b", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Grüße, 🌍!"
    assert "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas) == "I think."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_call_streams_and_its_answer_goes_back() -> None:
    def script(prompt: str) -> str:
        return ANSWER if "a sunny day" in prompt else CALL

    async with running(ScriptedEngine(script)) as server:
        tools: Any = [WEATHER]
        stream = await server.client.chat.completions.create(
            model="gpt-oss-20b", messages=HELLO, tools=tools, stream=True
        )
        parts = [c.choices[0] async for c in stream]
        calls = [call for part in parts for call in part.delta.tool_calls or ()]
        assert calls[0].function is not None
        assert (calls[0].index, calls[0].type, calls[0].function.name) == (0, "function", "get_weather")
        arguments = "".join(call.function.arguments or "" for call in calls if call.function)
        assert json.loads(arguments) == {"city": "Bonn"}
        assert parts[-1].finish_reason == "tool_calls"
        assistant = {
            "role": "assistant",
            "reasoning_content": "I think.",
            "tool_calls": [
                {"id": calls[0].id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
            ],
        }
        reply = {"role": "tool", "tool_call_id": calls[0].id, "content": "a sunny day"}
        messages: Any = [*HELLO, assistant, reply]
        answer = await server.client.chat.completions.create(model="gpt-oss-20b", messages=messages, tools=tools)
        assert answer.choices[0].message.content == "Grüße, 🌍!"
    first, second = server.engine.prompts
    assert second.startswith(first + CALL), "what was sampled comes back as it was sampled"
    reply_header = "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>"
    assert second.endswith(f"{reply_header}a sunny day<|end|><|start|>assistant")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens_details.cached_tokens or 0) > 90


async def test_calls_made_together_are_read_one_after_the_other() -> None:
    """The model makes one call at a time, and reads the answer of each behind it."""
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "get_weather", "arguments": f'{{"city": "{n}"}}'}}
        for n in range(2)
    ]
    replies = [{"role": "tool", "tool_call_id": f"c{n}", "content": f"weather {n}"} for n in (1, 0)]
    messages = [*HELLO, {"role": "assistant", "content": None, "tool_calls": calls}, *replies]
    async with running(ScriptedEngine(final("x"))) as server:
        status, _ = await server.post("/v1/chat/completions", {"messages": messages, "tools": [WEATHER]})
    assert status == 200
    prompt = server.engine.prompts[0]
    assert prompt.index('"0"') < prompt.index("weather 0") < prompt.index('"1"') < prompt.index("weather 1")


async def test_thoughts_before_the_last_answer_are_left_out() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1", "reasoning_content": "old thought"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "system", "content": "Now in German."},
    ]
    async with running(ScriptedEngine(final("zwei"))) as server:
        await server.post("/v1/chat/completions", {"messages": messages, "reasoning_effort": "high"})
    prompt = server.engine.prompts[0]
    assert "old thought" not in prompt
    assert "Reasoning: high" in prompt
    assert "<|start|>developer<|message|># Instructions\n\nBe brief.\n\nBe kind.<|end|>" in prompt
    assert prompt.endswith("<|start|>developer<|message|># Instructions\n\nNow in German.<|end|><|start|>assistant")


@pytest.mark.parametrize("batch", [1, 4, 50])
async def test_an_answer_ends_before_a_stop_sequence(batch: int) -> None:
    text = "one two three four"
    async with running(ScriptedEngine(final(text), batch=batch)) as server:
        status, body = await server.post(
            "/v1/chat/completions",
            {"messages": HELLO, "stop": ["eee", "o thr"], "logprobs": True, "top_logprobs": 2},
        )
    choice = body["choices"][0]
    assert (status, choice["message"]["content"], choice["finish_reason"]) == (200, "one tw", "stop")
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == "one"
    assert all(len(token["top_logprobs"]) == 2 for token in choice["logprobs"]["content"])
    assert batch > 1 or server.engine.cut == 1, "the engine is told to stop"


@pytest.mark.parametrize(("wanted", "told"), [({}, 0), ({"top_logprobs": 0}, 0), ({"top_logprobs": 3}, 3)])
async def test_as_many_alternatives_are_told_as_were_asked_for(wanted: dict[str, int], told: int) -> None:
    """The engine is asked for one at least: without any it may round what it says of the token."""
    async with running(ScriptedEngine(final("one two"))) as server:
        _, body = await server.post("/v1/chat/completions", {"messages": HELLO, "logprobs": True, **wanted})
        await server.post("/v1/chat/completions", {"messages": HELLO})
    assert [len(token["top_logprobs"]) for token in body["choices"][0]["logprobs"]["content"]] == [told, told]
    assert [params.top_logprobs for params in server.engine.params] == [max(1, told), 0]


async def test_n_choices_have_their_own_seeds_and_share_the_prompt() -> None:
    async with running(ScriptedEngine(final("hi"))) as server:
        answer = await server.client.chat.completions.create(
            model="gpt-oss-20b", messages=HELLO, n=3, seed=7, temperature=0.5, top_p=0.9
        )
        stream = await server.client.chat.completions.create(model="gpt-oss-20b", messages=HELLO, n=2, stream=True)
        indices = {chunk.choices[0].index async for chunk in stream}
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [params.seed for params in server.engine.params[:3]] == [7, 8, 9]
    assert {(params.temperature, params.top_p) for params in server.engine.params[:3]} == {(0.5, 0.9)}
    assert indices == {0, 1}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * 5


async def test_an_answer_that_is_cut_says_so() -> None:
    async with running(ScriptedEngine(final("a b c d e f g h"))) as server:
        answer = await server.client.chat.completions.create(
            model="gpt-oss-20b", messages=HELLO, max_completion_tokens=6
        )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "a b c"


async def test_a_turn_without_an_answer_is_asked_for_one() -> None:
    """A thought and no more: the header of the answer is written for the model, once."""

    def script(prompt: str) -> str:
        return "Here.<|return|>" if prompt.endswith("<|channel|>final<|message|>") else THINK.split("<|end|>")[0]

    async with running(ScriptedEngine(lambda prompt: script(prompt) + "<|return|>")) as server:
        status, body = await server.post("/v1/chat/completions", {"messages": HELLO})
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "Here."
    assert len(server.engine.prompts) == 2


@pytest.mark.parametrize(
    ("choice", "offered", "said"),
    [
        ("none", (), "final"),
        ("required", ("get_weather", "other"), "call"),
        ({"type": "function", "function": {"name": "other"}}, ("other",), "call"),
    ],
)
async def test_the_choice_of_tools_is_kept_by_what_the_model_may_write(
    choice: Any, offered: tuple[str, ...], said: str
) -> None:
    other = {"type": "function", "function": {"name": "other"}}

    def script(prompt: str) -> str:
        return ANSWER if said == "final" else f" to=functions.{offered[-1]}<|channel|>commentary<|message|>{{}}<|call|>"

    async with running(ScriptedEngine(script)) as server:
        body = {"messages": HELLO, "tools": [WEATHER, other], "tool_choice": choice}
        status, answer = await server.post("/v1/chat/completions", body)
        assert (status, server.engine.forbidden) == (200, [])
        # The other thing is what it may not say.
        server.engine.script = final("no call") if said == "call" else (lambda prompt: CALL)
        status, _ = await server.post("/v1/chat/completions", body)
        assert (status, len(server.engine.forbidden)) == (503, 1)
    assert (answer["choices"][0]["finish_reason"] == "tool_calls") == (said == "call")


async def test_answers_and_arguments_have_grammars() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body = {
        "messages": HELLO,
        "tools": [WEATHER],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
    }
    async with running(ScriptedEngine(final('{"a": 1}'))) as server:
        status, answer = await server.post("/v1/chat/completions", body)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, '{"a": 1}')
        bad = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "nonsense"}, "strict": True}}
        status, error = await server.post("/v1/chat/completions", {**body, "response_format": bad})
        assert (status, error["error"]["param"]) == (400, "response_format.json_schema.schema")
    constraint = server.engine.params[0].constraint
    assert constraint is not None
    assert {json.loads(grammar.text)["type"] for grammar in constraint.grammars} == {"object"}
    assert {tuple(json.loads(grammar.text)["properties"]) for grammar in constraint.grammars} == {("a",), ("city",)}
    assert "# Response Formats\n\n## n" in server.engine.prompts[0]


async def test_an_engine_that_dies_is_an_error_and_comes_back() -> None:
    async with running(ScriptedEngine(final("back"))) as server:
        server.engine.die = True
        with pytest.raises(openai.InternalServerError) as raised:
            await server.client.chat.completions.create(model="gpt-oss-20b", messages=HELLO)
        assert raised.value.status_code == 503
        server.engine.die = False
        loading = server.service.host._loading
        assert loading is not None
        await loading
        answer = await server.client.chat.completions.create(model="gpt-oss-20b", messages=HELLO)
        assert answer.choices[0].message.content == "back"
        server.engine.die = True
        with pytest.raises(openai.APIError):
            async for _ in await server.client.chat.completions.create(
                model="gpt-oss-20b", messages=HELLO, stream=True
            ):
                pass
    assert server.service.host.restarts == 2


async def test_a_form_that_cannot_be_followed_is_the_clients_mistake() -> None:
    """Some are known only when the engine follows them: trying again would not help."""

    def unfit(prompt: str) -> str:
        raise GrammarError("The JSON schema cannot be enforced: it comes to a place where nothing may follow")

    async with running(ScriptedEngine(unfit)) as server:
        status, answer = await server.post("/v1/chat/completions", {"messages": HELLO})
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert "nothing may follow" in answer["error"]["message"]
        with pytest.raises(openai.APIError, match="nothing may follow"):
            async for _ in await server.client.chat.completions.create(
                model="gpt-oss-20b", messages=HELLO, stream=True
            ):
                pass


async def test_models_are_listed_and_others_are_not_there() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        models = await server.client.models.list()
        assert [model.id for model in models.data] == ["gpt-oss-20b", "openai/gpt-oss-20b"]
        assert (await server.client.models.retrieve("openai/gpt-oss-20b")).id == "openai/gpt-oss-20b"
        with pytest.raises(openai.NotFoundError):
            await server.client.models.retrieve("gpt-4o")
        with pytest.raises(openai.NotFoundError):
            await server.client.chat.completions.create(model="gpt-4o", messages=HELLO)


BAD: list[tuple[dict[str, Any], str | None]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "x"}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]}]},
     "messages[0]"),
    ({"messages": HELLO, "temperature": "hot"}, "temperature"),
    ({"messages": HELLO, "temperature": 3}, "temperature"),
    ({"messages": HELLO, "top_p": -1}, "top_p"),
    ({"messages": HELLO, "n": 0}, "n"),
    ({"messages": HELLO, "n": 10**9}, "n"),
    ({"messages": HELLO, "n": True}, "n"),
    ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ({"messages": HELLO, "max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"messages": HELLO, "stop": 5}, "stop"),
    ({"messages": HELLO, "stop": ["x"] * 50}, "stop"),
    ({"messages": HELLO, "seed": "x"}, "seed"),
    ({"messages": HELLO, "stream": "yes"}, "stream"),
    ({"messages": HELLO, "top_logprobs": 3}, "top_logprobs"),
    ({"messages": HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"messages": HELLO, "logit_bias": {"x": 1}}, "logit_bias.x"),
    ({"messages": HELLO, "logit_bias": {"999999999": 1}}, "logit_bias.999999999"),
    ({"messages": HELLO, "presence_penalty": 1}, "presence_penalty"),
    ({"messages": HELLO, "reasoning_effort": "huge"}, "reasoning_effort"),
    ({"messages": HELLO, "response_format": {"type": "xml"}}, "response_format.type"),
    ({"messages": HELLO, "tools": [{"type": "x"}]}, "tools[0].type"),
    ({"messages": HELLO, "tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"messages": HELLO, "tools": [WEATHER, WEATHER]}, "tools"),
    ({"messages": HELLO, "tool_choice": "required"}, "tool_choice"),
    ({"messages": HELLO, "tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
     "tool_choice"),
    ({"messages": HELLO, "model": 7}, "model"),
    ({"messages": [{"role": "user", "content": "x " * 9000}]}, None),
    ({"messages": HELLO * 2100}, None),
    ({"messages": HELLO * 20001}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_what_is_wrong_is_a_400_that_names_it(body: dict[str, Any], param: str | None) -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        status, answer = await server.post("/v1/chat/completions", body)
        assert status == 400, answer
        assert answer["error"]["param"] == param
        assert answer["error"]["type"] == "invalid_request_error"
        assert server.service.gate.inside == 0
    assert server.engine.prompts == []


async def test_what_nobody_knows_is_tolerated() -> None:
    body = {"messages": [{"role": "user", "content": "x", "name": "n", "new": 1}], "store": True, "new": {"a": []},
            "user": None, "tools": None, "stop": None, "metadata": {}, "service_tier": "auto"}  # fmt: skip
    async with running(ScriptedEngine(final("x"))) as server:
        status, _ = await server.post("/v1/chat/completions", body)
    assert status == 200
