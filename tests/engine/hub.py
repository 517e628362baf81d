"""A Hugging Face hub on loopback: the endpoints that a download uses, with faults to order."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import close_session

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Sent:
    """A reply: content bytes of `path` from `first` on, of which `count` were sent."""

    path: str
    first: int
    count: int


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it sent. Files in `lfs` are served by way of a redirect."""

    repository: str
    files: dict[str, bytes]
    url: str = ""
    token: str | None = None
    refusal: tuple[int, str] | None = None
    announced_size: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    cut_after: int | None = None
    cuts: int = 1
    down_after_cut: bool = False
    ranges: bool = True
    stalled: threading.Event | None = None
    sent: list[Sent] = field(default_factory=list)
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def lfs(self, path: str) -> bool:
        return path.endswith((".safetensors", ".bin"))

    def bytes_sent(self, path: str) -> int:
        return sum(sent.count for sent in self.sent if sent.path == path)

    def info(self) -> dict[str, Any]:
        """The reply of /api/models/NAME?blobs=true."""
        return {
            "_id": "0",
            "id": self.repository,
            "sha": COMMIT,
            "siblings": [self._sibling(path, content) for path, content in self.files.items()],
        }

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        size = self.announced_size.get(path, len(content))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"rfilename": path, "size": size, "blobId": blob}
        if self.lfs(path):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
        return entry


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port of loopback for the length of the block."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        close_session()  # connections that the client keeps for later
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """As a proxy it is asked for whole URLs; only their path counts."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.seen.append((self.path, self.headers.get("Authorization")))
        if match := re.fullmatch(r"/cdn/(.+)", path):
            self._send_content(match[1])
        elif refusal := self._refusal():
            self._reply(refusal[0], b"", {"X-Error-Code": refusal[1], "X-Error-Message": "refused"})
        elif re.fullmatch(rf"/api/models/{self.hub.repository}(/revision/[^/]+)?", path):
            self._reply(200, json.dumps(self.hub.info()).encode(), {"Content-Type": "application/json"})
        elif (match := re.fullmatch(rf"/{self.hub.repository}/resolve/{COMMIT}/(.+)", path)) and self._has(match[1]):
            if self.hub.lfs(match[1]):
                host = self.hub.url.replace("127.0.0.1", "localhost")
                self._reply(302, b"", {"Location": f"{host}/cdn/{match[1]}", "X-Repo-Commit": COMMIT})
            else:
                self._send_content(match[1])
        else:
            self._reply(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _has(self, path: str) -> bool:
        return path in self.hub.files

    def _refusal(self) -> tuple[int, str] | None:
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return 401, "RepoNotFound"
        return self.hub.refusal

    def _send_content(self, path: str) -> None:
        content = self.hub.files[path]
        if path in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.hub.ranges else None
        first = int(match[1]) if match else 0
        body, headers = content[first:], {"ETag": '"etag"', "Accept-Ranges": "bytes"}
        if match:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        cut = self.hub.cut_after if self.hub.lfs(path) and self.hub.cuts else None
        count = len(body) if cut is None else min(cut, len(body))
        self.hub.sent.append(Sent(path, first, count))
        self._reply(206 if match else 200, body[:count], headers, length=len(body))
        if cut is not None:
            self.hub.cuts -= 1
            if self.hub.stalled:
                self.hub.stalled.wait()
            if self.hub.down_after_cut:
                self.hub.refusal = (503, "")
            self.close_connection = True

    def _reply(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""
