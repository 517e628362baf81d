"""Settings: file, environment, flags, in that order, and errors that say where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.errors import ModelNotFoundError, UsageError
from gptoss_tui.settings import Settings, config_path, load_settings

WriteConfig = Callable[[str], dict[str, str]]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Write a settings file and give the environment that names it."""

    def write(text: str) -> dict[str, str]:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return {"GPTOSS_TUI_CONFIG": str(path)}

    return write


@pytest.fixture(autouse=True)
def no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def test_defaults() -> None:
    settings = load_settings(environ={})
    assert settings == Settings(workspace=Path.cwd())
    assert settings.model == "nano"
    assert settings.temperature is None
    assert settings.apply_patch


def test_later_sources_win(write_config: WriteConfig) -> None:
    environ = write_config('model = "file"\nbackend = "file"\nseed = 1\ntop_p = 0.5\n')
    environ |= {"GPTOSS_TUI_BACKEND": "environment", "GPTOSS_TUI_SEED": "2"}
    settings = load_settings({"seed": 3, "model": None, "command": "exec"}, environ)
    assert (settings.model, settings.backend, settings.seed, settings.top_p) == ("file", "environment", 3, 0.5)


def test_every_type_from_the_file(write_config: WriteConfig) -> None:
    settings = load_settings(
        environ=write_config(
            'temperature = 1\ncontext = 100\nreasoning_effort = "high"\nbrowser = true\ndtype = "float32"\n'
            'workspace = "/tmp"\ndeveloper_message = "be brief"\n'
        )
    )
    assert settings.temperature == 1.0
    assert isinstance(settings.temperature, float)
    assert settings.context == 100
    assert settings.reasoning_effort == "high"
    assert settings.browser is True
    assert settings.dtype == "float32"
    assert settings.workspace == Path("/tmp")
    assert settings.developer_message == "be brief"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("false", False)])
def test_switches_in_the_environment(text: str, value: bool) -> None:
    assert load_settings(environ={"GPTOSS_TUI_PYTHON": text}).python is value


def test_an_empty_variable_is_not_set() -> None:
    assert load_settings(environ={"GPTOSS_TUI_MODEL": ""}).model == "nano"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour = 1", "unknown key `colour`"),
        ("[chat]\nmodel = 1", "unknown key `chat`"),
        ("model = 5", "model must be a string, got 5"),
        ("context = true", "context must be a whole number, got True"),
        ("context = 1.5", "context must be a whole number, got 1.5"),
        ("context = 0", "context must be at least 1, got 0"),
        ("browser = 1", "browser must be true or false, got 1"),
        ("temperature = -1", "temperature must be at least 0"),
        ("top_p = 0", "top_p must be above 0"),
        ('reasoning_effort = "extreme"', "reasoning_effort must be one of low, medium, high"),
        ("reasoning_effort = [1]", "reasoning_effort must be one of low, medium, high"),
        ("model = ", "Invalid value"),
    ],
)
def test_errors_name_file_and_key(write_config: WriteConfig, line: str, message: str) -> None:
    environ = write_config(line)
    with pytest.raises(UsageError) as caught:
        load_settings(environ=environ)
    assert environ["GPTOSS_TUI_CONFIG"] in caught.value.message
    assert message in caught.value.message


def test_a_key_with_a_slip_is_told_the_one_that_there_is(write_config: WriteConfig) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(environ=write_config("contxt = 8192"))
    assert caught.value.hint == "did you mean `context`?"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GPTOSS_TUI_CONTEXT", "many"),
        ("GPTOSS_TUI_CONTEXT", "-1"),
        ("GPTOSS_TUI_TEMPERATURE", "hot"),
        ("GPTOSS_TUI_TEMPERATURE", "nan"),
        ("GPTOSS_TUI_BROWSER", "perhaps"),
        ("GPTOSS_TUI_DTYPE", "int4"),
    ],
)
def test_errors_name_the_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        load_settings(environ={variable: value})


def test_errors_name_the_flag() -> None:
    with pytest.raises(UsageError, match="--max-tokens must be at least 1"):
        load_settings({"max_tokens": 0}, {})


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_settings(environ={"GPTOSS_TUI_CONFIG": str(tmp_path / "missing.toml")})


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=str(path)):
        load_settings(environ={"GPTOSS_TUI_CONFIG": str(path)})


def test_where_the_file_is(tmp_path: Path) -> None:
    assert config_path({}) == tmp_path / "none" / "gptoss-tui" / "config.toml"
    assert config_path({"GPTOSS_TUI_CONFIG": "~/x.toml"}) == Path.home() / "x.toml"


def test_the_workspace_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"workspace": "a"}, {}).workspace == tmp_path / "a"
    assert load_settings({"workspace": "~"}, {}).workspace == Path.home()


def test_sampling_takes_the_models_temperature_when_none_is_set() -> None:
    assert load_settings(environ={}).sampling().temperature == 1.0
    assert load_settings(environ={}).sampling(default_temperature=0.0).temperature == 0.0
    params = load_settings({"temperature": 0.5, "top_p": 0.9, "seed": 4, "max_tokens": 7}, {}).sampling(0.0)
    assert (params.temperature, params.top_p, params.seed, params.max_tokens) == (0.5, 0.9, 4, 7)


def test_engine_spec_of_a_directory(tmp_path: Path) -> None:
    spec = load_settings({"model": str(tmp_path), "dtype": "float32", "context": 9, "threads": 2}, {}).engine_spec()
    assert (spec.checkpoint, spec.dtype, spec.context, spec.threads, spec.name) == (tmp_path, "float32", 9, 2, "")


def test_settings_and_the_engine_have_the_same_defaults(tmp_path: Path) -> None:
    """But for the backend: a spec names one, and only settings mean the fastest."""
    spec = load_settings({"model": str(tmp_path)}, {}).engine_spec()
    assert replace(spec, backend="torch") == EngineSpec(tmp_path)


@pytest.mark.parametrize(("given", "nbytes"), [(None, None), (0, 0), (1.5, 1_500_000_000)])
def test_memory_for_conversations_that_wait(given: float | None, nbytes: int | None, tmp_path: Path) -> None:
    assert load_settings({"model": str(tmp_path), "parked_gb": given}, {}).engine_spec().parked_bytes == nbytes


@pytest.mark.parametrize("given", ["-1", "nan", "inf"])
def test_memory_that_cannot_be(given: str) -> None:
    with pytest.raises(UsageError, match="0 or more"):
        load_settings(environ={"GPTOSS_TUI_PARKED_GB": given})


def test_engine_spec_of_the_built_in_model_has_its_name() -> None:
    assert load_settings(environ={}).engine_spec().name == "nano"


def test_engine_spec_of_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model"):
        load_settings({"model": str(tmp_path / "missing")}, {}).engine_spec()


@pytest.mark.parametrize(
    ("model", "given", "percent"),
    [("nano", None, 0), ("nano", 70, 70), ("gpt-oss-20b", None, 85), ("gpt-oss-20b", 0, 0)],
)
def test_when_a_conversation_is_compacted(model: str, given: int | None, percent: int) -> None:
    assert Settings(model=model, compact_at=given).compacts_at == percent


@pytest.mark.parametrize("percent", ["-1", "96", "x"])
def test_a_share_that_leaves_no_room_for_a_summary_is_refused(percent: str) -> None:
    with pytest.raises(UsageError, match="GPTOSS_TUI_COMPACT_AT"):
        load_settings({}, {"GPTOSS_TUI_COMPACT_AT": percent})


def test_keys_are_a_table_of_the_file(write_config: WriteConfig) -> None:
    environ = write_config('[keys]\nchat.help = "Ctrl+Y"\n"chat.new" = ["F5", "F6"]\n')
    assert load_settings(environ=environ).keys == {"chat.help": "Ctrl+Y", "chat.new": "F5, F6"}
    assert load_settings(environ=environ | {"GPTOSS_TUI_KEYS": "x"}).keys["chat.help"] == "Ctrl+Y"


@pytest.mark.parametrize("text", ['keys = "x"', "[keys]\nchat.help = 3", '[keys]\n"chat.help" = ["a", 1]'])
def test_keys_of_another_kind_are_refused(write_config: WriteConfig, text: str) -> None:
    with pytest.raises(UsageError, match="keys"):
        load_settings(environ=write_config(text))
