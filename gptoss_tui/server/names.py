"""The names that the model answers to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gptoss_tui.engine.catalog import published_model
from gptoss_tui.engine.remote.address import is_address

_SOME_MODEL = "gpt-oss"


def names_of(model: str, aliases: Iterable[str] = ()) -> tuple[str, ...]:
    """What clients may call `model`, its own name first; published models have those that other servers give them.

    The address of a server behind this one is no name: it says nothing of the model, and is nobody's business.
    """
    if is_address(model):
        return tuple(dict.fromkeys((_SOME_MODEL, *aliases)))
    published = published_model(model)
    if published is None:
        own = Path(model).name or model
        names = [own, *({model} - {own})]
    else:
        family, _, size = published.name.rpartition("-")
        names = [published.name, published.repository, f"{family}:{size}"]
    return tuple(dict.fromkeys((*names, *aliases)))
