"""User settings, read from a TOML file, the environment and command-line flags; later sources override earlier ones.

The file is `config.toml` in the user's configuration folder, or the one that GPTOSS_TUI_CONFIG names. A setting has the
same name everywhere: `reasoning_effort` in the file, GPTOSS_TUI_REASONING_EFFORT in the environment,
`--reasoning-effort` as a flag.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin, get_type_hints

from platformdirs import user_config_path

from gptoss_tui.engine.dtype import Dense, Dtype
from gptoss_tui.engine.remote.address import remote_name
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.effort import EFFORTS, Effort

if TYPE_CHECKING:
    from gptoss_tui.engine.types import EngineSpec, SamplingParams

CONFIG_VARIABLE = "GPTOSS_TUI_CONFIG"
PREFIX = "GPTOSS_TUI_"

SandboxChoice = Literal["auto", "docker", "bubblewrap"]
Mode = Literal["read-only", "ask", "auto-edit", "full-auto"]
"""How much the model may do without asking the user, strictest first."""
APPROVE_MODES: Final[Mapping[str, Mode]] = {
    "none": "ask",
    "edits": "auto-edit",
    "sandboxed": "full-auto",
    "all": "full-auto",
}
"""The mode for each word of `--approve`. `all` also allows most of what the mode would ask about."""
BrowserBackend = Literal["auto", "local", "exa", "youcom", "brave", "tavily", "searxng", "duckduckgo"]
Runaways = Literal["stop", "ask", "off"]
"""What happens when the model repeats itself: it is stopped and made to continue, the user is asked, or nothing."""
Notifications = Literal["auto", "osc9", "osc777", "bell", "off"]
Pictures = Literal["auto", "kitty", "iterm2", "sixel", "off"]
"""The terminal protocol for drawing figures; `auto` queries the terminal."""

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_NOT_ZERO = ("context", "max_tokens", "threads")
_NOT_NEGATIVE = (
    *(f"reasoning_tokens_{effort}" for effort in EFFORTS),
    "repeated_tokens",
    "parked_gb",
    "max_tool_calls",
)
FILE_ONLY = ("keys", "notify")
"""Settings that can only be set in the file, because a variable or flag cannot express their values."""

COMPACT_AT = 85
"""Percent of the context. The rest is enough for the request to summarise and for the summary itself."""

NANO_CONTEXT = 8192
"""Default context of the built-in model, in tokens: it was not trained on longer contexts."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. None means that the default of the model or of the machine applies.

    `temperature` None is the model's default (1.0 for gpt-oss). `parked_gb` is the memory for waiting conversations in
    GB; None means as much as one context takes and memory allows. `context`, `max_tokens` and `threads` are at least 1.
    `reasoning_tokens_*` limit the thinking before a call or an answer, one for each effort; 0 means no limit.
    `compact_at` is a percentage of the context, see `compacts_at`.
    `browser_folder` None means the app's own documentation; `browser_proxy` is used for every request of the browser.
    `python_image` is a Docker image that must already exist; `python_workspace` lets Python read the workspace.
    `shell`, `edit_file` and `plan` None offer these tools to every model except nano, which was trained without them.
    `agents_md` None lets every model except nano read AGENTS.md; `skills` None tells every model except nano about
    skills. `grounded_patches` None means on for nano only.
    `notify` is a program with its arguments that is started when a turn ends or waits for an answer.
    `vim` None does what `/vim` chose last.
    `keys` maps action ids (see `docs/keys.md`) to the user's own keys.
    """

    model: str = "nano"
    backend: str = "auto"
    dtype: Dtype = "bfloat16"
    dense: Dense | None = None
    drafts: bool = True
    context: int | None = None
    parked_gb: float | None = None
    threads: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    max_tool_calls: int = 50
    compact_at: int | None = None
    reasoning_effort: Effort = "medium"
    reasoning_tokens_low: int = 4096
    reasoning_tokens_medium: int = 16384
    reasoning_tokens_high: int = 0
    runaways: Runaways = "stop"
    repeated_tokens: int = 400
    repeated_calls: int = 3
    mode: Mode | None = None
    developer_message: str | None = None
    agents_md: bool | None = None
    skills: bool | None = None
    apply_patch: bool = True
    browser: bool = False
    python: bool = False
    browser_backend: BrowserBackend = "auto"
    browser_folder: Path | None = None
    browser_proxy: str | None = None
    searxng_url: str | None = None
    python_sandbox: SandboxChoice = "auto"
    python_image: str = "gptoss-tui-python"
    python_stateful: bool = True
    python_workspace: bool = False
    shell: bool | None = None
    edit_file: bool | None = None
    plan: bool | None = None
    show_browser_results: bool = False
    raw: bool = False
    constrain_headers: bool = True
    strict_arguments: bool = False
    grounded_patches: bool | None = None
    workspace: Path = Path()
    theme: str = "auto"
    notifications: Notifications = "auto"
    notify: tuple[str, ...] = ()
    pictures: Pictures = "auto"
    mouse: bool = True
    vim: bool | None = None
    plain: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_nano(self) -> bool:
        """Whether the model is the built-in one, run locally or named in a server's address."""
        return "nano" in (self.model, remote_name(self.model))

    @property
    def parked_bytes(self) -> int | None:
        """Memory for waiting conversations in bytes; None means as much as one context takes and memory allows."""
        return None if self.parked_gb is None else int(self.parked_gb * 1e9)

    @property
    def compacts_at(self) -> int:
        """The percentage of the context at which a conversation is compacted; 0 means never.

        The default for nano is never: it cannot summarise, and its summaries would be unrelated to the conversation.
        """
        if self.compact_at is not None:
            return self.compact_at
        return 0 if self.is_nano else COMPACT_AT

    @property
    def reasoning_tokens(self) -> dict[Effort, int]:
        """How many tokens the model may think before a call or an answer, by effort; 0 means no limit."""
        return {
            "low": self.reasoning_tokens_low,
            "medium": self.reasoning_tokens_medium,
            "high": self.reasoning_tokens_high,
        }

    @property
    def reads_agents_md(self) -> bool:
        """Whether the model gets the contents of AGENTS.md; nano is too small to follow them."""
        return not self.is_nano if self.agents_md is None else self.agents_md

    @property
    def tells_skills(self) -> bool:
        """Whether the model is told which skills are available; nano is too small to use them."""
        return not self.is_nano if self.skills is None else self.skills

    @property
    def offers_shell(self) -> bool:
        """Whether the model is told about the shell."""
        return not self.is_nano if self.shell is None else self.shell

    @property
    def grounds_patches(self) -> bool:
        """Whether patches are constrained to match the files that they name while the model writes them.

        This was only measured with nano. When a larger model writes a line that does not match, it may mean another
        file.
        """
        return self.is_nano if self.grounded_patches is None else self.grounded_patches

    @property
    def offers_edit_file(self) -> bool:
        """Whether the model is told about `edit_file` in addition to `apply_patch`."""
        return not self.is_nano and self.apply_patch if self.edit_file is None else self.edit_file

    @property
    def offers_plan(self) -> bool:
        """Whether the model is told about the tool that shows its plan."""
        return not self.is_nano if self.plan is None else self.plan

    def engine_spec(self) -> EngineSpec:
        """The model to load and how.

        Raises ModelNotFoundError when `model` is neither installed nor a checkpoint directory. Raises UsageError when
        `model` is an invalid server address, or when the backend does not fit (a local backend for a server, or the
        remote backend without one).
        """
        from gptoss_tui.engine.remote.address import BACKEND, is_address, parse_address
        from gptoss_tui.engine.types import EngineSpec

        if is_address(self.model):
            parse_address(self.model)
            if self.backend not in ("auto", BACKEND):
                raise UsageError(f"The backend {self.backend} only runs local models, but {self.model} is a server")
            return EngineSpec(Path(), BACKEND, context=self.context, name=remote_name(self.model), url=self.model)
        if self.backend == BACKEND:
            raise UsageError("The backend remote needs a server", hint="--model http://HOST:PORT/v1 or .../v1#NAME")
        from gptoss_tui.engine.catalog import NANO, published_model, resolve_model

        named = self.model == NANO or published_model(self.model)
        return EngineSpec(
            checkpoint=resolve_model(self.model),
            backend=self.backend,
            dtype=self.dtype,
            dense=self.dense,
            drafts=self.drafts,
            context=NANO_CONTEXT if self.context is None and self.model == NANO else self.context,
            threads=self.threads,
            parked_bytes=self.parked_bytes,
            name=self.model if named else "",
        )

    def sampling(self, default_temperature: float = 1.0) -> SamplingParams:
        """The sampling parameters; `default_temperature` is the model's default."""
        from gptoss_tui.engine.types import SamplingParams

        return SamplingParams(
            temperature=default_temperature if self.temperature is None else self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            max_tokens=self.max_tokens,
        )


_TYPES = get_type_hints(Settings)


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the settings file, whether or not it exists."""
    named = environ.get(CONFIG_VARIABLE)
    return Path(named).expanduser() if named else user_config_path("gptoss-tui") / "config.toml"


def load_settings(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings of this run. `flags` maps setting names to values; unknown names and None are ignored.

    Raises UsageError, naming the file, variable or flag and the key, when a key is unknown or a value is invalid.
    """
    values = {**_from_file(config_path(environ), required=CONFIG_VARIABLE in environ), **_from_environment(environ)}
    for name, value in (flags or {}).items():
        if name in _TYPES and value is not None:
            values[name] = _checked(name, value, f"--{name.replace('_', '-')}")
    settings = Settings(**values)
    return dataclasses.replace(settings, workspace=settings.workspace.expanduser().absolute())


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise UsageError(f"{path}: there is no such file", hint=f"{CONFIG_VARIABLE} points to it") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    import tomllib  # imported late: most users have no such file, and the first screen should not wait for it

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint="fix that line, or move the file away") from error
    for name in table:
        if name not in _TYPES:
            raise UsageError(f"{path}: unknown key `{name}`", hint=_known_keys(name))
    return {name: _checked(name, value, f"{path}: {name}") for name, value in table.items()}


def _known_keys(name: str) -> str:
    """A hint with the key that was probably meant, or with all keys."""
    import difflib

    near = difflib.get_close_matches(name, _TYPES, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(_TYPES)}"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name in (name for name in _TYPES if name not in FILE_ONLY):
        variable = PREFIX + name.upper()
        if text := environ.get(variable):
            values[name] = _checked(name, _parsed(name, text, variable), variable)
    return values


def _base_type(name: str) -> Any:
    """The type of setting `name` without its `| None`."""
    options = [t for t in get_args(_TYPES[name]) if t is not type(None)]
    return _TYPES[name] if get_origin(_TYPES[name]) is Literal or not options else options[0]


def _parsed(name: str, text: str, where: str) -> Any:
    """Parse `text`, the value of an environment variable. Raises UsageError."""
    wanted = _base_type(name)
    if wanted is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise UsageError(f"{where} must be true or false, got {text!r}")
        return text.lower() in _TRUE
    if wanted in (int, float):
        try:
            return wanted(text)
        except ValueError:
            raise UsageError(f"{where} must be a number, got {text!r}") from None
    return text


def _checked(name: str, value: Any, where: str) -> Any:
    """Convert `value` to the setting's type. Raises UsageError whose message begins with `where`."""
    if name == "keys":
        return _flat_table(value, where)
    if name == "notify":
        return _command(value, where)
    wanted = _base_type(name)
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise UsageError(f"{where} must be one of {', '.join(get_args(wanted))}, got {value!r}")
        return value
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is Path and isinstance(value, str):
        value = Path(value)
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise UsageError(f"{where} must be {_TYPE_WORDS[wanted]}, got {value!r}")
    _check_range(name, value, where)
    return value


def _command(value: Any, where: str) -> tuple[str, ...]:
    """A program and its arguments; an empty list means no program. Raises UsageError."""
    if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise UsageError(f"{where} must be a list of strings, got {value!r}", hint='["notify-send", "gptoss-tui"]')
    if value and not value[0]:
        raise UsageError(f"{where} must begin with the name of a program")
    return tuple(value)


def _flat_table(value: Any, where: str) -> dict[str, str]:
    """Flatten a table of strings: `a.b = "x"` becomes `"a.b" = "x"`, and lists are joined with commas.

    Raises UsageError.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} must be a table, got {value!r}")
    flat: dict[str, str] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= {f"{key}.{inner}": text for inner, text in _flat_table(entry, f"{where}.{key}").items()}
        elif isinstance(entry, list) and all(isinstance(item, str) for item in entry):
            flat[key] = ", ".join(entry)
        elif isinstance(entry, str):
            flat[key] = entry
        else:
            raise UsageError(f"{where}.{key} must be a string, got {entry!r}")
    return flat


def _check_range(name: str, value: Any, where: str) -> None:
    if name == "compact_at" and not 0 <= value <= 95:
        raise UsageError(f"{where} must be between 0 and 95, got {value}")
    if name in _NOT_ZERO and value < 1:
        raise UsageError(f"{where} must be at least 1, got {value}")
    if name in _NOT_NEGATIVE and not 0 <= value < float("inf"):
        raise UsageError(f"{where} must be 0 or more, got {value}")
    if name == "repeated_calls" and value < 2:
        raise UsageError(f"{where} must be at least 2, got {value}")
    if name in ("temperature", "top_p"):
        from gptoss_tui.engine.types import SamplingParams

        try:
            SamplingParams(**{name: value})
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}") from None


_TYPE_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
