"""`gptoss-tui models` by way of the command line, on real checkpoints and a hub on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.cli import main
from gptoss_tui.engine import catalog, nano
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint, tensor_table
from gptoss_tui.engine.config import GPT_OSS_120B
from gptoss_tui.engine.native import library
from gptoss_tui.engine.planning import choice, here, memory
from gptoss_tui.tui.first_run import model_rows
from gptoss_tui.tui.slash.model import model_items
from gptoss_tui.units import format_bytes
from tests.engine.hub import Hub, serve
from tests.engine.shapes import TINY


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models directory and an empty Hugging Face cache."""
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "models"


def test_list_shows_what_is_here_and_what_can_be_fetched(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, models / "mine")
    (models / "half").mkdir()
    assert main(["models", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert str(models / "mine") in lines["mine"]
    assert "cannot be used" in lines["half"]
    assert lines["gpt-oss-20b"].split(maxsplit=3)[1:] == ["13.8", "GB", "gptoss-tui models download gpt-oss-20b"]
    assert "65.2 GB" in lines["gpt-oss-120b"]


def test_without_an_action_it_lists(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert main(["models"]) == 0
    assert capsys.readouterr().out == listed


def test_list_as_json(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, models / "gpt-oss-20b" / "original")
    assert main(["models", "list", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing["models_directory"] == str(models)
    (installed,) = [entry for entry in listing["installed"] if entry["source"] != "built in"]
    assert installed == {
        "name": "gpt-oss-20b",
        "source": "models directory",
        "directory": str(models / "gpt-oss-20b"),
        "layout": "original",
        "size": open_checkpoint(models / "gpt-oss-20b").weight_bytes,
        "problem": None,
    }
    assert [entry["name"] for entry in listing["downloadable"]] == ["gpt-oss-120b"]


def test_names_cannot_steer_the_terminal(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "bad\x1b[2Jname").mkdir(parents=True)
    assert main(["models", "list"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_info_shows_shape_and_memory_plan(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, models / "mine", "huggingface")
    assert main(["models", "info", "mine", "--context", "100"]) == 0
    shown = capsys.readouterr().out
    for part in (str(models / "mine"), "huggingface", "3 layers", "4 experts", "for 100 tokens in bfloat16", "fits"):
        assert part in shown


@pytest.mark.parametrize(("given", "bytes_"), [("0", 0), ("0.002", 2_000_000)])
def test_info_has_room_for_conversations_that_wait(
    given: str, bytes_: int, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much as the settings say."""
    monkeypatch.setenv("GPTOSS_TUI_PARKED_GB", given)
    random_checkpoint(TINY, models / "mine")
    assert main(["models", "info", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["parked"] == bytes_
    assert main(["models", "info", "mine"]) == 0
    assert ("and up to 2.0 MB for waiting conversations" in capsys.readouterr().out) == bool(bytes_)


def test_info_as_json(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, models / "mine")
    reports = []
    for dtype in ("bfloat16", "float32"):
        assert main(["models", "info", "mine", "--json", "--context", "100", "--dtype", dtype]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    half, full = (report["memory"] for report in reports)
    assert reports[0]["config"]["num_experts"] == TINY.num_experts
    assert (reports[0]["layout"], reports[0]["max_context"]) == ("original", TINY.max_context)
    assert half["total"] == half["weights"] + half["kv_cache"] + half["scratch"]
    assert full["kv_cache"] == 2 * half["kv_cache"]
    assert full["weights"] > half["weights"]
    assert (half["context"], half["dtype"], half["fits"]) == (100, "bfloat16", True)


@pytest.mark.parametrize("context", ["0", "-1", "131073"])
def test_info_refuses_a_context_that_the_model_has_not(context: str, models: Path) -> None:
    random_checkpoint(TINY, models / "mine")
    assert main(["models", "info", "mine", "--context", context]) == 2


def test_info_of_a_model_that_is_not_here_says_what_it_takes(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fetched, and when a part arrived."""
    assert main(["models", "info", "gpt-oss-20b", "--context", "8192"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("here       nothing yet: gptoss-tui models download gpt-oss-20b\n")
    for part in ("13.8 GB from openai/gpt-oss-20b, licence Apache-2.0", str(models), "24 layers", "for 8192 tokens"):
        assert part in shown
    begun = models / "gpt-oss-20b" / "original" / "model.safetensors.0123.partial"
    begun.parent.mkdir(parents=True)
    with begun.open("wb") as file:
        file.truncate(1_761_264_768)  # a hole: it takes no room
    assert main(["models", "info", "openai/gpt-oss-20b"]) == 0
    shown = capsys.readouterr().out
    assert "1.8 GB of 13.8 GB; the rest: gptoss-tui models download gpt-oss-20b" in shown
    assert "12.0 GB from openai/gpt-oss-20b" in shown
    assert main(["models", "info", "gpt-oss-20b", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["directory"], report["licence"]) == (None, "Apache-2.0")
    assert report["weight_bytes"] == 13_761_264_768
    assert report["disk"]["arrived"] == 1_761_264_768
    assert report["disk"]["prepared"] in (None, 12_975_714_560)
    assert main(["models", "info", "gpt-oss-20b", "--context", "131073"]) == 2
    assert main(["models", "info", "gpt-oss-21b"]) == 2
    assert main(["models", "download", "gpt-oss-21b"]) == 2
    assert "did you mean gpt-oss-20b?" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b"])
def test_the_pages_say_what_the_plan_says(page: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last columns of the tables of models: disk, and memory with 8,192 and 131,072 tokens on CPU and GPU."""
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` | ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    wanted = []
    for backend in ("native", "triton"):
        for context in ("8192", "131072"):
            assert main(["models", "info", name, "--json", "--backend", backend, "--context", context]) == 0
            report = json.loads(capsys.readouterr().out)
            wanted.append(format_bytes(report["memory"]["total"]))
            prepared = report["disk"]["prepared"]
            if prepared is not None:
                assert cells[2] == format_bytes(report["weight_bytes"] + prepared)
    assert cells[3:] == wanted


@pytest.mark.parametrize(
    ("gpu", "ram", "backend", "fits"),
    [(80, 30, "triton", True), (12, 60, "native", True), (12, 8, "triton", False), (None, 60, "native", True)],
)
def test_what_fits_is_asked_of_the_engine_that_would_run_it(
    gpu: int | None,
    ram: int,
    backend: str,
    fits: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the memory of its device; everywhere that says so."""
    found = None if gpu is None else here.Place("triton", gpu * 10**9)
    monkeypatch.setattr(here, "_find_gpu_aside", lambda: found)
    monkeypatch.setattr(choice, "cpu_backend", lambda: "native")
    for module in (here, memory):
        monkeypatch.setattr(module, "available_memory", lambda: ram * 10**9)
    assert main(["models", "info", "gpt-oss-20b", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["memory"]
    assert (planned["backend"], planned["fits"]) == (backend, fits)
    assert main(["models", "info", "gpt-oss-20b"]) == 0
    shown = capsys.readouterr().out
    assert f"({backend}, " in shown
    assert ("12.0 GB free: too little for this model, so it runs on the CPU" in shown) == (gpu == 12 and fits)
    (row,) = [row for row in model_rows("nano") if row.name == "gpt-oss-20b"]
    (item,) = [item for item in model_items("nano") if item.value == "gpt-oss-20b"]
    assert (row.fit.startswith("too large"), "too large" in str(item)) == (not fits, not fits)


@pytest.mark.parametrize(
    ("free", "verdict"), [(10, "not enough"), (20, "enough for the download, not for the prepared"), (30, "enough")]
)
def test_the_disk_needs_room_for_the_prepared_weights_too(
    free: int, verdict: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the CPU engine would run the model."""
    if not library.available():
        pytest.skip("the CPU engine was not built")
    monkeypatch.setattr(catalog, "disk_free", lambda folder=None: free * 10**9)
    monkeypatch.setattr(catalog, "same_disk", lambda one, other: True)
    for backend, said in (("native", verdict), ("triton", "not enough" if free == 10 else "enough")):
        assert main(["models", "info", "gpt-oss-20b", "--backend", backend]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("disk ")]
        assert line.partition(": ")[2].startswith(said)


@pytest.mark.skipif(not nano.compact_file().is_file(), reason="the built-in model is not in this tree")
def test_info_of_the_built_in_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "nano", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["vocab_size"] == GPT_OSS_120B.vocab_size


def test_random_like_another_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, tmp_path / "tiny")
    command = ["models", "random", "--like", str(tmp_path / "tiny"), str(tmp_path / "new"), "--seed", "4"]
    assert main([*command, "--layers", "5", "--experts", "8", "--layout", "huggingface"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new'}\n"
    made = open_checkpoint(tmp_path / "new")
    assert made.config == replace(TINY, num_hidden_layers=5, num_experts=8)
    assert made.layout == "huggingface"


def test_random_like_a_published_model_has_its_exact_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With so many layers that no disk has the space: what it would take is said, and nothing is written."""
    command = ["models", "random", "--like", "gpt-oss-120b", str(tmp_path / "new"), "--layers", "10000"]
    assert main(command) == 1
    table = tensor_table(replace(GPT_OSS_120B, num_hidden_layers=10000))
    size = sum(spec.nbytes for spec in table.values())
    assert f"{size / 1e9:.1f} GB are needed; nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code"), [(["--layers", "0"], 2), (["--experts", "-1"], 2), (["--experts", "1"], 2), ([], 0)]
)
def test_random_refuses_shapes_that_cannot_be(flags: list[str], code: int, tmp_path: Path) -> None:
    random_checkpoint(TINY, tmp_path / "tiny")
    assert main(["models", "random", "--like", str(tmp_path / "tiny"), str(tmp_path / "new"), *flags]) == code
    assert (tmp_path / "new").exists() == (code == 0)


def test_random_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_checkpoint(TINY, tmp_path / "tiny")
    assert main(["models", "random", "--like", str(tmp_path / "tiny"), str(tmp_path / "tiny")]) == 1
    assert "holds a checkpoint already" in capsys.readouterr().err


def test_a_downloaded_model_can_be_used(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random_checkpoint(TINY, tmp_path / "published" / "original")
    files = {f"original/{path.name}": path.read_bytes() for path in (tmp_path / "published" / "original").iterdir()}
    with serve(Hub("openai/gpt-oss-20b", files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert main(["models", "download", "gpt-oss-20b"]) == 0
        assert capsys.readouterr().out == f"{models / 'gpt-oss-20b'}\n"
        requests = len(hub.seen)
        assert main(["models", "download", "gpt-oss-20b"]) == 0
        assert capsys.readouterr().out == f"{models / 'gpt-oss-20b'}\n"
        assert len(hub.seen) == requests
        hub.refusal = (404, "RepoNotFound")
        assert main(["models", "download", "gpt-oss-120b"]) == 1
        assert "hint:" in capsys.readouterr().err
    assert main(["models", "info", "gpt-oss-20b"]) == 0


def test_an_interrupted_download_says_that_it_can_go_on(models: Path, tmp_path: Path) -> None:
    """Ctrl+C in the middle of a file that never ends to arrive."""
    random_checkpoint(TINY, tmp_path / "published" / "original")
    files = {f"original/{path.name}": path.read_bytes() for path in (tmp_path / "published" / "original").iterdir()}
    stalled = threading.Event()
    with serve(Hub("openai/gpt-oss-20b", files, cut_after=1000, stalled=stalled)) as hub:
        process = subprocess.Popen(
            [sys.executable, "-m", "gptoss_tui", "models", "download", "gpt-oss-20b"],
            env=os.environ | {"HF_ENDPOINT": hub.url},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while not [path for path in models.rglob("*.partial") if path.name.startswith("model.safetensors")]:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=30)
        finally:
            process.kill()
            stalled.set()
    assert process.returncode == 130
    assert complaint == "interrupted; run the same command again to resume\n"
    (partial,) = models.rglob("*.partial")
    assert partial.stat().st_size <= 1000


@pytest.mark.parametrize("arguments", [["models", "fetch"], ["models", "download"], ["models", "random", "x"]])
def test_bad_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_listing_imports_neither_torch_nor_the_hub_client() -> None:
    code = (
        "import sys; from gptoss_tui.cli import main; main(['models', 'list']);"
        "sys.exit(bool({'torch', 'huggingface_hub', 'textual'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
