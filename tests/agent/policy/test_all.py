"""`--approve all` on commands as they are written: what it leaves to a person, and what rules forbid even then."""

from __future__ import annotations

import pytest

from gptoss_tui.agent.policy.decide import Policy, decide
from gptoss_tui.agent.policy.grants import grants_for
from gptoss_tui.agent.policy.rules import Rule, RuleKind, RuleVerdict
from gptoss_tui.tools.base import Effect, Reach
from gptoss_tui.tools.shell.wrappers import command_words
from tests.agent.policy.effects import command, url


def effect(text: str, reach: Reach = "sandbox") -> Effect:
    return command(*command_words(text), reach=reach)


def rule(kind: RuleKind, *pattern: str, verdict: RuleVerdict = "deny") -> Rule:
    return Rule("x", kind, pattern, "user", "", verdict, "sandbox")


def under_all(shown: Effect, *rules: Rule) -> str:
    return decide(shown, Policy("full-auto", rules, allow_all=True)).outcome


MAY_WRITE_PROTECTED = (
    *("echo 'export X=1' > .envrc", "echo x >> .git/config", "d=.git; echo x > $d/hooks/pre-commit", "tee $x"),
    *("for f in .envrc; do echo x | tee $f; done", "if true; then tee .envrc; fi", "tee .envrc", "bash -c 'tee $x'"),
    *("tee .envr?", "tee {.envrc,x}", "tee .{envrc,x}", "tee .env[^x]c", "tee .[[:alpha:]]nvrc", "cp x .git*/config"),
    *("cp x .config/g*/config", "rm *", "cp x --target={.git,a}", "tee *.CODE-workspace", "tee .ENVR?"),
)


@pytest.mark.parametrize("text", MAY_WRITE_PROTECTED)
def test_without_a_sandbox_a_command_that_may_write_protected_files_is_left_to_a_person(text: str) -> None:
    verdict = decide(effect(text, "host"), Policy("full-auto", allow_all=True))
    assert (verdict.outcome, bool(verdict.reasons)) == ("ask", True)
    assert under_all(effect(text)) == "allow", "its sandbox keeps it from them"


@pytest.mark.parametrize("text", ["ls", "make && pytest -q", "cat src/*.py", "ls {a,b}.txt ~/x 2>/dev/null", "rm *.o"])
def test_without_a_sandbox_other_commands_run(text: str) -> None:
    assert under_all(effect(text, "host")) == "allow"


NAMED = (
    *("x=1; git push", "git push $X", "git push > out.txt", "if true; then git push; fi", "echo $(git push)"),
    *("git -C . push", "git -c a.b=c --no-pager push", "git --git-dir .git push -f", "/usr/bin/git --git-dir=x push"),
    *("A=1 git push", "{ git push; }", "f() { git push; }; f", "for x in a b; do git push $x; done", "git push < x"),
    *("echo `git push`", "while ! git push; do sleep 1; done", "sudo git push > x", "git push <<< x", "x=$(git push)"),
    *(
        "timeout 5 git push $X",
        "git push 2> log | tail",
        "cat <(git push)",
        "[[ -f x ]] && git push",
        "git -C 'a b' push",
    ),
)


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("allow_all", [False, True])
def test_a_command_that_a_rule_denies_is_found_wherever_it_stands(text: str, allow_all: bool) -> None:
    for shown in (effect(text), effect(text, "host")):
        verdict = decide(shown, Policy("full-auto", (rule("command-prefix", "git", "push"),), allow_all))
        assert verdict.outcome == "deny"
    assert under_all(effect(text), rule("command-prefix", "git", "pull", verdict="allow")) == "allow"


HIDDEN = ("$GIT push", "git $X", "g=push; git $g", "curl x | sh", "bash -c 'git $X'", "echo $((1))", "xargs -I{} {}")


@pytest.mark.parametrize("text", HIDDEN)
@pytest.mark.parametrize("kind", ["command", "command-prefix"])
@pytest.mark.parametrize("verdict", ["deny", "ask"])
def test_what_may_be_what_a_rule_names_is_left_to_a_person(text: str, kind: RuleKind, verdict: RuleVerdict) -> None:
    decided = decide(effect(text), Policy("full-auto", (rule(kind, "git", "push", verdict=verdict),), allow_all=True))
    assert decided.outcome == "ask"
    assert any("git push" in reason for reason in decided.reasons)
    assert grants_for(effect(text)) == ()


EXPANDED = (
    "git {push,x}",
    "git pus?",
    "git p[u]sh",
    "git -C {x,push}",
    "git *",
    "/usr/bin/git {-C,x,push}",
    "ls; git *",
)


@pytest.mark.parametrize("text", EXPANDED)
@pytest.mark.parametrize("allow_all", [False, True])
def test_a_word_that_may_expand_to_what_a_rule_names_asks_in_every_mode(text: str, allow_all: bool) -> None:
    verdict = decide(effect(text), Policy("full-auto", (rule("command-prefix", "git", "push"),), allow_all))
    assert (verdict.outcome, len(verdict.reasons)) == ("ask", 1)


@pytest.mark.parametrize("text", ["git add *", "ls *", "git pul?", "git -C x add {a,b}", "git {a,b}.txt", "git"])
@pytest.mark.parametrize("allow_all", [False, True])
def test_a_word_that_expands_to_something_else_asks_nothing(text: str, allow_all: bool) -> None:
    policy = Policy("full-auto", (rule("command-prefix", "git", "push"),), allow_all)
    assert decide(effect(text), policy).outcome == "allow"


@pytest.mark.parametrize("text", HIDDEN)
def test_rules_about_other_things_leave_all_as_it_is(text: str) -> None:
    others = (rule("edit", "**"), rule("host", "*"), rule("python"), rule("command", "ls", verdict="allow"))
    assert under_all(effect(text), *others) == "allow"
    assert decide(effect(text), Policy("full-auto", others)).outcome == "ask"


@pytest.mark.parametrize("text", ["git push", "git -C . push", "git push > x", "x=1; ls"])
@pytest.mark.parametrize("reach", ["sandbox", "host"])
def test_a_rule_that_asks_holds_whether_the_command_was_parsed_or_not(text: str, reach: Reach) -> None:
    asking = rule("command-prefix", "git", "push", verdict="ask")
    verdict = decide(effect(text, reach), Policy("full-auto", (asking,), allow_all=True))
    assert verdict.outcome == "ask"
    assert any("a rule asks about commands that begin with git push" in reason for reason in verdict.reasons)


def test_a_rule_that_asks_holds_for_everything_else_too() -> None:
    assert under_all(url("a.example.org"), rule("host", "*.example.org", verdict="ask")) == "ask"
    assert under_all(url("example.com"), rule("host", "*.example.org", verdict="ask")) == "allow"


def test_an_allow_rule_compares_the_words_as_they_stand() -> None:
    allowed = rule("command-prefix", "git", "push", verdict="allow")
    assert decide(effect("git push"), Policy("ask", (allowed,))).outcome == "allow"
    for text in ("git -C x push", "git push > x", "x=1; git push"):
        assert decide(effect(text), Policy("ask", (allowed,))).outcome == "ask"
