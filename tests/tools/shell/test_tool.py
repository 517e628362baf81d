"""`shell` in its real sandbox: what is shown, what is held, what is ended, what the model reads."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.policy import Policy, decide
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import Effect, RevisableCall, Workspace
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell import held, protect
from gptoss_tui.tools.shell.arguments import read_request
from gptoss_tui.tools.shell.probes import self_test
from gptoss_tui.tools.shell.sandbox import ShellSandbox, find_shell_sandbox
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.workspace import open_workspace
from tests.processes import running, until
from tests.tools.calls import call, result


async def effect_of(shell: ShellTool, **arguments: Any) -> Effect:
    effect = (await shell.prepare(json.dumps(arguments))).effect
    assert effect is not None
    return effect


def there(path: Path) -> bool:
    """Whether there is anything of that name, also a link that leads nowhere."""
    return os.path.lexists(path)


async def test_what_is_shown_is_what_runs(shell: ShellTool, root: Path) -> None:
    call = await shell.prepare('{"command": "cat a.txt\\nls", "workdir": "."}')
    assert call.effect is not None
    assert (call.effect.kind, call.effect.preview_type, call.effect.reach) == ("command", "command", "sandbox")
    assert call.effect.preview == "cat a.txt\nls"
    assert call.effect.commands == (("cat", "a.txt"), ("ls",))
    details = dict(call.effect.details)
    assert details["in"] == str(root)
    assert "workspace is writable, the rest is read-only, no network" in details["sandbox"]
    assert call.summary == "shell cat a.txt (2 lines)"
    pieces: list[str] = []
    done = await call.run(pieces.append)
    assert done.text == "".join(pieces) == "one\ntwo\na.txt\nsub\n"
    assert done.data == {"code": 0, "ending": "exit", "sandboxed": True}


async def test_all_that_changes_what_happens_changes_the_digest(shell: ShellTool) -> None:
    variants: list[dict[str, Any]] = [
        {"command": "ls"},
        {"command": "ls "},
        {"command": "ls", "workdir": "sub"},
        {"command": "ls", "network": True},
        {"command": "git add ."},
    ]
    assert len({(await effect_of(shell, **arguments)).digest for arguments in variants}) == len(variants)


async def test_network_and_the_repository_are_asked_for_by_name(shell: ShellTool) -> None:
    network = await effect_of(shell, command="curl x", network=True)
    assert network.reach == "network"
    assert "network on" in dict(network.details)["sandbox"]
    git = await effect_of(shell, command="git commit -m x")
    assert git.paths == (".git",)
    assert ".git writable" in dict(git.details)["sandbox"]
    assert (await effect_of(shell, command="git -C . log")).paths == ()
    assert (await effect_of(shell, command="git commit -m $X")).paths == (".git",)


async def test_without_a_sandbox_it_says_so_and_no_rule_may_answer(root: Path) -> None:
    def none(root: Path) -> ShellSandbox:
        raise SandboxError("bubblewrap is not installed", hint="install it")

    shell = ShellTool(Workspace(root), find=none)
    call = await shell.prepare("echo $((6 * 7)); cat /proc/self/status | grep NoNewPrivs")
    assert call.effect is not None
    assert call.effect.reach == "host"
    assert call.effect.must_ask
    assert "UNSANDBOXED" in call.effect.warnings[0]
    assert "bubblewrap is not installed" in dict(call.effect.details)["sandbox"]
    done = await call.run(lambda text: None)
    assert done.text.startswith("42\n")
    assert done.data["sandboxed"] is False


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("touch /usr/x", "Read-only file system"),
        ("touch /etc/x", "Read-only file system"),
        ("touch .git/hooks/x", "Read-only file system"),
        ("echo x >> .git/config", "Read-only file system"),
        ("mv .git other", "busy"),
        ("git add a.txt; git config core.pager x", "could not"),
        ("echo > /dev/tcp/127.0.0.1/22", "refused"),
        ("echo x > /proc/sys/kernel/core_pattern", "denied"),
    ],
)
async def test_what_the_sandbox_refuses(shell: ShellTool, command: str, said: str) -> None:
    done = await result(shell, command)
    assert not done.ok
    assert said in done.text


async def test_a_command_that_was_approved_may_commit_but_plant_nothing(shell: ShellTool, root: Path) -> None:
    config = (root / ".git/config").read_text()
    done = await result(shell, "git add a.txt && git commit -qm 'first' && git log --format=%s")
    assert done.text == "first\n"
    for command in (
        "git config core.fsmonitor ./x",
        "git add a.txt; echo ../evil > .git/commondir; echo x > .git/hooks/post-commit; echo x >> .git/info/attributes",
        "git add a.txt; mv .git/hooks .git/old && mkdir .git/hooks",
    ):
        await result(shell, command)
    assert (root / ".git/config").read_text() == config
    assert not (root / ".git/commondir").exists()
    assert not (root / ".git/hooks/post-commit").exists()


async def test_a_repository_without_hooks_gets_none(shell: ShellTool, root: Path) -> None:
    shutil.rmtree(root / ".git/hooks")
    done = await result(
        shell, "git add a.txt && git commit -qm first; mkdir -p .git/hooks; echo x > .git/hooks/post-commit"
    )
    assert "Read-only file system" in done.text
    assert not (root / ".git/hooks/post-commit").exists()
    assert await call(shell, "git log --format=%s") == "first\n"


@pytest.mark.parametrize("before", ["", "git add -n a.txt; "])
async def test_a_repository_behind_a_link_keeps_its_hooks_and_configuration(
    shell: ShellTool, root: Path, before: str
) -> None:
    os.rename(root / ".git", root / "data")
    os.symlink("data", root / ".git")
    config = (root / "data/config").read_text()
    await result(shell, f"{before}echo x >> data/config; echo x > data/hooks/post-commit")
    assert (root / "data/config").read_text() == config
    assert not (root / "data/hooks/post-commit").exists()
    done = await result(shell, "rm .g''it && mkdir .g''it")
    assert "[Held back: .git." in done.text
    assert os.readlink(root / ".git") == "data", "as it was"


async def test_a_repository_that_was_moved_away_and_replaced_is_held_back(shell: ShellTool, root: Path) -> None:
    os.makedirs(root / "sub/.git")
    done = await result(shell, "mkdir -p a/b/c/d && mv sub a/b/c/d && mkdir -p sub/.git/hooks")
    assert "[Held back: sub/.git." in done.text
    assert "[It made a/b/c/d/sub/.git, which" in done.text
    assert not (root / "sub/.git").exists()
    assert (root / "a/b/c/d/sub/.git").is_dir(), "what was there before is kept, wherever it is"


OBEYED = (
    ".envrc",
    ".vscode/tasks.json",
    "sub/.git/hooks/post-checkout",
    "deep/er/than/that/.bashrc",
    ".gptoss-tui.toml",
)


async def test_new_files_that_other_programs_obey_are_held_back(shell: ShellTool, root: Path) -> None:
    """Also in full-auto, where nobody was asked, since the words of the command do not name them."""
    (root / ".bashrc").write_text("mine\n")
    (root / "s.py").write_text(
        "import os\n"
        f"for name in {OBEYED!r}:\n"
        "    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)\n"
        "    open(name, 'w').write('evil')\n"
        "os.mkfifo('.exrc'); os.symlink('/etc/passwd', '.netrc'); open('fine', 'w').close()\n"
    )
    prepared = await shell.prepare("/usr/bin/python3 s.py")
    assert decide(prepared.effect, Policy("full-auto")).outcome == "allow"
    done = await prepared.run(lambda text: None)
    names = (".envrc", ".exrc", ".gptoss-tui.toml", ".netrc", ".vscode", "deep/er/than/that/.bashrc", "sub/.git")
    assert f"[Held back: {', '.join(names)}. Other programs obey such files" in done.text
    assert not [name for name in names if there(root / name)]
    assert (root / "fine").exists()
    place = Path(done.text.partition("was moved to ")[2].partition(", numbered")[0])
    assert os.readlink(place / "3") == "/etc/passwd"
    assert (place / "4/tasks.json").read_text() == "evil", "nothing is lost"
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert (root / ".bashrc").read_text() == "mine\n"


async def test_what_an_interrupted_command_made_is_held_back_too(shell: ShellTool, root: Path) -> None:
    prepared = await shell.prepare("mkdir .vsc''ode && touch .vsc''ode/tasks.json && echo up && sleep 60")
    up = asyncio.Event()
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        up.set()

    running = asyncio.create_task(prepared.run(hear))
    await up.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not there(root / ".vscode")
    assert "[Held back: .vscode. " in said[-1]


async def test_files_far_down_and_behind_many_others_are_read_only(shell: ShellTool, root: Path) -> None:
    deep = root / "a/b/c/d/e/f"
    deep.mkdir(parents=True)
    (deep / ".envrc").write_text("mine\n")
    for number in range(4000):
        (root / "sub" / f"{number}.txt").touch()
    (root / "zzz").mkdir()
    (root / "zzz/.envrc").write_text("mine\n")
    done = await result(shell, "for f in a/b/c/d/e/f/.env* zzz/.env*; do echo evil > $f; done")
    assert done.text.count("Read-only file system") == 2
    assert (deep / ".envrc").read_text() == (root / "zzz/.envrc").read_text() == "mine\n"


async def test_more_than_can_be_mounted_are_looked_at_afterwards(
    shell: ShellTool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (protect, held):
        monkeypatch.setattr(module, "MOUNTS", 2)
    (root / ".envrc").touch()
    (root / "sub/.vscode").mkdir()
    (root / "sub/.vscode/x").write_text("mine")
    (root / "sub/.zshrc").write_text("mine")
    done = await result(shell, "cat sub/.z*; echo evil > sub/.vsc''ode/x")
    assert done.text == "mine\n[It made sub/.vscode, which other programs obey: the user should look at it.]"


async def test_what_a_person_saves_meanwhile_is_theirs(root: Path) -> None:
    (root / ".vscode").mkdir()
    (root / ".envrc").write_text("old")
    before = held.survey(root)
    (root / "new").write_text("saved by an editor")
    os.replace(root / "new", root / ".envrc")
    assert held.hold_back(root, before, git=False, place=root / "held") == held.Findings()
    assert (root / ".envrc").read_text() == "saved by an editor"


async def test_a_command_that_may_change_the_repository_keeps_what_it_checks_out(shell: ShellTool, root: Path) -> None:
    done = await result(shell, "git init -q sub/new && mkdir .vscode && touch .vscode/x && git add .vscode")
    assert done.text.endswith("[It made .vscode, sub/new/.git, which other programs obey: the user should look at it.]")
    assert (root / "sub/new/.git/config").exists()


async def test_what_a_command_writes_belongs_to_the_owner_of_the_workspace(shell: ShellTool, root: Path) -> None:
    await result(shell, "mkdir new && touch new/file && chmod 600 new/file")
    made = [os.stat(path) for path in (root, root / "new", root / "new/file")]
    assert len({(status.st_uid, status.st_gid) for status in made}) == 1


async def test_no_file_is_left_that_runs_with_the_rights_of_its_owner(shell: ShellTool, root: Path) -> None:
    (root / "s.py").write_text("""
import os
for make in (
    lambda: os.chmod("s.py", 0o4755),
    lambda: os.close(os.open("opened", os.O_CREAT | os.O_WRONLY, 0o4755)),
    lambda: os.mknod("made", 0o6755),
):
    try:
        make()
    except PermissionError:
        print("refused")
""")
    assert await call(shell, "/usr/bin/python3 s.py; chmod g+s sub 2>&1 | tail -c 24") == (
        "refused\n" * 3 + "Operation not permitted\n"
    )
    assert not any(os.stat(root / name).st_mode & 0o6000 for name in os.listdir(root))
    assert await call(shell, "touch f && chmod 755 f && stat -c %a f") == "755\n"


async def test_a_link_to_another_repository_does_not_lead_the_clearing_up_there(
    tmp_path: Path, shell: ShellTool
) -> None:
    other, plain = tmp_path / "other", tmp_path / "plain"
    other.mkdir()
    plain.mkdir()
    (other / "commondir").write_text("kept")
    shell = ShellTool(Workspace(plain))
    done = await result(shell, f"ln -s {other} .git")
    assert "[Held back: .git." in done.text
    assert not there(plain / ".git")
    assert (other / "commondir").read_text() == "kept"


async def test_secrets_are_out_of_sight(
    shell: ShellTool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary")
    assert "canary" not in await call(shell, "env; cat /proc/*/environ 2>/dev/null")
    home = Path("/var/lib") / f"gptoss-tui-test-{os.getpid()}" if os.geteuid() == 0 else root.parent / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id").write_text("canary")
    (home / ".netrc").write_text("canary")
    home.chmod(0o755)
    try:
        sandbox = await shell.sandbox()
        assert sandbox is not None
        shell.find = lambda root: ShellSandbox(sandbox.program, root, home)
        shell._sandbox = None
        assert "canary" not in await call(shell, f"cat {home}/.ssh/id {home}/.netrc; ls -A {home}/.ssh")
    finally:
        for path in (home / ".ssh/id", home / ".netrc"):
            path.unlink()
        (home / ".ssh").rmdir()
        home.rmdir()


async def test_a_home_folder_as_workspace_hides_its_secrets(root: Path, shell: ShellTool) -> None:
    (root / ".ssh").mkdir()
    (root / ".ssh/id").write_text("canary")
    (root / ".netrc").write_text("canary")
    (root / ".bashrc").write_text("mine\n")
    sandbox = await shell.sandbox()
    assert sandbox is not None
    shell = ShellTool(shell.workspace, find=lambda root: ShellSandbox(sandbox.program, root, home=root))
    output = await call(
        shell, "cat .ssh/id .netrc; ls -A .ssh; echo x >> .bashrc; echo x > .ssh/authorized_keys; cat a.txt"
    )
    assert "canary" not in output
    assert output.endswith("one\ntwo\n")
    assert (root / ".bashrc").read_text() == "mine\n"
    assert os.listdir(root / ".ssh") == ["id"]


async def test_a_home_folder_as_workspace_has_a_sandbox(
    root: Path, shell: ShellTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert await self_test(find_shell_sandbox(root)) == 12


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr"])
async def test_a_part_of_the_system_is_no_workspace_for_a_sandbox(folder: str) -> None:
    with pytest.raises(SandboxError, match="belongs to the system"):
        find_shell_sandbox(Path(folder))


async def test_loopback_is_its_own_and_works(shell: ShellTool, root: Path) -> None:
    script = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
for family in (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_RAW if family != socket.AF_UNIX else socket.SOCK_STREAM)
    except PermissionError:
        print("refused")
"""
    (root / "s.py").write_text(script)
    assert await call(shell, "/usr/bin/python3 s.py") == "refused\nrefused\nrefused\n"


async def test_a_timeout_ends_all_that_was_started(shell: ShellTool) -> None:
    mark = f"86401.{os.getpid()}"
    done = await result(shell, json.dumps({"command": f"setsid sleep {mark} & echo up; sleep 60", "timeout": 1}))
    assert done.data["ending"] == "timeout"
    assert done.text == "up\n[Stopped: it ran for more than 1 seconds. All that it had started was ended.]"
    assert not running("sleep", mark)


async def test_what_is_left_in_the_background_ends_with_the_command(shell: ShellTool) -> None:
    mark = f"86402.{os.getpid()}"
    assert await call(shell, f"(setsid sleep {mark} &) ; echo done") == "done\n"
    await until(lambda: not running("sleep", mark))


async def test_cancelling_ends_all_that_was_started(shell: ShellTool) -> None:
    mark = f"86403.{os.getpid()}"
    prepared = await shell.prepare(f"setsid sleep {mark} & echo up; wait")
    up = asyncio.Event()
    task = asyncio.create_task(prepared.run(lambda text: up.set()))
    await up.wait()
    await until(lambda: running("sleep", mark))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not running("sleep", mark))


async def test_output_keeps_its_ends(shell: ShellTool) -> None:
    pieces: list[str] = []
    prepared = await shell.prepare("echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo last")
    done = await prepared.run(pieces.append)
    assert done.text == "".join(pieces)
    assert done.text.startswith("first\nxxx")
    assert done.text.endswith("xxx\nlast\n")
    assert "bytes left out …]" in done.text
    assert len(done.text) < 70_000


@pytest.mark.parametrize(
    ("command", "text", "ok"),
    [
        ("true", "[No output, exit code 0.]", True),
        ("exit 3", "[exit code 3]", False),
        ("echo a; exit 3", "a\n[exit code 3]", False),
        ("kill -9 $$", "[exit code 137]", False),
        ("nosuchprogram-x 2>/dev/null", "[exit code 127]", False),
        ("printf '\\377\\303\\251'", "\ufffdé", True),
        ("echo out; echo err >&2; echo out", "out\nerr\nout\n", True),
        ('read line; echo "<$line>"', "<>\n", True),
        ("cd sub && pwd | sed 's/.*\\///'", "sub\n", True),
    ],
)
async def test_what_the_model_reads(shell: ShellTool, command: str, text: str, ok: bool) -> None:
    done = await result(shell, command)
    assert (done.text, done.ok) == (text, ok)


async def test_a_fork_bomb_ends_with_its_time(shell: ShellTool) -> None:
    sandbox = await shell.sandbox()
    assert sandbox is not None
    shell = ShellTool(shell.workspace, find=lambda root: ShellSandbox(sandbox.program, root, processes=64))
    done = await result(shell, json.dumps({"command": "f() { f | f & }; f; sleep 30", "timeout": 2}))
    assert done.data["ending"] == "timeout"
    assert await call(shell, "echo alive; ulimit -u") == "alive\n64\n"


@pytest.mark.parametrize("workdir", ["..", "/", "/etc", "sub/../..", "link", "missing", "a.txt", "~"])
async def test_commands_run_in_the_workspace(shell: ShellTool, root: Path, workdir: str) -> None:
    (root / "link").symlink_to("/etc")
    with pytest.raises(ToolError, match="workspace"):
        await shell.prepare(json.dumps({"command": "ls", "workdir": workdir}))


@pytest.mark.parametrize(
    "arguments",
    [
        "echo hi",
        '"echo hi"',
        '{"command": "echo hi"}',
        '{"cmd": ["bash", "-lc", "echo hi"], "timeout": 10000}',
        '{"command": ["echo", "hi"], "workdir": null, "timeout_ms": 5000, "justification": "x"}',
        '{"cmd": "[\\"echo\\", \\"hi\\"]"}',
        '["bash", "-lc", "echo hi"]',
        "```bash\necho hi\n```",
    ],
)
async def test_forms_that_models_write(shell: ShellTool, arguments: str) -> None:
    assert await call(shell, arguments) == "hi\n"


@pytest.mark.parametrize(
    "arguments", ["", "{}", '{"command": ""}', '{"command": 5}', '{"command"', '{"command": "\\u0000"}']
)
async def test_wrong_arguments_show_the_right_form(shell: ShellTool, arguments: str) -> None:
    with pytest.raises(ToolError, match='"command": "ls -la"'):
        await shell.prepare(arguments)


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ('{"timeout_ms": 5000}', 5),
        ('{"timeout_ms": 3600000}', 600),
        ('{"timeout_ms": 1e999}', 600),
        ('{"timeout": 1e999}', 600),
        ('{"timeout": 1' + "0" * 400 + "}", 600),
        ('{"timeout": "\u00b2"}', 120),
        ('{"timeout": "' + "9" * 5000 + '"}', 120),
        ('{"timeout": NaN}', 120),
    ],
)
def test_any_number_is_a_time_within_bounds(arguments: str, seconds: int) -> None:
    assert read_request(arguments.replace("{", '{"command": "ls", ')).seconds == seconds


@pytest.mark.parametrize("workdir", ["a\0b", "x" * 5000, "\ud800", "~nobody-of-that-name"])
async def test_a_folder_that_is_no_name_is_refused_in_words(root: Path, workdir: str) -> None:
    with pytest.raises(ToolError, match="no folder"):
        await ShellTool(open_workspace(root)).prepare(json.dumps({"command": "ls", "workdir": workdir}))


@pytest.mark.parametrize(
    "command",
    [
        "apply_patch <<'EOF'\n{}\nEOF",
        "applypatch << EOF\n{}\nEOF\n",
        "apply_patch '{}'",
        '{{"cmd": ["bash", "-lc", {}]}}',
        '{{"command": ["apply_patch", {}]}}',
    ],
)
async def test_a_patch_through_the_shell_is_a_patch(shell: ShellTool, root: Path, command: str) -> None:
    patch = "*** Begin Patch\n*** Add File: n.txt\n+it\n*** End Patch"
    if command.startswith("{{"):
        patch = json.dumps(f"apply_patch <<'EOF'\n{patch}\nEOF" if "-lc" in command else patch)
    prepared = await shell.prepare(command.format(patch))
    assert prepared.effect is not None
    assert (prepared.effect.kind, prepared.effect.paths) == ("edit", ("n.txt",))
    await prepared.run(lambda text: None)
    assert (root / "n.txt").read_text() == "it\n"


async def test_a_patch_in_another_folder_is_not_applied_to_a_file_of_the_same_name(shell: ShellTool) -> None:
    patch = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+1\n*** End Patch"
    with pytest.raises(ToolError, match="begin at the workspace"):
        await shell.prepare(json.dumps({"cmd": ["apply_patch", patch], "workdir": "sub"}))


async def test_without_patches_a_patch_through_the_shell_is_refused(shell: ShellTool) -> None:
    shell.patch = None
    with pytest.raises(ToolError, match="switched off"):
        await shell.prepare("apply_patch <<'EOF'\n*** Begin Patch\n*** End Patch\nEOF")


async def test_a_command_that_a_person_changed_is_read_anew(shell: ShellTool) -> None:
    call = await shell.prepare(json.dumps({"command": "ls -l"}))
    assert isinstance(call, RevisableCall)
    assert call.source == "ls -l"
    changed = await call.revise("git status && rm x")
    assert changed.effect is not None
    assert call.effect is not None
    assert changed.effect.commands == (("git", "status"), ("rm", "x"))
    assert changed.effect.digest != call.effect.digest
    with pytest.raises(ToolError, match="no command"):
        await call.revise("  ")
