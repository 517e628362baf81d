"""Keys of search services, from the environment or from `keys.toml` beside the settings file.

A key goes into the header of a request and nowhere else.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from gptoss_tui.errors import UsageError
from gptoss_tui.settings import config_path

VARIABLES: dict[str, tuple[str, ...]] = {
    "exa": ("EXA_API_KEY",),
    "youcom": ("YDC_API_KEY", "YOUCOM_API_KEY"),
    "brave": ("BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY"),
    "tavily": ("TAVILY_API_KEY",),
}
"""Services and where the environment may hold their keys, in the order in which they are preferred."""


def keys_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the file of keys is, or would be."""
    return config_path(environ).with_name("keys.toml")


def load_keys(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The keys that there are, by service; the environment's before the file's.

    Raises UsageError when the file can be read by others or is not a table of texts. No message has a key in it.
    """
    keys = _from_file(keys_path(environ))
    for service, variables in VARIABLES.items():
        for variable in reversed(variables):
            if value := environ.get(variable, "").strip():
                keys[service] = value
    return keys


def _from_file(path: Path) -> dict[str, str]:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path} can be read by others", hint=f"chmod 600 {path}")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except tomllib.TOMLDecodeError:
        raise UsageError(f"{path} is not TOML", hint='one line per service, such as: exa = "the key"') from None
    for name, value in table.items():
        if name not in VARIABLES or not isinstance(value, str):
            raise UsageError(f"{path}: {name} is not a service with a key", hint=f"known: {', '.join(VARIABLES)}")
    return {name: value.strip() for name, value in table.items() if value.strip()}
