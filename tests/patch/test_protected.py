"""Files that other programs obey: refused unless a person approved them, whatever their names are spelled like."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.patch.git_config import entries
from gptoss_tui.patch.protected import obeyed, protected_by
from gptoss_tui.undo import UndoStore

SPELLINGS = (
    *(".git/config", "a/.GIT/x", ".Git./x", ".git /x", ".g\u200dit/x", "\uff0egit/x", ".git::$DATA/x", "GIT~1/config"),
    *("./.git/config", ".git//config", "sub/.git/hooks/pre-commit", ".git/hooks/post-checkout", ".git/info/attributes"),
    *(
        ".gitmodules",
        ".gitconfig",
        ".githooks/pre-push",
        ".husky/pre-commit",
        "lefthook.yml",
        ".pre-commit-config.yaml",
    ),
    *(".bashrc", "home/.zshrc", ".Profile", ".envrc", ".config/fish/config.fish", ".zshenv", ".xprofile"),
    *(".vscode/tasks.json", ".VSCODE/x", ".idea/x.xml", "x.code-workspace", ".vimrc", ".emacs.d/init.el", ".nvim.lua"),
    *(
        ".gptoss-tui.toml",
        ".config/gptoss-tui/approvals.toml",
        ".mcp.json",
        ".claude/settings.json",
        ".cursor/mcp.json",
    ),
    *("CLAUDE.md", "sub/claude.md", "GEMINI.md", ".cursorrules", ".github/copilot-instructions.md", ".GitHub/agents/x"),
    *("AGENTS.override.md", ".windsurfrules", ".aider.conf.yml", ".roorules-code", ".helix/languages.toml"),
    *(".ssh/authorized_keys", ".netrc", ".npmrc", ".devcontainer/devcontainer.json", "sub/.pypirc"),
)


def added(path: str, line: str = "x") -> patch.Patch:
    return patch.parse(f"*** Begin Patch\n*** Add File: {path}\n+{line}\n*** End Patch")


@pytest.mark.parametrize("path", SPELLINGS)
def test_every_spelling_needs_an_approval_of_its_own(tmp_path: Path, path: str) -> None:
    with pytest.raises(PatchError, match=r"is protected: it decides what .* does, so it needs an approval of its own"):
        patch.plan(added(path), tmp_path)
    planned = patch.plan(added(path), tmp_path, protected=True)
    assert [name for name, _ in planned.protected] == list(planned.paths)
    with pytest.raises(PatchError, match="nobody approved that"):
        patch.apply(replace(planned, protected=()))
    assert list(tmp_path.iterdir()) == []
    patch.apply(planned)
    patch.undo(planned)


@pytest.mark.parametrize(
    "path",
    [
        ".gitignore",
        ".github/x",
        "CLAUDE/x.md",
        "copilot-instructions.md",
        "git/x",
        "a.git/x",
        "dot.git",
        "GIT",
        "bashrc",
    ],
)
def test_other_names_are_not_protected(tmp_path: Path, path: str) -> None:
    assert protected_by(path) is None
    assert patch.plan(added(path), tmp_path).protected == ()


@pytest.mark.parametrize("how", ["link", "file", "absolute"])
def test_a_repository_elsewhere_in_the_workspace_is_protected_too(tmp_path: Path, how: str) -> None:
    (tmp_path / "store/repo").mkdir(parents=True)
    if how == "link":
        (tmp_path / ".git").symlink_to("store/repo")
    else:
        at = tmp_path / "store/repo" if how == "absolute" else "store/repo"
        (tmp_path / ".git").write_text(f"gitdir: {at}\n")
    for path in ("store/repo/hooks/post-commit", "store/repo/config"):
        with pytest.raises(PatchError, match="decides what git does"):
            patch.plan(added(path), tmp_path)
    assert patch.plan(added("store/other"), tmp_path).protected == ()
    if how == "link":
        with pytest.raises(PatchError, match="decides what git does"):
            patch.plan(added(".git/config"), tmp_path)


@pytest.mark.parametrize("said", ["", "gitdir: /somewhere/else", "gitdir: ../above", "\0", "gitdir: " + "x" * 5000])
def test_a_repository_that_is_not_here_protects_nothing(tmp_path: Path, said: str) -> None:
    (tmp_path / ".git").write_text(said)
    assert patch.plan(added("a.txt"), tmp_path).protected == ()


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs a list of open files")
@pytest.mark.parametrize("folder", [".git", ".git/config", ".git/commondir"])
def test_who_looks_for_what_is_obeyed_leaves_nothing_open(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    before = len(os.listdir("/dev/fd"))
    assert obeyed(tmp_path) == {}
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("leads", ["CLAUDE.md", "./docs/../CLAUDE.md", "other", "above"])
def test_what_an_agents_md_leads_to_is_protected_too(tmp_path: Path, leads: str) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "CLAUDE.md").write_text("x\n")
    if leads == "other":
        (root / "other").symlink_to("CLAUDE.md")
    if leads == "above":
        (tmp_path / "AGENTS.md").symlink_to("root/CLAUDE.md")
    else:
        (root / "AGENTS.md").symlink_to(leads)
    for text in ("Update File: CLAUDE.md\n-x\n+y", "Delete File: CLAUDE.md"):
        change = patch.parse(f"*** Begin Patch\n*** {text}\n*** End Patch")
        with pytest.raises(PatchError, match=r"CLAUDE\.md is protected: it decides what every assistant here does"):
            patch.plan(change, root)
        assert patch.plan(change, root, protected=True).protected == (("CLAUDE.md", "every assistant here"),)
    assert patch.plan(added("README.md"), root).protected == ()


def test_a_file_that_an_agents_md_waits_for_is_protected(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").symlink_to("notes/later.md")
    with pytest.raises(PatchError, match="decides what every assistant here does"):
        patch.plan(added("notes/later.md"), tmp_path)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("[core]\n\thooksPath = scripts/hooks", "scripts/hooks/pre-commit"),
        ('[CORE]HooksPath="scripts/\\\n hooks"  # mine', "scripts/ hooks/pre-commit"),
        ("[include]path=../inc", "inc"),
        ('[includeIf "gitdir:~/nowhere"]\npath = ../inc', "inc"),
        ("[core] fsmonitor = ./tools/watch.sh", "tools/watch.sh"),
        ('[diff "word"] textconv = python3 tools/watch.sh', "tools/watch.sh"),
        ("[alias] x = !./tools/watch.sh -x", "tools/watch.sh"),
        ("[include]\npath = ../inc", "tools/watch.sh"),
    ],
)
@pytest.mark.parametrize("whose", [".git/config", ".git/config.worktree", "../home/.gitconfig"])
def test_what_the_configuration_of_git_names_is_protected_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, named: str, whose: str
) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    (root / ".git").mkdir(parents=True)
    (root / "tools").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (root / "tools/watch.sh").touch()
    (root / whose).write_text(said.replace("../inc", f"{root}/inc") if "home" in whose else said)
    (root / "inc").write_text("[core]\nfsmonitor = tools/watch.sh\n[include]\npath = inc\n")
    where = "Update File: {}\n*** Move to: x" if (root / named).exists() else "Add File: {}\n+x"
    change = patch.parse(f"*** Begin Patch\n*** {where.format(named)}\n*** End Patch")
    with pytest.raises(PatchError, match="decides what git does"):
        patch.plan(change, root)
    assert patch.plan(added("tools/other"), root).protected == ()


@pytest.mark.parametrize(
    "said", ["[alias]\nx = diff a.txt", "[user]\nname = A main", "[push]\ndefault = main", "[a] b ="]
)
def test_configuration_that_names_no_program_protects_nothing(tmp_path: Path, said: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text(said)
    for name in ("main", "a.txt"):
        (tmp_path / name).write_text("x\n")
        change = patch.parse(f"*** Begin Patch\n*** Delete File: {name}\n*** End Patch")
        assert patch.plan(change, tmp_path).protected == ()


def test_configuration_is_read_as_git_reads_it(tmp_path: Path) -> None:
    text = (
        '\ufeff; x\n[core]a=1 # x\nb\n  c-d = "x;\\"y\\\\" z\\n ; y\n[Sub "A b"] e = f\\\n  g\r\n[x.Y] h=\n'
        "[core] [alias] i = !sh -c 'j' #\n\tk = \t l\t\n"
    )
    (tmp_path / "config").write_text(text, newline="")
    words = ["git", "config", "--file", str(tmp_path / "config"), "--list", "--null"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    assert [(key, value.strip()) for key, value in entries(text)] == [
        (key, value.strip()) for key, _, value in (line.partition("\n") for line in said)
    ]


@given(st.text(alphabet='[]ab."\\=#\n \té', max_size=60))
def test_no_text_stops_reading_configuration(text: str) -> None:
    assert len(list(entries(text))) <= len(text)


@pytest.mark.parametrize("link", [".envrc", ".husky", "agents.md"])
def test_what_a_protected_link_leads_to_is_protected_too(tmp_path: Path, link: str) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / link).symlink_to("tools")
    with pytest.raises(PatchError, match="is protected"):
        patch.plan(added("tools/x"), tmp_path)


def in_one(*paths: str) -> patch.Patch:
    files = "\n".join(f"*** Add File: {path}\n+x" for path in paths)
    return patch.parse(f"*** Begin Patch\n{files}\n*** End Patch")


@pytest.mark.parametrize("at", ["", "deep/store/"])
@pytest.mark.parametrize(
    ("there", "planned"),
    [
        (("objects/x", "refs/x"), ("HEAD",)),
        (("objects/x", "refs/x"), ("config",)),
        (("objects/x", "refs/x", "HEAD"), ("hooks/post-commit",)),
        (("HEAD", "config", "objects/x"), ("refs/heads/main",)),
        (("HEAD", "config"), ("commondir",)),
        (("commondir", "config"), ("HEAD",)),
        ((), ("HEAD", "config", "objects/x", "refs/x")),
        ((), ("HEAD", "config", "commondir")),
    ],
)
def test_files_that_are_a_bare_repository_are_git_s(
    tmp_path: Path, at: str, there: tuple[str, ...], planned: tuple[str, ...]
) -> None:
    for name in there:
        (tmp_path / at / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / at / name).write_text("x\n")
    change = in_one(*(at + name for name in planned))
    with pytest.raises(PatchError, match="decides what git does"):
        patch.plan(change, tmp_path)
    found = patch.plan(change, tmp_path, protected=True).protected
    assert set(found) == {(at + name, "git") for name in planned}


@pytest.mark.parametrize("paths", [("HEAD", "config"), ("objects/x", "config"), ("refs/x", "objects/x"), ("a:b/c.py",)])
def test_parts_of_a_repository_are_like_any_other_file(tmp_path: Path, paths: tuple[str, ...]) -> None:
    assert patch.plan(in_one(*paths), tmp_path).protected == ()


def test_a_move_onto_a_protected_name_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("x\n")
    text = "*** Begin Patch\n*** Update File: a.sh\n*** Move to: .git/hooks/pre-commit\n*** End Patch"
    with pytest.raises(PatchError, match=r"\.git/hooks/pre-commit is protected"):
        patch.plan(patch.parse(text), tmp_path)


def test_what_was_approved_can_be_taken_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".git/config").write_text("[core]\n")
    store = UndoStore(root, tmp_path / "state")
    text = "*** Begin Patch\n*** Update File: .git/config\n-[core]\n+[x]\n*** End Patch"
    store.apply(patch.plan(patch.parse(text), root, protected=True))
    assert (root / ".git/config").read_text() == "[x]\n"
    assert store.undo().restored == (".git/config",)
    assert (root / ".git/config").read_text() == "[core]\n"
