"""Responses, asked for by OpenAI's own client and looked at as they are sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.server.events import events_of
from tests.server.running import running
from tests.server.scripted import ScriptedEngine, final

THINK = "<|channel|>analysis<|message|>First I look. Then I add. Last I answer.<|end|><|start|>assistant"
ANSWER = f"{THINK}<|channel|>final<|message|>Grüße, 🌍!<|return|>"
PREAMBLE = f"{THINK}<|channel|>commentary<|message|>I look it up.<|end|><|start|>assistant"
CALL = (
    f'{PREAMBLE} to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{{"city": "Bonn"}}<|call|>'
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "go" | "stop"'}


async def test_a_stream_tells_of_each_item_and_ends_with_the_whole() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER, batch=2)) as server:
        events = await events_of(server, {"input": "hello", "instructions": "Be kind.", "metadata": {"a": "b"}})
    response = events[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][1]["content"][0]["text"] == "Grüße, 🌍!"
    assert response["output"][1]["phase"] == "final_answer"
    assert (response["status"], response["instructions"], response["metadata"]) == ("completed", "Be kind.", {"a": "b"})
    assert response["parallel_tool_calls"] is False
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] > 5


async def test_the_whole_is_what_the_stream_adds_up_to() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER)) as server:
        events = await events_of(server, {"input": "hello"})
        response = await server.client.responses.create(model="gpt-oss-20b", input="hello")
    assert response.output_text == "Grüße, 🌍!"
    mine, theirs = response.to_dict()["output"], events[-1]["response"]["output"]
    assert [{**a, "id": ""} for a in mine] == [{**b, "id": ""} for b in theirs]  # type: ignore[dict-item, attr-defined]


async def test_a_call_has_its_events_and_its_answer_goes_back() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER if "sunny" in prompt else CALL)) as server:
        asked: dict[str, Any] = {"input": [{"role": "user", "content": "weather?"}], "tools": [WEATHER], "store": False}
        events = await events_of(server, asked)
        output = events[-1]["response"]["output"]
        assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
        assert output[1]["phase"] == "commentary"
        call = output[2]
        assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Bonn"})
        reply = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        events = await events_of(server, {**asked, "input": [*asked["input"], *output, reply]})
        assert events[-1]["response"]["output"][-1]["content"][0]["text"] == "Grüße, 🌍!"
    first, second = server.engine.prompts
    assert second.startswith(first + CALL), "what was sampled comes back as it was sampled"
    usage = events[-1]["response"]["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] > 90


async def test_a_conversation_goes_on_from_a_stored_response(tmp_path: Path) -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER), store=tmp_path) as server:
        responses = server.client.responses
        one = await responses.create(model="gpt-oss-20b", input="one", instructions="Be kind.")
        two = await responses.create(model="gpt-oss-20b", input="two", previous_response_id=one.id)
        three = await responses.create(
            model="gpt-oss-20b", input="three", previous_response_id=two.id, store=False, stream=False
        )
        assert (await responses.retrieve(two.id)).to_dict() == two.to_dict()
        with pytest.raises(openai.NotFoundError):
            await responses.retrieve(three.id)
        items = await responses.input_items.list(two.id)
        status, wrong = await server.get(f"/v1/responses/{two.id}/input_items?order=up")
        assert (status, wrong["error"]["param"]) == (400, "order")
        assert [item.to_dict()["content"] for item in items.data] == [[{"type": "input_text", "text": "two"}]]
        reference: Any = [{"type": "item_reference", "id": one.output[1].id}, {"role": "user", "content": "four"}]
        await responses.create(model="gpt-oss-20b", input=reference)
        await responses.delete(one.id)
        with pytest.raises(openai.BadRequestError) as raised:
            await responses.create(model="gpt-oss-20b", input="x", previous_response_id=two.id)
        assert raised.value.param == "previous_response_id"
    third, fourth = server.engine.prompts[2:4]
    spoken = ["one<|end|>", "Grüße, 🌍!<|end|>", "two<|end|>", "Grüße, 🌍!<|end|>", "three<|end|>"]
    assert [third.count(text) for text in spoken] == [1, 2, 1, 2, 1]
    assert "First I look" not in third, "thoughts before an answer are left out"
    assert "Be kind." not in third, "instructions are those of the request"
    assert "Grüße, 🌍!<|end|>" in fourth


async def test_stored_responses_are_private(tmp_path: Path) -> None:
    async with running(ScriptedEngine(final("secret")), store=tmp_path / "kept") as server:
        await server.client.responses.create(model="gpt-oss-20b", input="x")
        kept = list((tmp_path / "kept").iterdir())
        assert [path.stat().st_mode & 0o777 for path in [tmp_path / "kept", *kept]] == [0o700, 0o600]
        for name in ("..%2f..%2fetc%2fpasswd", "resp_" + "0" * 32, "x", kept[0].name):
            status, _ = await server.get(f"/v1/responses/{name}")
            assert status == 404


@pytest.mark.parametrize("summary", ["auto", "concise", "detailed", None])
async def test_thoughts_are_summed_up_in_the_models_own_words(summary: str | None) -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER)) as server:
        body = {"input": "x", "reasoning": {"summary": summary}, "include": ["reasoning.encrypted_content"]}
        events = await events_of(server, body)
        item = events[-1]["response"]["output"][0]
        expected = {
            None: [],
            "auto": ["First I look. … Last I answer."],
            "detailed": ["First I look. Then I add. Last I answer."],
        }
        assert [part["text"] for part in item["summary"]] == expected.get(summary, expected["auto"])
        # A client that sends back nothing but the sealed thought sends back the thought.
        sealed = {"type": "reasoning", "id": item["id"], "summary": [], "encrypted_content": item["encrypted_content"]}
        foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABo="}
        await server.post("/v1/responses", {"input": [{"role": "user", "content": "x"}, sealed, foreign]})
    assert server.engine.prompts[1].endswith("Last I answer.<|end|><|start|>assistant")


async def test_custom_tools_take_text_that_follows_their_grammar() -> None:
    tool = {"type": "custom", "name": "drive", "description": "Drives.", "format": LARK}
    transcript = " to=functions.drive<|channel|>commentary<|message|>go<|call|>"
    async with running(ScriptedEngine(lambda prompt: ANSWER if "done" in prompt else transcript)) as server:
        body: dict[str, Any] = {"input": "drive", "tools": [tool], "tool_choice": {"type": "custom", "name": "drive"}}
        events = await events_of(server, body)
        call = events[-1]["response"]["output"][0]
        assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "drive", "go")
        assert [event["type"] for event in events[3:5]] == [
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
        ]
        reply = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "done"}
        items = [{"role": "user", "content": "drive"}, call, reply]
        await events_of(server, {**body, "input": items, "tool_choice": "auto"})
    first, second = server.engine.prompts
    assert second.startswith(first + transcript)
    constraint = server.engine.params[0].constraint
    assert constraint is not None
    assert [(grammar.kind, grammar.text) for grammar in constraint.grammars] == [("lark", LARK["definition"])]


async def test_tools_in_namespaces_keep_their_names() -> None:
    space = {"type": "namespace", "name": "agents", "description": "", "tools": [{**WEATHER, "name": "spawn"}]}
    transcript = '<|channel|>commentary to=agents.spawn <|constrain|>json<|message|>{"city": "x"}<|call|>'
    async with running(ScriptedEngine(lambda prompt: transcript)) as server:
        events = await events_of(server, {"input": "x", "tools": [space, WEATHER]})
    call = events[-1]["response"]["output"][0]
    assert (call["namespace"], call["name"]) == ("agents", "spawn")
    assert "namespace agents {" in server.engine.prompts[0]


async def test_what_is_cut_is_incomplete() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER)) as server:
        events = await events_of(server, {"input": "x", "max_output_tokens": 6})
    response = events[-1]["response"]
    assert (events[-1]["type"], response["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert response["output"][0]["status"] == "incomplete"


async def test_a_call_of_what_there_is_not_is_answered_for_the_model() -> None:
    """The client never hears of it; the model does, and may do better."""
    stray = "<|channel|>commentary to=functions.nothing<|message|>{}<|call|>"
    engine = ScriptedEngine(lambda prompt: ANSWER if "There is no tool" in prompt else stray)
    async with running(engine) as server:
        server.engine.forbidden.clear()
        engine_params = {"input": "x", "tools": [WEATHER]}
        status, _ = await server.post("/v1/responses", engine_params)
        assert status == 503, "a constrained engine cannot even say it"
        engine.heeds = False
        events = await events_of(server, engine_params)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]
    assert "There is no tool 'functions.nothing'. Tools: functions.get_weather." in server.engine.prompts[-1]


async def test_an_engine_that_dies_ends_the_stream_with_an_error() -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER)) as server:
        server.engine.die = True
        events = await events_of(server, {"input": "x"})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert [events[-2]["code"], events[-1]["response"]["error"]["code"]] == ["engine_error", "server_error"]


async def test_a_response_in_the_background_can_be_asked_for_streamed_and_cancelled(tmp_path: Path) -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER), store=tmp_path) as server:
        responses = server.client.responses
        made = await responses.create(model="gpt-oss-20b", input="x", background=True)
        assert made.status in ("queued", "in_progress")
        whole = [event async for event in await responses.retrieve(made.id, stream=True)]
        rest = [event async for event in await responses.retrieve(made.id, stream=True, starting_after=4)]
        assert whole[-1].type == "response.completed"
        assert [event.sequence_number for event in rest] == [event.sequence_number for event in whole][5:]
        assert (await responses.retrieve(made.id)).status == "completed"
        with pytest.raises(openai.BadRequestError):
            await responses.cancel(made.id)
        server.engine.hang = True
        made = await responses.create(model="gpt-oss-20b", input="x", background=True)
        assert (await responses.cancel(made.id)).status == "cancelled"
        assert (await responses.retrieve(made.id)).status == "cancelled"
        assert (await responses.cancel(made.id)).status == "cancelled"
        assert server.service.gate.inside == 0
    assert server.engine.running == 0


async def test_what_does_not_fit_is_cut_when_that_is_wanted() -> None:
    turns: list[dict[str, Any]] = []
    for number in range(8):
        turns += [
            {"role": "user", "content": f"question {number} " + "word " * 100},
            {"role": "assistant", "content": f"answer {number}"},
        ]
    body: dict[str, Any] = {"input": [*turns, {"role": "user", "content": "last"}], "max_output_tokens": 50}
    async with running(ScriptedEngine(final("x"), context=600)) as server:
        status, answer = await server.post("/v1/responses", body)
        assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
        status, answer = await server.post("/v1/responses", {**body, "truncation": "auto"})
        assert (status, answer["truncation"]) == (200, "auto")
        status, answer = await server.post("/v1/responses", {"input": "word " * 900, "truncation": "auto"})
        assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
        status, answer = await server.post("/v1/responses", {"input": "word " * 450, "truncation": "auto"})
        assert status == 400
        assert "600 tokens long, of which 150 are for the answer" in answer["error"]["message"]
        endless = [{"role": "user", "content": "x" * 9000}, *body["input"]]
        status, answer = await server.post("/v1/responses", {**body, "input": endless, "truncation": "auto"})
        assert status == 200, "what has too many characters to be read is left out unread"
        status, answer = await server.post("/v1/responses/input_tokens", body)
        assert (status, answer["input_tokens"] > 800) == (200, True)
    prompt, again = server.engine.prompts
    assert prompt == again
    assert [f"question {number}" in prompt for number in range(8)] == [False] * 4 + [True] * 4


async def test_answers_can_be_asked_for_in_a_form_with_the_clients_help() -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    async with running(ScriptedEngine(final('{"name": "Ada", "age": 36}'))) as server:
        response = await server.client.responses.parse(model="gpt-oss-20b", input="who?", text_format=Person)
    assert response.output_parsed == Person(name="Ada", age=36)


@pytest.mark.parametrize(("wanted", "told"), [({}, 0), ({"top_logprobs": 2}, 2)])
async def test_logprobs_come_with_the_tokens_of_the_answer(wanted: dict[str, int], told: int) -> None:
    async with running(ScriptedEngine(final("one two"))) as server:
        events = await events_of(server, {"input": "x", "include": ["message.output_text.logprobs"], **wanted})
        without = await events_of(server, {"input": "x", **wanted})
    logprobs = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert ["".join(one["token"] for one in logprobs), len(logprobs[0]["top_logprobs"])] == ["one two", told]
    assert [params.top_logprobs for params in server.engine.params] == [max(1, told), 0]
    assert without[-1]["response"]["output"][0]["content"][0]["logprobs"] == []


BAD: list[tuple[dict[str, Any], str | None]] = [
    ({"input": 5}, "input"),
    ({"input": [5]}, "input[0]"),
    ({"input": [{"role": "user", "content": "x", "id": 5}]}, "input[0].id"),
    ({"input": [{"type": "nonsense"}]}, "input[0].type"),
    ({"input": [{}]}, "input[0].type"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
     "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}, "input[0].call_id"),
    ({"input": [{"type": "computer_call"}]}, "input[0].type"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    ({"input": "x", "background": True}, "background"),
    ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
    ({"input": "x", "previous_response_id": 1}, "previous_response_id"),
    ({"input": "x", "conversation": "c"}, "conversation"),
    ({"input": "x", "tools": [{"type": "file_search"}]}, "tools[0].type"),
    ({"input": "x", "tools": [{"type": "mcp"}]}, "tools[0].type"),
    ({"input": "x", "tools": [{"type": "code_interpreter"}]}, "tools[0].type"),
    ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
    ({"input": "x", "tools": [{"type": "namespace", "name": "browser", "tools": []}]}, "tools[0].name"),
    ({"input": "x", "tools": [{"type": "custom", "name": "c", "format": {**LARK, "definition": "!"}}]},
     "tools[0].format.definition"),
    ({"input": "x", "tools": [{**WEATHER, "strict": True, "parameters": {"type": "x"}}]}, "tools[0].parameters"),
    ({"input": "x", "tools": [{**WEATHER, "description": "x" * 2**20}]}, "tools"),
    ({"input": "x", "tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    ({"input": "x", "tool_choice": "sometimes"}, "tool_choice"),
    ({"input": "x", "reasoning": {"effort": 1}}, "reasoning.effort"),
    ({"input": "x", "reasoning": "high"}, "reasoning"),
    ({"input": "x", "include": ["everything"]}, "include"),
    ({"input": "x", "max_output_tokens": -1}, "max_output_tokens"),
    ({"input": "x", "text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"input": "x", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"enum": ["x" * 66000]}}}},
     "text.format.schema"),
    ({"input": "x", "truncation": "some"}, "truncation"),
    ({"input": "x", "metadata": {"a": 1}}, "metadata"),
    ({"input": "x", "background": True, "store": False}, "store"),
    ({"input": "x", "instructions": 1}, "instructions"),
    ({"input": "x", "stream": 1}, "stream"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_what_is_wrong_is_a_400_that_names_it(body: dict[str, Any], param: str | None) -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        status, answer = await server.post("/v1/responses", body)
        assert status == 400, answer
        assert answer["error"]["param"] == param
        assert server.service.gate.inside == 0
    assert server.engine.prompts == []


async def test_what_codex_sends_unasked_is_left_out() -> None:
    body = {"input": "x", "tools": [{"type": "web_search", "external_web_access": False}, WEATHER], "new": 1,
            "client_metadata": {"a": "b"}, "parallel_tool_calls": True}  # fmt: skip
    async with running(ScriptedEngine(final("x"))) as server:
        status, answer = await server.post("/v1/responses", body)
    assert status == 200
    assert [tool["type"] for tool in answer["tools"]] == ["function"]
    assert answer["parallel_tool_calls"] is False


async def test_requests_that_wait_do_not_keep_each_other_from_being_stored(tmp_path: Path) -> None:
    async with running(ScriptedEngine(lambda prompt: ANSWER), store=tmp_path) as server:
        asked = [server.client.responses.create(model="gpt-oss-20b", input=str(n), user=str(n % 3)) for n in range(12)]
        made = await asyncio.gather(*asked)
        again = await asyncio.gather(*(server.client.responses.retrieve(one.id) for one in made))
    assert [one.id for one in again] == [one.id for one in made]
    assert server.engine.most == 1
