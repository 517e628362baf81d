"""Commands that run other commands: `timeout 5 pytest` really runs pytest.

A harmless wrapper is dropped: a rule for `pytest` matches `timeout 5 pytest`. A wrapper that changes what runs (other
rights, another environment, arguments from elsewhere) is listed together with the command, so that rules must match
both. Where a word that the shell expands could hide a command, a command without words is listed, which no rule
matches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from gptoss_tui.tools.expansion import Expands, Words, plain
from gptoss_tui.tools.shell.words import named_words, parse_words

SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
_ASSIGNMENT = re.compile(r"\A[A-Za-z_]\w*\+?=")
_SYSTEM_FOLDERS = frozenset({"/bin", "/usr/bin"})
_MAX_DEPTH = 8
HIDDEN: Final[Words] = ()
"""Stands for a possible hidden command. It is listed beside the known ones, so that rules that forbid still apply."""


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """The syntax of a wrapper: its options that take a value, and its number of operands before the command.

    If `stays`, the wrapper is listed as well as what it runs. Options in `unclear` make it impossible to tell what
    runs.
    """

    values: frozenset[str] = frozenset()
    operands: int = 0
    stays: bool = False
    unclear: frozenset[str] = frozenset()


def _options(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SUDO_VALUES = (
    "-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --role --type --chdir --chroot --close-from "
    "--command-timeout --other-user"
)
_WRAPPERS: Final[Mapping[str, _Wrapper]] = {
    "timeout": _Wrapper(_options("-k -s --kill-after --signal"), operands=1),
    "nice": _Wrapper(_options("-n --adjustment")),
    "ionice": _Wrapper(_options("-c -n --class --classdata"), unclear=_options("-p -P -u --pid --pgid --uid")),
    "nohup": _Wrapper(),
    "setsid": _Wrapper(),
    "stdbuf": _Wrapper(_options("-i -o -e --input --output --error")),
    "time": _Wrapper(_options("-f -o --format --output"), unclear=_options("-o --output")),
    "command": _Wrapper(unclear=_options("-v -V")),
    "builtin": _Wrapper(),
    "exec": _Wrapper(_options("-a"), unclear=_options("-a")),
    "env": _Wrapper(_options("-a -u -C --argv0 --unset --chdir"), stays=True, unclear=_options("-S --split-string")),
    "xargs": _Wrapper(
        _options(
            "-a -d -E -L -n -P -s --arg-file --delimiter --max-lines --max-args --max-procs --max-chars "
            "--process-slot-var"
        ),
        stays=True,
        unclear=_options("-I -i --replace"),
    ),
    "sudo": _Wrapper(_options(_SUDO_VALUES), stays=True, unclear=_options("-e -s -i --edit --shell --login")),
    "doas": _Wrapper(_options("-u -C"), stays=True, unclear=_options("-s")),
    "chroot": _Wrapper(_options("--userspec --groups"), operands=1, stays=True),
    "watch": _Wrapper(_options("-n -q -s --interval --equexit --shotsdir"), stays=True),
    "busybox": _Wrapper(stays=True),
    "toybox": _Wrapper(stays=True),
    "flock": _Wrapper(
        _options("-w -E --timeout --wait --conflict-exit-code"),
        operands=1,
        stays=True,
        unclear=_options("-c --command"),
    ),
    "taskset": _Wrapper(operands=1, stays=True, unclear=_options("-a -p --all-tasks --pid")),
    "chrt": _Wrapper(
        _options("-D -P -T --sched-deadline --sched-period --sched-runtime"),
        operands=1,
        stays=True,
        unclear=_options("-a -p --all-tasks --pid"),
    ),
    "choom": _Wrapper(_options("-n --adjust"), stays=True, unclear=_options("-p --pid")),
    "prlimit": _Wrapper(stays=True, unclear=_options("-p --pid")),
    "linux32": _Wrapper(stays=True),
    "linux64": _Wrapper(stays=True),
    "strace": _Wrapper(_options("-a -b -e -E -I -O -P -s -S -u -U -X"), stays=True, unclear=_options("-o -p --output")),
    "ltrace": _Wrapper(_options("-a -A -D -e -F -l -n -s -u -w -x"), stays=True, unclear=_options("-o -p --output")),
    "unshare": _Wrapper(_options("-G -R -S -w --root --setgid --setuid --wd"), stays=True),
    "fakeroot": _Wrapper(_options("-b -i -l -s --fd-base --lib --faked"), stays=True),
    "unbuffer": _Wrapper(stays=True),
    "caffeinate": _Wrapper(_options("-t -w"), stays=True),
}
_CONCEALING = frozenset(
    (
        *("csh", "fish", "nsenter", "parallel", "pkexec", "runuser", "script", "setarch", "setpriv", "su"),
        *("systemd-run", "tcsh", "trap"),
    )
)
"""Commands that run a text as code, or something that depends on their options and the system."""
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


def command_words(command: str) -> tuple[Words, ...]:
    """All commands in `command`, without wrappers.

    When any of them is not certain: HIDDEN beside those that it names, or nothing when it names none.
    """
    found = _all_of(parse_words(command), 0)
    if found is None:
        named = [inner for words in dict.fromkeys(named_words(command)) for inner in _all_of((words,), 0) or [words]]
        found = [*dict.fromkeys(named), HIDDEN] if named else []
    return tuple(found)


def _all_of(commands: tuple[Words, ...], depth: int) -> list[Words] | None:
    """Unwrap all commands. Returns None when there is none, or when one is unclear."""
    found: list[Words] = []
    for words in commands:
        inner = _unwrap(words, depth)
        if inner is None:
            return None
        found += inner
    return found or None


def _unwrap(words: Words, depth: int) -> list[Words] | None:
    if depth > _MAX_DEPTH or not words:
        return None
    if isinstance(words[0], Expands):
        return [words, HIDDEN]
    path = PurePosixPath(words[0])
    name = path.name if str(path.parent) in _SYSTEM_FOLDERS else words[0]  # ./timeout could be anything
    if name in SHELLS:
        return _script(words, depth)
    if name == "eval":
        return _evaluated(words, depth)
    if name == "find":
        return _found(words, depth)
    if name in _CONCEALING or (
        name == "git" and any("=!" in plain(word) for word in words)
    ):  # an alias that runs a shell
        return [words, HIDDEN]
    wrapper = _WRAPPERS.get(name)
    if wrapper is None:
        return [words]
    inner = _carried(words, wrapper)
    if inner is None:
        return None
    before = words[
        : len(words) - len(inner)
    ]  # an expanding word here can become any number of words, including another command
    hidden = [HIDDEN] if any(isinstance(word, Expands) for word in before) else []
    if not inner:
        return [words, *hidden]
    run = _unwrap(inner, depth + 1)
    if run is None:
        return None
    return [words, *run, *hidden] if wrapper.stays or hidden else run


def _evaluated(words: Words, depth: int) -> list[Words] | None:
    """The commands that `eval` runs: it parses its words again, including anything that the shell expanded in them."""
    run = _all_of(parse_words(" ".join(map(plain, words[1:]))), depth + 1)
    if run is not None and any(isinstance(word, Expands) for word in words):
        return [words, *run, HIDDEN]
    return run


def _carried(words: Words, wrapper: _Wrapper) -> Words | None:
    """The command after a wrapper's options and operands; empty when there is none, None when it is unclear."""
    at, operands = 1, wrapper.operands
    while at < len(words):
        word = plain(words[at])
        option, joined, _ = word.partition("=")
        if word == "--":
            at += 1
            break
        if word.startswith("-") and len(word) > 1:
            if _unsure(option, wrapper):
                return None
            at += 2 if option in wrapper.values and not joined else 1
        elif wrapper.stays and (word == "-" or _ASSIGNMENT.match(word)):
            at += 1
        elif operands:
            operands -= 1
            at += 1
        else:
            break
    return words[at + operands :]


def _unsure(option: str, wrapper: _Wrapper) -> bool:
    """Whether `option` makes it unclear what runs, or may hide an option with a value: `-ao`, `--outp`."""
    valued = wrapper.values | wrapper.unclear
    if option.startswith("--"):
        return option in wrapper.unclear or (option not in valued and any(name.startswith(option) for name in valued))
    if option[:2] in valued:
        return option[:2] in wrapper.unclear
    return any(f"-{letter}" in valued for letter in option[2:])


def _script(words: Words, depth: int) -> list[Words] | None:
    """`bash -c TEXT` runs TEXT; `bash FILE` counts as itself; a shell that reads commands from stdin is unclear."""
    for at, word in enumerate(words[1:], 1):
        if isinstance(word, Expands):
            return [words] if word.anchored else [words, HIDDEN]
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            text = words[at + 1] if at + 1 < len(words) else "-"
            if isinstance(text, Expands):
                return [words, HIDDEN]
            if "o" in word or text.startswith(("-", "+")):
                return None
            return _all_of(parse_words(text), depth + 1)
        if not word.startswith(("-", "+")):
            return [words]
        if word not in ("-l", "-e", "-x", "-u", "-n", "--login", "--noprofile", "--norc", "--posix"):
            return None
    return None


def _found(words: Words, depth: int) -> list[Words] | None:
    """`find`, and what its -exec runs. A word that may expand to an -exec hides a command."""
    found = [words]
    if any(isinstance(word, Expands) and not word.anchored for word in words):
        found.append(HIDDEN)
    for at, word in enumerate(words):
        if word in _FIND_RUNS:
            end = next((i for i in range(at + 1, len(words)) if words[i] in (";", "+")), len(words))
            inner = words[at + 1 : end]
            run = _unwrap(inner, depth + 1) if inner and "{}" not in plain(inner[0]) else None
            if run is None:
                return None
            found += run
    return found
