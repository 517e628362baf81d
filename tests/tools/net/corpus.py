"""URLs that lead, in one way or another, to a machine inside. Every one names the port of the canary."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

INNER = (
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
)
"""This machine, networks inside, metadata of clouds, and what is no host at all."""

NAMES: dict[str, list[str]] = {
    "plain-a.test": ["127.0.0.1"],
    "plain-aaaa.test": ["::1"],
    "mixed.test": ["93.184.215.14", "127.0.0.1"],
    "mixed-last.test": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "compatible.test": ["::127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "nat64-local.test": ["64:ff9b:1::7f00:1"],
    "sixtofour.test": ["2002:7f00:1::1"],
    "teredo.test": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "isatap.test": ["2606:2800:21f::5efe:7f00:1"],
    "zone.test": ["fe80::1%lo"],
    "private.test": ["10.1.2.3"],
    "unique-local.test": ["fd00::1"],
    "metadata.test": ["169.254.169.254"],
    "metadata6.test": ["fd00:ec2::254"],
    "nothing.test": ["0.0.0.0"],
    "nothing6.test": ["::"],
    "broadcast.test": ["255.255.255.255"],
    "carrier.test": ["100.64.3.4"],
    "cname.alias.test": ["192.168.0.10"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
    "xn--lcalhost-54a.test": ["127.0.0.1"],
}
"""Names of a public zone, and where they lead."""


def spellings(address: str) -> Iterator[str]:
    """Ways in which programs have been made to read an IPv4 address."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = int(ipaddress.IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    yield address
    yield f"{address}."
    yield str(number)
    yield hex(number)
    yield f"0{number:o}"
    yield f"{a}.{b}.{c * 256 + d}"
    yield f"{a}.{b * 65536 + c * 256 + d}"
    yield ".".join(f"0x{part:02x}" for part in (a, b, c, d))
    yield ".".join(f"0{part:o}" for part in (a, b, c, d))
    yield ".".join(f"{part:03d}" for part in (a, b, c, d))
    yield f"0x{a:x}.{b * 65536 + c * 256 + d}"
    yield address.translate({ord(str(n)): 0xFF10 + n for n in range(10)})
    yield address.translate({ord(str(n)): 0x2460 + n - 1 for n in range(1, 10)} | {ord("0"): 0x24EA})
    yield address.replace(".", "。")
    yield address.replace(".", "．")
    yield address.replace(".", "%2e")
    yield f"[::ffff:{address}]"
    yield f"[::ffff:{high}:{low}]"
    yield f"[0:0:0:0:0:ffff:{address}]"
    yield f"[::{address}]"
    yield f"[64:ff9b::{address}]"
    yield f"[64:ff9b:1::{high}:{low}]"
    yield f"[2002:{high}:{low}::1]"
    yield f"[2001:0:4136:e378:8000:63bf:{(number >> 16) ^ 0xFFFF:x}:{(number & 0xFFFF) ^ 0xFFFF:x}]"
    yield f"[2606:2800:21f::5efe:{high}:{low}]"


def urls(port: int) -> list[str]:
    """The corpus."""
    hosts = [spelling for address in INNER for spelling in spellings(address)]
    hosts += ["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[fec0::1]"]
    hosts += ["[ff02::1]", "[::ffff:0:0]", "[100::1]", "[2001:db8::1]", "[3fff::1]", "[4000::1]"]
    hosts += ["localhost", "LOCALHOST", "localhost.", "a.localhost", "LoCaLhOsT.localdomain", "ip6-localhost", "host"]
    hosts += [
        "metadata.google.internal",
        "printer.local",
        "router.lan",
        "nas.home.arpa",
        "db.corp",
        "ｌｏｃａｌｈｏｓｔ",
    ]
    hosts += NAMES
    found = [f"http://{host}:{port}/secret" for host in hosts]
    found += [f"https://{host}:{port}/" for host in (*NAMES, "127.0.0.1", "[::1]", "localhost")]
    found += [
        f"http://user:word@127.0.0.1:{port}/",
        f"http://www.site.test@127.0.0.1:{port}/",
        f"http://www.site.test:80@127.0.0.1:{port}/",
        f"http://www.site.test%40127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}#@www.site.test/",
        f"http://127.0.0.1:{port}?@www.site.test/",
        f"http://127.0.0.1:{port}\\@www.site.test/",
        f"http://www.site.test\\@127.0.0.1:{port}/",
        f"http:\\\\127.0.0.1:{port}\\",
        f"http:///127.0.0.1:{port}/",
        f"http:127.0.0.1:{port}/",
        f"http://\t127.0.0.1:{port}/",
        f"http://127.0.0.1\t:{port}/",
        f"http://127.0.0.1:{port}\r\nHost: x/",
        f"http://127.0.0.1 :{port}/",
        f"http://127.0.0.1:+{port}/",
        f"http://[::1:{port}/",
        f"http://::1:{port}/",
        f"http://[127.0.0.1]:{port}/",
        f"http://[::1]@www.site.test:{port}@127.0.0.1/",
        f"ftp://127.0.0.1:{port}/",
        f"gopher://127.0.0.1:{port}/_GET",
        f"file://127.0.0.1:{port}/etc/passwd",
        "file:///etc/passwd",
        f"ws://127.0.0.1:{port}/",
        f"dict://127.0.0.1:{port}/",
        f"view-source:http://127.0.0.1:{port}/",
        f"jar:http://127.0.0.1:{port}/!/",
        f"unix://127.0.0.1:{port}/run/docker.sock",
        f"HTTP://127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}/\u202e",
        f"http://plain-a.test.:{port}/",
        f"http://PLAIN-A.TEST:{port}/",
    ]
    return list(dict.fromkeys(found))
