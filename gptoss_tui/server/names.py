"""The names under which clients can request the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gptoss_tui.engine.catalog import published_model
from gptoss_tui.engine.remote.address import is_address

_SOME_MODEL = "gpt-oss"


def names_of(model: str, aliases: Iterable[str] = ()) -> tuple[str, ...]:
    """The names for `model`, its own first. Published models also have the names that other servers use for them.

    If the model is on another server, that server's address is not a name: it does not identify the model, and clients
    should not learn it.
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
