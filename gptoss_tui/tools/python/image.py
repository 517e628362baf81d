"""Builds the image of the Docker sandbox: from the shipped Dockerfile, or offline from this machine's own Python.

Only `gptoss-tui sandbox` uses this, so nothing here delays an answer.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.errors import UsageError
from gptoss_tui.tools.python.bubblewrap import check_packages
from gptoss_tui.tools.python.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

BASE_IMAGE: Final = "python:3.12-slim"
PACKAGES_LABEL: Final = "gptoss-tui.packages"
SCIENCE: Final = ("numpy", "pandas", "scipy", "sympy", "matplotlib")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?([=<>!~]=?[A-Za-z0-9.*]+)?")
_CONNECT_SECONDS = 5
_BUILD_SECONDS = 1800
_REMOVAL_SECONDS = 10.0
_PROGRAMS: Final = (
    *("bash", "cat", "chmod", "cp", "echo", "env", "find", "grep", "head", "ls", "mkdir", "mv", "rm", "sed", "sh"),
    *("sleep", "sort", "tail", "wc"),
)
_WHERE: Final = "import ctypes, os; print(os.path.dirname(os.path.realpath(os.__file__)))"
_LEFT_OUT: Final = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter"})
_OPTIMISED: Final = re.compile(r"\.opt-\d\.pyc\Z")


def checked_packages(packages: list[str]) -> tuple[str, ...]:
    """Check package names with versions. Raises UsageError for anything that pip might read as an option or a path."""
    for name in packages:
        if not _PACKAGE.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of a package", hint="for example numpy, or pandas==2.3.0")
    return tuple(packages)


def connect() -> DockerClient:
    """Connect to the engine with a long timeout. Raises SandboxError."""
    import docker

    try:
        client = docker.from_env(timeout=_CONNECT_SECONDS)
        client.ping()
    except Exception as error:  # requests, urllib3 and the SDK each have their own exceptions
        raise SandboxError(f"the Docker engine does not answer: {error}", hint="start Docker") from error
    client.api.timeout = _BUILD_SECONDS
    return client


def build_image(
    client: DockerClient, tag: str, base: str, packages: tuple[str, ...], say: Callable[[str], None]
) -> str:
    """Build `tag` from the Dockerfile; this may pull `base` and download packages. Returns the image's id.

    Raises SandboxError.
    """
    recipe = Path(__file__).with_name("Dockerfile").read_bytes()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(recipe)
        tar.addfile(entry, io.BytesIO(recipe))
    context.seek(0)
    lines = client.api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        buildargs={"BASE": base, "PACKAGES": " ".join(packages)},
        network_mode=None if packages else "none",
        rm=True,
        forcerm=True,
        decode=True,
    )
    try:
        for line in lines:
            if error := line.get("error"):
                raise SandboxError(f"the image was not built: {error.strip()}", hint="`--offline` needs no base image")
            if text := str(line.get("stream") or line.get("status") or "").rstrip():
                say(text)
        return str(client.images.get(tag).id)
    except SandboxError:
        raise
    except Exception as error:
        raise SandboxError(f"the image was not built: {error}") from error


def import_own_python(client: DockerClient, tag: str) -> str:
    """Make `tag` from this machine's Python and a few programs, without a network. Returns the image's id.

    Raises SandboxError.
    """
    if sys.platform != "linux":
        raise SandboxError("an image can only be made of a Linux machine's Python", hint="leave out --offline")
    with tempfile.NamedTemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for source, name in _own_files():
                _add(tar, source, name)
            for folder in ("tmp", "mnt/data", "proc", "dev", "sys", "etc"):
                _add_folder(tar, folder)
            _add_link(tar, "bin", "usr/bin")
        file.flush()
        repository, _, version = tag.partition(":")
        changes = ["USER 65534:65534", "WORKDIR /tmp", f'LABEL {PACKAGES_LABEL}=""']
        try:
            client.api.import_image_from_file(file.name, repository=repository, tag=version or None, changes=changes)
            return str(client.images.get(tag).id)
        except Exception as error:
            raise SandboxError(f"the image was not imported: {error}") from error


def _own_files() -> Iterator[tuple[Path, str]]:
    """Yield the image's files and their paths in it: Python, a few programs, and the libraries they are linked with."""
    python, library = _movable_python()
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name, path="/usr/bin:/bin"))]
    yield python, "usr/local/bin/python3"
    yield from ((program, f"usr/bin/{program.name}") for program in programs)
    yield from _tree(library, f"usr/local/lib/{library.name}")
    linked = dict.fromkeys(_libraries([python, *programs, *library.glob("lib-dynload/*.so")]))
    yield from ((Path(path), path.lstrip("/")) for path in linked)


def _movable_python() -> tuple[Path, Path]:
    """Return a Python and its standard library: ours, else the system's.

    All libraries that it is linked with must be in the system's folders. Raises SandboxError when there is none.
    """
    for program in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        python = Path(os.path.realpath(program))
        told = subprocess.run([python, "-I", "-c", _WHERE], capture_output=True, text=True, check=False)
        library = Path(told.stdout.strip() or "/nowhere")
        linked = _libraries([python, *library.glob("lib-dynload/*.so")])
        if library.is_dir() and all(path.startswith(("/lib", "/usr/")) for path in linked):
            return python, library
    raise SandboxError("this machine has no Python that can be put into an image", hint="apt install python3")


def _tree(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        below = Path(name) / Path(place).relative_to(folder)
        # Compiled modules make Python start twice as fast in the container, which cannot write them itself.
        yield from ((Path(place, file), str(below / file)) for file in sorted(files) if not _OPTIMISED.search(file))


def _libraries(programs: list[Path]) -> Iterator[str]:
    """Yield the paths of shared libraries and of the dynamic linker, as the linker looks for them."""
    for program in programs:
        if not program.is_file():
            continue
        done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
        yield from re.findall(r"(?:=>\s+|^\s*)(/\S+)\s+\(0x", done.stdout, re.MULTILINE)


def _add(tar: tarfile.TarFile, source: Path, name: str) -> None:
    """Add a file, owned by root and never setuid. Its time is kept, since Python checks it against compiled modules."""
    real = Path(os.path.realpath(source))
    status = real.stat()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = status.st_size, int(status.st_mtime)
    entry.mode = 0o755 if os.access(real, os.X_OK) else 0o644
    with real.open("rb") as file:
        tar.addfile(entry, file)


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    tar.addfile(entry)


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def remove_image(client: DockerClient, tag: str) -> None:
    """Remove `tag`, waiting for its containers that are being removed. Raises SandboxError if it is still in use."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            client.images.remove(tag)
            return
        except Exception as error:
            if getattr(error, "status_code", None) != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                raise SandboxError(
                    f"the image {tag} was not removed: {error}", hint="end the programs that use it, then try again"
                ) from error
        time.sleep(0.1)


def describe_image(client: DockerClient, tag: str) -> dict[str, Any] | None:
    """Return the id, size in bytes and packages of `tag`, or None if the engine does not have it."""
    from docker.errors import ImageNotFound

    try:
        image = client.images.get(tag)
    except ImageNotFound:
        return None
    packages = str(image.labels.get(PACKAGES_LABEL, "")).split()
    return {"id": str(image.id), "size": int(image.attrs["Size"]), "packages": packages}


def install_packages(folder: Path, packages: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Install packages for bubblewrap's Python into `folder` with pip. Raises SandboxError."""
    folder.mkdir(parents=True, exist_ok=True)
    check_packages(folder)
    command = [sys.executable, "-m", "pip", "install", "--upgrade", "--target", str(folder), *packages]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip())
    if process.returncode:
        raise SandboxError("pip did not install the packages")
