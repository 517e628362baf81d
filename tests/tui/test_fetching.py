"""Downloads in the app, from a hub on loopback: progress, an end at once, going on, and what can go wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gptoss_tui.engine.checkpoint import random_checkpoint
from gptoss_tui.tui import first_run
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.controllers.fetching import Speedometer
from gptoss_tui.tui.widgets.loading import LoadingBar
from tests.engine.hub import Hub, serve
from tests.engine.shapes import TINY
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, screen, status
from tests.tui.scripted_agent import make_app

SIZE = (110, 40)
MODEL, WEIGHTS = "gpt-oss-20b", "original/model.safetensors"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("repository")
    random_checkpoint(TINY, root / "original", "original")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*")) if path.is_file()}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are kept, empty, on a disk that has room for those that are published."""
    monkeypatch.setattr(first_run, "disk_free", lambda: 10**12)
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def hub(repository: dict[str, bytes], models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that is silent after some bytes until `stalled` is set."""
    hub = Hub(f"openai/{MODEL}", dict(repository), cut_after=5000, stalled=threading.Event())
    with serve(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        assert running.stalled is not None
        yield running
        running.stalled.set()


def go_on(hub: Hub) -> None:
    """From now on the hub sends everything."""
    assert hub.stalled is not None
    hub.cut_after = None
    hub.stalled.set()


async def fetch(pilot: Pilot[int], wait: str = "Esc stops") -> GptOssApp:
    """Ask for the model, and wait until something is shown."""
    app = pilot.app
    assert isinstance(app, GptOssApp)
    await until(pilot, lambda: "ready" in status(app))
    await ask(pilot)
    await until(pilot, lambda: wait in " ".join(screen(app).split()))
    return app


async def ask(pilot: Pilot[int]) -> None:
    composer(pilot.app).set_draft(f"/model {MODEL}")  # type: ignore[arg-type]
    await pilot.press("enter")


def bar(app: GptOssApp) -> LoadingBar:
    return app.screen_stack[0].query_one(LoadingBar)


async def test_a_download_is_stopped_at_once_although_the_hub_is_silent_and_goes_on_later(
    hub: Hub, models: Path
) -> None:
    app, _ = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await fetch(pilot, f"{MODEL}: 5.4 kB of 226.2 kB")
        await ask(pilot)
        await until(pilot, lambda: "is being downloaded; Esc stops that" in conversation(app))
        await pilot.press("escape")
        await until(pilot, lambda: "What arrived is kept" in conversation(app))
        assert bar(app).has_class("-done")
        assert "nano on" in status(app)
        await ask(pilot)
        await until(pilot, lambda: "waiting for the connection from before" in screen(app))
        go_on(hub)
        await until(pilot, lambda: f"{MODEL} is loaded" in conversation(app))
        assert bar(app).has_class("-done")
    assert [sent.first for sent in hub.sent if sent.path == WEIGHTS] == [0, 5000]
    assert (models / MODEL / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


async def test_what_has_arrived_is_in_the_list_of_models_and_choosing_it_goes_on(hub: Hub, models: Path) -> None:
    digest = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()[:16]
    (models / MODEL / "original").mkdir(parents=True)
    (models / MODEL / f"{WEIGHTS}.{digest}.partial").write_bytes(hub.files[WEIGHTS][:1000])
    go_on(hub)
    app, _ = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"/model", "enter")
        await until(pilot, lambda: "0% here" in screen(app))
        await pilot.press("down")
        assert "1.0 kB of 13.8 GB are here" in screen(app)
        await pilot.press("enter")
        await until(pilot, lambda: f"{MODEL} is loaded" in conversation(app))
    assert [sent.first for sent in hub.sent if sent.path == WEIGHTS] == [1000]


async def test_a_model_that_arrives_while_a_turn_runs_waits_for_its_end(hub: Hub) -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SIZE) as pilot:
        await fetch(pilot)
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: agent.prompts == ["hello"])
        go_on(hub)
        await until(pilot, lambda: bar(app).has_class("-done"))
        assert not agent.closed
        agent.release()
        await until(pilot, lambda: f"{MODEL} is loaded" in conversation(app))
        assert agent.closed


async def test_damaged_and_too_large_models_are_refused_and_the_next_try_works(hub: Hub, models: Path) -> None:
    go_on(hub)
    hub.damaged.add(WEIGHTS)
    app, _ = make_app(hardware=lambda: "A processor")
    async with app.run_test(size=SIZE) as pilot:
        await fetch(pilot, "arrived damaged and was deleted")
        assert list((models / MODEL / "original").iterdir()) == [models / MODEL / "original" / "config.json"]
        hub.damaged.clear()
        hub.announced_size[WEIGHTS] = 10**18
        await fetch(pilot, "are missing; nothing was downloaded")
        hub.announced_size.clear()
        assert f"↓ {MODEL}" in conversation(app)
        await fetch(pilot, f"{MODEL} is loaded")
        await until(pilot, lambda: f"● {MODEL}   is here, runs now" in conversation(app))
        assert "● nano          built in: small" in conversation(app)


async def test_a_disk_that_fills_up_keeps_what_arrived(hub: Hub, models: Path) -> None:
    digest = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()[:16]
    (models / MODEL / "original").mkdir(parents=True)
    (models / MODEL / f"{WEIGHTS}.{digest}.partial").symlink_to("/dev/full")
    go_on(hub)
    app, _ = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await fetch(pilot, "is full")
        assert "what arrived is kept" in " ".join(conversation(app).split())
        assert "nano on" in status(app)


def test_speed_and_the_time_that_is_left() -> None:
    meter = Speedometer()
    meter.note(0.0, 0)
    assert meter.tell(10**9) == ""
    for second in range(1, 5):
        meter.note(second, second * 10**7)
    assert meter.tell(10**9) == "10.0 MB/s, 2 min left"
    assert meter.tell(5 * 10**7) == "10.0 MB/s, 1 s left"
    assert meter.tell(10**11) == "10.0 MB/s, 2 h 47 min left"
    meter.note(9.0, 4 * 10**7)
    assert meter.tell(10**9) == "nothing came for 5 s"
