"""Tens of thousands of damaged generations: nothing fails, nothing is lost, nothing runs that was not clearly called.

`GPTOSS_TUI_FUZZ=200000 pytest tests/agent/test_fuzz.py` reads so many more, each with several things wrong at once.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

import pytest

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Budget, Limits
from gptoss_tui.agent.calls import CallRunner
from gptoss_tui.agent.checkpoints import Checkpoints
from gptoss_tui.agent.events import Event, ToolFinished
from gptoss_tui.agent.history import History
from gptoss_tui.agent.stream import SampledCall, StepStream
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import FunctionDeclaration, Preamble, ToolNamespace
from gptoss_tui.harmony.parser import MessageFinished, StreamParser
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from gptoss_tui.tools.aliases import alias_of
from gptoss_tui.tools.base import Citation, Effect, Tool, ToolResult
from gptoss_tui.tools.registry import ToolRegistry
from tests.agent.transcripts import TOOLS, one_token_wrong, transcripts
from tests.harmony.test_parser import MALFORMED
from tests.harmony.wire import messages_of, wire

pytestmark = pytest.mark.slow

_MORE = int(os.environ.get("GPTOSS_TUI_FUZZ", "1000"))
_PIECES = 10
_CATALOGUE = transcripts(load_tokenizer())

_OWN = re.compile(r"(?s)(.*?)<\|message\|>(.*)<\|(?:end|call|return)\|>")
_TO = re.compile(r"to=\s*([\w.:/-]*)")


@dataclass
class RecordingTool:
    """Both the tool and its prepared call: it only notes that it ran."""

    name: str
    ran: list[tuple[str, str]]
    arguments: str = ""
    effect: Effect | None = None
    summary: str = "recorded"

    @property
    def declaration(self) -> FunctionDeclaration:
        return FunctionDeclaration(self.name, "Notes that it was called.")

    async def prepare(self, arguments: str) -> RecordingTool:
        return RecordingTool(self.name, self.ran, arguments)

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        self.ran.append((self.name, self.arguments))
        return ToolResult("done")


@dataclass
class RecordingGroup:
    """The built-in tools, as recording ones."""

    namespace: ToolNamespace
    tools: tuple[Tool, ...]
    source: str = ""

    def cite(self, answer: str) -> tuple[Citation, ...]:
        return ()

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        return ()

    def reset(self) -> None:
        """Nothing to forget."""


@dataclass
class Bench:
    """One conversation after the other, on the real stream, history and call runner."""

    tokenizer: Tokenizer
    preamble: Preamble = field(default_factory=Preamble)
    ran: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    call: SampledCall | None = None

    def __post_init__(self) -> None:
        functions = [RecordingTool(name.removeprefix("functions."), self.ran) for name in TOOLS]
        builtin = [RecordingTool(name, self.ran) for name in ("browser.search", "python")]
        groups = [RecordingGroup(ToolNamespace(tool.name), (tool,)) for tool in builtin]
        self.registry = ToolRegistry(functions, groups)
        self.limits = Limits()
        self.conversation = Conversation(self.tokenizer, self.preamble)

    async def play(self, ids: list[int]) -> int:
        """One generation and the reply to its call. Gives how many of its tokens were read."""
        self.ran.clear()
        self.events.clear()
        self.conversation.begin_again(["do it"])
        history = History(self.conversation, lambda line: None)
        runner = CallRunner(
            registry=self.registry,
            approvals=Approvals(),
            checkpoints=Checkpoints(None),
            history=history,
            tokenizer=self.tokenizer,
            limits=self.limits,
            budget=Budget(self.limits, 100_000),
            emit=self.events.append,
        )
        numbers = count()
        stream = StepStream(self.tokenizer, lambda: str(next(numbers)), runner.tool_name)
        read, events = stream.feed(ids)
        self.events += [*events, *stream.finish()]
        history.add_sampled(ids[:read])
        history.end_generation()
        self.call = stream.call
        if stream.call is not None:
            await runner.handle(stream.call)
        assert read == len(ids) or stream.over
        return read


def check(bench: Bench, ids: list[int], read: int) -> None:
    """What holds for every stream, whatever is wrong with it."""
    parser = StreamParser(bench.tokenizer)
    messages = [e for e in (*parser.feed(ids[:read]), *parser.finish()) if isinstance(e, MessageFinished)]
    assert sum(e.num_tokens for e in messages) + parser.unclaimed_tokens == read
    at, text = 0, ""
    for event in messages:
        text = bench.tokenizer.decode(ids[at : at + event.num_tokens])
        at += event.num_tokens
        assert event.message.content in text
    assert len(bench.ran) <= 1
    for tool, arguments in bench.ran:
        assert bench.call is not None
        assert_clearly_called(text, tool, bench.call.arguments)
        assert arguments == bench.call.arguments or bench.registry.alias_of(bench.call.recipient)
    check_conversation(bench)


def assert_clearly_called(text: str, tool: str, arguments: str) -> None:
    """The tokens of the call spell one recipient, the end of the header, exactly these arguments, and a stop."""
    match = _OWN.fullmatch(text[text.rfind("<|start|>") + 1 :].split("<|channel|>final<|message|>")[-1])
    assert match is not None, text
    header, content = match.groups()
    assert content == arguments
    assert not content.lstrip().startswith("<|")
    (recipient,) = set(_TO.findall(header))
    name = recipient.removeprefix("functions.")
    known = alias_of(name, (tool,)) or name.removesuffix("commentary").removesuffix("analysis").removesuffix("json")
    assert known == tool, text


def check_conversation(bench: Bench) -> None:
    """It reads back as exactly its messages, and no call is without a reply."""
    conversation = bench.conversation
    assert conversation.pending_call is None
    behind = conversation.tokens[conversation.preamble_length :]
    parser = StreamParser(bench.tokenizer, sampled=False)
    read = [e for e in (*parser.feed(behind), *parser.finish()) if isinstance(e, MessageFinished)]
    assert [e.message for e in read] == messages_of(conversation)
    assert not [e.recovered for e in read if e.recovered]
    calls = [m for m in messages_of(conversation) if m.role == "assistant" and m.recipient]
    assert len(calls) == len([e for e in bench.events if isinstance(e, ToolFinished)])


async def play_all(streams: Iterable[list[int]]) -> int:
    """Play and check them. Gives how many ran a tool."""
    bench = Bench(load_tokenizer())
    ran = 0
    for ids in streams:
        read = await bench.play(ids)
        try:
            check(bench, ids, read)
        except AssertionError as error:
            raise AssertionError(f"{error}\nin {bench.tokenizer.decode(ids)!r}") from error
        ran += len(bench.ran)
    return ran


async def test_undamaged_every_call_runs() -> None:
    calls = sum(ids[-1] in wire("<|call|>") for ids in _CATALOGUE)
    assert len(_CATALOGUE) == 100
    assert await play_all(_CATALOGUE) == calls == 60


def test_the_catalogue_is_large_enough() -> None:
    assert sum(1 for ids in _CATALOGUE for _ in one_token_wrong(ids)) >= 20_000


@pytest.mark.parametrize("piece", range(_PIECES))
async def test_one_token_wrong(piece: int) -> None:
    """Every deletion, duplication and swap in every transcript."""
    ran = await play_all(stream for ids in _CATALOGUE[piece::_PIECES] for stream in one_token_wrong(ids))
    assert (ran > 0) == any(ids[-1] in wire("<|call|>") for ids in _CATALOGUE[piece::_PIECES])


async def test_the_known_bad_list() -> None:
    """What is known to go wrong, alone, behind a thought, and before an answer."""
    thought, answer = "<|channel|>analysis<|message|>Hm.<|end|>", "<|channel|>final<|message|>y<|return|>"
    bad = [text for text, _ in MALFORMED]
    await play_all(wire(text) for text in bad)
    await play_all(wire(f"{thought}<|start|>assistant{text}") for text in bad)
    await play_all(wire(f"{text}<|start|>assistant{answer}") for text in bad)


@pytest.mark.timeout(0)
async def test_several_things_wrong() -> None:
    await play_all(several_wrong(random.Random(11), _MORE))


def several_wrong(source: random.Random, number: int) -> Iterable[list[int]]:
    """Transcripts with up to six random edits, half of them about control tokens and words of headers."""
    words = wire("analysis commentary final assistant user to= functions.read_file python json code ?")
    control = [*SPECIAL_TOKENS, *words]
    for _ in range(number):
        ids = list(source.choice(_CATALOGUE))
        for _ in range(source.randint(2, 6)):
            at = source.randrange(len(ids))
            token = source.choice(control) if source.random() < 0.5 else source.randrange(201_088)
            match source.randrange(5):
                case 0:
                    ids[at : at + source.randint(1, 3)] = []
                case 1:
                    ids.insert(at, token)
                case 2:
                    ids[at] = token
                case 3:
                    ids[at:at] = ids[at - 8 : at]
                case _:
                    ids[at:] = ids[at : at + source.randint(1, 40)]
            ids = ids or [token]
        yield ids
