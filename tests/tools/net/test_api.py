"""Calls to services: tried again when that helps, and their keys are told to nobody else."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from gptoss_tui.tools.net.api import ApiCall, call_api
from gptoss_tui.tools.net.errors import FetchError, StatusError, UnreachableError, UnreadableError
from gptoss_tui.tools.net.fetch import fetch
from gptoss_tui.tools.net.urls import parse_web_url
from tests.tools.net.servers import Site, response

KEY = "sk-very-secret-0123456789"


def call(site: Site, path: str = "/search") -> ApiCall:
    return ApiCall("Service", "POST", f"http://127.0.0.1:{site.port}{path}", body={}, secret_headers={"X-Key": KEY})


class Pauses:
    """Instead of sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def answers(site: Site, *responses: bytes) -> None:
    """One response after the other, the last one for ever."""
    left = list(responses)

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    site.answers["/search"] = write


async def test_passing_errors_are_tried_again(site: Site) -> None:
    answers(site, response(429, b"slow"), response(503, b"down"), response(200, b'{"ok": 1}'))
    pauses = Pauses()
    assert await call_api(call(site), sleep=pauses) == {"ok": 1}
    assert len(site.requests) == 3
    assert 0.5 <= pauses.seconds[0] <= 0.75 < 1.0 <= pauses.seconds[1] <= 1.5


async def test_a_server_says_how_long(site: Site) -> None:
    answers(site, response(429, b"", {"Retry-After": "4"}), response(200, b"[]"))
    pauses = Pauses()
    assert await call_api(call(site), sleep=pauses) == []
    assert pauses.seconds == [4.0]


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (response(429, b"", {"Retry-After": "3600"}), 1),
        (response(401, b""), 1),
        (response(404, b""), 1),
        (response(302, b"", {"Location": "/elsewhere"}), 1),
        (response(500, b""), 3),
        (b"", 3),
    ],
)
async def test_how_often(site: Site, answer: bytes, requests: int) -> None:
    answers(site, answer)
    with pytest.raises(FetchError):
        await call_api(call(site), sleep=Pauses())
    assert len(site.requests) == requests


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_keys_are_in_no_error_and_no_log(site: Site, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers(site, response(status, f"wrong key {KEY}, header X-Key: {KEY}".encode()))
    with pytest.raises(StatusError) as raised:
        await call_api(call(site), sleep=Pauses())
    assert site.requests[0][2]["x-key"] == KEY
    for text in (str(raised.value), repr(raised.value), repr(call(site)), caplog.text):
        assert KEY not in text


async def test_unreachable_and_unreadable(site: Site) -> None:
    answers(site, response(200, b"<html>"))
    with pytest.raises(UnreadableError, match="not JSON"):
        await call_api(call(site), sleep=Pauses())
    answers(site, response(200, b"[" * 100_000))
    with pytest.raises(UnreadableError):
        await call_api(call(site), sleep=Pauses())
    nobody = ApiCall("Service", "GET", "http://127.0.0.1:1/", secret_headers={"X-Key": KEY})
    with pytest.raises(UnreachableError) as raised:
        await call_api(nobody, sleep=Pauses())
    assert KEY not in str(raised.value)


async def test_what_is_sent(site: Site) -> None:
    site.answers["/search?q=a+b%26c"] = response(200, json.dumps({"results": []}).encode())
    sent = ApiCall("Service", "GET", f"http://127.0.0.1:{site.port}/search", {"q": "a b&c"}, secret_headers={"K": KEY})
    assert await call_api(sent) == {"results": []}
    method, path, headers, body = site.requests[0]
    assert (method, path, headers["k"], body) == ("GET", "/search?q=a+b%26c", KEY, b"")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_the_password_of_a_proxy_is_told_to_nobody(site: Site, answer: bytes) -> None:
    site.answers["example.test:443"] = answer
    proxy = f"http://somebody:{KEY}@127.0.0.1:{site.port}"
    with pytest.raises(FetchError) as asked:
        await call_api(ApiCall("Service", "GET", "https://example.test/"), proxy=proxy, sleep=Pauses())
    with pytest.raises(FetchError) as read:
        await fetch(parse_web_url("https://example.test/"), site.policy(proxy=proxy))
    assert site.requests
    assert KEY not in asked.value.message + read.value.message
