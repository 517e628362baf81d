"""Commands about the model: which one to use, and how hard it thinks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gptoss_tui.harmony.messages import EFFORTS
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.screens.picker import Item, Picker
from gptoss_tui.tui.slash.registry import Argument, Command, Value
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    from gptoss_tui.engine.planning.here import Place
    from gptoss_tui.tui.slash.port import SlashPort

_EFFORT_HELP = {
    "low": "answers at once",
    "medium": "thinks where it helps",
    "high": "thinks long; best for hard tasks",
}


async def _model(port: SlashPort, argument: str) -> None:
    if argument:
        await port.switch_model(argument)
        return
    current, info = port.model, port.info
    held = info.weight_bytes + info.parked_bytes if info is not None and info.backend in ("metal", "triton") else 0

    async def load() -> list[Item]:
        return await asyncio.to_thread(model_items, current, held)

    picked = await port.pick(Picker("Model", load, what="load or download", selected=current, preview=True))
    if picked is not None and picked.value != current:
        await port.switch_model(picked.value)


def model_items(current: str, held: int = 0) -> list[Item]:
    """Installed and downloadable models, with what they need.

    `held` bytes of the GPU belong to the loaded model. Reads the disk and may ask a GPU, so call it in a thread.
    """
    from gptoss_tui.engine.catalog import NANO, PUBLISHED, installed_models
    from gptoss_tui.engine.planning.here import places_here

    items, begun, places = [], {}, places_here(held=held)
    installed = installed_models()
    for model in installed:
        if model.problem and model.name in PUBLISHED:
            begun[model.name] = model.size
            continue
        tail = "in use" if model.name == current else "built in" if model.name == NANO else "installed"
        fit, about = ("", model.problem) if model.problem else _needs(model.name, model.size, places)
        items.append(Item(model.name, model.name, fit or format_bytes(model.size), tail, about, model.problem or ""))
    here = {item.value for item in items}
    for published in PUBLISHED.values():
        if published.name not in here:
            fit, about = _needs(published.name, published.weight_bytes, places)
            tail, what = _missing(published.weight_bytes, begun.get(published.name, 0))
            items.append(Item(published.name, published.name, fit, tail, f"{what}\n\n{about}"))
    if all(item.value != current for item in items):
        place, _, name = current.partition("#")  # a server's model, or a folder elsewhere
        items.insert(0, Item(current, name or place, place if name else "", "in use", current))
    return items


def _missing(size: int, arrived: int) -> tuple[str, str]:
    """How much of a model's `size` bytes is still to be downloaded, in a word and in full."""
    if not arrived:
        return "download", f"Not on this machine: choosing it downloads {format_bytes(size)}."
    share = min(99, 100 * arrived // size)
    sizes = f"{format_bytes(arrived)} of {format_bytes(size)}"
    return f"{share}% here", f"{sizes} are here: choosing it downloads the rest."


def _needs(name: str, size: int, places: Sequence[Place]) -> tuple[str, str]:
    """Whether a model fits into the memory of one of the places, in a few words and in full."""
    from gptoss_tui.engine.catalog import NANO, published_model
    from gptoss_tui.engine.planning.here import lacking, plan_here

    published = published_model(name)
    if published is None:
        about = "Small enough for any machine. It knows this app and simple edits." if name == NANO else ""
        return format_bytes(size), about
    planned = plan_here(published.config, published.weight_bytes, None, places=places)
    memory = planned.memory
    rows = [
        f"Engine       {planned.where}",
        f"Weights      {format_bytes(memory.weights)}",
        f"KV cache     {format_bytes(memory.kv_cache)} for {memory.context:,} tokens",
        f"Scratch      {format_bytes(memory.scratch)}",
    ]
    if memory.available is None:
        return f"{format_bytes(size)}, memory of this machine unknown", "\n".join(rows)
    rows.append(f"Free memory  {format_bytes(memory.available)}")
    if planned.skipped is not None:
        rows.append(f"\nDoes not fit the GPU's memory ({format_bytes(planned.skipped.available or 0)} free).")
    if memory.fits:
        rows.append(f"\nFits, with a context of up to {memory.largest_context:,} tokens.")
        return f"{format_bytes(size)}, fits{' the CPU' if planned.skipped else ''}", "\n".join(rows)
    rows.append(f"\nDoes not fit: {format_bytes(lacking(memory))} more memory is needed even for a short conversation.")
    return f"{format_bytes(size)}, too large", "\n".join(rows)


def _model_values(port: SlashPort) -> Iterable[Value]:
    from gptoss_tui.engine.catalog import NANO, PUBLISHED, models_directory

    here = sorted(path.name for path in models_directory().glob("[!.]*") if path.is_dir())
    yield Value(NANO, "built in")
    for name in PUBLISHED:
        yield Value(name, "in the models directory" if name in here else "published, to download")
    yield from (Value(name, "in the models directory") for name in here if name not in PUBLISHED)


async def _effort(port: SlashPort, argument: str) -> None:
    if not argument:
        items = [Item(effort, effort, _EFFORT_HELP[effort], _cost(port, effort)) for effort in EFFORTS]

        async def load() -> list[Item]:
            return items

        picked = await port.pick(Picker("Reasoning effort", load, what="use", selected=port.effort))
        if picked is None:
            return
        argument = picked.value
    wanted = [effort for effort in EFFORTS if effort == argument.lower()]
    if wanted:
        port.use_effort(wanted[0])
        port.flash(f"Reasoning effort: {wanted[0]}")
    else:
        port.say("warning", f"There is no effort {to_terminal_line(argument)!r}.", f"Known: {', '.join(EFFORTS)}")


def _cost(port: SlashPort, effort: str) -> str:
    """What changing the effort would cost, so that a long wait does not come as a surprise."""
    if effort == port.effort:
        return "in use"
    level = next(one for one in EFFORTS if one == effort)
    tokens = port.agent.effort_cost(level) if port.agent is not None else 0
    return f"{tokens:,} tokens are read again" if tokens else ""


def _effort_values(port: SlashPort) -> Iterable[Value]:
    return [Value(effort, _EFFORT_HELP[effort]) for effort in EFFORTS]


COMMANDS = (
    Command(
        "model",
        "choose or download a model",
        _model,
        "Model",
        Argument("[name]", _model_values),
        while_running=False,
        more="Lists the models on this machine and those to download, with the memory that each needs and that is "
        "free. The conversation goes on with the new model; if it cannot be loaded, the previous one comes back.",
    ),
    Command(
        "effort",
        "how hard the model thinks",
        _effort,
        "Model",
        Argument("[level]", _effort_values),
        more="low, medium or high. The list shows how many tokens are read again after a change.",
    ),
)
