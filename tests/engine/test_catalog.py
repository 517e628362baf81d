"""From a name or a path to a directory, by way of real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gptoss_tui.engine import nano
from gptoss_tui.engine.catalog import (
    PUBLISHED,
    installed_models,
    models_directory,
    published_model,
    resolve_model,
)
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.errors import ModelNotFoundError
from tests.engine.shapes import TINY


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models directory and an empty Hugging Face cache, whatever the machine has."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path


def cache_model(hub: Path, name: str) -> Path:
    """Put a checkpoint where huggingface_hub keeps it: a snapshot of links to blobs. Returns the snapshot."""
    repository = hub / f"models--openai--{name}"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    blobs = repository / "blobs"
    random_checkpoint(TINY, blobs, "huggingface")
    for blob in list(blobs.iterdir()):
        (snapshot / blob.name).symlink_to(blob)
    return snapshot


@pytest.mark.parametrize("name", ["gpt-oss-20b", "openai/gpt-oss-20b"])
def test_a_downloaded_model_is_found_by_its_names(name: str, home: Path) -> None:
    random_checkpoint(TINY, home / "models" / "gpt-oss-20b" / "original")
    assert resolve_model(name) == home / "models" / "gpt-oss-20b"
    assert open_checkpoint(resolve_model(name)).config == TINY


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"])
def test_a_model_in_the_hugging_face_cache_is_found(variable: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable != "HF_HOME":
        monkeypatch.delenv("HF_HOME")
        monkeypatch.setenv(variable, str(home / "elsewhere"))
    hub = {
        "HF_HOME": home / "hf" / "hub",
        "XDG_CACHE_HOME": home / "elsewhere" / "huggingface" / "hub",
    }.get(variable, home / "elsewhere")
    snapshot = cache_model(hub, "gpt-oss-120b")
    assert resolve_model("gpt-oss-120b") == snapshot
    assert open_checkpoint(snapshot).layout == "huggingface"


def test_the_models_directory_comes_before_the_cache(home: Path) -> None:
    cache_model(home / "hf" / "hub", "gpt-oss-20b")
    random_checkpoint(TINY, home / "models" / "gpt-oss-20b" / "original")
    assert resolve_model("gpt-oss-20b") == home / "models" / "gpt-oss-20b"


def test_an_incomplete_model_is_not_taken(home: Path) -> None:
    snapshot = cache_model(home / "hf" / "hub", "gpt-oss-20b")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="not on this machine") as caught:
        resolve_model("gpt-oss-20b")
    assert caught.value.hint == "download it (13.8 GB): gptoss-tui models download gpt-oss-20b"
    partial = home / "models" / "gpt-oss-20b" / "original" / "model.safetensors.0123.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x")
    with pytest.raises(ModelNotFoundError, match="not complete") as caught:
        resolve_model("gpt-oss-20b")
    assert caught.value.hint == "finish the download: gptoss-tui models download gpt-oss-20b"


def test_a_folder_of_the_models_directory_is_a_name(home: Path) -> None:
    random_checkpoint(TINY, home / "models" / "mine")
    assert resolve_model("mine") == home / "models" / "mine"


def test_a_directory_is_taken_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "gpt-oss-20b").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    assert resolve_model(home / "gpt-oss-20b") == home / "gpt-oss-20b"
    assert resolve_model("./gpt-oss-20b") == Path("gpt-oss-20b")
    assert resolve_model("~/gpt-oss-20b") == home / "gpt-oss-20b"
    with pytest.raises(ModelNotFoundError):
        resolve_model("gpt-oss-20b")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt-oss-21b", "did you mean gpt-oss-20b?"),
        ("llama", "models list"),
        ("./none", "models list"),
        ("gpu.example:8000/v1", "written http://gpu.example:8000/v1"),
    ],
)
def test_what_is_not_there_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no model or directory") as caught:
        resolve_model(name)
    assert hint in str(caught.value.hint)


def test_installed_models_are_listed_with_their_state(home: Path) -> None:
    random_checkpoint(TINY, home / "models" / "mine", "huggingface")
    (home / "models" / "gpt-oss-120b").mkdir()
    (home / "models" / "gpt-oss-120b" / "model.safetensors.0.partial").write_bytes(b"12345")
    (home / "models" / ".cache").mkdir()
    cache_model(home / "hf" / "hub", "gpt-oss-20b")
    found = {model.name: model for model in installed_models() if model.source != "built in"}
    assert set(found) == {"mine", "gpt-oss-120b", "gpt-oss-20b"}
    assert (found["mine"].layout, found["mine"].problem) == ("huggingface", None)
    assert found["mine"].size == open_checkpoint(home / "models" / "mine").weight_bytes
    assert (found["gpt-oss-120b"].layout, found["gpt-oss-120b"].size) == (None, 5)
    assert "holds no" in str(found["gpt-oss-120b"].problem)
    assert found["gpt-oss-20b"].source == "Hugging Face cache"


def test_nothing_is_listed_where_nothing_is(home: Path) -> None:
    shutil.rmtree(home / "models", ignore_errors=True)
    assert [model for model in installed_models() if model.source != "built in"] == []


def test_nano_is_the_file_that_ships_with_us(home: Path) -> None:
    (home / "models" / "nano").mkdir(parents=True)
    assert resolve_model("nano") == nano.compact_file()


@pytest.mark.skipif(not nano.compact_file().is_file(), reason="the built-in model is not in this tree")
def test_nano_is_listed_first() -> None:
    first = installed_models()[0]
    assert (first.name, first.source, first.size) == ("nano", "built in", nano.compact_file().stat().st_size)


def test_the_user_s_data_directory_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPTOSS_MODELS_DIR")
    assert models_directory().parts[-2:] == ("gptoss-tui", "models")


def test_published_models() -> None:
    assert published_model("openai/gpt-oss-120b") is PUBLISHED["gpt-oss-120b"]
    assert published_model("gpt-oss-7b") is None
    assert {name: round(model.weight_bytes / 1e9, 2) for name, model in PUBLISHED.items()} == {
        "gpt-oss-20b": 13.76,
        "gpt-oss-120b": 65.25,
    }
