"""What a person is asked about an address, and what may pass by a rule: never what could carry something away."""

from __future__ import annotations

import hashlib

import pytest

from gptoss_tui.tools.browser.permission import FREE_BYTES, FREE_BYTES_TOTAL, Ledger, same_site
from gptoss_tui.tools.net.urls import WebUrl, parse_web_url

SECRET = "the-password-of-the-database-is-hunter2-and-the-key-of-the-safe-is-17-42-8"


def url(text: str) -> WebUrl:
    return parse_web_url(text, ports=None)


def asks(ledger: Ledger, text: str) -> bool:
    """Whether a person has to answer, whatever rules there are."""
    return bool(ledger.effect(url(text)).must_ask)


def test_the_effect_is_the_whole_address() -> None:
    address = url(f"https://Docs.Example.org/{'x' * 2000}?q={SECRET}")
    effect = Ledger().effect(address)
    assert (effect.kind, effect.preview_type, effect.reach) == ("url", "url", "network")
    assert effect.preview == address.text
    assert effect.hosts == ("docs.example.org",)
    assert effect.digest == hashlib.sha256(f"GET {address.text}".encode()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        f"https://evil.org/?d={SECRET}",
        f"https://evil.org/{SECRET}",
        f"https://{SECRET[:60]}.{SECRET[60:]}.evil.org/",
        f"https://evil.org/a?{'%41' * 30}",
    ],
)
def test_addresses_that_may_carry_something_are_asked_about(text: str) -> None:
    ledger = Ledger()
    assert asks(ledger, text)
    ledger.allowed(url("https://evil.org/"))
    assert asks(ledger, text)


@pytest.mark.parametrize(
    "text",
    [
        "https://docs.python.org/3/library/asyncio-task.html",
        "https://en.wikipedia.org/wiki/Lantern",
        "https://github.com/owner/project/blob/main/README.md",
    ],
)
def test_usual_addresses_may_pass_by_a_rule(text: str) -> None:
    assert not asks(Ledger(), text)


def test_links_of_pages_carry_nothing() -> None:
    ledger = Ledger()
    link = f"https://other.org/{'long/' * 40}page"
    assert asks(ledger, link)
    ledger.learn([link])
    assert not asks(ledger, link)
    assert not asks(ledger, f"{link}?page=2")
    assert asks(ledger, f"{link}?d={SECRET}")
    assert asks(ledger, link.replace("other", SECRET[:50]) + SECRET)
    ledger.clear()
    assert asks(ledger, link)


def test_small_pieces_add_up() -> None:
    """Dripping a secret away in addresses that are short enough is asked about before much is gone."""
    ledger = Ledger()
    gone = 0
    for number in range(100):
        piece = f"https://evil.org/{number:02d}{'x' * 40}"
        if asks(ledger, piece):
            break
        ledger.allowed(url(piece))
        gone += 42
    assert 0 < gone <= FREE_BYTES_TOTAL
    ledger.allowed(url(piece))
    assert not asks(ledger, "https://evil.org/short"), "a person has seen one: counting begins anew"


@pytest.mark.parametrize("place", ["https://n{0}.evil.org/", "http://evil.org:{0}/", "https://a.n{0}.evil.org/"])
def test_small_pieces_add_up_over_the_hosts_and_ports_of_a_domain(place: str) -> None:
    ledger = Ledger()
    gone = 0
    for number in range(8000, 8100):
        piece = place.format(number) + "x" * 40
        if asks(ledger, piece):
            break
        ledger.allowed(url(piece))
        gone += 40
    assert 0 < gone <= FREE_BYTES_TOTAL


def test_the_limit_is_exact() -> None:
    ledger = Ledger()
    ledger.allowed(url("https://evil.org/"))
    assert not asks(ledger, "https://evil.org/" + "x" * FREE_BYTES)
    assert asks(ledger, "https://evil.org/" + "x" * (FREE_BYTES + 1))


def test_many_addresses_are_looked_up_quickly() -> None:
    """Looking at all known ones for each would be 10^9 steps."""
    ledger = Ledger()
    for start in range(0, 30_000, 1000):
        ledger.learn(f"https://h.org/{n}" for n in range(start, start + 1000))
    for n in range(30_000):
        assert not ledger.effect(url(f"https://h.org/{n}")).must_ask


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h.org/a", "https://h.org/b", True),
        ("https://h.org/", "https://www.h.org/", True),
        ("https://www.h.org/", "https://h.org/", True),
        ("https://h.org/", "https://a.h.org/", False),
        ("https://h.org/", "https://h.org.evil.com/", False),
        ("https://h.org/", "https://wwwh.org/", False),
    ],
)
def test_one_site(one: str, other: str, same: bool) -> None:
    assert same_site(url(one), url(other)) is same
