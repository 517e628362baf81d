"""Parses a command line into words for rules: every simple command in it, or nothing if that is not certain.

A rule compares words, never text: `git log; rm -r .` does not begin with the words `git log`. What bash would
substitute, define, assign or redirect is never guessed. Such a command has no certain words, so no rule allows it and
the user is asked; what can be read of it counts only for rules that forbid. A word with an unquoted pattern, tilde or
brace keeps its quoting, and differs from the same word in quotes.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gptoss_tui.tools.expansion import Word, Words, read_word

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_CHARS = 20_000
"""Longer commands are not parsed."""

_MAX_DEPTH = 40
_GROUPS = frozenset({"program", "list", "pipeline", "subshell", "negated_command"})
_JOINS = frozenset({"&&", "||", ";", "|", "|&", "&", "\n", "(", ")", "!", "comment"})
_LITERALS = frozenset({"word", "number", "raw_string", "string", "concatenation"})
_NO_WORDS = frozenset({"variable_assignment", "file_redirect", "heredoc_redirect", "herestring_redirect"})
_BLANK = b" \t\n"
_PATTERN_CHARACTERS = frozenset("*?[]{}~")
_UNSURE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|\\\n|\\\Z")
_STREAM = re.compile(r"\A[0-9]*>&[0-9]\Z|\A[0-9]*(>|>>|&>|&>>|<)\s*/dev/null\Z")
RESERVED: Final = frozenset(
    (
        *("!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function"),
        *("if", "in", "select", "then", "until", "while"),
    )
)


class _Unclear(Exception):
    """The command contains something that only bash itself could resolve."""


def parse_words(command: str) -> tuple[Words, ...]:
    """The words of each simple command, in order and with quotes removed; empty when they are not certain."""
    if len(command) > MAX_CHARS or _UNSURE.search(command):
        return ()
    try:
        source = command.encode()
        root = _parser().parse(source).root_node
        if root.has_error or source[: root.start_byte].strip(_BLANK) or source[root.end_byte :].strip(_BLANK):
            return ()
        found: list[Words] = []
        _commands(root, source, found, 0)
    except (UnicodeEncodeError, _Unclear):
        return ()
    return tuple(found)


def named_words(command: str) -> tuple[Words, ...]:
    """The simple commands anywhere in a command whose words are not certain, each up to its first unclear word.

    They are in loops, conditions, functions and substitutions too. Redirections and assignments are left out.
    """
    if len(command) > MAX_CHARS:
        return ()
    try:
        source = command.encode()
    except UnicodeEncodeError:
        return ()
    nodes = [_parser().parse(source).root_node]
    found = []
    while nodes:
        node = nodes.pop()
        nodes += reversed(node.children)
        if node.type == "command" and (words := _first_words(node)):
            found.append(words)
    return tuple(found)


def _first_words(node: Node) -> Words:
    words: list[Word] = []
    for child in node.children:
        if child.type in _NO_WORDS:
            continue
        try:
            words.append(_word(child.children[0] if child.type == "command_name" and child.children else child))
        except _Unclear:
            break
    return tuple(words)


@cache
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def _commands(node: Node, source: bytes, found: list[Words], depth: int) -> None:
    """Collect the commands beneath `node`. Raises _Unclear."""
    if depth > _MAX_DEPTH or node.is_missing:
        raise _Unclear
    _check_gaps(node, source)
    if node.type in _GROUPS:
        for child in node.children:
            if child.type not in _JOINS:
                _commands(child, source, found, depth + 1)
    elif node.type == "redirected_statement":
        for child in node.children:
            if child.type == "file_redirect":
                _check_redirect(child, source)
            else:
                _commands(child, source, found, depth + 1)
    elif node.type == "command":
        found.append(_words(node, source))
    else:
        raise _Unclear


def _check_gaps(node: Node, source: bytes) -> None:
    """Check that only blanks lie between the parser's nodes, so that it skipped nothing. Raises _Unclear."""
    at = node.start_byte
    for child in node.children:
        if source[at : child.start_byte].strip(_BLANK):
            raise _Unclear
        at = child.end_byte
    if source[at : node.end_byte].strip(_BLANK):
        raise _Unclear


def _words(node: Node, source: bytes) -> Words:
    if any(left.end_byte == right.start_byte and right.type in _LITERALS for left, right in pairwise(node.children)):
        raise _Unclear  # bash would read the two as one word
    words: list[Word] = []
    for child in node.children:
        if child.type == "command_name":
            if len(child.children) != 1:
                raise _Unclear
            name = _word(child.children[0])
            if not isinstance(name, str) or not name or name in RESERVED or _PATTERN_CHARACTERS & set(name):
                raise _Unclear
            words.append(name)
        elif child.type == "file_redirect":
            _check_redirect(child, source)
        else:
            words.append(_word(child))
    return tuple(words)


def _check_redirect(node: Node, source: bytes) -> None:
    """Allow only redirections between streams and to or from /dev/null. Raises _Unclear for any other.

    Others read or write a file that no word names. `{PATH}>/dev/null` is not allowed either: bash would set the
    variable that is named in front of it.
    """
    if not _STREAM.match(_text(node)) or source[: node.start_byte].endswith(b"}"):
        raise _Unclear


def _word(node: Node) -> Word:
    """The word that `node` spells. Raises _Unclear when bash would substitute something in it."""
    _check_spelling(node)
    try:
        return read_word(_text(node))
    except ValueError:
        raise _Unclear from None


def _check_spelling(node: Node) -> None:
    """Check that the parser, too, reads a word, or adjacent pieces of one, without substitutions. Raises _Unclear."""
    if node.type not in _LITERALS or node.is_missing:
        raise _Unclear
    if node.type == "concatenation":
        if any(left.end_byte != right.start_byte for left, right in pairwise(node.children)):
            raise _Unclear
        for child in node.children:
            _check_spelling(child)
    elif node.type == "string":
        if any(child.type not in ('"', "string_content") for child in node.children):
            raise _Unclear
    elif node.children:
        raise _Unclear


def _text(node: Node) -> str:
    return (node.text or b"").decode()
