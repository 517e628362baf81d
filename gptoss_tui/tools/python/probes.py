"""The self-test of a sandbox: things that must fail inside it, tried before any of the model's code runs there."""

from __future__ import annotations

from gptoss_tui.tools.python.interpreter import Interpreter
from gptoss_tui.tools.python.sandbox import Limits, Sandbox, SandboxError

_CODE = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def opens(path):
    os.close(os.open(path, os.O_WRONLY))
    return True
def reaches(call, *arguments):
    return libc[call](*arguments) == 0 or ctypes.get_errno() != errno.EPERM
def strangers(folder):
    # Folders of people have nothing in them but the way to Python, when that is installed there.
    names = os.listdir(folder) if os.path.isdir(folder) and folder != sys.base_prefix else []
    way = [f"{folder}/{name}" for name in names if f"{sys.base_prefix}/".startswith(f"{folder}/{name}/")]
    return len(way) < len(names) or any(map(strangers, way))
KNOWN = {"PATH", "HOME", "LANG", "LC_CTYPE", "PWD", "HOSTNAME"}
KNOWN |= {"MPLBACKEND", "MPLCONFIGDIR", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}
# None of these changes anything where it works.
probes = {
    "writes to /usr": lambda: os.access("/usr", os.W_OK),
    "writes to /etc": lambda: os.access("/etc", os.W_OK),
    "configures the kernel": lambda: opens("/proc/sys/kernel/core_pattern"),
    "makes sockets": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close() is None,
    "has a network": lambda: len(open("/proc/net/dev").readlines()) > 3,
    "makes namespaces": lambda: reaches("unshare", 0),
    "mounts": lambda: reaches("mount", None, None, None, 0, None),
    "traces processes": lambda: reaches("ptrace", 999, 0, None, None),
    "sees other processes": lambda: sum(n.isdigit() for n in os.listdir("/proc")) > 8,
    "sees people's files": lambda: any(map(strangers, ("/root", "/home"))),
    "has capabilities": lambda: int(status["CapEff"], 16) != 0,
    "may gain privileges": lambda: status["NoNewPrivs"].strip() != "1",
    "has no system call filter": lambda: status["Seccomp"].strip() != "2",
    "has an environment": lambda: set(os.environ) - KNOWN,
    # Landlock lets nothing be written but in the working folders; without it this is a file of one's own.
    "goes around Landlock": lambda: libc.syscall(444, None, 0, 1) >= 1 and opens("/proc/self/comm"),
}
for name, probe in probes.items():
    try:
        if probe():
            print(name)
    except OSError:
        pass
print(len(probes), "probes")
"""

_SECONDS = 10.0


async def self_test(sandbox: Sandbox) -> int:
    """Run all probes and return their number. Raises SandboxError when any of them succeeded."""
    interpreter = await Interpreter.start(sandbox, Limits(seconds=_SECONDS))
    try:
        outcome = await interpreter.run(_CODE, lambda text: None)
    finally:
        interpreter.kill()
    *escapes, last = outcome.text.splitlines() or [""]
    count, _, word = last.partition(" ")
    if outcome.ending != "ok" or word != "probes":
        raise SandboxError(f"{sandbox.name} failed its self-test: {outcome.text.strip()[-300:] or outcome.ending}")
    if escapes:
        raise SandboxError(f"{sandbox.name} does not hold: code inside {', '.join(escapes)}")
    return int(count)
