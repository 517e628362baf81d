"""The escape corpus: code that tries to get out, as one text that runs in a sandbox or, as a control, outside.

Each attempt changes nothing where it works: files are opened and not written, calls get arguments that the kernel can
only refuse. What "works" is printed, one name a line, then the number of attempts. `corpus` fills in where the host's
canaries are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gptoss_tui.tools.python.seccomp import REFUSED


@dataclass(frozen=True, slots=True)
class Canaries:
    """What the host has and no sandbox may see. `port` listens on loopback, `socket_name` is an abstract socket."""

    file: str
    secret: str
    pid: int
    port: int
    socket_name: str
    sockets: tuple[str, ...]


def corpus(canaries: Canaries, *, control: bool) -> str:
    """The code. A control leaves out vhangup, which has no argument that makes it fail."""
    calls = {name: numbers for name, numbers in REFUSED.items() if not (control and name == "vhangup")}
    return f"CANARY = {asdict(canaries)!r}\nCALLS = {json.loads(json.dumps(calls))!r}\n{_CODE}"


_CODE = r"""
import ctypes, errno, os, platform, resource, socket, stat, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
column = 0 if platform.machine() == "x86_64" else 1
attempts = {}

def attempt(name):
    return lambda work: attempts.__setitem__(name, work)

def opens(path, flags):
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK))
    except OSError as error:
        return error.errno == errno.ETXTBSY
    return True

def raw(number, *arguments):
    # True unless the call was refused for who makes it, or does not exist.
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    return result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)

for name, numbers in CALLS.items():
    if numbers[column] is not None:
        attempts["call " + name] = lambda n=numbers[column]: raw(n, -1, -1, -1, -1, -1, -1)
attempts["call clone3"] = lambda: raw(435, 0, 0)

@attempt("clone into a user namespace")
def _():
    pid = libc.syscall(ctypes.c_long((56, 220)[column]), ctypes.c_long(0x10000000 | 17), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return pid > 0

for name in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
    family = getattr(socket, name, None)
    if family is not None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            attempts["socket %s %d" % (name, kind)] = lambda f=family, k=kind: socket.socket(f, k).close() is None

@attempt("connect to the host's loopback")
def _():
    with socket.create_connection(("127.0.0.1", CANARY["port"]), 1):
        return True

@attempt("connect to the host's abstract socket")
def _():
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect("\0" + CANARY["socket_name"]) is None

for path in CANARY["sockets"]:
    attempts["see " + path] = lambda p=path: os.path.exists(p)

attempts["network interfaces"] = lambda: len(open("/proc/net/dev").readlines()) > 3
for path in ("/", "/usr", "/usr/bin", "/etc", "/lib", "/boot", "/var", "/dev", "/sys", "/proc/sys"):
    attempts["write to " + path] = lambda p=path: os.access(p, os.W_OK)
for path in ("/etc/shadow", "/etc/ssh", "/root", "/sys/kernel/security", CANARY["file"]):
    attempts["read " + path] = lambda p=path: bool(others(p) if os.path.isdir(p) else open(p, "rb").read(1))
for path in (
    "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/vm/drop_caches",
    "sys/net/ipv4/ip_forward", "sys/fs/binfmt_misc/register", "sysrq-trigger", "self/exe", "1/mem", "1/oom_score_adj",
):
    attempts["write to /proc/" + path] = lambda p=path: opens("/proc/" + p, os.O_WRONLY) and not own(p)
attempts["write to the canary"] = lambda: opens(CANARY["file"], os.O_WRONLY | os.O_APPEND)
attempts["write to /sys"] = lambda: opens("/sys/kernel/mm/transparent_hugepage/enabled", os.O_WRONLY)
for path in ("kcore", "kmsg", "1/environ", "1/mem"):
    attempts["read /proc/" + path] = lambda p=path: opens("/proc/" + p, os.O_RDONLY) and not own(p)
for device in ("mem", "kmsg", "kvm", "fuse", "net/tun", "vda", "sda", "loop-control", "port", "vsock", "uinput"):
    attempts["open /dev/" + device] = lambda d=device: opens("/dev/" + d, os.O_RDWR)

def others(path):
    # Python itself may be installed there.
    return [name for name in os.listdir(path) if not (sys.base_prefix + "/").startswith(path + "/" + name + "/")]

def own(path):
    # Process 1 may be this one.
    return path.startswith("1/") and os.getpid() == 1

@attempt("the file system of process 1")
def _():
    return os.path.exists("/proc/1/root" + CANARY["file"])

@attempt("a secret in an environment")
def _():
    found = CANARY["secret"] in os.environ.values()
    for entry in os.listdir("/proc"):
        try:
            found = found or CANARY["secret"].encode() in open("/proc/%s/environ" % entry, "rb").read()
        except OSError:
            pass
    return found

@attempt("see the host's processes")
def _():
    return sum(n.isdigit() for n in os.listdir("/proc")) > 8

@attempt("signal the host's process")
def _():
    return os.kill(CANARY["pid"], 0) is None

for name, mode in (("character", stat.S_IFCHR), ("block", stat.S_IFBLK)):
    @attempt("make a %s device" % name)
    def _(mode=mode):
        with tempfile.TemporaryDirectory() as folder:
            os.mknod(folder + "/device", mode | 0o600, os.makedev(1, 3))
        return True

attempts["become root"] = lambda: os.setuid(0) is None
attempts["be root"] = lambda: os.getuid() == 0
attempts["be root on the host"] = lambda: open("/proc/self/uid_map").read().split()[1] == "0" and os.getuid() == 0
attempts["have capabilities"] = lambda: int(status["CapEff"], 16) | int(status["CapPrm"], 16) != 0
attempts["could have capabilities"] = lambda: int(status["CapBnd"], 16) != 0
attempts["gain privileges"] = lambda: status["NoNewPrivs"].strip() != "1"
attempts["no filter"] = lambda: status["Seccomp"].strip() != "2"
attempts["higher priority"] = lambda: os.nice(-1) is not None
attempts["terminal input"] = lambda: raw((16, 29)[column], 0, 0x5412, 0)
attempts["core files"] = lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] != 0

@attempt("open descriptors of the host")
def _():
    links = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if os.path.lexists(link)]
    return any(path.startswith("/") and not path.startswith(("/dev/null", "/proc/")) for path in opened)

attempts["link a program into /tmp"] = lambda: [os.link("/usr/bin/env", "/tmp/env-link"), os.unlink("/tmp/env-link")]

for name, work in attempts.items():
    try:
        if work():
            print(name)
    except (OSError, ValueError):
        pass
print(len(attempts), "attempts")
"""
