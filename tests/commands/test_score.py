"""`score`: the exact JSON, and clear errors for bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gptoss_tui import cli
from tests.commands.conftest import WriteTokens


def test_json_has_one_entry_a_token(
    tiny_model: Path, write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]
) -> None:
    token_ids = [3, 1, 4, 1, 5, 79, 0]
    tokens = write_tokens(token_ids)
    arguments = ["--model", str(tiny_model), "--tokens", tokens, "--json", "--dtype", "float32", "--backend", "torch"]
    assert cli.main(["score", *arguments]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert list(result) == ["positions"]
    positions = result["positions"]
    assert [set(position) for position in positions] == [{"next", "logprob", "top"}] * len(token_ids)
    assert [position["next"] for position in positions] == [*token_ids[1:], None]
    for position in positions[:-1]:
        assert position["logprob"] < 0
        assert len(position["top"]) == 5
        assert all(0 <= token_id < 80 for token_id, _ in position["top"])
        logprobs = [logprob for _, logprob in position["top"]]
        assert logprobs == sorted(logprobs, reverse=True)
        assert sum(math.exp(logprob) for logprob in logprobs) < 1
        assert dict(position["top"]).get(position["next"], position["logprob"]) == position["logprob"]
    assert positions[-1]["logprob"] is None
    assert len(positions[-1]["top"]) == 5


def test_an_impossible_token_is_still_json(
    scripted: list[str], write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", *scripted, "--tokens", write_tokens([5, 0, 7]), "--json"]) == 0
    positions = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["positions"]
    assert [(p["next"], p["logprob"]) for p in positions] == [(0, None), (7, -1.0), (None, None)]


def test_a_table_for_people(scripted: list[str], write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["score", *scripted, "--tokens", write_tokens([5, 6])]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["position", "token", "next", "logprob", "top"]
    assert first.split()[:4] == ["0", "5", "6", "-1.0000"]
    assert second.split()[:4] == ["1", "6", "-", "-"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds no token ids"),
        ({"tokens": [1]}, "must hold a JSON list of token ids, not dict"),
        ([1, "2"], 'entry 1 is not a token id: "2"'),
        ([1.0], "entry 0 is not a token id: 1.0"),
        ([True], "entry 0 is not a token id: true"),
        ("[1,", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_list_of_ids_is_refused_before_loading(
    write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str], value: object, message: str
) -> None:
    assert cli.main(["score", "--model", "/nowhere", "--tokens", write_tokens(value), "--json"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(("token_id", "shown"), [(-1, "-1"), (201_088, "201088")])
def test_an_id_outside_the_vocabulary_is_refused(
    scripted: list[str], write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str], token_id: int, shown: str
) -> None:
    assert cli.main(["score", *scripted, "--tokens", write_tokens([1, token_id])]) == 2
    assert f"entry 1 is {shown}, and the model's ids are 0..201087" in capsys.readouterr().err


def test_a_missing_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["score", "--tokens", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_missing_model(write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["score", "--model", str(tmp_path / "none"), "--tokens", write_tokens([1])]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: There is no model")
    assert "\nhint: " in captured


def test_too_little_memory_is_said_before_loading(
    tiny_model: Path, write_tokens: WriteTokens, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_model), "--tokens", write_tokens([1]), "--context", str(10**12)]
    assert cli.main(["score", *arguments]) == 1
    assert "nothing was loaded" in capsys.readouterr().err
