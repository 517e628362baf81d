"""Downloads from a hub on loopback, whole and interrupted, by way of the real client library."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.engine import download
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.config import Layout
from gptoss_tui.engine.download import DownloadProgress, download_model
from gptoss_tui.errors import DownloadError, UnknownModelError
from tests.engine.hub import Hub, serve
from tests.engine.shapes import TINY

WEIGHTS = "original/model.safetensors"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a repository as published: both layouts, and more that is not asked for."""
    root = tmp_path_factory.mktemp("repository")
    random_checkpoint(TINY, root, "huggingface", max_shard_bytes=200_000)
    random_checkpoint(TINY, root / "original", "original")
    (root / "original" / "dtypes.json").write_text("{}")
    (root / "README.md").write_text("# A model")
    (root / "metal").mkdir()
    (root / "metal" / "model.bin").write_bytes(bytes(1000))
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def hub(repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that holds the repository, and an environment that points to it."""
    with serve(Hub("openai/gpt-oss-20b", dict(repository))) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def files_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_only_the_original_layout_is_fetched_by_default(hub: Hub, tmp_path: Path) -> None:
    progress: list[DownloadProgress] = []
    directory = download_model("gpt-oss-20b", on_progress=progress.append)
    assert directory == tmp_path / "models" / "gpt-oss-20b"
    assert files_in(directory) == {"original/config.json", WEIGHTS}
    assert open_checkpoint(directory).config == TINY
    total = sum(len(hub.files[name]) for name in files_in(directory))
    assert [step.done for step in progress] == sorted(step.done for step in progress)
    assert (progress[-1].done, {step.total for step in progress}) == (total, {total})
    assert {step.stage for step in progress} == {"downloading", "verifying"}


def test_the_huggingface_layout_is_fetched_when_asked_for(hub: Hub) -> None:
    directory = download_model("openai/gpt-oss-20b", "huggingface")
    checkpoint = open_checkpoint(directory)
    assert (checkpoint.layout, checkpoint.directory) == ("huggingface", directory)
    assert {name for name in files_in(directory) if "/" in name or not name.startswith(("model", "config"))} == {
        "generation_config.json"
    }
    assert len([name for name in files_in(directory) if name.endswith(".safetensors")]) > 1


@pytest.mark.parametrize("layout", ["original", "huggingface"])
def test_what_is_there_is_not_fetched_again(hub: Hub, layout: Layout) -> None:
    directory = download_model("gpt-oss-20b", layout)
    before = len(hub.sent)
    assert download_model("gpt-oss-20b", layout) == directory
    assert len(hub.sent) == before


def test_an_interrupted_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    size = len(hub.files[WEIGHTS])
    hub.cut_after, hub.down_after_cut = size // 3, True
    with pytest.raises(DownloadError, match=r"503.* is kept in") as caught:
        download_model("gpt-oss-20b")
    assert "goes on" in str(caught.value.hint)
    kept = next((tmp_path / "models").rglob("*.partial")).stat().st_size
    assert kept == size // 3

    hub.refusal = None
    directory = download_model("gpt-oss-20b")
    assert [sent.first for sent in hub.sent if sent.path == WEIGHTS] == [0, kept]
    assert hub.bytes_sent(WEIGHTS) == size
    assert (directory / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert not list(directory.rglob("*.partial"))


def test_a_lost_connection_is_resumed_within_the_call(hub: Hub) -> None:
    hub.cut_after = 1000
    directory = download_model("gpt-oss-20b")
    assert [sent.first for sent in hub.sent if sent.path == WEIGHTS] == [0, 1000]
    assert (directory / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_connections_that_bring_nothing_are_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSES", (0, 0))
    hub.cut_after, hub.cuts = 0, 10
    with pytest.raises(DownloadError, match="is kept in"):
        download_model("gpt-oss-20b")
    assert [sent.count for sent in hub.sent if sent.path == WEIGHTS] == [0, 0, 0]


def test_a_server_that_knows_no_ranges_sends_all_again(hub: Hub) -> None:
    hub.cut_after, hub.ranges = 1000, False
    directory = download_model("gpt-oss-20b")
    assert [sent.first for sent in hub.sent if sent.path == WEIGHTS] == [0, 0]
    assert (directory / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_a_partial_of_an_older_version_is_not_used(hub: Hub, tmp_path: Path) -> None:
    stale = tmp_path / "models" / "gpt-oss-20b" / f"{WEIGHTS}.0123456789abcdef.partial"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"x" * 500)
    directory = download_model("gpt-oss-20b")
    assert hub.bytes_sent(WEIGHTS) == len(hub.files[WEIGHTS])
    assert files_in(directory) == {"original/config.json", WEIGHTS}


@pytest.mark.parametrize("name", [WEIGHTS, "original/config.json"])
def test_damaged_content_is_thrown_away(name: str, hub: Hub) -> None:
    hub.damaged.add(name)
    with pytest.raises(DownloadError, match=f"{name} .* damaged"):
        download_model("gpt-oss-20b")
    hub.damaged.clear()
    assert open_checkpoint(download_model("gpt-oss-20b")).config == TINY


def test_a_model_larger_than_the_disk_is_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.announced_size[WEIGHTS] = 10**18
    with pytest.raises(DownloadError, match=r"1000000000.0 GB are missing; nothing was downloaded"):
        download_model("gpt-oss-20b")
    assert hub.sent == []
    assert not (tmp_path / "models").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_disk_that_fills_up_is_said(hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()[:16]
    partial = tmp_path / "models" / "gpt-oss-20b" / f"{WEIGHTS}.{digest}.partial"
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="is full") as caught:
        download_model("gpt-oss-20b")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_two_downloads_of_a_file_do_not_mix(hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()[:16]
    partial = tmp_path / "models" / "gpt-oss-20b" / f"{WEIGHTS}.{digest}.partial"
    partial.parent.mkdir(parents=True)
    with partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            download_model("gpt-oss-20b")
    assert hub.bytes_sent(WEIGHTS) == 0


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (401, "RepoNotFound", "401", "HF_TOKEN"),
        (403, "GatedRepo", "terms", "accept"),
        (403, "", "403", "HF_TOKEN"),
        (404, "RepoNotFound", "404", "HF_ENDPOINT"),
        (500, "", "500", "again"),
    ],
)
def test_a_refusal_of_the_hub_is_explained(status: int, code: str, message: str, hint: str, hub: Hub) -> None:
    hub.refusal = (status, code)
    with pytest.raises(DownloadError, match=message) as caught:
        download_model("gpt-oss-20b")
    assert hint in str(caught.value.hint)


def test_the_token_goes_to_the_hub_and_not_beyond(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    with pytest.raises(DownloadError, match="401"):
        download_model("gpt-oss-20b")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.seen.clear()
    download_model("gpt-oss-20b")
    storage = [token for path, token in hub.seen if path.startswith("/cdn/")]
    assert storage == [None]
    assert {token for path, token in hub.seen if not path.startswith("/cdn/")} == {"Bearer hf_secret"}


def test_a_hub_that_cannot_be_reached_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(DownloadError, match="could not be downloaded"):
            download_model("gpt-oss-20b")


def test_the_proxy_variables_are_honoured(hub: Hub, tmp_path: Path) -> None:
    """In a process of its own: the client library reads them once."""
    hub.url = "http://hub.invalid"
    env = os.environ | {"HF_ENDPOINT": hub.url, "HTTP_PROXY": os.environ["HF_ENDPOINT"], "NO_PROXY": ""}
    env = {name: value for name, value in env.items() if name not in ("http_proxy", "no_proxy")}
    code = "from gptoss_tui.engine.download import download_model; print(download_model('gpt-oss-20b'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert open_checkpoint(Path(done.stdout.strip())).config == TINY
    assert all(path.startswith("http://hub.invalid/") for path, _ in hub.seen)


def test_an_unknown_model_names_the_known_ones(hub: Hub) -> None:
    with pytest.raises(UnknownModelError) as caught:
        download_model("gpt-5")
    assert "gpt-oss-20b" in str(caught.value.hint)
    assert hub.seen == []


def test_a_repository_without_the_layout_is_said(hub: Hub) -> None:
    hub.files = {name: content for name, content in hub.files.items() if not name.startswith("original/")}
    with pytest.raises(DownloadError, match="no files of the original layout"):
        download_model("gpt-oss-20b")
