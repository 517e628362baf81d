"""Words of a command line: what rules compare, held against what bash makes of the same text."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gptoss_tui.tools.expansion import Expands, Words, read_word
from gptoss_tui.tools.shell.words import MAX_CHARS, RESERVED, parse_words
from gptoss_tui.tools.shell.wrappers import HIDDEN, command_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("git log", (("git", "log"),)),
        ("  git   log  # why", (("git", "log"),)),
        ("git log && rm -r .", (("git", "log"), ("rm", "-r", "."))),
        ("git log\nrm x", (("git", "log"), ("rm", "x"))),
        ("ls; ls & ls || ls", (("ls",),) * 4),
        ("ls *.py | wc -l 2>&1", (("ls", Expands("*.py")), ("wc", "-l"))),
        ("make 2>/dev/null >/dev/null", (("make",),)),
        ("(cd sub && ls)", (("cd", "sub"), ("ls",))),
        ("! grep -q x y", (("grep", "-q", "x", "y"),)),
        ("""echo 'a b'"c"d\\ e "" '' """, (("echo", "a bcd e", "", ""),)),
        ('git commit -m "two\nlines \\"quoted\\" \\n"', (("git", "commit", "-m", 'two\nlines "quoted" \\n'),)),
        ("echo a=b --c=d 1 0x1f a~ {} !x", (("echo", "a=b", "--c=d", "1", "0x1f", "a~", "{}", "!x"),)),
        ("echo ~/x {a,b} [ab]*", (("echo", Expands("~/x"), Expands("{a,b}"), Expands("[ab]*")),)),
        ("echo '$HOME' \"\\$x\"", (("echo", "$HOME", "$x"),)),
    ],
)
def test_words(command: str, words: tuple[Words, ...]) -> None:
    assert parse_words(command) == words


@pytest.mark.parametrize(
    "command",
    [
        *("", " ", "# only", "echo $HOME", 'echo "$HOME"', "echo `id`", "echo $(id)", "$CMD x", "`id`", "$(echo rm) x"),
        *("X=1 ls", "X=1", "export X=1", "ls > f", "ls >> f", "cat < f", "cat <<EOF\nx\nEOF", "cat <<< x", "ls >&f"),
        *("if true; then ls; fi", "for i in a; do ls; done", "while true; do ls; done", "f() { ls; }; f", "{ ls; }"),
        *("case x in x) ls;; esac", "[[ -f x ]]", "[ -f x ]", "((1))", "echo $((1))", "ls <(id)", "echo $'a\\n'"),
        *("echo 'x", 'echo "x', "echo (", "echo )", "ls &&", "| ls", "echo a\\", "r\\\nm x", "l*", "{rm,-r,x}", "~/x"),
        *("echo \x00", "echo \x1b[0m", "ls\rrm x", 'echo $"x"', "coproc ls", "time", "!", "ls 3<>f", "then x"),
    ],
)
def test_what_only_bash_could_work_out_has_no_words(command: str) -> None:
    assert parse_words(command) == () or command == "time"


def test_long_commands_are_not_parsed() -> None:
    assert parse_words("echo " + "x" * MAX_CHARS) == ()
    assert parse_words("(" * 5000) == ()


PIECES = st.one_of(
    st.text("ab-=./:@%+,_é中#", min_size=1, max_size=4),
    st.text('ab "\\#&|;$`<>\n', max_size=5).map(lambda text: f"'{text}'"),
    st.text("ab '\\#&|;<>n", max_size=5).map(lambda text: f'"{text}"'),
    st.sampled_from(" \\'\"#&|;$`<>*~a").map(lambda char: f"\\{char}"),
    st.just(" "),
    st.text("{}~.,:=]^@a1", max_size=5),
    st.text("ab -'\"#&|;()<>!~\\", max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8))
def test_words_are_those_of_bash(pieces: list[str]) -> None:
    """Whatever is read as one `printf` has exactly the arguments that bash gives it.

    Where a pattern must fit a file, bash fails for each, so that nothing that it expands is taken for literal.
    """
    text = "printf %s\\\\0 " + "".join(pieces)
    words = parse_words(text)
    assume(len(words) == 1 and words[0][0] == "printf" and len(words[0]) > 2)
    assume(not any(isinstance(word, Expands) for word in words[0]))
    bash = ["bash", "--norc", "-O", "failglob", "-c", text]
    done = subprocess.run(bash, capture_output=True, check=False, timeout=10, cwd="/")
    assert done.returncode == 0, (text, done.stderr)
    assert done.stdout.decode() == "".join(f"{word}\0" for word in words[0][2:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that many patterns fit."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("a", "b", "1", "ab", "a*", "*", "?", "[a]", "{a,b}", "~", "-", "a-", "=", "a.b", ","):
        (folder / name).touch()
    return folder


SPELLED = st.lists(
    st.sampled_from([*"ab1*?[]{}~.,:=-!@^", "''", "'*'", '"a"', "'~'", '","', "\\.", "\\{", "'b'"]), max_size=9
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPELLED.map("".join), min_size=1, max_size=6))
def test_the_one_spelling_of_a_word_is_expanded_as_the_word(folder: Path, spelled: list[str]) -> None:
    """Bash makes the same of it, among files that many patterns fit; and of the spelling comes the same word."""
    words = [read_word(word) for word in spelled if word]
    sources = [word.source if isinstance(word, Expands) else shlex.quote(word) for word in words]
    for word in words:
        assert not isinstance(word, Expands) or read_word(word.source) == word
    asked = " ".join(word for word in spelled if word)
    script = f"printf '<%s>' {asked}\nprintf '\\0'\nprintf '<%s>' {' '.join(sources)}"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, check=False, timeout=10, cwd=folder)
    assert done.returncode == 0, (script, done.stderr)
    first, _, second = done.stdout.decode().partition("\0")
    assert first == second, script


@settings(max_examples=300, deadline=None)
@given(st.text("ab $`'\"\\;|&<>(){}[]!#*?~=\n", max_size=24))
def test_any_text_is_words_or_nothing(text: str) -> None:
    for words in parse_words(text):
        assert words
        assert isinstance(words[0], str)
        assert words[0] not in RESERVED
        assert not set("$`") & set(words[0]) or "'" in text or "\\" in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("timeout -k 5 10 pytest -x", (("pytest", "-x"),)),
        ("nice -n 5 nohup time make", (("make",),)),
        ("/usr/bin/timeout 5 ls", (("ls",),)),
        ("./timeout 5 ls", (("./timeout", "5", "ls"),)),
        ("sudo -u root rm x", (("sudo", "-u", "root", "rm", "x"), ("rm", "x"))),
        ("env A=b ls", (("env", "A=b", "ls"), ("ls",))),
        ("env - rm x", (("env", "-", "rm", "x"), ("rm", "x"))),
        ("env -a ls rm x", (("env", "-a", "ls", "rm", "x"), ("rm", "x"))),
        ("sudo --command-timeout 5 rm x", (("sudo", "--command-timeout", "5", "rm", "x"), ("rm", "x"))),
        ("busybox rm x", (("busybox", "rm", "x"), ("rm", "x"))),
        ("busybox sh -c 'rm x'", (("busybox", "sh", "-c", "rm x"), ("rm", "x"))),
        ("flock -w 5 lock rm x", (("flock", "-w", "5", "lock", "rm", "x"), ("rm", "x"))),
        ("taskset -c 0 rm x", (("taskset", "-c", "0", "rm", "x"), ("rm", "x"))),
        ("strace -f -e trace=file rm x", (("strace", "-f", "-e", "trace=file", "rm", "x"), ("rm", "x"))),
        ("script -c 'rm x'", (("script", "-c", "rm x"), ())),
        ("trap 'rm x' EXIT", (("trap", "rm x", "EXIT"), ())),
        ("git -c alias.x='!rm x' x", (("git", "-c", "alias.x=!rm x", "x"), ())),
        ("su -c 'rm x'", (("su", "-c", "rm x"), ())),
        ("ls | xargs -n 1 rm", (("ls",), ("xargs", "-n", "1", "rm"), ("rm",))),
        ("bash -lc 'ls; git log'", (("ls",), ("git", "log"))),
        ("bash -c \"bash -c 'rm x'\"", (("rm", "x"),)),
        ("bash run.sh -c x", (("bash", "run.sh", "-c", "x"),)),
        ("eval 'ls; rm x'", (("ls",), ("rm", "x"))),
        (r"find . -exec rm {} \;", (("find", ".", "-exec", "rm", "{}", ";"), ("rm", "{}"))),
        ("timeout 5", (("timeout", "5"),)),
        ("watch -d rm ls", (("watch", "-d", "rm", "ls"), ("rm", "ls"))),
        ("timeout -k5 --signal=KILL 5 nice -n10 stdbuf -oL ls", (("ls",),)),
        ("env", (("env",),)),
    ],
)
def test_wrappers_are_taken_off(command: str, words: tuple[tuple[str, ...], ...]) -> None:
    assert command_words(command) == words


@pytest.mark.parametrize(
    "command",
    [
        *("xargs -I{} {}", "xargs -i rm {}", "env -S 'rm x'", "sudo -s", "sudo -i", "curl x | sh", "bash", "bash -c"),
        *("bash -c '$X'", "sh -s x", "eval '$X'", r"find . -exec {} \;", "time -o x ls", "bash -O extglob -c ls"),
        "timeout " * 20 + "ls",
        *("flock lock -c 'rm x'", "strace -o '|rm x' ls", "env --argv ls rm x"),
        *("exec -ca ls rm x", r"\time -ao ls rm x", r"\time --outp ls rm x", "timeout -vk 5 5 rm x", "env -iu X rm x"),
        *("bash -oc history 'rm x'", "bash -c -e 'rm x'", "timeout --sig KILL 5 rm x", "env -iS 'rm x'"),
    ],
)
def test_wrappers_whose_command_cannot_be_told_are_never_certain(command: str) -> None:
    assert not all(command_words(command) or [HIDDEN])


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("x=1; git push", (("git", "push"),)),
        ("git push $X origin", (("git", "push"),)),
        ("git push > out.txt", (("git", "push"),)),
        ("> out.txt git push", (("git", "push"),)),
        ("A=1 git push <<< x", (("git", "push"),)),
        ("if a; then git push; else b c; fi", (("a",), ("git", "push"), ("b", "c"))),
        ("echo $(git push) x", (("echo",), ("git", "push"))),
        ("for x in *; do sudo rm $x; done", (("sudo", "rm"), ("rm",))),
        ("sudo -s", (("sudo", "-s"),)),
        ("git push 'x", (("git", "push"),)),
        ("$X push", ()),
        ("echo $((1))", (("echo",),)),
        ("x" * MAX_CHARS + " $x", ()),
    ],
)
def test_what_can_be_read_of_an_unclear_command_stands_beside_what_cannot(
    command: str, named: tuple[Words, ...]
) -> None:
    assert command_words(command) == ((*named, HIDDEN) if named else ())


@settings(max_examples=300, deadline=None)
@given(st.text("git ab $`'\"\\;|&<>(){}[]!#*?~=\n", max_size=24))
def test_what_is_not_certain_never_looks_as_if_it_were(text: str) -> None:
    assert parse_words(text) or not all(command_words(text) or [HIDDEN])
