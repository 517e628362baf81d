"""Which backend is taken, where keys come from, and that they stay there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.errors import UsageError
from gptoss_tui.settings import Settings
from gptoss_tui.tools.browser.choose import choose_backend
from gptoss_tui.tools.browser.search.keys import keys_path, load_keys

KEY = "key-0123456789abcdef"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"GPTOSS_TUI_CONFIG": str(tmp_path / "config.toml")}


def write_keys(environ: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = keys_path(environ)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("settings", "keys", "name"),
    [
        ({}, {}, "local documents"),
        ({"model": "gpt-oss-20b"}, {}, "DuckDuckGo"),
        ({"model": "gpt-oss-20b", "browser_folder": Path()}, {}, "local documents"),
        ({"model": "gpt-oss-20b", "searxng_url": "http://localhost:8888"}, {}, "SearXNG"),
        ({"model": "gpt-oss-20b", "searxng_url": "http://localhost:8888"}, {"TAVILY_API_KEY": KEY}, "Tavily"),
        ({"model": "gpt-oss-20b"}, {"YDC_API_KEY": KEY, "BRAVE_API_KEY": KEY}, "You.com"),
        ({"model": "gpt-oss-20b"}, {"BRAVE_SEARCH_API_KEY": KEY}, "Brave"),
        ({"model": "gpt-oss-20b"}, {"EXA_API_KEY": " "}, "DuckDuckGo"),
        ({"browser_backend": "exa"}, {"EXA_API_KEY": KEY}, "Exa"),
        ({"browser_backend": "local"}, {"EXA_API_KEY": KEY}, "local documents"),
        ({"browser_backend": "duckduckgo"}, {"EXA_API_KEY": KEY}, "DuckDuckGo"),
    ],
)
def test_choice(environ: dict[str, str], settings: dict[str, object], keys: dict[str, str], name: str) -> None:
    backend = choose_backend(Settings(**settings), {**environ, **keys})  # type: ignore[arg-type]
    assert backend.name == name
    assert backend.remote == (name != "local documents")
    assert KEY not in repr(vars(backend)) + backend.description


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"browser_backend": "brave"}, "search service brave needs a key"),
        ({"browser_backend": "searxng"}, "address of your SearXNG is missing"),
        ({"browser_backend": "searxng", "searxng_url": "localhost:8888"}, "searxng_url is not an http"),
        ({"browser_backend": "duckduckgo", "browser_proxy": "socks5://x"}, "browser_proxy is not an http"),
        ({"browser_folder": Path("/nowhere/at/all")}, "not a folder"),
    ],
)
def test_what_cannot_work_says_why(environ: dict[str, str], settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_backend(Settings(**settings), environ)  # type: ignore[arg-type]


def test_keys_of_the_file(environ: dict[str, str]) -> None:
    assert load_keys(environ) == {}
    write_keys(environ, f'exa = "{KEY}"\nbrave = " b "\ntavily = ""\n')
    assert load_keys(environ) == {"exa": KEY, "brave": "b"}
    assert load_keys({**environ, "EXA_API_KEY": "other"})["exa"] == "other"
    assert choose_backend(Settings(model="gpt-oss-20b"), environ).name == "Exa"


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (f'exa = "{KEY}"', 0o644, "can be read by others"),
        (f'exa = "{KEY}"', 0o640, "can be read by others"),
        (f'google = "{KEY}"', 0o600, "google is not a service"),
        (f'exa = ["{KEY}"]', 0o600, "exa is not a service"),
        (f"exa = {KEY}", 0o600, "is not TOML"),
    ],
)
def test_files_that_are_wrong(environ: dict[str, str], text: str, mode: int, message: str) -> None:
    write_keys(environ, text, mode)
    with pytest.raises(UsageError, match=message) as raised:
        load_keys(environ)
    assert KEY not in str(raised.value)
