"""The command line: what it parses, what it imports, how it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss_tui import __version__, cli
from gptoss_tui.agent.session import DIRECTORY_VARIABLE, SessionStore
from gptoss_tui.errors import CheckpointError, GptOssError, UsageError
from gptoss_tui.settings import Settings

HEAVY = {
    "torch",
    "textual",
    "aiohttp",
    "openai_harmony",
    "asyncio",
    "numpy",
    "docker",
    "huggingface_hub",
    "rich",
    "shtab",
}

Opened = list[tuple[Settings, str | None]]


@pytest.fixture
def resumed() -> list[str | None]:
    """The conversation that the app was opened with."""
    return []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: list[str | None]) -> Opened:
    """What the app was opened with; it does not really open."""
    calls: Opened = []

    def run_app(settings: Settings, prompt: str | None, resume: str | None, *more: object) -> int:
        calls.append((settings, prompt))
        resumed.append(resume)
        return 0

    monkeypatch.setattr("gptoss_tui.tui.app.run_app", run_app)
    monkeypatch.setattr(cli, "_has_screen", lambda: True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return calls


@pytest.fixture
def fail_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make the `score` command raise."""

    def arrange(error: BaseException) -> None:
        def run(args: object) -> int:
            raise error

        monkeypatch.setattr("gptoss_tui.commands.score.run", run)

    return arrange


def run_python(code: str, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["score", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from gptoss_tui.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
print(set({sorted(HEAVY)!r}) & set(sys.modules))
"""
    assert run_python(code).splitlines()[-1] == "set()"


def test_help_names_every_command_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"\n    {command} " in text
    flags = (
        *("-r", "--reasoning-effort", "--apply-patch", "--browser", "--python"),
        *("--show-browser-results", "--developer-message", "-c", "--context", "--raw", "--backend", "--dtype"),
        *("--model", "--temperature", "--top-p", "--seed", "--max-tokens", "-C", "--workspace", "--version"),
    )
    assert [flag for flag in flags if flag not in text] == []


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert f"gptoss-tui {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"gptoss-tui {__version__}\n"


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "gptoss_tui", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"gptoss-tui {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "prompt"),
    [
        ([], None),
        (["hello there"], "hello there"),
        (["--seed", "1", "hello"], "hello"),
        (["hello", "--seed", "1"], "hello"),
        (["--", "score"], "score"),
        (["--seed", "1", "--", "--help"], "--help"),
    ],
)
def test_the_app_opens_with_the_prompt(opened: Opened, arguments: list[str], prompt: str | None) -> None:
    assert cli.main(arguments) == 0
    ((_, given),) = opened
    assert given == prompt


def test_the_app_opens_with_a_saved_conversation(
    opened: Opened, resumed: list[str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "sessions"))
    ids = []
    for text in ("one", "two"):
        file = SessionStore().create(app="1", model="nano", workspace=tmp_path.resolve(), date=None)
        file.append({"type": "history", "op": "user", "turn": 1, "text": text})
        file.close()
        ids.append(file.path.stem)
    for arguments in ([], ["--resume"], ["--resume", ids[0]], ["--continue", "go on"]):
        assert cli.main(["-C", str(tmp_path), *arguments]) == 0
    assert resumed == [None, "", ids[0], ids[1]]
    assert opened[-1][1] == "go on"
    assert cli.main(["--resume", "nope"]) == 2
    assert len(opened) == 4


def test_chat_flags_reach_the_settings(opened: Opened, tmp_path: Path) -> None:
    arguments = [
        "-r",
        "high",
        "--no-apply-patch",
        "--browser",
        "--python",
        "--show-browser-results",
        "--developer-message",
        "hi",
    ]
    arguments += ["-c", "500", "--raw", "--backend", "torch", "--dtype", "float32", "--model", "m", "--temperature"]
    arguments += ["0", "--top-p", "0.5", "--seed", "3", "--max-tokens", "9", "-C", str(tmp_path), "--threads", "1"]
    assert cli.main(arguments) == 0
    ((settings, _),) = opened
    assert settings == Settings(
        model="m",
        backend="torch",
        dtype="float32",
        context=500,
        threads=1,
        temperature=0.0,
        top_p=0.5,
        seed=3,
        max_tokens=9,
        reasoning_effort="high",
        developer_message="hi",
        apply_patch=False,
        browser=True,
        python=True,
        show_browser_results=True,
        raw=True,
        workspace=tmp_path,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["-r", "extreme"],
        ["--no-such-flag"],
        ["two", "prompts"],
        ["--context", "many"],
        ["--context", "0"],
        ["--temperature", "-1"],
        ["--max", "5"],
        ["-r", "low", "score"],
        ["completion", "fish"],
        ["score"],
    ],
)
def test_bad_usage_is_2(arguments: list[str], opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = cli.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert opened == []
    captured = capsys.readouterr()
    assert "error: " in captured.err
    assert captured.out == ""


def test_flags_before_a_command_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--model", "nano", "exec", "hi", "--json"]) == 2
    assert "`exec` is a command and must come first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "usage", "said"),
    [
        (["exec", "--nope", "hi"], "usage: gptoss-tui exec [options] [PROMPT]\n", "there is no option --nope\n"),
        (["exec", "--jsn", "hi"], "usage: gptoss-tui exec [options] [PROMPT]\n", "did you mean `--json`?"),
        (["exec", "two", "words"], "usage: gptoss-tui exec [options] [PROMPT]\n", "put quotes around"),
        (["exec", "-p", "hi"], "usage: gptoss-tui exec [options] [PROMPT]\n", "gptoss-tui exec PROMPT"),
        (["sessions", "list", "--al"], "usage: gptoss-tui sessions list [options]\n", "did you mean `--all`?"),
        (["score", "--jso"], "usage: gptoss-tui score [options] --tokens FILE\n", "required: --tokens"),
        (["models", "list", "x"], "usage: gptoss-tui models list [options]\n", "'x' is one argument too many"),
        (["patch", "--aply"], "usage: gptoss-tui patch [--check", "did you mean `--apply`?"),
        (["--modle", "nano"], "usage: gptoss-tui [options] [PROMPT]\n", "did you mean `--mode` or `--model`?"),
        (
            ["sessions", "lst"],
            "usage: gptoss-tui sessions [options] [ACTION]",
            "did you mean `gptoss-tui sessions list`?",
        ),
        (["mcp", "x"], "usage: gptoss-tui mcp [options] [COMMAND]", "there is no command 'x'\nhint: there are: list, "),
        (["-p", "hi"], "usage: gptoss-tui [options] [PROMPT]\n", "for one answer: gptoss-tui exec PROMPT\n"),
        (["--print", "models"], "usage: gptoss-tui [options] [PROMPT]\n", "for one answer: gptoss-tui exec PROMPT\n"),
    ],
)
def test_a_usage_error_is_about_the_command_that_was_given(
    arguments: list[str], usage: str, said: str, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(usage)
    assert said in err
    assert opened == []


@pytest.mark.parametrize(
    ("word", "command"), [("session", "sessions"), ("execute", "exec"), ("docter", "doctor"), ("benchmark", "bench")]
)
def test_a_mistyped_command_is_not_sent_to_the_model(
    word: str, command: str, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word, "--json"]) == 2
    assert capsys.readouterr().err == (
        f"error: There is no command `{word}`\n"
        f"hint: did you mean `gptoss-tui {command}`? To send the word as a prompt: gptoss-tui -- {word}\n"
    )
    assert opened == []
    for prompt in (["--", word], [f"{word} it"], ["frobnicate"], ["hello"], ["/session"]):
        assert cli.main(prompt) == 0
    assert [given for _, given in opened] == [word, f"{word} it", "frobnicate", "hello", "/session"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["completion", "bash"], ["--version"], ["--help"], ["score", "--help"]]
)
def test_a_full_disk_is_an_error_in_words(arguments: list[str]) -> None:
    """With little output, which fails at the last flush, and with much, which fails at once."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gptoss_tui", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("platformdirs", ["sessions"]), ("shtab", ["completion", "bash"]), ("platformdirs", ["--help"])],
)
def test_an_interrupt_while_modules_are_imported_is_quiet(module: str, arguments: list[str], tmp_path: Path) -> None:
    """A module that presses Ctrl+C takes the place of one that is imported at the start, or by the command."""
    (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n[None] * 9\n")
    done = subprocess.run(
        [sys.executable, "-m", "gptoss_tui", *arguments],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "gptoss_tui", "--version"])
"""
    (tmp_path / "platformdirs.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nuser_config_path = None\n"
    )
    assert run_python(code, PYTHONPATH=str(tmp_path)) == f"gptoss-tui {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            CheckpointError("config.json is missing", hint="download it"),
            1,
            "error: config.json is missing\nhint: download it\n",
        ),
        (UsageError("no such backend"), 2, "error: no such backend\n"),
        (GptOssError("a name: \x1b[31mred"), 1, "error: a name: ␛[31mred\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_words_and_exit_codes(
    fail_with: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    fail_with(error)
    assert cli.main(["score", "--tokens", "x.json"]) == code
    assert capsys.readouterr().err == text


def test_a_bug_is_not_hidden(fail_with: Callable[[BaseException], None]) -> None:
    fail_with(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["score", "--tokens", "x.json"])


def test_a_reader_that_went_away_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "gptoss_tui", "completion", "bash"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert process.returncode == 141
    assert process.stderr == b""


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts_know_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("doctor", "reasoning-effort", "max-tokens"):
        assert word in script


def test_bash_completes_commands_flags_choices_and_files(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text("[1]")
    script = tmp_path / "completion.bash"
    with script.open("w") as file:
        subprocess.run([sys.executable, "-m", "gptoss_tui", "completion", "bash"], stdout=file, check=True)

    def complete(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in ("gptoss-tui", *words))
        state = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}"
        code = f"source {script}; {state}; _shtab_gptoss_tui; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
        return set(done.stdout.split())

    assert {"doctor", "score"} <= complete("")
    assert complete("--reas") == {"--reasoning-effort"}
    assert complete("-r", "h") == {"high"}
    assert "ids.json" in complete("score", "--tokens", "ids")


@pytest.mark.parametrize("words", [[], ["exec", "hi"], ["doctor"], ["sandbox", "status"]])
def test_windows_is_told_what_to_do(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert cli.main(words) == 2
    assert "does not run on Windows" in (said := capsys.readouterr().err)
    assert "WSL 2" in said


def test_the_command_line_is_there_without_what_only_unix_has() -> None:
    gone = "import sys; sys.modules.update(dict.fromkeys(('fcntl', 'resource', 'termios', 'pwd', 'grp', 'pty')))"
    code = f"{gone}; from gptoss_tui import cli; sys.platform = 'win32'; sys.exit(cli.main(['exec', 'hi']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
