"""`generate`: raw completion as text and as JSON lines."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gptoss_tui import cli
from gptoss_tui.commands.generate import Printer
from gptoss_tui.engine.types import Token
from gptoss_tui.harmony.tokenizer import END, load_tokenizer
from tests.commands.conftest import WriteTokens


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_token(
    scripted: list[str], write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tokens", write_tokens([1, 30]), "--max-tokens", "4", "--json", "--top-logprobs", "2"]
    assert cli.main(["generate", *scripted, *arguments]) == 0
    captured = capsys.readouterr()
    lines = json_lines(captured.out)
    assert [line["id"] for line in lines] == [31, 32, 33, 34]
    assert [line["text"] for line in lines] == [load_tokenizer().decode([i]) for i in (31, 32, 33, 34)]
    assert all(line["logprob"] == -0.5 and line["top"] == [[7, -0.5]] * 2 for line in lines)
    assert captured.err == (
        "length: prompt 2 tokens (0 cached), prefill 0.10 s (20.0 tokens/s), "
        "generated 4 tokens, decode 0.20 s (20.0 tokens/s)\n"
    )


def test_text_of_a_prompt(scripted: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = load_tokenizer()
    last = tokenizer.encode("two words")[-1]
    for prompt in (["two words"], ["--prompt", "two words"]):
        assert cli.main(["generate", *scripted, "--max-tokens", "3", *prompt]) == 0
        assert capsys.readouterr().out == tokenizer.decode([last + 1, last + 2, last + 3]) + "\n"


def test_a_prompt_on_stdin(
    scripted: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two words"))
    last = load_tokenizer().encode("two words")[-1]
    assert cli.main(["generate", *scripted, "--max-tokens", "1", "--json"]) == 0
    assert json_lines(capsys.readouterr().out)[0]["id"] == last + 1


def test_a_real_model_repeats_itself_with_the_same_seed(
    tiny_model: Path, write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_model), "--tokens", write_tokens([1, 2, 3]), "--max-tokens", "12", "--seed", "5"]
    outputs = []
    for _ in range(2):
        assert cli.main(["generate", *arguments, "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    lines = json_lines(outputs[0])
    assert len(lines) == 12
    assert all(len(line["top"]) == 5 for line in lines)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a", "--prompt", "b"], 2, "given twice"),
        ([""], 2, "There is no prompt"),
        (["a", "--max-tokens", "0"], 2, "--max-tokens must be at least 1"),
        (["a", "--json", "--top-logprobs", "21"], 2, "top_logprobs must be between 0 and 20"),
        (["a", "--model", "/nowhere"], 2, "/nowhere"),
    ],
)
def test_bad_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert cli.main(["generate", "--model", str(tmp_path), *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_character_comes_with_its_last_token(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = load_tokenizer()
    text = "a 🜁 ᚠ z"
    token_ids = tokenizer.encode(text)
    assert any("\ufffd" in tokenizer.decode([i]) for i in token_ids), "some character is spread over tokens"
    printer = Printer(tokenizer, as_json=True)
    printer.tokens(tuple(Token(i, -1.0) for i in token_ids))
    printed = [str(line["text"]) for line in json_lines(capsys.readouterr().out)]
    assert "".join(printed) == text
    assert len(printed) == len(token_ids)


def test_half_a_character_at_the_end_shows_as_a_replacement(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = load_tokenizer()
    half = tokenizer.encode("🜁")[:-1]
    printer = Printer(tokenizer, as_json=False)
    printer.tokens(tuple(Token(i, -1.0) for i in (*half, END)))
    printer.tokens(tuple(Token(i, -1.0) for i in half))
    printer.end_text()
    assert capsys.readouterr().out == "\ufffd<|end|>\ufffd\n"


def test_a_terminal_gets_no_control_characters_and_a_pipe_every_byte(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer()
    tokens = tuple(Token(i, -1.0) for i in tokenizer.encode("\x1b[31mred"))
    Printer(tokenizer, as_json=False).tokens(tokens)
    assert capsys.readouterr().out == "\x1b[31mred"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    Printer(tokenizer, as_json=False).tokens(tokens)
    assert terminal.getvalue() == "␛[31mred"


def test_an_interrupt_ends_with_130_and_leaves_no_worker(scripted: list[str], write_tokens: WriteTokens) -> None:
    command = [sys.executable, "-m", "gptoss_tui", "generate", *scripted, "--tokens", write_tokens([6]), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (worker,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
