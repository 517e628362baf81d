"""Downloads a published model from a Hugging Face hub: one layout, with progress, resuming, and a check of disk space.

Listing, addresses, tokens and transport come from huggingface_hub. Partial files are our own, because huggingface_hub
discards its when a transfer ends early: a file grows as `NAME.<content id>.partial`, is resumed by the next attempt,
and gets its name when its content has the hub's checksum.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from gptoss_tui.engine.catalog import PUBLISHED, disk_free, models_directory, published_model
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.config import Layout
from gptoss_tui.errors import CheckpointError, DownloadError, UnknownModelError
from gptoss_tui.units import format_bytes

DEFAULT_LAYOUT: Layout = "original"
"""In this layout q, k and v are one tensor, so every tensor is used where it is mapped. The sizes are the same."""

_FILES: dict[Layout, re.Pattern[str]] = {
    "original": re.compile(r"original/(config\.json|[\w.-]+\.safetensors)"),
    "huggingface": re.compile(r"(config|generation_config)\.json|[\w.-]+\.safetensors(\.index\.json)?"),
}


Stage = Literal["downloading", "verifying"]


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """`done` of `total` bytes of the whole model are on disk; `stage` is what is being done with `file`."""

    file: str
    stage: Stage
    done: int
    total: int


ReportDownload = Callable[[DownloadProgress], None]
_ReportFile = Callable[[Stage, int], None]

_PAUSES = (1, 2, 4, 8, 15)
"""Seconds to wait after connections that brought nothing."""


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    """A file on the hub. `content_id` is the sha256 of a large file, or the git blob id (sha1) of a small one."""

    path: str
    size: int
    content_id: str

    def partial(self, directory: Path) -> Path:
        target = directory / self.path
        return target.with_name(f"{target.name}.{self.content_id[:16]}.partial")


def download_model(
    name: str,
    layout: Layout = DEFAULT_LAYOUT,
    on_progress: ReportDownload | None = None,
    *,
    directory: Path | None = None,
) -> Path:
    """Download the files of one layout of the published model `name`; returns its directory.

    They go to `directory`, by default the model's folder in the models directory. Files that are already there are not
    downloaded again, and a partial file is resumed. Respects `HF_ENDPOINT`, `HF_TOKEN` (or the token of
    `hf auth login`) and the proxy variables.

    Raises UnknownModelError for a model that is not published. Raises DownloadError, which says what was kept, when the
    hub refuses or cannot be reached, there is not enough disk space (then nothing is downloaded), another process is
    downloading the file, or the content differs from the hub's.
    """
    model = published_model(name)
    if model is None:
        raise UnknownModelError(f"There is no model {name!r} to download", hint=f"available: {', '.join(PUBLISHED)}")
    directory = directory or models_directory() / model.name
    with _hub_errors(model.repository, directory):
        revision, files = _list_files(model.repository, layout)
        _check_space(files, directory)
        total = sum(file.size for file in files)
        done = 0
        for file in files:
            report = _reporter(on_progress, file, done, total)
            if not _is_complete(file, directory):
                _fetch(model.repository, revision, file, directory, report)
            done += file.size
            report("downloading", file.size)
    try:
        open_checkpoint(directory)
    except CheckpointError as error:
        raise DownloadError(f"{model.name} arrived in {directory}, but cannot be used: {error.message}") from error
    return directory


def _reporter(on_progress: ReportDownload | None, file: _RemoteFile, before: int, total: int) -> _ReportFile:
    def report(stage: Stage, done: int) -> None:
        if on_progress:
            on_progress(DownloadProgress(file.path, stage, before + done, total))

    return report


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _list_files(repository: str, layout: Layout) -> tuple[str, list[_RemoteFile]]:
    """The commit at the head of `repository`, and its files in `layout`, small ones first."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=_endpoint(), library_name="gptoss-tui").model_info(repository, files_metadata=True)
    files = [_remote_file(entry) for entry in info.siblings or () if _FILES[layout].fullmatch(entry.rfilename)]
    if not any(file.path.endswith(".safetensors") for file in files):
        raise DownloadError(f"{repository} has no files of the {layout} layout; nothing was downloaded")
    return str(info.sha), sorted(files, key=lambda file: (file.size, file.path))


def _remote_file(entry: Any) -> _RemoteFile:
    content_id = entry.lfs["sha256"] if entry.lfs else entry.blob_id
    if entry.size is None or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", content_id or ""):
        raise DownloadError(f"The hub does not say the size and checksum of {entry.rfilename}; nothing was downloaded")
    return _RemoteFile(entry.rfilename, entry.size, content_id)


def _is_complete(file: _RemoteFile, directory: Path) -> bool:
    target = directory / file.path
    return target.is_file() and target.stat().st_size == file.size


def _check_space(files: list[_RemoteFile], directory: Path) -> None:
    missing = 0
    for file in files:
        if not _is_complete(file, directory):
            partial = file.partial(directory)
            missing += file.size - (partial.stat().st_size if partial.is_file() else 0)
    free = disk_free(directory)
    if missing > free:
        raise DownloadError(
            f"{directory} has {format_bytes(free)} free, {format_bytes(missing)} are missing; nothing was downloaded",
            hint="free some space, or set GPTOSS_MODELS_DIR to another disk",
        )


def _fetch(repository: str, revision: str, file: _RemoteFile, directory: Path, report: _ReportFile) -> None:
    """Resume or start the partial file of `file`, verify it and give it its final name."""
    from huggingface_hub import hf_hub_url

    target, partial = directory / file.path, file.partial(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab") as output, _locked(output, target):
        url = hf_hub_url(repository, file.path, revision=revision, endpoint=_endpoint())
        _transfer(url, output, file.size, report)
        output.flush()
        os.fsync(output.fileno())
        report("verifying", file.size)
        if _content_id(partial, file) != file.content_id:
            partial.unlink()
            raise DownloadError(
                f"{file.path} of {repository} arrived damaged and was deleted", hint="start the download again"
            )
        partial.replace(target)
    for stale in target.parent.glob(f"{target.name}.*.partial"):
        stale.unlink()  # from an earlier version of the file


def _transfer(url: str, output: IO[bytes], size: int, report: _ReportFile) -> None:
    """Append what `output` still lacks of the `size` bytes at `url`, over as many connections as necessary.

    Pauses after connections that bring nothing, and gives up after one more in a row than there are `_PAUSES`.
    """
    from huggingface_hub.errors import HfHubHTTPError

    pauses = iter(_PAUSES)
    while (before := output.tell()) < size:
        report("downloading", before)
        lost: Exception | None = None
        try:
            _receive(url, output, report)
        except (HfHubHTTPError, OSError, DownloadError):
            raise
        except Exception as error:  # a lost connection; `_hub_errors` explains why its type cannot be named
            lost = error
        if output.tell() > before:
            pauses = iter(_PAUSES)
        elif (pause := next(pauses, None)) is not None:
            time.sleep(pause)
        else:
            raise lost or OSError("the connection ends before the file does")


def _receive(url: str, output: IO[bytes], report: _ReportFile) -> None:
    """Append what one connection delivers from `url`, starting at the end of `output`."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    # In a compressed reply, offsets would not be those of the file.
    headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={output.tell()}-"}
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        if response.status_code != 206:
            output.seek(0)
            output.truncate()
        for chunk in response.iter_bytes():
            output.write(chunk)
            report("downloading", output.tell())


@contextmanager
def _locked(file: IO[bytes], target: Path) -> Iterator[None]:
    """Keep two processes from writing the same partial file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DownloadError(f"{target} is being downloaded by another process; nothing was changed") from None
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _content_id(path: Path, file: _RemoteFile) -> str:
    if len(file.content_id) == 64:
        with path.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def _hub_errors(repository: str, directory: Path) -> Iterator[None]:
    """Turn any error of a transfer into a DownloadError that says what was kept and what to do."""
    from huggingface_hub import errors

    kept = f"what arrived is kept in {directory}"
    again = "the same command goes on from there"
    try:
        yield
    except DownloadError:
        raise
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{repository} requires you to accept its terms; {kept}", hint="accept them on its page"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise DownloadError(
            f"The hub refused {repository}: {_refusal(status)}; {kept}", hint=_advice(status)
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DownloadError(f"The disk of {directory} is full; {kept}", hint=f"free some space; {again}") from error
        raise DownloadError(f"{repository} could not be downloaded: {error}; {kept}", hint=again) from error
    # Errors of the transport: huggingface_hub has changed the package that they come from more than once.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DownloadError(f"{repository} could not be downloaded ({reason}); {kept}", hint=again) from error


def _refusal(status: object) -> str:
    return {401: "401, it asks for a token", 403: "403, the token may not read it", 404: "404, not found"}.get(
        status if isinstance(status, int) else 0, f"status {status}"
    )


def _advice(status: object) -> str:
    if status in (401, 403):
        return "set HF_TOKEN to a token that may read it, or check HF_ENDPOINT"
    if status == 404:
        return "check HF_ENDPOINT: that hub has no such model"
    return "try again later; the same command goes on from there"
