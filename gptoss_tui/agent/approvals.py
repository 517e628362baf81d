"""The approvals of a session: the mode, the rules, and the open question, of which there is at most one.

The decisions are made in `policy/decide.py`, which is pure. This module holds the state that they depend on and takes
the user's answers. An answer counts only for exactly the bytes that were shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved, DecisionKind
from gptoss_tui.agent.policy.book import RuleBook
from gptoss_tui.agent.policy.decide import By, Policy, Verdict, decide
from gptoss_tui.agent.policy.grants import Grant, grants_for
from gptoss_tui.agent.policy.modes import Mode, stricter
from gptoss_tui.errors import PolicyError, UsageError
from gptoss_tui.tools.base import Effect

_MAX_SOURCES = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the user: the effect, why no rule may decide, and what can be allowed for longer than once."""

    effect: Effect
    reasons: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()

    def as_event(self, item_id: str, tool: str) -> ApprovalRequest:
        """The event that shows the question, for the call `item_id` of `tool`."""
        effect = self.effect
        return ApprovalRequest(
            item_id=item_id,
            tool=tool,
            kind=effect.kind,
            title=effect.title,
            preview=effect.preview,
            preview_type=effect.preview_type,
            digest=effect.digest,
            paths=effect.paths,
            warnings=effect.warnings,
            details=effect.details,
            reasons=self.reasons,
            grants=tuple(grant.label for grant in self.grants),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision: who made it, why, and the ids of the rules that made it or that it created."""

    decision: Decision
    by: By
    why: str = ""
    rules: tuple[str, ...] = ()

    def as_event(self, item_id: str, effect: Effect) -> ApprovalResolved:
        """The event that reports the decision about the call `item_id` with this `effect`."""
        return ApprovalResolved(
            item_id=item_id,
            decision=self.decision.kind,
            by=self.by,
            message=self.decision.message,
            digest=effect.digest,
            why=self.why,
            rules=self.rules,
        )


class Approvals:
    """The approvals of one session in one workspace. Questions are asked one at a time.

    `allow_all` allows everything that would be asked about, except what rules ask about and writing protected files;
    what a rule or the mode denies stays denied. It is only meant for `--approve all`.
    """

    def __init__(self, mode: Mode = "ask", *, book: RuleBook | None = None, allow_all: bool = False) -> None:
        self.book = book or RuleBook()
        self._mode: Mode = mode
        self._allow_all = allow_all
        self._turnstile = asyncio.Lock()
        self._open: tuple[str, Question, asyncio.Future[Decision]] | None = None
        self._sources: tuple[str, ...] = ()
        self._told: set[str] = set()

    @property
    def mode(self) -> Mode:
        """The mode in effect: the chosen one, or a stricter one when the workspace does not allow it."""
        return stricter(self._mode, self.book.modes[-1])

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """Raises UsageError for a mode that this workspace does not allow."""
        if mode not in self.book.modes:
            raise UsageError(
                f"The mode {mode} is not available here: {self._why_capped()}",
                hint=f"available: {', '.join(self.book.modes)}; `/trust` lifts the limits in the workspace's own file",
            )
        self._mode = mode

    @property
    def policy(self) -> Policy:
        """Everything that `decide` needs to know."""
        return Policy(self.mode, self.book.rules, self._allow_all)

    @property
    def sources(self) -> tuple[str, ...]:
        """The last few hosts and servers whose text the model has read in this conversation, newest last."""
        return self._sources

    def saw(self, source: str) -> None:
        """Note that the model has read text from `source`, which may be behind what it asks for from now on."""
        self._sources = (*(known for known in self._sources if known != source), source)[-_MAX_SOURCES:]

    def new_problems(self) -> tuple[PolicyError, ...]:
        """The problems with rule files that have not been reported before."""
        found = tuple(problem for problem in self.book.problems if problem.message not in self._told)
        self._told = {problem.message for problem in self.book.problems}
        return found

    def forget(self) -> None:
        """Drop the session's rules and sources, because a new conversation begins."""
        self.book.forget_session()
        self._sources = ()

    def verdict(self, effect: Effect | None) -> Verdict:
        """The result of `decide` under the current mode and rules."""
        return decide(effect, self.policy)

    async def resolve(self, item_id: str, effect: Effect, announce: Callable[[Question], None]) -> Answer:
        """Decide about `effect`, asking the user if necessary.

        `announce` is called with the question once no other question is open.
        """
        async with self._turnstile:
            verdict = self.verdict(effect)
            if verdict.outcome == "ask":
                question = self._question(effect, verdict)
                decision = await self._ask(item_id, question, announce)
                return self._answered(effect, decision, question.grants)
            return _by_policy(effect, verdict)

    def _question(self, effect: Effect, verdict: Verdict) -> Question:
        return Question(effect, verdict.reasons, () if verdict.reasons else grants_for(effect))

    def _answered(self, effect: Effect, decision: Decision, grants: Sequence[Grant]) -> Answer:
        """Apply the user's answer, unless a stricter mode or a new rule denies the effect by now."""
        if decision.kind in ("deny", "edit"):
            return Answer(decision, "user")
        verdict = self.verdict(effect)
        if verdict.outcome == "deny":
            return _by_policy(effect, verdict)
        if decision.kind == "once":
            return Answer(decision, "user")
        grant = grants[decision.grant]
        try:
            rules = self.book.grant(grant, "session" if decision.kind == "session" else "workspace", effect.reach)
        except PolicyError as error:
            return Answer(replace(decision, kind="once"), "user", f"Allowed once only. {error.message}")
        return Answer(decision, "user", grant.label, tuple(rule.id for rule in rules))

    async def _ask(self, item_id: str, question: Question, announce: Callable[[Question], None]) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._open = (item_id, question, answer)
        try:
            announce(question)
            return await answer
        finally:
            self._open = None

    def answer(self, item_id: str, decision: Decision) -> None:
        """Answer the open question. Raises UsageError when its id or digest is different."""
        if self._open is None or self._open[0] != item_id or self._open[2].done():
            raise UsageError(f"No approval is waiting under the id {item_id!r}")
        _, question, answer = self._open
        if decision.digest != question.effect.digest:
            raise UsageError(
                "The approval is for other content than what is shown now; nothing was allowed",
                hint="answer with the digest of the request that is shown",
            )
        if decision.kind in ("session", "always") and not 0 <= decision.grant < len(question.grants):
            raise UsageError("This request can only be allowed once; nothing was allowed")
        answer.set_result(decision)

    def _why_capped(self) -> str:
        problems = self.book.problems
        return problems[0].message if problems else f"{self.book.workspace_file.path} says so"


def _by_policy(effect: Effect, verdict: Verdict) -> Answer:
    if verdict.outcome == "deny":
        return Answer(Decision("deny", effect.digest, verdict.why), verdict.by, verdict.why, verdict.rules)
    kind: DecisionKind = "session" if verdict.by == "session" else "once"
    return Answer(Decision(kind, effect.digest), verdict.by, verdict.why, verdict.rules)
