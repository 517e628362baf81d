"""The options of a session: the approval mode, the model, and the reasoning effort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from acp.schema import SessionConfigOptionSelect, SessionConfigSelectOption, SessionMode, SessionModeState

from gptoss_tui.agent.policy.modes import MODE_MEANINGS, Mode
from gptoss_tui.harmony.messages import EFFORTS, Effort

MODE: Final = "mode"
MODEL: Final = "model"
EFFORT: Final = "effort"

_MODE_NAMES: Final[dict[Mode, str]] = {
    "read-only": "Read only",
    "ask": "Ask",
    "auto-edit": "Auto edit",
    "full-auto": "Full auto",
}


def mode_state(mode: Mode, modes: Sequence[Mode]) -> SessionModeState:
    """The modes that the workspace allows, for clients without support for configuration options."""
    available = [SessionMode(id=one, name=_MODE_NAMES[one], description=MODE_MEANINGS[one]) for one in modes]
    return SessionModeState(current_mode_id=mode, available_modes=available)


def config_options(
    mode: Mode, modes: Sequence[Mode], model: str, models: Sequence[str], effort: Effort
) -> list[SessionConfigOptionSelect]:
    """All options with their choices and current values."""
    return [
        SessionConfigOptionSelect(
            id=MODE,
            name="Mode",
            description="How much may happen without asking",
            category="mode",
            type="select",
            current_value=mode,
            options=[_option(one, _MODE_NAMES[one], MODE_MEANINGS[one]) for one in modes],
        ),
        SessionConfigOptionSelect(
            id=MODEL,
            name="Model",
            description="Models that are on this machine; one is loaded at a time",
            category="model",
            type="select",
            current_value=model,
            options=[_option(name, name) for name in dict.fromkeys((*models, model))],
        ),
        SessionConfigOptionSelect(
            id=EFFORT,
            name="Reasoning effort",
            description="How long the model thinks",
            category="thought_level",
            type="select",
            current_value=effort,
            options=[_option(one, one.capitalize()) for one in EFFORTS],
        ),
    ]


def _option(value: str, name: str, description: str | None = None) -> SessionConfigSelectOption:
    return SessionConfigSelectOption(value=value, name=name, description=description)
