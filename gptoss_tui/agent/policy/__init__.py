"""Approval policy: modes, rules, and the pure function that makes all decisions."""

from __future__ import annotations

from gptoss_tui.agent.policy.decide import Policy, Verdict, decide
from gptoss_tui.agent.policy.modes import MODE_MEANINGS, MODES, Mode
from gptoss_tui.agent.policy.rules import Rule

__all__ = ["MODES", "MODE_MEANINGS", "Mode", "Policy", "Rule", "Verdict", "decide"]
