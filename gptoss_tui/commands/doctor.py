"""`gptoss-tui doctor`: checks what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlsplit

from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.units import format_bytes

Status = Literal["ok", "note", "problem"]

_DOCKER_SECONDS = 3
_SERVER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. A `problem` keeps something from working; a `note` is good to know."""

    name: str
    status: Status
    detail: str
    hint: str | None = None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine and the installation",
        description="Check this machine and the installation. The exit code is 1 if something keeps the app from "
        "working.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings. Returns 1 when there is a problem."""
    checks = list(examine())
    healthy = all(check.status != "problem" for check in checks)
    if args.json:
        print(json.dumps({"ok": healthy, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(f"{check.status:<8} {check.name:<12} {to_terminal_line(check.detail)}")
            if check.hint:
                print(f"{'':<21} hint: {to_terminal_line(check.hint)}")
    return 0 if healthy else 1


def examine() -> Iterator[Check]:
    """Yield all findings, quick ones first."""
    sections: tuple[Callable[[], Iterator[Check]], ...] = (
        *(_machine, _metal, _terminal, _settings, examine_server, _vocabulary, _models, _torch, _kernels),
        *(_docker, _sandbox, _commands, _browser, _mcp),
    )
    for section in sections:
        yield from section()


def _machine() -> Iterator[Check]:
    from gptoss_tui.commands.machine import describe_machine
    from gptoss_tui.engine.planning.machine import available_memory

    machine = describe_machine()
    yield Check("version", "ok", machine.version + (f" (commit {machine.commit})" if machine.commit else ""))
    yield Check("python", "ok", f"{machine.python} at {sys.executable}")
    yield Check("system", "ok", machine.system)
    yield Check(
        "cpu", "ok", f"{machine.cpu}, {machine.cores} cores, {' '.join(machine.features) or 'no known features'}"
    )
    total = format_bytes(machine.memory) if machine.memory else "unknown"
    available = available_memory()
    yield Check("memory", "ok", f"{total}, {format_bytes(available) if available is not None else 'unknown'} available")


def _metal() -> Iterator[Check]:
    """On a Mac: the chip, and whether the Metal engine can run."""
    from gptoss_tui.engine.metal.apple import is_translated
    from gptoss_tui.engine.metal.device import is_apple_silicon, is_usable, measured_chip, mlx_problem, mlx_version

    if is_translated():
        detail = "this Python is built for Intel and runs under Rosetta: models run on the CPU, slowly"
        yield Check("metal", "note", detail, "install gptoss-tui with an arm64 Python")
    if not is_apple_silicon():
        return
    if chip := measured_chip():
        yield Check("chip", "ok", chip.describe())
    version = mlx_version()
    if problem := mlx_problem():
        hint = "pip install --force-reinstall mlx"
        yield Check("metal", "note", f"no MLX, {problem}: models run on the CPU", hint)
    elif not is_usable():
        yield Check("metal", "note", f"MLX {version} finds no GPU: models run on the CPU", "virtual Macs have none")
    else:
        yield Check("metal", "ok", f"MLX {version}")
        yield from _fused_kernels()


def _fused_kernels() -> Iterator[Check]:
    """Test again which fused kernels of the Metal engine give correct results here, and how fast they read memory."""
    from gptoss_tui.engine.config import GPT_OSS_20B
    from gptoss_tui.engine.metal.verdicts import remember, try_kernels

    found = try_kernels(GPT_OSS_20B, "bfloat16", speed=True)
    remember(GPT_OSS_20B, "bfloat16", found)
    if found.verdicts and not found.refused:
        yield Check("fused", "ok", f"kernels: {', '.join(found.verdicts)}")
    reasons = [f"{name} ({reason})" for name, reason in found.refused.items()]
    if found.failure is not None:
        reasons = [f"all of them ({found.failure})"]
    if reasons:
        hint = "MLX's operations take their place, which are slower: please report this chip and the version of macOS"
        yield Check("fused", "note", f"kernels that are not used: {'; '.join(reasons)}", hint)
    if found.speed:
        reads = format_bytes(round(found.speed["bandwidth"]))
        shares = f"layers of gpt-oss-20b reach {found.speed['layers']:.0%} of that, logits {found.speed['head']:.0%}"
        yield Check("bandwidth", "ok", f"the GPU reads {reads}/s; {shares}")


def _kernels() -> Iterator[Check]:
    from gptoss_tui.engine.native.library import chosen_set, instruction_sets

    try:
        chosen, found = chosen_set(), instruction_sets()
    except GptOssError as error:
        hint = "torch takes their place, and is slower; with a C++ compiler (g++ or clang++), reinstall gptoss-tui"
        yield Check("kernels", "note", error.message, hint)
        return
    yield Check("kernels", "ok", f"{chosen}, of {', '.join(found)}")


def _terminal() -> Iterator[Check]:
    size = shutil.get_terminal_size()
    colours = "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else _colours()
    encoding = (sys.stdout.encoding or "unknown").lower()
    where = "a terminal" if sys.stdout.isatty() else "not a terminal"
    detail = f"{os.environ.get('TERM', 'TERM is not set')}, {size.columns}x{size.lines}, {colours}, {encoding}, {where}"
    if not encoding.startswith("utf"):
        yield Check("terminal", "note", detail, "set a UTF-8 locale (LANG=C.UTF-8) to see every character")
    elif sys.stdout.isatty() and (size.columns < 80 or size.lines < 24):
        yield Check("terminal", "note", detail, "the app is designed for 80x24 or larger")
    else:
        yield Check("terminal", "ok", detail)


def _colours() -> str:
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "true colour"
    return "256 colours" if "256" in os.environ.get("TERM", "") else "colours unknown"


def _settings() -> Iterator[Check]:
    from gptoss_tui.settings import config_path, load_settings

    path = config_path()
    try:
        settings = load_settings()
        spec = settings.engine_spec()
    except GptOssError as error:
        yield Check("settings", "problem", error.message, error.hint)
        return
    yield Check("settings", "ok", str(path) if path.is_file() else f"defaults (no {path})")
    yield Check("model", "ok", settings.model if spec.url else f"{settings.model} at {spec.checkpoint}")
    if not spec.url:
        yield _waiting(settings.parked_bytes)


def _waiting(nbytes: int | None) -> Check:
    """The memory that conversations may use while they wait for another one."""
    if nbytes is None:
        detail = "waiting conversations get as much memory as one context, at most half of what is left"
    elif nbytes:
        detail = f"conversations wait in up to {format_bytes(nbytes)}"
    else:
        detail = "no conversation waits for another one: each is read again"
    return Check("waiting", "ok", detail)


def examine_server() -> Iterator[Check]:
    """Check the server of the model, if the model is on a server."""
    import asyncio

    from gptoss_tui.agent.engines import ask_server
    from gptoss_tui.settings import load_settings

    try:
        spec = load_settings().engine_spec()
        if not spec.url:
            return
        facts = asyncio.run(asyncio.wait_for(ask_server(spec), _SERVER_SECONDS))
    except TimeoutError:
        yield Check("server", "note", f"no answer in {_SERVER_SECONDS} seconds", "it may be loading its model")
        return
    except GptOssError as error:
        yield Check("server", "problem", error.message, error.hint)
        return
    key = "with an API key" if facts.key else "without an API key"
    detail = f"{facts.model} on {facts.server}, {facts.context} tokens of context, prompts sent as {facts.talks}, {key}"
    yield Check("server", "ok", detail)


def _vocabulary() -> Iterator[Check]:
    from gptoss_tui.vocabulary import VOCABULARY_SHA256, read_vocabulary

    try:
        read_vocabulary()
    except (GptOssError, OSError) as error:
        yield Check("vocabulary", "problem", str(error), "reinstall gptoss-tui")
        return
    yield Check("vocabulary", "ok", f"sha256 {VOCABULARY_SHA256[:16]}… as published")


def _models() -> Iterator[Check]:
    from gptoss_tui.engine.catalog import installed_models, models_directory

    yield Check("models", "ok", f"kept in {models_directory()}")
    for model in installed_models():
        detail = f"{model.name}, {format_bytes(model.size)}, {model.source}"
        if model.problem:
            yield Check("models", "note", f"{detail}: {model.problem}", f"see `gptoss-tui models info {model.name}`")
        else:
            yield Check("models", "ok", detail)


def _torch() -> Iterator[Check]:
    from gptoss_tui.engine.planning.probe import run_probe

    found = run_probe()
    if "error" in found:
        yield Check("torch", "problem", found["error"], "reinstall gptoss-tui, or install torch by hand")
        return
    triton = f", triton {found['triton']}" if found["triton"] else ""
    yield Check(
        "torch", "ok", f"{found['torch']}{triton}, CPU path {found['cpu_capability']}, {found['threads']} threads"
    )
    for device in found["cuda"]:
        memory = f"{format_bytes(device['free'])} of {format_bytes(device['memory'])} free"
        yield Check(
            "cuda", "ok", f"{device['name']}, {memory}, capability {device['capability']}, CUDA {device['cuda']}"
        )
    if not found["cuda"] and not found["metal"]:
        yield Check("gpu", "note", "none: models run on the CPU")


def _docker() -> Iterator[Check]:
    import docker

    try:
        client = docker.from_env(timeout=_DOCKER_SECONDS)
        try:
            version = client.version()["Version"]
        finally:
            client.close()
    except Exception as error:  # requests, urllib3 and the SDK all raise their own; they need not be told apart here
        yield Check("docker", "note", f"not reachable: {error}", "only needed if the `sandbox` line says so")
        return
    yield Check("docker", "ok", f"engine {version}")


def _commands() -> Iterator[Check]:
    import asyncio

    from gptoss_tui.settings import load_settings
    from gptoss_tui.tools.shell.probes import self_test
    from gptoss_tui.tools.shell.sandbox import Access, find_shell_sandbox
    from gptoss_tui.tools.workspace import open_workspace

    try:
        sandbox = find_shell_sandbox(open_workspace(load_settings().workspace).root)
        asyncio.run(self_test(sandbox))
    except GptOssError as error:
        yield Check("commands", "note", f"no sandbox, so each one asks: {error.message}", error.hint)
        return
    yield Check("commands", "ok", sandbox.describe(Access()))


def _sandbox() -> Iterator[Check]:
    import asyncio

    from gptoss_tui.settings import load_settings
    from gptoss_tui.tools.python.choose import choose_sandbox

    try:
        settings = load_settings()
        sandbox = asyncio.run(choose_sandbox(settings.python_sandbox, settings.python_image))
    except GptOssError as error:
        yield Check("sandbox", "note", error.message, error.hint)
        return
    yield Check("sandbox", "ok", f"Python {sandbox.description}")


def _browser() -> Iterator[Check]:
    from gptoss_tui.settings import load_settings
    from gptoss_tui.tools.browser.choose import choose_backend

    try:
        settings = load_settings()
        backend = choose_backend(settings)
    except GptOssError as error:
        yield Check("browser", "problem", error.message, error.hint)
        return
    # Only show the host, since the address of a proxy can contain a password.
    proxy = urlsplit(settings.browser_proxy).hostname if settings.browser_proxy and backend.remote else None
    through = f", through the proxy {proxy}" if proxy else ""
    yield Check("browser", "ok", f"reads {backend.description}{through}")


def _mcp() -> Iterator[Check]:
    from gptoss_tui.tools.mcp.config import load_servers, servers_path

    try:
        servers = load_servers()
    except GptOssError as error:
        yield Check("mcp", "problem", error.message, error.hint)
        return
    names = ", ".join(server.name for server in servers) or "none"
    hint = "`gptoss-tui mcp` tries them" if servers else None
    yield Check("mcp", "ok", f"servers in {servers_path()}: {names}", hint)
