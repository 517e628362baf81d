"""URLs have one spelling, and addresses that are not public are known as such."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gptoss_tui.tools.net.addresses import why_not_public
from gptoss_tui.tools.net.errors import RefusedUrlError
from gptoss_tui.tools.net.urls import MAX_URL, parse_web_url


@pytest.mark.parametrize(
    ("given_url", "text"),
    [
        ("http://example.com", "http://example.com/"),
        (" HTTPS://Example.COM:443/a?b#c ", "https://example.com/a?b"),
        ("http://example.com.:8080/%7Ea", "http://example.com:8080/%7Ea"),
        ("https://bücher.example/ä?ö=ü", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC"),
        ("https://ｅｘａｍｐｌｅ。com/", "https://example.com/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ("https://example.com/a//b/../c?d=[e]|{f}", "https://example.com/a//b/../c?d=[e]|%7Bf%7D"),
        ("https://example.com?q=a/b?c", "https://example.com/?q=a/b?c"),
    ],
)
def test_one_spelling(given_url: str, text: str) -> None:
    assert parse_web_url(given_url).text == text
    assert parse_web_url(text).text == text


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("b", "https://h.org/a/b"),
        ("/b", "https://h.org/b"),
        ("?b", "https://h.org/a/x?b"),
        ("//k.org/b", "https://k.org/b"),
        ("http://k.org", "http://k.org/"),
        ("..", "https://h.org/"),
    ],
)
def test_relative(location: str, text: str) -> None:
    assert parse_web_url(location, base="https://h.org/a/x").text == text


@pytest.mark.parametrize("port", [0, 1, 22, 25, 110, 445, 2375, 3306, 5432, 6379, 9200, 11211, 27017, 65535, 65536, -1])
def test_ports_of_other_services(port: int) -> None:
    with pytest.raises(RefusedUrlError):
        parse_web_url(f"http://example.com:{port}/")


@pytest.mark.parametrize("url", ["", "example.com", "//example.com/", "http://", "x" * (MAX_URL + 1), "http://-a.com/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(RefusedUrlError):
        parse_web_url(url)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_refused_or_read_in_one_way(host: str, path: str) -> None:
    """What is accepted is read alike by the library that connects, and is on one line of plain ASCII."""
    try:
        url = parse_web_url(f"https://{host}.example/{path}", ports=None)
    except RefusedUrlError:
        return
    again = URL(url.text, encoded=True)
    assert (again.scheme, again.raw_host, again.port) == (url.scheme, url.host, url.port)
    assert url.text.isascii()
    assert url.text.isprintable()
    assert not again.user
    assert parse_web_url(url.text, ports=None) == url


PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.63.255.255"]
PUBLIC += ["100.128.0.1", "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::64"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert why_not_public(address) is None


@given(st.ip_addresses())
def test_what_python_calls_private_is_refused(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        # 192.0.0.9 and .10 and a few like them are the exceptions that Python makes, and we do not.
        assert why_not_public(str(address)) is not None


@given(st.ip_addresses(v=4))
def test_ipv4_inside_ipv6_is_refused(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    for form in (f"::ffff:{high}:{low}", f"::{high}:{low}", f"64:ff9b::{high}:{low}", f"2002:{high}:{low}::1"):
        assert why_not_public(form) is not None


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "1.1.1.1 ", "fe80::1%eth0", "2606::1%1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert why_not_public(text) is not None
