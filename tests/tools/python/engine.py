"""A Docker engine of a test's own, which may be killed, frozen and filled. Needs root and dockerd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from gptoss_tui.tools.python import image
from gptoss_tui.tools.python.sandbox import SandboxError

TAG = "gptoss-tui-daemon"


class Engine:
    """dockerd with folders of its own; `size` bytes of disk when it is given."""

    def __init__(self, folder: Path, size: int | None = None) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        (folder / "root").mkdir(parents=True)
        if size is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder / "root"], check=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        for name in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)
        options = {
            **{"data-root": f"{self.folder}/root", "exec-root": f"{self.folder}/exec", "bridge": "none"},
            **{"pidfile": f"{self.folder}/docker.pid", "hosts": [f"unix://{self.socket}"], "iptables": False},
            **{"ip6tables": False, "ip-forward": False, "ip-masq": False, "live-restore": True},
        }
        (self.folder / "daemon.json").write_text(json.dumps(options))
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                ["dockerd", "--config-file", self.folder / "daemon.json"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": f"/usr/sbin:{os.environ['PATH']}"},
            )

    async def ready(self, *, with_image: bool = True) -> None:
        """Wait until it answers, and give it an image."""
        while True:
            try:
                client = await asyncio.to_thread(image.connect)
                break
            except SandboxError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.1)
        if with_image:
            await asyncio.to_thread(image.import_own_python, client, TAG)
        client.close()

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(SandboxError):  # containers outlive an engine that may be restarted
            client = image.connect()
            for container in client.containers.list(all=True, ignore_removed=True):
                with contextlib.suppress(Exception):
                    container.remove(force=True)
            client.close()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mounted in reversed([path for path in mounts if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with open(path, "wb") as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 20))
