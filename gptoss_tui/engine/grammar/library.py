"""JSON Schema, regular expressions, choices and Lark grammars, enforced by llguidance.

The library never sees special tokens: the automaton decides what follows a text, and a text contains none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.engine.grammar.tokens import LAST_BYTE, MASK_BYTES, with_tokens
from gptoss_tui.errors import EngineError, GrammarError
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE, read_vocabulary, token_pieces

_END: Final = NUM_TEXT_TOKENS + 1
"""The library's token for the end of a text: `<|endoftext|>`, which is never sampled here."""

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
"""How o200k splits text before it merges bytes, so that forced text consists of the tokens that the model expects."""

_JSON_OPTIONS: Final[Any] = {"whitespace_pattern": r" |\n {0,32}|\n\t{0,8}"}
"""A space, or a line end with indentation. More would let a model that is stuck fill its context with white space."""

_NOTHING: Final = bytes(MASK_BYTES)

MOST_CHARACTERS: Final = 1 << 19
"""The longest grammar that is read, in characters."""

_STACK_BYTES: Final = 2048
"""Bytes of stack per character of a grammar. The library reads grammars recursively: each definition that refers to the
next one uses up to 8 kB of stack, the shortest reference has 6 characters, and a stack overflow ends the process.
Unused stack takes no memory."""

_SMALLEST_STACK: Final = 16 << 20
_LONGEST_REASON: Final = 400

_LONG_FORCED: Final = 1024
"""Bytes. If a grammar forces more than this at one position, the library does not choose the token: for that it encodes
all forced bytes at every token, in time that grows with the square of a long word's length. `(a{1000}){1000}` would
take minutes."""

_LONGEST_TOKEN: Final = 256
"""Bytes that certainly contain the next token: no token in the vocabulary is more than half as long."""

_LEXER_FUEL: Final = 300_000
"""A third of the library's default. A schema with 700 alternatives needs less than this, and with it the worst known
case takes half a second and 40 MB."""

_NOT_ALLOWED: Final = "doesn't satisfy the grammar"
_IN_OUR_WORDS: Final = {"NoExtensionBias": "it comes to a place where nothing may follow"}

T = TypeVar("T")
_stack_lock = threading.Lock()


def _on_a_deep_stack(grammar: Grammar, work: Callable[[], T]) -> T:
    """Run `work` on a stack that this grammar cannot overflow. Raises GrammarError if the grammar is too long."""
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
    """Raise GrammarError with the reason if `grammar` cannot be enforced completely. Needs no vocabulary."""
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
    # The library quotes the place where it stopped, which may be a line as long as the grammar.
    why = why if len(why) <= _LONGEST_REASON else f"{why[:_LONGEST_REASON]}…"
    return GrammarError(f"The {name} cannot be enforced: {why}", hint=f"change or simplify the {name}")


class LibraryMatcher:
    """See `Matcher`. Raises GrammarError like `check_grammar`."""

    waits = False

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        tokenizer = _tokenizer()
        limits = LLParserLimits(initial_lexer_fuel=_LEXER_FUEL)
        self._matcher = _on_a_deep_stack(
            grammar, lambda: LLMatcher(tokenizer, _compiled(grammar), log_level=0, limits=limits)
        )
        if self._matcher.is_error():
            raise _error(grammar, self._matcher.get_error())

    @property
    def complete(self) -> bool:
        return self._matcher.is_accepting()

    def mask(self) -> bytes:
        """Raises GrammarError if nothing can follow, or if the grammar exceeds the library's limits."""
        if self._matcher.is_stopped():
            self._require_health()
            return b""
        forced = self._matcher.compute_ff_bytes()
        self._require_health()
        if len(forced) > _LONG_FORCED:
            return with_tokens(_NOTHING, _tokenizer().tokenize_bytes(forced[:_LONGEST_TOKEN])[:1])
        bits = self._matcher.compute_bitmask()
        self._require_health()
        return bits[: MASK_BYTES - 1] + bytes([bits[MASK_BYTES - 1] & LAST_BYTE])

    def advance(self, token_id: int) -> None:
        """Raises EngineError for a token that the mask did not allow."""
        if not self._matcher.consume_token(token_id):
            self._require_health()

    def _require_health(self) -> None:
        if not self._matcher.is_error():
            return
        why = self._matcher.get_error().splitlines()[0]
        if _NOT_ALLOWED in why:
            raise EngineError(f"The grammar could not be followed any further: {why}")
        raise _error(self._grammar, _IN_OUR_WORDS.get(why, why))
