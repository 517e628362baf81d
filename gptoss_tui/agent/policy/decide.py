"""Decides what may happen, as a pure function of a planned effect, the mode and the rules. Nothing else decides.

The first match wins, in this order: reading is allowed; a deny rule denies; read-only mode denies changes; an explicit
`--approve all` allows, unless a rule asks about it, may be about it, or it may write a protected file; what must be
asked about is asked; an ask rule asks; allow rules allow; the mode decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gptoss_tui.agent.policy.modes import Mode
from gptoss_tui.agent.policy.rules import Rule, covering, describe, may_touch, touches
from gptoss_tui.patch.protected import may_name, named_in, protected_by, reason
from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.expansion import Expands, as_glob, plain

Outcome = Literal["allow", "ask", "deny"]
By = Literal["user", "policy", "session", "rule"]
"""Who decides: the user now, the mode or a flag, a rule of this conversation, or a saved rule."""

_CHANGING: Final = ("edit", "command", "mcp")

PLAN_ONLY: Final = "The approval mode is read-only: nothing may be changed. Say what you would do instead."
UNPARSED: Final = "the command could not be parsed, so no rule can allow it"
UNHELD: Final = "it may write protected files: the command could not be parsed, and no sandbox holds it"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a decision depends on besides the effect.

    `allow_all` is `--approve all`: the user gave up all questions except those of their own rules and those about
    writing protected files.
    """

    mode: Mode = "ask"
    rules: tuple[Rule, ...] = ()
    allow_all: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, who made it, and why. `rules` are the ids of the rules that made it.

    `reasons` say why the user has to be asked although a mode or a rule would have allowed it.
    """

    outcome: Outcome
    by: By = "policy"
    why: str = ""
    rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def decide(effect: Effect | None, policy: Policy) -> Verdict:
    """Decide about a call that would have `effect` (None: it only reads inside the workspace)."""
    if effect is None:
        return Verdict("allow", why="it only reads")
    if rule := _first(policy, effect, "deny"):
        return Verdict("deny", "rule", f"A rule denies {describe(rule.kind, rule.pattern)}.", (rule.id,))
    if policy.mode == "read-only" and effect.kind in _CHANGING:
        return Verdict("deny", why=PLAN_ONLY)
    doubts = _doubts(policy, effect)
    reasons = (*must_ask(effect), *doubts)
    rule = _first(policy, effect, "ask")
    if policy.allow_all and rule is None and not doubts:
        left = _left_to_user(effect)
        if not left:
            return Verdict("allow", why="--approve all")
        reasons = (*reasons, *left)
    if rule:
        reasons = (*reasons, f"a rule asks about {describe(rule.kind, rule.pattern)}")
    if reasons:
        return Verdict("ask", rules=(rule.id,) if rule else (), reasons=tuple(dict.fromkeys(reasons)))
    if rules := covering(policy.rules, effect):
        by: By = "session" if any(rule.scope == "session" for rule in rules) else "rule"
        why = ", ".join(describe(rule.kind, rule.pattern) for rule in rules)
        return Verdict("allow", by, why, tuple(rule.id for rule in rules))
    if _passes(effect, policy.mode):
        return Verdict("allow", why=policy.mode)
    return Verdict("ask")


def must_ask(effect: Effect) -> tuple[str, ...]:
    """Why only the user may decide about `effect`; empty when modes and rules may."""
    reasons = [*effect.must_ask, *_protected_paths(effect)]
    if effect.kind == "command":
        if not _parsed(effect):
            reasons.append(UNPARSED)
        elif word := named_in(plain(word) for words in effect.commands for word in words):
            reasons.append(f"{word} is protected")
    return tuple(dict.fromkeys(reasons))


def _left_to_user(effect: Effect) -> tuple[str, ...]:
    """Why not even `--approve all` answers about `effect`; empty when it does.

    A sandboxed command can only write the protected paths that it was given: all others are read-only, and new ones
    that it creates are held back. For a command without a sandbox, only its words can be checked.
    """
    if effect.kind == "edit":
        return must_ask(effect)
    reasons = _protected_paths(effect)
    if effect.kind == "command" and effect.reach == "host":
        if not _parsed(effect):
            reasons.append(UNHELD)
        elif word := _protected_word(effect):
            reasons.append(f"it may write protected files: it names {word}, and no sandbox holds it")
    return tuple(reasons)


def _doubts(policy: Policy, effect: Effect) -> tuple[str, ...]:
    """Why a rule that denies or asks may be about `effect`, although that cannot be told from its words."""
    rules = (rule for rule in policy.rules if rule.verdict != "allow" and may_touch(rule, effect))
    rule = next(rules, None)
    if rule is None:
        return ()
    does = "denies" if rule.verdict == "deny" else "asks about"
    return (f"a rule {does} {describe(rule.kind, rule.pattern)}, which this may run",)


def _protected_paths(effect: Effect) -> list[str]:
    owners = ((path, protected_by(path)) for path in effect.paths)
    return [reason(path, owner) for path, owner in owners if owner]


def _protected_word(effect: Effect) -> str | None:
    """The first word that names a protected file, or that the shell may expand to the name of one."""
    every = [word for words in effect.commands for word in words]
    expanding = (word for word in every if isinstance(word, Expands))
    return named_in(map(plain, every)) or next((plain(word) for word in expanding if may_name(as_glob(word))), None)


def _parsed(effect: Effect) -> bool:
    return bool(effect.commands) and all(effect.commands)


def _first(policy: Policy, effect: Effect, verdict: Outcome) -> Rule | None:
    return next((rule for rule in policy.rules if rule.verdict == verdict and touches(rule, effect)), None)


def _passes(effect: Effect, mode: Mode) -> bool:
    """Whether the mode alone allows `effect`. Full-auto relies on the sandbox, never on the model."""
    if effect.kind == "edit":
        return mode in ("auto-edit", "full-auto")
    return mode == "full-auto" and effect.reach in ("workspace", "sandbox")
