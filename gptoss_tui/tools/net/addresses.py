"""Decides which IP addresses belong to the public internet. Every address not known to be public is refused.

`ipaddress.is_global` is not enough: it considers translated (NAT64), tunnelled (6to4), site-local and multicast
addresses global, and cloud providers run services for their own machines on public addresses.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_NOT_PUBLIC_4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's or a cloud's inner network"),
        ("127.0.0.0/8", "this machine"),
        ("169.254.0.0/16", "a link-local address, where clouds keep their metadata"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "reserved for protocols"),
        ("192.52.193.0/24", "reserved for protocols"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "a private network"),
        ("192.175.48.0/24", "reserved for protocols"),
        ("198.18.0.0/15", "for measurements inside a network"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, or broadcast"),
        ("168.63.129.16/32", "a cloud's service for its own machines"),
    )
)

_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::/128", "this machine"),
        ("::1/128", "this machine"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 clothes"),
        ("::/96", "an IPv4 address in IPv6 clothes"),
        ("64:ff9b::/96", "an IPv4 address behind a translator (NAT64)"),
        ("64:ff9b:1::/48", "an IPv4 address behind a translator (NAT64)"),
        ("100::/64", "thrown away"),
        ("2001::/32", "an IPv4 address in a tunnel (Teredo)"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "an IPv4 address in a tunnel (6to4)"),
        ("2620:4f:8000::/48", "reserved for protocols"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "multicast"),
    )
)

# An ISATAP interface identifier is 00-00-5E-FE or 02-00-5E-FE, followed by an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


def why_not_public(address: str) -> str | None:
    """Why the IP address `address` must not be connected to, or None if it is public.

    Anything but an address in its usual spelling is refused as well, and so is one with a zone (`fe80::1%eth0`).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no IP address"
    if isinstance(parsed, IPv4Address):
        return next((why for network, why in _NOT_PUBLIC_4 if parsed in network), None)
    if parsed.scope_id is not None:
        return "a link-local address"
    return _why_not_public_6(parsed)


def _why_not_public_6(address: IPv6Address) -> str | None:
    for network, why in _NOT_PUBLIC_6:
        if address in network:
            return why
    if address not in _PUBLIC_6:
        return "not in use on the internet"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "an IPv4 address in a tunnel (ISATAP)"
    return None
