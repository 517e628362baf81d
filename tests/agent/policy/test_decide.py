"""The pure decision, over all modes, kinds of effect and rules."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.agent.policy.decide import PLAN_ONLY, UNPARSED, Policy, decide, must_ask
from gptoss_tui.agent.policy.grants import grants_for
from gptoss_tui.agent.policy.modes import MODES, Mode, stricter, up_to
from gptoss_tui.agent.policy.rules import REACHES, RULE_KINDS, Pattern, Rule, RuleKind, RuleVerdict, rule_id
from gptoss_tui.tools.base import Effect, Reach
from gptoss_tui.tools.expansion import Word
from tests.agent.policy.effects import command, edit, make, mcp, python, url

LS = ("ls", "-l")
EFFECTS = {"edit": edit(), "command": command(LS), "python": python(), "url": url(), "mcp": mcp()}

TABLE: dict[Mode, dict[str, str]] = {
    "read-only": {"edit": "deny", "command": "deny", "python": "ask", "url": "ask", "mcp": "deny"},
    "ask": {"edit": "ask", "command": "ask", "python": "ask", "url": "ask", "mcp": "ask"},
    "auto-edit": {"edit": "allow", "command": "ask", "python": "ask", "url": "ask", "mcp": "ask"},
    "full-auto": {"edit": "allow", "command": "allow", "python": "allow", "url": "ask", "mcp": "ask"},
}


def rule(
    kind: RuleKind, *pattern: Word, verdict: RuleVerdict = "allow", reach: Reach = "network", scope: str = "user"
) -> Rule:
    name = rule_id(kind, pattern, verdict, reach, "user")
    return Rule(name, kind, pattern, scope, "", verdict, reach)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "kind"), itertools.product(MODES, EFFECTS))
def test_every_mode_and_kind(mode: Mode, kind: str) -> None:
    verdict = decide(EFFECTS[kind], Policy(mode))
    assert verdict.outcome == TABLE[mode][kind]
    assert verdict.by == "policy"
    assert (verdict.why == PLAN_ONLY) == (verdict.outcome == "deny")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("allow_all", [False, True])
def test_reading_is_always_allowed(mode: Mode, allow_all: bool) -> None:
    assert decide(None, Policy(mode, allow_all=allow_all)).outcome == "allow"


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("kind", ["command", "python"])
def test_full_auto_needs_a_sandbox(kind: str, reach: Reach) -> None:
    wanted = "allow" if reach in ("workspace", "sandbox") else "ask"
    assert decide(replace(EFFECTS[kind], reach=reach), Policy("full-auto")).outcome == wanted


def test_an_effect_that_says_nothing_of_its_reach_is_taken_to_have_all_of_it() -> None:
    bare = Effect("python", "Run", "1", "code", "d")
    assert decide(bare, Policy("full-auto")).outcome == "ask"
    assert decide(bare, Policy("ask", (rule("python", reach="sandbox"),))).outcome == "ask"


PROTECTED = (
    *(".git/config", ".GIT/config", "sub/.git/hooks/pre-commit", ".g\u200bit/x", ".git./x", ".git::$DATA/x"),
    *("\uff0egit/x", "git~1/x", ".husky/pre-commit", ".githooks/x", ".gitmodules", "lefthook.yml", "lefthook.yaml"),
    *(".bashrc", "home/.zshrc", ".profile", ".envrc", ".config/fish/config.fish"),
    *(".vscode/settings.json", ".VSCode/tasks.json", ".idea/x.xml", "a.code-workspace", ".vimrc", ".nvim.lua"),
    *(".gptoss-tui.toml", ".config/gptoss-tui/approvals.toml", ".local/state/gptoss-tui/approvals/x.json"),
    *(".ssh/authorized_keys", ".netrc", ".npmrc", ".mcp.json", ".claude/settings.json", ".devcontainer/x.json"),
)
ORDINARY = (
    "git/x.py",
    "a.git.md",
    "docs/bashrc.md",
    "vscode/x",
    ".gitignore",
    "src/.hidden",
    "profile",
    "gptoss-tui/x",
)


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize("mode", ["ask", "auto-edit", "full-auto"])
def test_protected_files_always_ask(path: str, mode: Mode) -> None:
    every = (rule("edit", "**"), rule("edit", path.strip("/"), scope="session"))
    verdict = decide(edit("a.py", path), Policy(mode, every))
    assert verdict.outcome == "ask"
    assert "protected" in verdict.reasons[0]
    assert decide(edit(path), Policy("read-only", every)).outcome == "deny"
    assert decide(edit("a.py", path), Policy("ask", every, allow_all=True)).outcome == "ask"


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_files_are_not_protected(path: str) -> None:
    assert decide(edit(path), Policy("auto-edit")).outcome == "allow"


@pytest.mark.parametrize(
    "words",
    [
        ("tee", ".bashrc"),
        ("cp", "x", "sub/.git/hooks/post-commit"),
        ("git", "config", "--file=.git/config", "core.hooksPath", "x"),
        ("rsync", "x", "host:.ssh/authorized_keys"),
    ],
)
def test_commands_that_name_a_protected_file_always_ask(words: Pattern) -> None:
    verdict = decide(command(LS, words), Policy("full-auto", (rule("command", *words), rule("command", *LS))))
    assert verdict.outcome == "ask"
    assert "protected" in verdict.reasons[0]


@pytest.mark.parametrize("mode", ["ask", "auto-edit", "full-auto"])
def test_a_command_that_changes_the_repository_always_asks(mode: Mode) -> None:
    commit = replace(command(("git", "commit", "-m", "x")), paths=(".git",))
    allowed = (rule("command", "git", "commit", "-m", "x"), rule("command-prefix", "git"))
    for allow_all in (False, True):
        verdict = decide(commit, Policy(mode, allowed, allow_all))
        assert (verdict.outcome, verdict.reasons) == ("ask", (".git is protected: it decides what git does",))


@pytest.mark.parametrize(("reach", "outcome"), [("sandbox", "allow"), ("network", "allow"), ("host", "ask")])
def test_giving_up_all_questions_leaves_what_no_sandbox_keeps_from_protected_files(reach: Reach, outcome: str) -> None:
    named = replace(command(("tee", ".bashrc")), reach=reach)
    assert decide(named, Policy("ask", allow_all=True)).outcome == outcome
    assert decide(replace(command(LS), reach=reach), Policy("ask", allow_all=True)).outcome == "allow"


@pytest.mark.parametrize("commands", [(), ((),), (LS, ())])
def test_what_cannot_be_parsed_asks(commands: tuple[Pattern, ...]) -> None:
    verdict = decide(command(*commands), Policy("full-auto", (rule("command-prefix", "ls"),)))
    assert (verdict.outcome, verdict.reasons) == ("ask", (UNPARSED,))


def test_reasons_of_the_tool_outrank_modes_and_rules() -> None:
    asked = url("example.org", must_ask=("the address carries text of this conversation",))
    verdict = decide(asked, Policy("full-auto", (rule("host", "*"),)))
    assert (verdict.outcome, verdict.reasons) == ("ask", asked.must_ask)
    assert grants_for(asked) == ()


COVERED: list[tuple[Rule, Effect, bool]] = [
    (rule("edit", "**"), edit("a.py", "b/c.py"), True),
    (rule("edit", "/docs/"), edit("docs/a.md", "docs/b/c.md"), True),
    (rule("edit", "/docs/"), edit("docs/a.md", "src/a.py"), False),
    (rule("edit", "*.md"), edit("deep/down/a.md"), True),
    (rule("edit", "/docs/"), edit("sub/docs/a.md"), False),
    (rule("command", "npm", "test"), command(("npm", "test")), True),
    (rule("command", "npm", "test"), command(("npm", "test", "--x")), False),
    (rule("command-prefix", "npm", "test"), command(("npm", "test", "--x")), True),
    (rule("command-prefix", "npm", "test"), command(("npm", "testing")), False),
    (rule("command-prefix", "npm", "test"), command(("npm test", "x")), False),
    (rule("command-prefix", "git", "log"), command(("git", "-c", "core.pager=sh", "log")), False),
    (rule("command-prefix", "git", "log"), command(("/tmp/git", "log")), False),
    (rule("command-prefix", "ls"), command(LS, ("rm", "-rf", "x")), False),
    (rule("command-prefix", "ls"), command(LS, ("ls", "/")), True),
    (rule("command-prefix", "ls"), command(LS, reach="network"), True),
    (rule("command-prefix", "ls", reach="sandbox"), command(LS, reach="network"), False),
    (rule("command-prefix", "ls"), command(LS, reach="host"), False),
    (rule("command-prefix", "ls", reach="host"), command(LS, reach="host"), True),
    (rule("host", "example.org"), url("example.org"), True),
    (rule("host", "example.org"), url("EXAMPLE.org."), True),
    (rule("host", "example.org"), url("example.org.evil.net"), False),
    (rule("host", "example.org"), url("badexample.org"), False),
    (rule("host", "example.org"), url("a.example.org"), False),
    (rule("host", "*.example.org"), url("a.b.example.org"), True),
    (rule("host", "*.example.org"), url("example.org"), False),
    (rule("host", "*.example.org"), url("badexample.org"), False),
    (rule("host", "example.org"), url("example.org", "other.net"), False),
    (rule("host", "*"), url("any.where"), True),
    (rule("mcp", "tracker", "create", reach="host"), mcp(), True),
    (rule("mcp", "tracker", "delete", reach="host"), mcp(), False),
    (rule("mcp", "tracker", "*", reach="host"), mcp(), True),
    (rule("mcp", "other", "*", reach="host"), mcp(), False),
    (rule("mcp", "*", "*", reach="host"), mcp(), False),
    (rule("python"), python(), True),
    (rule("python", reach="sandbox"), replace(python(), reach="host"), False),
    (rule("python"), command(("python",)), False),
    (rule("edit", "**"), make("mcp", "host", mcp=None, paths=("a",)), False),
    (rule("host", "*"), make("url", "network"), False),
]


@pytest.mark.parametrize(("allowing", "effect", "covered"), COVERED)
def test_what_an_allow_rule_covers(allowing: Rule, effect: Effect, covered: bool) -> None:
    verdict = decide(effect, Policy("ask", (allowing,)))
    assert verdict.outcome == ("allow" if covered else "ask")
    assert verdict.rules == ((allowing.id,) if covered else ())


def test_several_rules_can_cover_one_effect_together() -> None:
    rules = (rule("command-prefix", "ls"), rule("command", "git", "status"))
    both = command(LS, ("git", "status"))
    assert decide(both, Policy("ask", rules)).rules == (rules[0].id, rules[1].id)
    assert decide(both, Policy("ask", rules[:1])).outcome == "ask"


@pytest.mark.parametrize("program", ["rm", "/bin/rm", "./rm"])
@pytest.mark.parametrize("allow_all", [False, True])
def test_a_deny_rule_outranks_everything(program: str, allow_all: bool) -> None:
    denied = rule("command-prefix", "rm", verdict="deny")
    policy = Policy("full-auto", (rule("command-prefix", program), denied), allow_all)
    verdict = decide(command(LS, (program, "x")), policy)
    assert (verdict.outcome, verdict.by, verdict.rules) == ("deny", "rule", (denied.id,))


@pytest.mark.parametrize(
    ("denied", "effect"),
    [
        (rule("host", "*.example.org", verdict="deny"), url("example.com", "a.example.org")),
        (rule("edit", "*.lock", verdict="deny"), edit("a.txt", "b/c.lock")),
        (rule("mcp", "box", "*", verdict="deny"), make("mcp", "host", mcp=("box", "add"))),
        (rule("python", verdict="deny"), make("python", "sandbox")),
    ],
)
def test_a_deny_rule_denies_every_kind_of_effect(denied: Rule, effect: Effect) -> None:
    allowed = (rule("host", "*"), rule("edit", "**"), rule("mcp", "box", "add", reach="host"), rule("python"))
    for mode in MODES:
        verdict = decide(effect, Policy(mode, (*allowed, denied), allow_all=True))
        assert (verdict.outcome, verdict.rules) == ("deny", (denied.id,))


def test_an_ask_rule_outranks_allow_rules_and_modes() -> None:
    asking = rule("host", "*.example.org", verdict="ask")
    verdict = decide(url("a.example.org"), Policy("full-auto", (rule("host", "*"), asking)))
    assert (verdict.outcome, verdict.rules) == ("ask", (asking.id,))
    assert verdict.reasons


def test_who_said_it() -> None:
    session = rule("command-prefix", "ls", scope="session")
    assert decide(command(LS), Policy("ask", (session,))).by == "session"
    assert decide(command(LS), Policy("ask", (replace(session, scope="workspace"),))).by == "rule"
    assert decide(command(LS), Policy("full-auto")).why == "full-auto"


OFFERS: list[tuple[Effect, list[str]]] = [
    (edit("a.py"), ["edits of this workspace"]),
    (edit("src/a.py", "src/b.py"), ["edits of this workspace", "edits of /src/"]),
    (edit("src/a.py", "lib/b.py"), ["edits of this workspace"]),
    (command(("npm", "test", "--x")), ["the command npm test --x", "commands that begin with npm test"]),
    (command(("npm", "run", "lint", "x")), ["the command npm run lint x", "commands that begin with npm run lint"]),
    (command(("bash", "x.sh")), ["the command bash x.sh"]),
    (command(("python", "-c", "1")), ["the command python -c 1"]),
    (command(("git", "-C", "x", "log")), ["the command git -C x log"]),
    (command(("git", "config", "a", "b")), ["the command git config a b"]),
    (command(("docker", "run", "x")), ["the command docker run x"]),
    (command(("npm", "run", "--prefix")), ["the command npm run --prefix"]),
    (
        command(LS, ("rm", "a b")),
        ["the command ls -l, the command rm 'a b'", "commands that begin with ls, the command rm 'a b'"],
    ),
    (command(), []),
    (command(LS, LS, LS, LS, LS), []),
    (python(), ["Python"]),
    (url("a.org", "a.org", "b.org"), ["pages of a.org, pages of b.org"]),
    (mcp(), ["create of tracker", "every tool of tracker"]),
]


@pytest.mark.parametrize(("effect", "labels"), OFFERS)
def test_what_is_offered(effect: Effect, labels: list[str]) -> None:
    assert [grant.label for grant in grants_for(effect)] == labels


@pytest.mark.parametrize("effect", [effect for effect, labels in OFFERS if labels])
def test_what_is_offered_covers_what_was_asked_about(effect: Effect) -> None:
    for grant in grants_for(effect):
        rules = tuple(rule(kind, *pattern, reach=effect.reach) for kind, pattern in grant.rules)
        assert decide(effect, Policy("ask", rules)).outcome == "allow"


def test_a_folder_with_stars_in_its_name_is_just_that_folder() -> None:
    effect = edit("we*rd [x]/a.py")
    narrow = grants_for(effect)[1]
    rules = tuple(rule(kind, *pattern) for kind, pattern in narrow.rules)
    assert decide(effect, Policy("ask", rules)).outcome == "allow"
    assert decide(edit("weXrd x/a.py"), Policy("ask", rules)).outcome == "ask"


_WORDS = st.tuples(*[st.sampled_from(["ls", "git", "rm", "log", "-c", "x"])] * 2)
_EFFECT = st.one_of(
    st.builds(lambda paths: edit(*paths), st.lists(st.sampled_from(["a", ".git/x", "b/c"]), min_size=1, max_size=3)),
    st.builds(
        lambda words, reach: command(*words, reach=reach), st.lists(_WORDS, max_size=3), st.sampled_from(REACHES)
    ),
    st.builds(lambda hosts: url(*hosts), st.lists(st.sampled_from(["a.org", "b.a.org"]), min_size=1, max_size=2)),
    st.just(python()),
    st.just(mcp()),
)
_PATTERNS: dict[RuleKind, list[Pattern]] = {
    "edit": [("**",), ("a",)],
    "command": [("ls", "log")],
    "command-prefix": [("ls",), ("git", "log")],
    "host": [("a.org",), ("*.a.org",), ("*",)],
    "mcp": [("tracker", "*"), ("tracker", "create")],
    "python": [()],
}
_RULE = st.builds(
    lambda chosen, verdict, reach: rule(chosen[0], *chosen[1], verdict=verdict, reach=reach),
    st.sampled_from([(kind, pattern) for kind in RULE_KINDS for pattern in _PATTERNS[kind]]),
    st.sampled_from(["allow", "ask", "deny"]),
    st.sampled_from(REACHES),
)
_LEVEL = {"allow": 2, "ask": 1, "deny": 0}


@settings(deadline=None)
@given(_EFFECT, st.sampled_from(MODES), st.lists(_RULE, max_size=4), _RULE)
def test_a_rule_that_does_not_allow_never_widens(effect: Effect, mode: Mode, rules: list[Rule], more: Rule) -> None:
    before = decide(effect, Policy(mode, tuple(rules)))
    after = decide(effect, Policy(mode, (*rules, more)))
    if more.verdict == "allow":
        assert _LEVEL[after.outcome] >= _LEVEL[before.outcome]
    else:
        assert _LEVEL[after.outcome] <= _LEVEL[before.outcome]


@settings(deadline=None)
@given(_EFFECT, st.lists(_RULE, max_size=4))
def test_a_stricter_mode_never_widens(effect: Effect, rules: list[Rule]) -> None:
    levels = [_LEVEL[decide(effect, Policy(mode, tuple(rules))).outcome] for mode in MODES]
    assert levels == sorted(levels)


@settings(deadline=None)
@given(_EFFECT, st.sampled_from(MODES), st.lists(_RULE, max_size=4))
def test_what_must_be_asked_is_never_allowed(effect: Effect, mode: Mode, rules: list[Rule]) -> None:
    if must_ask(effect):
        assert decide(effect, Policy(mode, tuple(rules))).outcome != "allow"


def test_modes_are_ordered() -> None:
    assert stricter("full-auto", "ask") == "ask"
    assert up_to("auto-edit") == ("read-only", "ask", "auto-edit")
