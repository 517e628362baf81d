"""OpenAI's Agents SDK over both APIs, streaming and not: a tool is called, and its answer used."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.running import Running, running
from tests.server.scripted import ScriptedEngine, final

THINK = "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant"
CALL = f'{THINK} to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{{"city": "Bonn"}}<|call|>'


def script(prompt: str) -> str:
    return final("It is sunny in Bonn.")(prompt) if "SUN in Bonn" in prompt else CALL


@pytest.fixture(scope="module")
def agents() -> Any:
    """Imported here: it takes long, and only the process that runs these tests needs it."""
    return pytest.importorskip("agents", reason="the Agents SDK is not installed")


def agent(agents: Any, server: Running, api: str) -> Any:
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"SUN in {city}"

    made = {"responses": agents.OpenAIResponsesModel, "chat": agents.OpenAIChatCompletionsModel}[api]
    model = made(model="gpt-oss-20b", openai_client=server.client)
    return agents.Agent(name="a", instructions="Be brief.", model=model, tools=[agents.function_tool(get_weather)])


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_answer_used(agents: Any, api: str, streamed: bool) -> None:
    agents.set_tracing_disabled(True)
    async with running(ScriptedEngine(script)) as server:
        kinds = []
        if streamed:
            result = agents.Runner.run_streamed(agent(agents, server, api), "weather in Bonn?")
            kinds = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
        else:
            result = await agents.Runner.run(agent(agents, server, api), "weather in Bonn?")
        assert result.final_output == "It is sunny in Bonn."
    first, second = server.engine.prompts
    assert "Be brief." in first
    assert "SUN in Bonn<|end|>" in second
    assert server.engine.forbidden == []
    if streamed:
        assert "response.function_call_arguments.delta" in kinds
        assert kinds.count("response.completed") == 2
    if api == "responses":
        assert second.startswith(first + CALL), "thoughts and calls come back as they were sampled"
