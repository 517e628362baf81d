"""Rules on disk: kept outside the workspace, read anew, never widened by what is damaged or not trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.policy.book import RuleBook, describe_rule
from gptoss_tui.agent.policy.decide import Policy, decide
from gptoss_tui.agent.policy.files import read_user_rules, read_workspace_rules
from gptoss_tui.agent.policy.grants import Grant
from gptoss_tui.agent.policy.modes import MODES
from gptoss_tui.agent.policy.rules import Pattern, RuleKind
from gptoss_tui.errors import PolicyError, UsageError
from gptoss_tui.tools.base import Effect

NPM_TEST = Grant((("command-prefix", ("npm", "test")),), "npm test")

USER = """
[[rules]]
kind = "command-prefix"
pattern = ["git", "status"]

[[rules]]
kind = "host"
pattern = "Docs.Python.org."
verdict = "deny"
"""
WORKSPACE = """
[approvals]
mode = "ask"

[[approvals.rules]]
kind = "command-prefix"
pattern = ["make"]

[[approvals.rules]]
kind = "edit"
pattern = "/vendor/"
verdict = "deny"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


def book(root: Path) -> RuleBook:
    return RuleBook(root, store=root.parent / "state", user=root.parent / "approvals.toml")


def said(rules: RuleBook) -> list[str]:
    return [f"{rule.scope}: {describe_rule(rule)}" for rule in rules.rules]


def test_a_kept_rule_is_there_the_next_time_and_lies_outside_the_workspace(root: Path) -> None:
    (rule,) = book(root).grant(NPM_TEST, "workspace", "sandbox")
    again = book(root)
    assert again.rules == (rule,)
    assert said(again) == ["workspace: allow commands that begin with npm test"]
    assert list(root.iterdir()) == []
    (file,) = (root.parent / "state").glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_word_of_a_kept_command_may_be_empty(root: Path) -> None:
    grant = Grant((("command", ("grep", "", "a.txt")),), "grep")
    (rule,) = book(root).grant(grant, "workspace", "sandbox")
    again = book(root)
    assert (again.rules, again.problems) == ((rule,), ())


@pytest.mark.parametrize("rule", [("mcp", ("server", "")), ("edit", ("/" + r"\*" * 9 + "/",))])
def test_a_rule_that_could_not_be_read_again_is_not_kept_and_spoils_nothing(
    root: Path, rule: tuple[RuleKind, Pattern]
) -> None:
    book(root).grant(NPM_TEST, "workspace", "sandbox")
    with pytest.raises(PolicyError):
        book(root).grant(Grant((rule,), "x"), "workspace", "host")
    again = book(root)
    assert (len(again.rules), again.problems) == (1, ())


def test_the_same_rule_is_kept_once(root: Path) -> None:
    rules = book(root)
    rules.grant(NPM_TEST, "workspace", "sandbox")
    rules.grant(NPM_TEST, "workspace", "sandbox")
    rules.grant(NPM_TEST, "session", "sandbox")
    rules.grant(NPM_TEST, "session", "sandbox")
    assert [rule.scope for rule in rules.rules] == ["session", "workspace"]


def test_rules_can_be_revoked(root: Path) -> None:
    rules = book(root)
    (kept,) = rules.grant(NPM_TEST, "workspace", "sandbox")
    (passing,) = rules.grant(NPM_TEST, "session", "sandbox")
    assert rules.revoke(passing.id) == passing
    assert rules.revoke(kept.id) == kept
    assert rules.rules == ()
    assert book(root).rules == ()
    with pytest.raises(UsageError, match="no rule"):
        rules.revoke(kept.id)


def test_a_rule_revoked_elsewhere_does_not_count_here(root: Path) -> None:
    here, there = book(root), book(root)
    (rule,) = here.grant(NPM_TEST, "workspace", "sandbox")
    assert there.rules == (rule,)
    there.revoke(rule.id)
    assert here.rules == ()


def test_rules_of_the_user_are_read_and_name_their_place(root: Path) -> None:
    (root.parent / "approvals.toml").write_text(USER)
    rules = book(root)
    assert said(rules) == ["user: allow commands that begin with git status", "user: deny pages of docs.python.org"]
    assert rules.rules[0].place == f"{root.parent / 'approvals.toml'}: rule 1"


REST = """\
# mine

[[rules]]  # first
kind = "python"
# why

# about the next
[[ rules ]]
kind = "edit"
pattern = "**"
"""


def test_a_rule_of_the_users_own_file_is_taken_out_and_nothing_else(root: Path) -> None:
    file = root.parent / "approvals.toml"
    file.write_bytes(REST.replace("\n", "\r\n").encode() + USER.encode())
    file.chmod(0o640)
    rules = book(root)
    assert len(rules.rules) == 4
    gone = next(rule for rule in rules.rules if rule.kind == "command-prefix")
    assert rules.revoke(gone.id) == gone
    left = USER.replace('[[rules]]\nkind = "command-prefix"\npattern = ["git", "status"]\n', "")
    assert file.read_bytes() == REST.replace("\n", "\r\n").encode() + left.encode()
    assert file.stat().st_mode & 0o777 == 0o640
    for kind in ("python", "edit", "host"):
        rules.revoke(next(rule.id for rule in rules.rules if rule.kind == kind))
    assert rules.rules == ()
    assert "# about the next" in file.read_text()


@pytest.mark.parametrize(
    "text",
    [
        'rules = [{kind = "python"}]',
        '[[rules]]\nkind = "python"\n[[rules]]\nkind = "command"\npattern = ["a", """\n[[rules]]\n"""]',
        '"rules" = [{kind = "python"}]\n# [[rules]]',
    ],
)
def test_a_file_whose_rules_cannot_be_told_apart_is_left_alone(root: Path, text: str) -> None:
    file = root.parent / "approvals.toml"
    file.write_text(text)
    rules = book(root)
    with pytest.raises(UsageError, match=r"approvals\.toml \(rule 1\)"):
        rules.revoke(next(rule.id for rule in rules.rules if rule.kind == "python"))
    assert file.read_text() == text


def test_a_rule_of_the_workspace_is_not_taken_out_of_its_file(root: Path) -> None:
    (root / ".gptoss-tui.toml").write_text(WORKSPACE)
    rules = book(root)
    rules.trust()
    with pytest.raises(UsageError, match=r"gptoss-tui\.toml"):
        rules.revoke(rules.rules[0].id)
    assert (root / ".gptoss-tui.toml").read_text() == WORKSPACE


def test_a_workspace_only_tightens_until_it_is_trusted(root: Path) -> None:
    (root / ".gptoss-tui.toml").write_text(WORKSPACE)
    rules = book(root)
    assert said(rules) == ["workspace: deny edits of /vendor/"]
    assert rules.modes == ("read-only", "ask")
    assert (rules.workspace_file.exists, rules.workspace_file.trusted) == (True, False)
    assert rules.trust().trusted
    assert said(rules) == ["workspace: allow commands that begin with make", "workspace: deny edits of /vendor/"]
    assert rules.modes == MODES
    assert rules.suggested_mode == "ask"
    assert book(root).workspace_file.trusted
    assert not rules.trust(False).trusted
    assert rules.modes == ("read-only", "ask")


def test_trust_is_in_the_file_as_it_was(root: Path) -> None:
    file = root / ".gptoss-tui.toml"
    rules = book(root)
    rules.trust()
    file.write_text(WORKSPACE)
    assert not rules.workspace_file.trusted
    rules.trust()
    file.write_text(WORKSPACE.replace("make", "curl"))
    assert not rules.workspace_file.trusted
    assert said(rules) == ["workspace: deny edits of /vendor/"]


def test_a_mode_that_the_workspace_does_not_let_happen_cannot_be_set(root: Path) -> None:
    (root / ".gptoss-tui.toml").write_text(WORKSPACE)
    approvals = Approvals("full-auto", book=book(root))
    assert approvals.mode == "ask"
    with pytest.raises(UsageError, match="full-auto is not available"):
        approvals.mode = "full-auto"
    approvals.book.trust()
    assert approvals.mode == "full-auto"


BROKEN_FILES = [
    "",
    "{",
    "[]",
    "null",
    '{"v": 2}',
    '{"v": 1, "workspace": "/elsewhere", "trusted": "", "rules": []}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", BROKEN_FILES)
def test_a_damaged_store_allows_nothing_and_is_not_overwritten(root: Path, text: str) -> None:
    (root.parent / "approvals.toml").write_text(USER)
    rules = book(root)
    rules.grant(NPM_TEST, "workspace", "sandbox")
    (file,) = (root.parent / "state").glob("*.json")
    file.write_text(text)
    assert said(rules) == ["user: deny pages of docs.python.org"]
    assert rules.modes == ("read-only", "ask")
    assert "cannot be read" in rules.problems[0].message
    with pytest.raises(PolicyError):
        rules.grant(NPM_TEST, "workspace", "sandbox")
    assert file.read_text() == text


def test_a_kept_rule_of_a_wrong_shape_spoils_the_file(root: Path) -> None:
    rules = book(root)
    rules.grant(NPM_TEST, "workspace", "sandbox")
    (file,) = (root.parent / "state").glob("*.json")
    whole = json.loads(file.read_text())
    for change in ({"kind": "all"}, {"pattern": []}, {"pattern": "npm"}, {"reach": "moon"}, {"created": 1}, {"x": 1}):
        file.write_text(json.dumps({**whole, "rules": [{**whole["rules"][0], **change}]}))
        assert rules.rules == (), change
        assert rules.problems


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("BÜCHER.de.", "xn--bcher-kva.de"),
        ("*.bücher.de", "a.xn--bcher-kva.de"),
        ("*.Evil.org", "a.evil.org"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("1.1.1.1", "1.1.1.1"),
        ("*", "evil.org"),
    ],
)
def test_a_host_that_a_person_wrote_is_the_host_that_is_asked_for(written: str, host: str) -> None:
    found = read_user_rules(f"[[rules]]\nkind = 'host'\npattern = '{written}'\nverdict = 'deny'", "x").rules
    effect = Effect("url", "Open", host, "url", "d", hosts=(host,), reach="network")
    assert decide(effect, Policy("full-auto", found)).outcome == "deny"


BROKEN_RULES = [
    ("rules = 1", "must be a list"),
    ("x = 1", "unknown key `x`"),
    ("[[rules]]\nkind = 'all'", "kind must be one of"),
    ("[[rules]]\nkind = 'python'\nverdict = 'maybe'", "verdict must be one of"),
    ("[[rules]]\nkind = 'python'\npattern = ['x']", "0 words"),
    ("[[rules]]\nkind = 'command-prefix'\npattern = []", "one or more words"),
    ("[[rules]]\nkind = 'command-prefix'\npattern = 'git status'", "a list of words"),
    ("[[rules]]\nkind = 'command-prefix'\npattern = ['']", "a list of words"),
    ("[[rules]]\nkind = 'command-prefix'\npattern = ['git push']", "a list of words"),
    ("[[rules]]\nkind = 'host'\npattern = 'https://evil.org'", "no host"),
    ("[[rules]]\nkind = 'host'\npattern = 'evil.org:8080'", "no host"),
    ("[[rules]]\nkind = 'host'\npattern = 'evil.org/path'", "no host"),
    ("[[rules]]\nkind = 'host'\npattern = '*evil.org'", "no host"),
    ("[[rules]]\nkind = 'host'\npattern = '*.'", "no host"),
    ("[[rules]]\nkind = 'edit'\npattern = './vendor/'", "no dots"),
    ("[[rules]]\nkind = 'edit'\npattern = '../x'", "no dots"),
    ("[[rules]]\nkind = 'edit'\npattern = '#x'", "a comment"),
    ("[[rules]]\nkind = 'mcp'\npattern = ['a']", "2 words"),
    ("[[rules]]\nkind = 'edit'\npattern = '!x'", "cannot be used"),
    ("[[rules]]\nkind = 'edit'\npattern = '*********x'", "cannot be used"),
    ("[[rules]]\nkind = 'python'\nreach = 'all'", "reach must be one of"),
    ("[[rules]]\nkind = 'python'\nscope = 'x'", "unknown key `scope`"),
    ("[", "approvals.toml"),
]


@pytest.mark.parametrize(("text", "error"), BROKEN_RULES)
def test_a_wrong_file_of_the_user_says_where_and_allows_nothing(root: Path, text: str, error: str) -> None:
    with pytest.raises(PolicyError, match=error):
        read_user_rules(text, "approvals.toml")
    (root.parent / "approvals.toml").write_text(text)
    rules = book(root)
    rules.grant(NPM_TEST, "workspace", "sandbox")
    assert rules.rules == ()
    assert rules.modes == ("read-only", "ask")


@pytest.mark.parametrize(
    "text", ["[approvals]\nmode = 'all'", "[approval]", "approvals = 1", "[approvals]\nx = 1", "mode = 'ask'"]
)
def test_a_wrong_file_of_the_workspace_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="here"):
        read_workspace_rules(text, "here")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link_out(path: Path) -> None:
    (path.parent.parent / "outside.toml").write_text('[approvals]\nmode = "full-auto"')
    path.symlink_to("../outside.toml")


def make_huge(path: Path) -> None:
    path.write_text("#" * (65 << 10))


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("make", [make_fifo, make_link_out, make_huge, make_binary, Path.mkdir])
def test_a_workspace_file_that_is_none_is_a_problem_and_never_hangs(root: Path, make: object) -> None:
    assert callable(make)
    make(root / ".gptoss-tui.toml")
    rules = book(root)
    assert rules.problems
    assert rules.modes == ("read-only", "ask")


def grant_five(root: Path, number: str) -> None:
    for step in range(5):
        book(root).grant(Grant((("command", (f"c{number}", str(step))),), ""), "workspace", "sandbox")


def test_two_programs_that_keep_rules_at_once_lose_none(root: Path) -> None:
    words = [sys.executable, "-c", "import sys; from pathlib import Path; from tests.agent.policy.test_book import *\n"]
    words[-1] += "grant_five(Path(sys.argv[1]), sys.argv[2])"
    top = Path(__file__).parents[3]
    programs = [subprocess.Popen([*words, str(root), str(number)], cwd=top) for number in range(3)]
    assert [program.wait() for program in programs] == [0, 0, 0]
    assert len(book(root).rules) == 15


def test_a_write_that_fails_keeps_what_was_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = book(root)
    (kept,) = rules.grant(NPM_TEST, "workspace", "sandbox")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PolicyError, match="No space left"):
        rules.grant(Grant((("python", ()),), ""), "workspace", "sandbox")
    assert rules.rules == (kept,)
    assert not [path for path in (root.parent / "state").iterdir() if path.suffix not in (".json", ".lock")]
