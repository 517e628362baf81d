"""Budgets, the repeat guard and the cut of long outputs."""

from __future__ import annotations

from gptoss_tui.agent.budget import Budget, Limits, RepeatGuard, fit_output
from gptoss_tui.harmony.tokenizer import load_tokenizer


def test_without_a_token_limit_only_the_context_bounds() -> None:
    budget = Budget(Limits(answer_tokens=100), context_limit=1000)
    budget.spend(5000)
    assert budget.answer_room(400) == 600
    assert budget.room(400) == 500


def test_a_token_limit_is_spent_and_a_share_is_kept_for_the_answer() -> None:
    budget = Budget(Limits(tokens=80, answer_tokens=1024), context_limit=1000)
    assert (budget.room(10), budget.answer_room(10)) == (70, 80)
    budget.spend(75)
    assert (budget.room(10), budget.answer_room(10)) == (-5, 5)
    assert budget.answer_room(998) == 2


def test_calls_are_counted() -> None:
    budget = Budget(Limits(tool_calls=2), context_limit=1000)
    assert [budget.take_call() for _ in range(3)] == [True, True, False]


def test_repeats_need_the_same_result() -> None:
    guard = RepeatGuard(3)
    assert not guard.record("t", "a", "1")
    assert not guard.record("t", "a", "2")
    assert not guard.record("t", "a", "1")
    assert not guard.refuses("t", "a")
    assert guard.record("t", "a", "1")
    assert guard.refuses("t", "a")
    assert not guard.refuses("t", "b")
    guard.reset()
    assert not guard.refuses("t", "a")


def test_long_outputs_keep_their_ends() -> None:
    tokenizer = load_tokenizer()
    text = "\n".join(f"line {n} 🌍" for n in range(500))
    short = fit_output(text, tokenizer, 60)
    assert short.startswith("line 0 🌍\n")
    assert short.endswith("line 499 🌍")
    assert "tokens left out" in short
    assert "\ufffd" not in short
    assert len(tokenizer.encode(short)) < 90
    assert fit_output(text, tokenizer, 100_000) == text
    assert fit_output("🌍" * 40, tokenizer, 100) == "🌍" * 40
