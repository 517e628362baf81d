"""What every backend keeps, whatever computes it.

The tests of a backend subclass `Contract` as `Test...` and bring two fixtures: `backend`, loaded in float32 with a
small random model and nothing cached, and `reference`, the torch engine with the same model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState, Walk, automaton_of
from gptoss_tui.engine.types import Finished, PrefillProgress, SamplingParams, Token
from gptoss_tui.errors import ContextOverflowError, EngineError
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets

PROMPT = [5, 17, 100, 3, 60, 8, 44]
GREEDY = SamplingParams(temperature=0.0, max_tokens=3)


def run(
    backend: Backend, prompt: list[int], params: SamplingParams
) -> tuple[list[Token], Finished, list[PrefillProgress]]:
    """A whole generation."""
    events = list(backend.generate(prompt, params, lambda: False))
    tokens = [event for event in events if isinstance(event, Token)]
    progress = [event for event in events if isinstance(event, PrefillProgress)]
    assert isinstance(events[-1], Finished)
    return tokens, events[-1], progress


def ids(tokens: list[Token]) -> list[int]:
    """Without their logprobs."""
    return [token.id for token in tokens]


def brackets_automaton() -> TokenAutomaton:
    """Id 77, then 5 or 6, then text until id 9, which begins it again."""
    states = [TokenState({}), TokenState({9: 0}, text=True)]
    root = automaton_of([((77, 5), 1), ((77, 6), 1)], states)
    return TokenAutomaton(tuple(states), root)


class Contract:
    """Logprobs differ from the reference's by `tolerance`. `cuts`: where answers are interrupted, if not anywhere.

    `polls`: how often a scoring may ask before it is interrupted.
    """

    tolerance = 1e-3
    cuts: tuple[int, ...] = ()
    polls: tuple[int, ...] = (0, 1, 2, 4, len(PROMPT))

    @pytest.fixture
    def parking(self, backend: Backend) -> Iterator[Backend]:
        """The backend, with room for conversations that wait."""
        backend.park_up_to(10**9)
        yield backend
        backend.park_up_to(0)

    def assert_like(self, ours: list[Token], theirs: list[Token]) -> None:
        """The same tokens, with the same logprobs as far as sums allow."""
        assert ids(ours) == ids(theirs)
        assert [t.logprob for t in ours] == pytest.approx([t.logprob for t in theirs], abs=self.tolerance)

    @pytest.mark.parametrize("extra", [{}, {"top_logprobs": 3, "top_p": 0.9}, {"logit_bias": {7: 3.0}, "top_k": 9}])
    def test_greedy_tokens_and_logprobs_are_those_of_the_torch_engine(
        self, backend: Backend, reference: Backend, extra: dict[str, object]
    ) -> None:
        """Chosen where it is fast, and where it takes more."""
        params = replace(GREEDY, **extra)  # type: ignore[arg-type]
        ours, finished, _ = run(backend, PROMPT, params)
        theirs, _, _ = run(reference, PROMPT, params)
        assert ids(ours) == ids(theirs)
        logprobs = [token.logprob for token in theirs]
        assert [token.logprob for token in ours] == pytest.approx(logprobs, abs=self.tolerance)
        assert [[id for id, _ in token.top] for token in ours] == [[id for id, _ in token.top] for token in theirs]
        assert finished.reason == "length"
        assert finished.usage.generated_tokens == 3

    def test_the_cached_prefix_is_used_again(self, backend: Backend, reference: Backend) -> None:
        """A follow-up prompt costs its new tokens; the answer's tokens are cached too, but for the last one."""
        answer = ids(run(backend, PROMPT, GREEDY)[0])
        ours, finished, progress = run(backend, [*PROMPT, *answer, 9], GREEDY)
        assert progress[0].cached == len(PROMPT) + len(answer) - 1
        assert finished.usage.prefilled_tokens == 2
        theirs = run(reference, [*PROMPT, *answer, 9], GREEDY)[0]
        assert ids(ours) == ids(theirs)
        logprobs = [token.logprob for token in theirs]
        assert [token.logprob for token in ours] == pytest.approx(logprobs, abs=self.tolerance)

    def test_a_kept_prefix_comes_back(self, backend: Backend, reference: Backend) -> None:
        """After another conversation took its place."""
        keep = replace(GREEDY, keep_prefix=5)
        run(backend, PROMPT, keep)
        assert len(backend.info().kept_prefixes) == 1
        run(backend, [101 + n for n in range(20)], replace(GREEDY, max_tokens=1))
        ours, finished, _ = run(backend, [*PROMPT[:5], 90, 91], keep)
        assert finished.usage.cached_tokens == 5
        assert ids(ours) == ids(run(reference, [*PROMPT[:5], 90, 91], GREEDY)[0])

    def test_a_stop_token_ends_it_and_is_delivered(self, backend: Backend) -> None:
        """What was begun beyond it is not seen, and no part of the sequence."""
        first, _, _ = run(backend, PROMPT, GREEDY)
        tokens, finished, _ = run(backend, PROMPT, replace(GREEDY, stop_token_ids=(first[1].id,)))
        assert ids(tokens) == ids(first[:2])
        assert finished.reason == "stop"
        assert backend.info().cached_tokens == len(PROMPT) + 1

    def test_cancelling_between_tokens(self, backend: Backend) -> None:
        """Who cancels when a token came gets no other one."""
        seen: list[Token] = []
        events = backend.generate(PROMPT, SamplingParams(temperature=0.0), lambda: bool(seen))
        finished = None
        for event in events:
            seen += [event] if isinstance(event, Token) else []
            finished = event
        assert isinstance(finished, Finished)
        assert (len(seen), finished.reason, finished.usage.generated_tokens) == (1, "cancelled", 1)
        assert ids(run(backend, PROMPT, GREEDY)[0])[:1] == ids(seen)

    def test_cancelling_before_anything_ran(self, backend: Backend) -> None:
        """Nothing is cached then."""
        events = list(backend.generate(PROMPT, GREEDY, lambda: True))
        assert isinstance(events[-1], Finished)
        assert (len(events), events[-1].reason, backend.info().cached_tokens) == (1, "cancelled", 0)

    def test_the_context_is_a_limit(self, backend: Backend) -> None:
        """A prompt must leave room for a token, and an answer ends where the context does."""
        context = backend.info().context
        with pytest.raises(ContextOverflowError):
            backend.generate([1] * context, GREEDY, lambda: False)
        tokens, finished, _ = run(backend, [1] * (context - 2), SamplingParams(temperature=0.0))
        assert len(tokens) == 2
        assert finished.reason == "context"

    def test_ids_outside_the_vocabulary_are_refused(self, backend: Backend) -> None:
        """Before anything runs: they would read somewhere else."""
        with pytest.raises(EngineError, match="999"):
            backend.generate([1, 999], GREEDY, lambda: False)
        with pytest.raises(EngineError, match="logit_bias names token 999; the vocabulary has"):
            run(backend, PROMPT, SamplingParams(max_tokens=1, logit_bias={999: 1.0}))

    def test_scores_are_those_of_the_torch_engine(self, backend: Backend, reference: Backend) -> None:
        """At every position, after which nothing is cached."""
        ours, theirs = list(backend.score(PROMPT, 2)), list(reference.score(PROMPT, 2))
        assert [(p.next, [id for id, _ in p.top]) for p in ours] == [(p.next, [id for id, _ in p.top]) for p in theirs]
        logprobs = [p.logprob for p in theirs[:-1]]
        assert [p.logprob for p in ours[:-1]] == pytest.approx(logprobs, abs=self.tolerance)
        assert ours[-1].logprob is None
        assert backend.info().cached_tokens == 0

    def test_a_scoring_that_was_interrupted_goes_on(self, backend: Backend) -> None:
        """Before it begins, between its steps and inside of them, also when others had the engine meanwhile."""
        whole = list(backend.score(PROMPT, 2))
        for polls in self.polls:
            for others in (False, True):
                left = iter(range(polls))
                first = list(backend.score(PROMPT, 2, lambda left=left: next(left, None) is None))  # type: ignore[misc]
                assert len(first) < len(PROMPT)
                if polls:
                    assert backend.info().cached_tokens == len(first)
                if others:
                    run(backend, [77, *PROMPT], GREEDY)
                rest = list(backend.score(PROMPT, 2, start=len(first)))
                assert [p.next for p in (*first, *rest)] == [p.next for p in whole]
                assert [p.logprob for p in (*first, *rest)][:-1] == pytest.approx(
                    [p.logprob for p in whole[:-1]], abs=self.tolerance
                )
                assert backend.info().cached_tokens == 0
        with pytest.raises(EngineError, match="start"):
            backend.score(PROMPT, 2, start=len(PROMPT))

    @pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=2.0, seed=4, max_tokens=5)])
    def test_an_automaton_is_followed(self, backend: Backend, params: SamplingParams) -> None:
        """One id, one of two, then text until an id that ends it; nothing of it is the model's own choice."""
        tokens = ids(run(backend, PROMPT, replace(params, constraint=brackets_automaton()))[0])
        assert tokens[0] == 77
        assert tokens[1] in (5, 6)
        assert ids(run(backend, PROMPT, params)[0])[0] != 77

    def test_the_same_seed_draws_the_same_tokens(self, backend: Backend) -> None:
        """And the steps of one request differ."""
        params = SamplingParams(temperature=5.0, seed=3, max_tokens=4)
        first, again = ids(run(backend, PROMPT, params)[0]), ids(run(backend, PROMPT, params)[0])
        assert first == again
        assert len(set(first)) > 1

    @pytest.mark.parametrize("extra", [{}, {"top_p": 0.95}, {"top_logprobs": 2}, {"logit_bias": {7: 1.0}}])
    @pytest.mark.parametrize("grammar", [False, True])
    def test_an_answer_that_was_interrupted_goes_on(
        self, backend: Backend, extra: dict[str, object], grammar: bool
    ) -> None:
        """With the tokens that would have followed, also when another one ran meanwhile."""
        params = SamplingParams(temperature=3.0, seed=-6, max_tokens=8, stop_token_ids=(CLOSE,))
        params = replace(params, constraint=number_in_brackets() if grammar else None, **extra)  # type: ignore[arg-type]
        whole = ids(run(backend, PROMPT, params)[0])
        for count in self.cuts or range(1, len(whole)):
            walk = Walk(params.constraint) if params.constraint else None
            for token in whole[:count]:
                if walk:
                    walk.advance(token)
            run(backend, [101 + n for n in range(20)], replace(GREEDY, max_tokens=1))
            rest = replace(params, max_tokens=8 - count, drawn=count, constraint=walk.rest if walk else None)
            assert ids(run(backend, [*PROMPT, *whole[:count]], rest)[0]) == whole[count:]

    def test_text_follows_a_grammar(self, backend: Backend, reference: Backend) -> None:
        """The reference's tokens, from where the grammar begins."""
        params = SamplingParams(temperature=0.0, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets())
        tokens, finished, _ = run(backend, PROMPT, params)
        assert is_number_in_brackets(ids(tokens))
        assert finished.reason == "stop"
        assert ids(tokens) == ids(run(reference, PROMPT, params)[0])

    def test_a_grammar_that_waits_pauses_it(self, backend: Backend) -> None:
        """Before the first token."""
        waiting = TokenAutomaton((TokenState({}, text=True, grammar=0),), grammars=(Grammar("patch", ""),))
        tokens, finished, _ = run(backend, PROMPT, SamplingParams(max_tokens=3, constraint=waiting))
        assert (tokens, finished.reason) == ([], "paused")

    def test_conversations_take_turns(self, parking: Backend, reference: Backend) -> None:
        """Both are longer than a window. Each reads only what is new to it, and the numbers are those of one alone."""
        params, known = replace(GREEDY, max_tokens=2), [0, 0]
        talks = [[5, *range(10, 22)], [6, *range(40, 50)]]
        for _ in range(2):
            for index, talk in enumerate(talks):
                ours, finished, _ = run(parking, talk, params)
                assert finished.usage.cached_tokens == known[index]
                self.assert_like(ours, run(reference, talk, params)[0])
                known[index] = len(talk) + 1  # the last token of the answer was not run
                talk += [*ids(ours), 9]
        assert parking.info().parked == 1

    def test_a_beginning_is_shared(self, parking: Backend, reference: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        """Up to the cut that was named, though it is too long to be kept; whose it was loses nothing."""
        monkeypatch.setattr("gptoss_tui.engine.cache.kv_cache.KEPT_TOKENS", 0)
        params, begin = replace(GREEDY, max_tokens=1, keep_prefix=10), list(range(20, 30))
        first, second = [*begin, *range(60, 69)], [*begin, 7, *range(50, 55)]
        run(parking, first, params)
        ours, finished, _ = run(parking, second, params)
        assert finished.usage.cached_tokens == 10
        self.assert_like(ours, run(reference, second, params)[0])
        ours, finished, _ = run(parking, [*first, 8], params)
        assert finished.usage.cached_tokens == len(first)
        self.assert_like(ours, run(reference, [*first, 8], params)[0])

    def test_waiting_takes_no_more_than_its_room(self, parking: Backend) -> None:
        """Whoever waited longest is read again; without room all are."""
        params, talks = replace(GREEDY, max_tokens=1), [[first, *range(30, 38)] for first in (1, 2, 3)]
        for talk in talks[:2]:
            run(parking, talk, params)
        room = parking.info().parked_bytes * 3 // 2
        parking.park_up_to(room)
        run(parking, talks[2], params)
        assert (parking.info().parked, parking.info().parked_limit) == (1, room)
        assert 0 < parking.info().parked_bytes <= room
        assert [run(parking, [*talks[n], 4], params)[1].usage.cached_tokens for n in (1, 2, 0)] == [9, 9, 0]
        parking.park_up_to(0)
        assert (parking.info().parked, parking.info().parked_bytes) == (0, 0)
        assert run(parking, [*talks[2], 4], params)[1].usage.cached_tokens == 0

    def test_what_waits_is_not_hurt_by_others(
        self, parking: Backend, reference: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By prompts that are too long, cancelled or fail, and by scores; and it can be gone back in."""
        params, talk, other = replace(GREEDY, max_tokens=1), [5, *range(10, 22)], [6, *range(40, 50)]
        run(parking, talk, params)
        with pytest.raises(ContextOverflowError):
            parking.generate([1] * parking.info().context, params, lambda: False)
        assert len(list(parking.generate(other, params, lambda: True))) == 1
        with monkeypatch.context() as patch:
            patch.setattr(parking, "_run", _fail)
            with pytest.raises(EngineError, match="device"):
                run(parking, other, params)
        list(parking.score(other, 1))
        edited = [*talk[:12], 90, 91]
        for prompt, cached in (([*talk, 7], 13), (talk, 12), (edited, 12)):
            ours, finished, _ = run(parking, prompt, params)
            assert finished.usage.cached_tokens == cached
            self.assert_like(ours, run(reference, prompt, params)[0])


def _fail(*_: object) -> None:
    raise EngineError("the device is gone")
