"""Keys of search services, from the environment or from `keys.toml` beside the settings file.

A key is only ever put into a request's header.
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
"""Services and the environment variables of their keys, both in order of preference."""


def keys_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the keys file, whether it exists or not."""
    return config_path(environ).with_name("keys.toml")


def load_keys(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the available keys by service; the environment takes precedence over the file.

    Raises UsageError when the file can be read by others or is not a table of strings. No message contains a key.
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
