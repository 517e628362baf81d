"""JSON Schema, regular expressions, choices and Lark grammars, followed by llguidance.

Every special token is out of its reach: what stands behind a text is the automaton's, and a text has none inside.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

from llguidance import LLMatcher, LLTokenizer

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.errors import EngineError, GrammarError
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE, read_vocabulary, token_pieces

_END: Final = NUM_TEXT_TOKENS + 1
"""What the library calls the end of a text: `<|endoftext|>`, which nothing here ever samples."""

_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_SPLIT: Final = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How o200k cuts text before it merges bytes. Forced text is written in the tokens that the model knows it by."""

_JSON_OPTIONS: Final[Any] = {"whitespace_pattern": r" |\n {0,32}|\n\t{0,8}"}
"""A space, or a line end with its indentation: a model that is stuck would fill its context with white space."""

_TEXT_BYTES: Final = -(-NUM_TEXT_TOKENS // 8)
_LAST_BYTE: Final = (1 << (NUM_TEXT_TOKENS - 8 * (_TEXT_BYTES - 1))) - 1


MOST_CHARACTERS: Final = 1 << 19
"""Of a grammar that is read at all."""

_STACK_BYTES: Final = 2048
"""For each character of a grammar. The library reads grammars by recursion: each definition that refers to the next one
takes it deeper, by up to 8 kB for the shortest reference there is (6 characters), and a stack that is full ends the
process. Memory of a stack that is not used is none."""

_SMALLEST_STACK: Final = 16 << 20
_LONGEST_REASON: Final = 400

T = TypeVar("T")
_stack_lock = threading.Lock()


def _on_a_deep_stack(grammar: Grammar, work: Callable[[], T]) -> T:
    """What `work` gives, on a stack that this grammar cannot fill. Raises GrammarError for one that is too long."""
    if len(grammar.text) > MOST_CHARACTERS:
        raise _error(grammar, f"it has {len(grammar.text)} characters, at most {MOST_CHARACTERS} are read")
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    with _stack_lock:
        before = threading.stack_size(_SMALLEST_STACK + _STACK_BYTES * len(grammar.text))
        try:
            thread = threading.Thread(target=run, name="grammar")
            thread.start()
        except RuntimeError as error:
            raise _error(grammar, "there is too little memory to read it") from error
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@lru_cache(maxsize=1)
def _tokenizer() -> LLTokenizer:
    encoder = {piece: token for token, piece in enumerate(token_pieces(read_vocabulary()))}
    special = {f"<|{token}|>": token for token in range(NUM_TEXT_TOKENS, VOCAB_SIZE)}
    tokenizer: LLTokenizer = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]
        encoder=encoder,
        special_tokens=special,
        pattern=_SPLIT,
        eos_token=_END,
        n_vocab=VOCAB_SIZE,
        slices=LLTokenizer.json_slices(),
    )
    return tokenizer


def check_grammar(grammar: Grammar) -> None:
    """Raise GrammarError, in words, when `grammar` cannot be enforced in full. Needs no vocabulary."""
    wrong, messages = _on_a_deep_stack(grammar, lambda: LLMatcher.validate_grammar_with_warnings(_compiled(grammar)))
    if wrong:
        raise _error(grammar, messages[0])


def _compiled(grammar: Grammar) -> str:
    try:
        match grammar.kind:
            case "json_schema":
                return LLMatcher.grammar_from_json_schema(grammar.text, defaults=_JSON_OPTIONS)
            case "regex":
                return LLMatcher.grammar_from_regex(grammar.text)
            case "choice":
                return LLMatcher.grammar_from_lark(f"start: {_alternatives(grammar.text)}")
            case _:
                return LLMatcher.grammar_from_lark(grammar.text)
    except ValueError as error:
        raise _error(grammar, str(error)) from error


def _alternatives(text: str) -> str:
    texts = json.loads(text)
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
        raise ValueError("a choice is a list of at least one text")
    return " | ".join(json.dumps(each) for each in texts)


_NAMES: Final = {"json_schema": "JSON schema", "regex": "regular expression", "choice": "choice", "lark": "grammar"}


def _error(grammar: Grammar, why: str) -> GrammarError:
    name, why = _NAMES[grammar.kind], why.strip()
    # The library repeats the place where it stopped, which may be a line as long as the grammar.
    why = why if len(why) <= _LONGEST_REASON else f"{why[:_LONGEST_REASON]}…"
    return GrammarError(f"The {name} cannot be enforced: {why}", hint=f"change or simplify the {name}")


class LibraryMatcher:
    """See `Matcher`. Raises GrammarError as `check_grammar`."""

    waits = False

    def __init__(self, grammar: Grammar) -> None:
        tokenizer = _tokenizer()
        self._matcher = _on_a_deep_stack(grammar, lambda: LLMatcher(tokenizer, _compiled(grammar), log_level=0))
        if self._matcher.is_error():
            raise _error(grammar, self._matcher.get_error())

    @property
    def complete(self) -> bool:
        return self._matcher.is_accepting()

    def mask(self) -> bytes:
        """Raises EngineError where the grammar leaves no way on, or asks too much of the library."""
        if self._matcher.is_stopped():
            self._require_health()
            return b""
        bits = self._matcher.compute_bitmask()
        self._require_health()
        return bits[: _TEXT_BYTES - 1] + bytes([bits[_TEXT_BYTES - 1] & _LAST_BYTE])

    def advance(self, token_id: int) -> None:
        if not self._matcher.consume_token(token_id):
            self._require_health()

    def _require_health(self) -> None:
        if self._matcher.is_error():
            why = self._matcher.get_error().splitlines()[0]
            raise EngineError(f"The grammar could not be followed any further: {why}", hint="simplify the grammar")
