"""`gptoss-tui sandbox`: states, builds and tests of real backends; refusals where there are none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui import cli
from gptoss_tui.tools.python import image
from gptoss_tui.tools.python.choose import packages_folder
from tests.sandboxes import missing

TAG = f"gptoss-tui-test:{os.getpid()}"
BUILT = f"{TAG}-built"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Docker engine, and an image of our own that is gone afterwards."""
    try:
        client = image.connect()
    except image.SandboxError as error:
        missing(error.message, "docker")
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_IMAGE", TAG)
    yield
    for built in (BUILT, TAG):
        if client.images.list(name=built):
            client.images.remove(built, force=True)
    client.close()


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.mark.usefixtures("engine")
def test_an_image_is_built_tested_and_removed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["sandbox", "build", "--offline"]) == 0
    assert "docker       holds: all 15 attempts to get out failed" in capsys.readouterr().out
    assert cli.main(["sandbox", "status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["python"] == "docker"
    assert state["backends"]["docker"]["works"]
    assert state["backends"]["docker"]["image"]["packages"] == []
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_IMAGE", BUILT)
    assert cli.main(["sandbox", "build", "--base", TAG]) == 0
    assert f"built {BUILT}" in capsys.readouterr().out
    assert cli.main(["sandbox", "clean", "--all"]) == 0
    assert f"removed the image {BUILT}" in capsys.readouterr().out


@pytest.mark.usefixtures("engine")
def test_a_base_that_cannot_be_had_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sandbox", "build", "--base", "localhost:1/no-such-image"]) == 1
    assert "the image was not built" in capsys.readouterr().err


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sandbox", "build"]) == 1
    assert "the Docker engine does not answer" in capsys.readouterr().err
    assert cli.main(["sandbox", "status"]) == 0
    assert "docker       not here: the engine does not answer" in capsys.readouterr().out


@pytest.mark.usefixtures("no_engine")
def test_what_is_tested_decides_the_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_SANDBOX", "docker")
    assert cli.main(["sandbox", "test", "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["docker"]["works"]


@pytest.mark.parametrize(
    "words", [["--index-url=x"], ["a;b"], ["../x"], ["git+https://x"], ["--offline", "numpy"], ["--for", "bubblewrap"]]
)
def test_what_is_no_package_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(["sandbox", "build", *words])
    except SystemExit as exit_:  # argparse does not know the option
        code = int(str(exit_.code))
    assert code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("name", ["numpy", "pandas==2.3.0", "uvicorn[standard]>=0.30", "a-b_c.d"])
def test_names_of_packages(name: str) -> None:
    assert image.checked_packages([name]) == (name,)


def test_packages_are_for_one_version_of_python() -> None:
    assert packages_folder().name.startswith("python-packages-3.")


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root runs bubblewrap as who they are")
def test_packages_that_bubblewrap_would_not_show_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "closed"))
    (tmp_path / "closed").mkdir(mode=0o700)
    assert cli.main(["sandbox", "build", "--for", "bubblewrap", "numpy"]) == 1
    assert "would not show the packages" in capsys.readouterr().err
