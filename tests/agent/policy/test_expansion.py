"""A rule fits what was approved: a word that the shell still expands is another than the same word in quotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.agent.policy.decide import Policy, decide
from gptoss_tui.agent.policy.files import parse_rule, read_user_rules
from gptoss_tui.agent.policy.grants import grants_for
from gptoss_tui.agent.policy.rules import Rule, RuleKind, RuleVerdict, covering, describe, rule_id
from gptoss_tui.agent.policy.store import RuleStore
from gptoss_tui.errors import PolicyError
from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.shell.wrappers import command_words
from tests.agent.policy.effects import command


def effect(text: str) -> Effect:
    return command(*command_words(text))


def approved(text: str, kind: RuleKind = "command", verdict: RuleVerdict = "allow", first: int = 99) -> Rule:
    """The rule that a person makes of the command `text`."""
    (words,) = command_words(text)
    pattern = words[:first]
    return Rule(rule_id(kind, pattern, verdict, "sandbox", "user"), kind, pattern, "user", "", verdict, "sandbox")


SAME = [
    ("rm *", "rm  *  2>/dev/null # all"),
    ("rm '*'", 'rm "*"'),
    ("rm '*'", r"rm \*"),
    ("ls 'my dir'/*", 'ls "my dir"/*'),
    ("ls 'my dir'/*", r"ls my\ dir/*"),
    ("git show HEAD~1 stash@{0}", "git show 'HEAD~1' \"stash@{0}\""),
    ("echo {} a{b} x: =y #z", "echo '{}' 'a{b}' 'x:' '=y'"),
    ("ls ~", "timeout 5 ls ~"),
]
DIFFERENT = [
    ("rm '*'", "rm *"),
    ("rm a'*'", "rm a*"),
    ("rm a'*'*", "rm a*'*'"),
    ("rm '?'", "rm ?"),
    ("rm '[a]'", "rm [a]"),
    ("rm '[!a]'", "rm [!a]"),
    ("ls [a-z]", "ls [a'-'z]"),
    ("ls '~'", "ls ~"),
    ("ls '~root'", "ls ~root"),
    ("ls '~'/x", "ls ~/x"),
    ("ls 'a=~'", "ls a=~"),
    ("ls 'a:~'", "ls a:~"),
    ("rm '{a,b}'", "rm {a,b}"),
    ("rm '{1..9}'", "rm {1..9}"),
    ("rm '{a..c}'", "rm {a..c}"),
    ("rm 'a{b,c}d'", "rm a{b,c}d"),
    ("rm '+(a)'", "rm +(a)"),
    ("rm '!(a)'", "rm !(a)"),
    ("rm '$x'", "rm $x"),
    ("rm '$x'", 'rm "$x"'),
    ("rm '${x:-y}'", "rm ${x:-y}"),
    ("rm '$(ls)'", "rm $(ls)"),
    ("rm '`ls`'", "rm `ls`"),
    ("rm '$((1))'", "rm $((1))"),
    ("rm '<(ls)'", "rm <(ls)"),
    ("rm '$a'", "rm $'a'"),
    ("rm a", "rm $'a'"),
    ("rm a", 'rm $"a"'),
    ("cat", "cat <<< x"),
    ("cat", "cat <<EOF\nx\nEOF"),
    ("ls", "PATH=. ls"),
    ("ls", "A=1 B=2 ls"),
    ("ls", "ls > file"),
    ("ls", "ls >> file"),
    ("ls", "ls 2> file"),
    ("ls", "ls &> file"),
    ("ls", "> file ls"),
    ("ls", "ls < file"),
    ("ls", "ls >/dev/null*"),
    ("ls", "ls >&2{a,b}"),
    ("ls '{PATH}'", "ls {PATH}>/dev/null"),
    ("ls", "ls \\\n-a"),
    ("ls", "l\\\ns"),
    ("ls a", "ls 'a\\\n'"),
    ("ls", "l*"),
    ("ls", "l[s]"),
    ("ls", "{ls,-a}"),
    ("ls", "~/ls"),
    ("ls", "timeout {5,rm,x} ls"),
    ("ls", "timeout * ls"),
    ("ls", "nice -n {5,rm,x} ls"),
    ("ls", "nice -* ls"),
    ("ls", "timeout -- {5,rm,x} ls"),
    ("ls '*'", "eval ls *"),
    ("ls '*'", "eval ls {'*',x}"),
    ("ls", "bash {-c,rm} ls"),
    ("find .", "find {.,-exec,rm,x}"),
]
"""An approved command, and one that the rule must not fit: bash makes other words of it, or could."""


@pytest.mark.parametrize(("was", "now"), SAME)
def test_a_rule_fits_another_spelling_of_the_same(was: str, now: str) -> None:
    assert decide(effect(now), Policy(rules=(approved(was),))).outcome == "allow"


@pytest.mark.parametrize(("was", "now"), DIFFERENT)
@pytest.mark.parametrize("kind", ["command", "command-prefix"])
def test_a_rule_fits_nothing_that_the_shell_reads_otherwise(was: str, now: str, kind: RuleKind) -> None:
    assert decide(effect(was), Policy(rules=(approved(was, kind),))).outcome == "allow"
    assert decide(effect(now), Policy(rules=(approved(was, kind),))).outcome == "ask"
    if all(command_words(now)) and command_words(now):
        assert covering((approved(now),), effect(was)) == ()


def test_behind_a_prefix_anything_may_stand_as_before() -> None:
    rule = approved("ls", "command-prefix")
    assert decide(effect("ls *"), Policy(rules=(rule,))).outcome == "allow"
    assert decide(effect("ls '*'; rm *"), Policy(rules=(rule,))).outcome == "ask"
    assert decide(effect("git {push,log}"), Policy(rules=(approved("git log", "command-prefix"),))).outcome == "ask"


@pytest.mark.parametrize("verdict", ["deny", "ask"])
@pytest.mark.parametrize("now", ["rm *", "rm '*'", "sudo rm *", r"find . -exec rm \* +"])
def test_a_rule_that_forbids_fits_both_readings(verdict: RuleVerdict, now: str) -> None:
    for was in ("rm *", "rm '*'"):
        rules = (approved(was, verdict=verdict), approved(was, "command-prefix", "allow", first=1))
        assert decide(effect(now), Policy("full-auto", rules)).outcome == verdict


@pytest.mark.parametrize(
    ("text", "unsure"),
    [
        *(("find src/* -name '*.py'", False), ("find . -name *.py", True), ("find . -exec rm {} +", False)),
        *(("find a{b,c} -name x", False), ("bash src/*.sh", False), ("bash *", True), ("sudo r*", True)),
        *(("bash -c 'rm *'", False), ("env A=* ls", True), ("xargs -n 1 rm *", False), ("xargs -n ? rm", True)),
        *(
            ("git diff *.py", False),
            ("nice rm *", False),
            ("timeout {5,rm,x}", True),
            ("find . -exec r* {} +", True),
            ("eval 'rm *'", False),
        ),
    ],
)
def test_what_could_become_another_command_is_asked_about(text: str, unsure: bool) -> None:
    assert all(command_words(text)) is not unsure
    assert (decide(effect(text), Policy("full-auto")).outcome == "ask") is unsure


@pytest.mark.parametrize(
    ("text", "named"),
    [
        *(("sudo rm *", ("sudo", "rm")), ("timeout * rm x", ("timeout",)), ("eval rm *", ("eval", "rm"))),
        *(("find * -exec rm {} +", ("find", "rm")), ("sudo r* x", ("sudo",)), ("nice -? rm x", ("nice", "rm"))),
        *(("bash -c *", ("bash",)), ("bash *", ("bash",))),
    ],
)
def test_what_may_hide_a_command_is_forbidden_by_what_it_names(text: str, named: tuple[str, ...]) -> None:
    """Also where everything else is allowed."""
    for program in named:
        rule = Rule("x", "command-prefix", (program,), "user", "", "deny", "sandbox")
        assert decide(effect(text), Policy("full-auto", (rule,), allow_all=True)).outcome == "deny"
    assert all(effect(text).commands) or grants_for(effect(text)) == ()


def test_what_is_offered_says_what_it_is() -> None:
    (glob,) = grants_for(effect("rm a\\*b* 'it'\\''s'"))
    assert glob.label == """the command rm a'*'b* 'it'"'"'s'"""
    (literal,) = grants_for(effect("rm '*'"))
    assert literal.label == "the command rm '*'"
    assert [grant.label for grant in grants_for(effect("npm run *"))] == ["the command npm run *"]
    assert [grant.label for grant in grants_for(effect("git *"))] == ["the command git *"]


def test_a_kept_rule_is_read_as_it_was_made(tmp_path: Path) -> None:
    store = RuleStore(tmp_path, tmp_path / "state")
    rules = (approved("rm *"), approved("rm '*'"), approved("""ls "it's"/{a,b}*"""))
    store.add(*rules)
    assert [rule.pattern for rule in store.read().rules] == [rule.pattern for rule in rules]
    assert len({rule.id for rule in rules}) == 3
    assert covering(store.read().rules, effect("""ls 'it'\\''s'/{a,b}*"""))


def test_a_rule_that_an_older_version_kept_means_the_literal_word(tmp_path: Path) -> None:
    store = RuleStore(tmp_path, tmp_path / "state")
    store.add(approved("rm '*'"))
    data = json.loads(store.path.read_text())
    assert data["rules"][0]["pattern"] == ["rm", "*"]  # as it was written of `rm *` too
    assert covering(store.read().rules, effect("rm '*'"))
    assert not covering(store.read().rules, effect("rm *"))


def test_a_person_writes_what_expands() -> None:
    text = '[[rules]]\nkind = "command"\npattern = ["ls", { expands = \'"my dir"/*.py\' }]'
    rules = read_user_rules(text, "x").rules
    assert covering(rules, effect(r"ls my\ dir/*.py"))
    assert not covering(rules, effect("ls 'my dir/*.py'"))
    assert describe("command", rules[0].pattern) == "the command ls my' 'dir/*.py"
    plain = read_user_rules('[[rules]]\nkind = "command"\npattern = ["ls", "*.py"]', "x").rules
    assert not covering(plain, effect("ls *.py"))


@pytest.mark.parametrize(
    "word",
    [
        *({"expands": "plain"}, {"expands": "'*'"}, {"expands": "a* b"}, {"expands": "$x*"}, {"expands": "'*"}),
        *({"expands": "*;ls"}, {"expands": '"$x"*'}, {"expands": 1}, {"other": "*"}, {"expands": "*", "x": 1}, {}, 1),
    ],
)
def test_what_is_no_word_that_expands_is_refused(word: object) -> None:
    with pytest.raises(PolicyError, match="rule 1"):
        parse_rule({"kind": "command", "pattern": ["ls", word]}, "rule 1", "user")
    for kind in ("edit", "host", "mcp"):
        with pytest.raises(PolicyError):
            parse_rule({"kind": kind, "pattern": [{"expands": "*"}, "*"][: 2 if kind == "mcp" else 1]}, "x", "user")


def test_the_first_word_of_a_rule_expands_never() -> None:
    with pytest.raises(PolicyError):
        parse_rule({"kind": "command-prefix", "pattern": [{"expands": "l*"}]}, "x", "user")
