"""Who may do what: permission is decided from the planned effect, before anything runs.

`decide` is pure. `Approvals` holds what a person said during a session and the one question that is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, get_args

from gptoss_tui.agent.commands import Decision
from gptoss_tui.errors import UsageError
from gptoss_tui.tools.base import Effect

Policy = Literal["ask", "edits", "all", "none"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

Verdict = Literal["allow", "ask", "deny"]

NEEDS_APPROVAL = "It needs an approval, and nothing that needs one may run here."


def decide(effect: Effect | None, policy: Policy, grants: frozenset[str]) -> Verdict:
    """What may happen with a call that would have `effect` (None: it only reads inside the workspace).

    `ask` asks for every effect, `edits` lets file edits pass, `all` lets everything pass, `none` nothing. `grants` are
    the kinds of effect that a person allowed for the session; they never weaken `none`.
    """
    if effect is None:
        return "allow"
    if policy == "none":
        return "deny"
    if policy == "all" or (policy == "edits" and effect.kind == "edit") or effect.kind in grants:
        return "allow"
    return "ask"


class Approvals:
    """The approvals of one session in one workspace. Questions are put one at a time."""

    def __init__(self, policy: Policy = "ask") -> None:
        self.policy: Policy = policy
        self._grants: frozenset[str] = frozenset()
        self._turnstile = asyncio.Lock()
        self._open: tuple[str, str, asyncio.Future[Decision]] | None = None

    @property
    def grants(self) -> frozenset[str]:
        """The kinds of effect that are allowed for the rest of the session."""
        return self._grants

    def forget(self) -> None:
        """Take back what was allowed for the session."""
        self._grants = frozenset()

    def verdict(self, effect: Effect | None) -> Verdict:
        """`decide` with the policy and the grants of now."""
        return decide(effect, self.policy, self._grants)

    async def resolve(self, item_id: str, effect: Effect, announce: Callable[[], None]) -> tuple[Decision, str]:
        """The answer for `effect`, and who gave it: `policy`, `session` or `user`.

        `announce` is called when a person has to answer and the question has come to the front.
        """
        async with self._turnstile:
            verdict = self.verdict(effect)
            if verdict == "deny":
                return Decision("deny", effect.digest, NEEDS_APPROVAL), "policy"
            if verdict == "allow":
                by_policy = decide(effect, self.policy, frozenset()) == "allow"
                return (
                    (Decision("once", effect.digest), "policy")
                    if by_policy
                    else (
                        Decision("session", effect.digest),
                        "session",
                    )
                )
            decision = await self._ask(item_id, effect, announce)
            if decision.kind == "session":
                self._grants |= {effect.kind}
            return decision, "user"

    async def _ask(self, item_id: str, effect: Effect, announce: Callable[[], None]) -> Decision:
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._open = (item_id, effect.digest, answer)
        try:
            announce()
            return await answer
        finally:
            self._open = None

    def answer(self, item_id: str, decision: Decision) -> None:
        """Answer the open question. Raises UsageError when it is not this one or was about other bytes."""
        if self._open is None or self._open[0] != item_id or self._open[2].done():
            raise UsageError(f"No approval is waiting under the id {item_id!r}")
        _, digest, answer = self._open
        if decision.digest != digest:
            raise UsageError(
                "The approval is for other content than the one that waits; nothing was allowed",
                hint="answer with the digest of the request that is shown",
            )
        answer.set_result(decision)
