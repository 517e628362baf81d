"""`gptoss-tui sandbox`: builds, tests and cleans up the sandboxes that run the model's Python and commands."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.settings import Settings

_DOCKER, _BUBBLEWRAP, _SHELL = "docker", "bubblewrap", "shell"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its subcommands."""
    parser = subparsers.add_parser(
        "sandbox",
        help="build, test or clean up the sandboxes for Python and commands",
        description="Build, test or clean up the sandboxes that run the model's Python and commands.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_build(actions)
    _add_simple(actions, "status", "show which sandboxes work and which one is used", _status)
    _add_simple(actions, "test", "try to escape from each sandbox; exit with 1 if one in use fails", _test)
    about = "remove containers that were left behind"
    clean = actions.add_parser("clean", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    clean.add_argument("--all", action="store_true", help="also remove the image and the packages")
    clean.set_defaults(run=run, sandbox_action=_clean)


def run(args: argparse.Namespace) -> int:
    """Run the parsed action. Raises SandboxError or UsageError."""
    action: Callable[[argparse.Namespace], int] = args.sandbox_action
    return action(args)


def _add_build(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    build = actions.add_parser(
        "build",
        help="build the Docker image, or install packages for bubblewrap",
        description="Build the image of the Docker sandbox from the Dockerfile in the package. This pulls its base "
        "image and downloads the packages. --offline uses this machine's Python instead, without a network. With "
        "--for bubblewrap, the packages are installed into a folder that Python sees in bubblewrap.",
        allow_abbrev=False,
    )
    build.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help="a package to add, such as numpy or pandas==2.3.0"
    )
    build.add_argument("--science", action="store_true", help="add numpy, pandas, scipy, sympy and matplotlib")
    build.add_argument(
        "--for",
        dest="backend",
        choices=(_DOCKER, _BUBBLEWRAP),
        default=_DOCKER,
        help="the sandbox to build for (default: docker)",
    )
    build.add_argument("--base", metavar="IMAGE", help="base image (default: python:3.12-slim)")
    build.add_argument("--offline", action="store_true", help="use this machine's Python and download nothing")
    build.set_defaults(run=run, sandbox_action=_build)


def _add_simple(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    action: Callable[[argparse.Namespace], int],
) -> None:
    parser = actions.add_parser(name, help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, sandbox_action=action)


def _build(args: argparse.Namespace) -> int:
    from gptoss_tui.tools.python import image
    from gptoss_tui.tools.python.choose import packages_folder

    settings = _settings()
    packages = image.checked_packages([*args.packages, *(image.SCIENCE if args.science else ())])
    if args.offline and (packages or args.base or args.backend != _DOCKER):
        raise UsageError("--offline makes an image of this machine's Python and takes nothing else")
    if args.backend == _BUBBLEWRAP:
        if not packages:
            raise UsageError(
                "for bubblewrap there is nothing to build but packages", hint="name some, or add --science"
            )
        image.install_packages(packages_folder(), packages, _say)
        _say(f"installed in {packages_folder()}")
        return 0
    tag = settings.python_image
    with closing(image.connect()) as client:
        if args.offline:
            built = image.import_own_python(client, tag)
        else:
            built = image.build_image(client, tag, args.base or image.BASE_IMAGE, packages, _say)
    _say(f"built {tag} ({built})")
    return _tell_tests({_DOCKER: _tested(_DOCKER, settings)})


def _status(args: argparse.Namespace) -> int:
    settings = _settings()
    found = {name: _tested(name, settings) for name in (_DOCKER, _BUBBLEWRAP, _SHELL)}
    found[_DOCKER]["image"] = _image(settings)
    chosen = _chosen(settings, found)
    if args.json:
        print(json.dumps({"python": chosen, "backends": found}, indent=2))
        return 0
    for name, state in found.items():
        _say(f"{name:<12} {'works' if state['works'] else 'not here'}: {state['detail']}")
    if image := found[_DOCKER]["image"]:
        packages = ", ".join(image["packages"]) or "no extra packages"
        _say(f"{'image':<12} {settings.python_image}, {image['size'] >> 20} MiB, {packages}, {image['id']}")
    _say(f"{'python':<12} runs in {chosen}" if chosen else f"{'python':<12} does not run: there is no sandbox")
    return 0


def _test(args: argparse.Namespace) -> int:
    settings = _settings()
    found = {name: _tested(name, settings) for name in (_DOCKER, _BUBBLEWRAP, _SHELL)}
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _tell_tests(found)
    return 0 if _chosen(settings, found) else 1


def _clean(args: argparse.Namespace) -> int:
    import shutil

    from gptoss_tui.tools.python.choose import packages_folder
    from gptoss_tui.tools.python.docker_engine import remove_leftovers
    from gptoss_tui.tools.python.image import connect, remove_image

    folder = packages_folder()
    if args.all and folder.is_dir():
        shutil.rmtree(folder)
        _say(f"removed {folder}")
    with closing(connect()) as client:
        _say(f"removed {remove_leftovers(client)} containers")
        tag = _settings().python_image
        if args.all and client.images.list(name=tag):
            remove_image(client, tag)
            _say(f"removed the image {tag}")
    return 0


def _settings() -> Settings:
    from gptoss_tui.settings import load_settings

    return load_settings()


def _tested(name: str, settings: Settings) -> dict[str, Any]:
    """Test a sandbox. Returns whether it works, and its description or why it is not available."""
    import asyncio

    try:
        description, probes = asyncio.run(_find(name, settings))
    except GptOssError as error:
        return {"works": False, "detail": error.message, "hint": error.hint}
    return {"works": True, "detail": description, "probes": probes}


async def _find(name: str, settings: Settings) -> tuple[str, int]:
    """The description of a sandbox, and how many attempts to escape from it failed. Raises SandboxError."""
    if name == _SHELL:
        from gptoss_tui.tools.shell import probes
        from gptoss_tui.tools.shell.sandbox import Access, find_shell_sandbox
        from gptoss_tui.tools.workspace import open_workspace

        shell = find_shell_sandbox(open_workspace(settings.workspace).root)
        return shell.describe(Access()), await probes.self_test(shell)
    from gptoss_tui.tools.python.choose import find_tested_bubblewrap, find_tested_docker
    from gptoss_tui.tools.python.probes import self_test

    found = await (find_tested_docker(settings.python_image) if name == _DOCKER else find_tested_bubblewrap())
    return found.description, await self_test(found)


def _chosen(settings: Settings, found: dict[str, dict[str, Any]]) -> str | None:
    names = (_DOCKER, _BUBBLEWRAP) if settings.python_sandbox == "auto" else (settings.python_sandbox,)
    return next((name for name in names if found[name]["works"]), None)


def _image(settings: Settings) -> dict[str, Any] | None:
    from gptoss_tui.tools.python import image

    try:
        with closing(image.connect()) as client:
            return image.describe_image(client, settings.python_image)
    except GptOssError:
        return None


def _tell_tests(found: dict[str, dict[str, Any]]) -> int:
    """Print a line for each sandbox. Returns 1 when any of them does not work."""
    for name, state in found.items():
        held = f"all {state['probes']} attempts to get out failed" if state["works"] else state["detail"]
        _say(f"{name:<12} {'holds' if state['works'] else 'does not run'}: {held}")
        if state.get("hint"):
            _say(f"{'':<12} hint: {state['hint']}")
    return 0 if all(state["works"] for state in found.values()) else 1


def _say(text: str) -> None:
    print(to_terminal_line(text), flush=True)
