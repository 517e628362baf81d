"""`gptoss-tui serve` itself, with the built-in model: the program that people start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from openai import OpenAI

from gptoss_tui.cli import main

QUESTION: Any = [{"role": "user", "content": "Hello! Who are you?"}]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The process, its address and the file of its log."""
    folder = tmp_path
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gptoss_tui", "serve", "--port", "0", "--alias", "gpt-4o", "--threads", "1"],
            env={**os.environ, "GPTOSS_TUI_RESPONSES": str(folder / "responses"), "GPTOSS_TUI_API_KEY": "sk-secret"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
            assert found, (line, (folder / "log").read_text(encoding="utf-8"))
            yield process, found[0], folder / "log"
        finally:
            process.kill()
            process.wait()


def metrics_of(url: str) -> str:
    """What Prometheus reads."""
    request = Request(url.removesuffix("/v1") + "/metrics", headers={"Authorization": "Bearer sk-secret"})
    with urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def ends(process: subprocess.Popen[str], client: OpenAI) -> None:
    """It ends when it is told to, and completes what it began."""
    with client.chat.completions.create(model="nano", messages=QUESTION, max_tokens=80, stream=True) as stream:
        chunks = [next(stream)]
        process.send_signal(signal.SIGTERM)
        chunks += list(stream)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert process.wait(90) == 0


@pytest.mark.timeout(300)
def test_the_built_in_model_answers_all_apis_and_ends(server: tuple[subprocess.Popen[str], str, Path]) -> None:
    process, url, log = server
    with OpenAI(base_url=url, api_key="sk-secret", max_retries=0) as client:
        chat = client.chat.completions.create(model="nano", messages=QUESTION, max_tokens=80)
        text = chat.choices[0].message.content
        assert text is not None
        assert "nano" in text
        with client.chat.completions.create(model="gpt-4o", messages=QUESTION, max_tokens=80, stream=True) as stream:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
        response = client.responses.create(model="nano", input="Hello! Who are you?", max_output_tokens=80)
        assert response.output_text == text
        assert response.usage is not None
        assert response.usage.input_tokens_details.cached_tokens > 50, "the prefix is shared between requests"
        made = client.completions.create(model="nano", prompt="def main():", max_tokens=4, logprobs=1)
        assert made.usage is not None
        assert made.usage.completion_tokens == 4
        schema = {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"],
            "additionalProperties": False,
        }
        form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
        chat = client.chat.completions.create(
            model="nano", messages=QUESTION, response_format=form, max_tokens=30, reasoning_effort="none"
        )
        assert json.loads(chat.choices[0].message.content or "")["ok"] in (True, False)
        found = dict(re.findall(r"^gptoss_parked_(\w+) (\S+)$", metrics_of(url), re.MULTILINE))
        ends(process, client)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["status"] for line in lines] == [200] * 7
    assert float(found["conversations"]) >= 1, "a text of one's own is another conversation"
    assert 0 < float(found["bytes"]) <= float(found["limit_bytes"])
    assert "sk-secret" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "needs an API key"),
        (["--port", "99999"], "--port must be between"),
        (["--max-waiting", "-1"], "--max-waiting must be between"),
        (["--api-key-file", "/nothing"], "/nothing"),
        (["--host", "256.1.1.1", "--api-key-file", "{keys}"], "cannot listen"),
        (["--model", "/nothing"], "no model"),
    ],
)
def test_what_cannot_be_served_is_said(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_text("k", encoding="utf-8")
    words = [word.format(keys=tmp_path / "keys") for word in arguments]
    assert main(["serve", "--port", "0", *words]) in (1, 2)
    assert said in capsys.readouterr().err
