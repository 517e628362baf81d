"""Who may ask: Host, Origin and keys. A page in the person's browser reaches loopback too."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gptoss_tui.commands.serve import KEY_VARIABLE, read_keys
from gptoss_tui.errors import UsageError
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.gate import Gate
from gptoss_tui.server.guard import Rules, check, is_loopback, rules_for
from tests.server.raw import send, status_of
from tests.server.running import running, until
from tests.server.scripted import ScriptedEngine, final

GOOD_HOSTS = [
    *("localhost", "LOCALHOST", "localhost:8000", "localhost:1", "127.0.0.1", "127.0.0.1:8000", "127.0.0.1:65535"),
    *("[::1]", "[::1]:8000", "LocalHost:80"),
]
BAD_HOSTS = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "localhost.evil", "evil.localhost", "localhost."),
    *("127.0.0.1.", "127.0.0.1.evil.example", "127.0.0.2", "127.1", "0.0.0.0", "0", "2130706433", "0x7f000001"),
    *("[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "::1", "[::1", "::1]", "[::1]evil", "[::1].evil:80", "[]"),
    *("", " ", ":8000", ":", "localhost:", "localhost:x", "localhost:0", "localhost:99999", "localhost:-1"),
    *("localhost:8000:8000", "localhost/", "localhost/v1", "localhost#", "localhost?", "user@localhost"),
    *("localhost,evil.example", "localhost evil.example", "evil.example localhost", "xn--localhost", "local_host"),
    *("192.168.1.10", "10.0.0.1:8000", "169.254.169.254", "[fe80::1]", "attacker.test:8000", "*", "null"),
    *("localhost\tevil", "%6cocalhost", "localhost%00", "lоcalhost".encode().decode("latin-1"), "http://localhost"),
]
ORIGINS = [
    *(
        "null",
        "https://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "https://ok.example.evil.example",
    ),
    *(
        "http://ok.example",
        "https://ok.example:8443",
        "https://ok.example.",
        "file://",
        "",
        "*",
        "chrome-extension://abc",
    ),
]


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("localhost", "localhost"), ()])
def test_a_request_names_one_host_whatever_the_parser_lets_through(hosts: tuple[str, ...]) -> None:
    headers = CIMultiDictProxy(CIMultiDict([("Host", host) for host in hosts]))
    with pytest.raises(ApiError, match="one valid Host"):
        check(Rules(), "/v1/models", headers, "127.0.0.1")


async def test_requests_name_a_host_of_ours() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        for host in GOOD_HOSTS:
            data = f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            assert status_of(await send(server, data)) == 200, host
        for host in BAD_HOSTS:
            data = f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")
            assert status_of(await send(server, data)) in (400, 403), host
        twice = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert status_of(await send(server, twice)) in (400, 403)
        assert status_of(await send(server, b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")) in (400, 403)
        absolute = b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert status_of(await send(server, absolute)) in (400, 403)
    assert len(GOOD_HOSTS) + len(BAD_HOSTS) + len(ORIGINS) >= 60


async def test_pages_may_ask_only_when_they_were_allowed() -> None:
    rules = rules_for("127.0.0.1", [], ["https://ok.example/"], [])
    body = {"messages": [{"role": "user", "content": "x"}]}
    async with running(ScriptedEngine(final("x")), rules=rules) as server:
        for origin in ORIGINS:
            status, answer = await server.post("/v1/chat/completions", body, headers={"Origin": origin})
            assert (status, answer["error"]["code"]) == (403, "forbidden"), origin
            status, _ = await server.get("/v1/models", headers={"Origin": origin})
            assert status == 403, origin
        assert server.engine.prompts == []
        allowed = {"Origin": "https://ok.example"}
        async with server.http.post(f"{server.url}/v1/chat/completions", json=body, headers=allowed) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://ok.example"
            assert response.headers["Vary"] == "Origin"
        async with server.http.get(f"{server.url}/nothing", headers=allowed) as response:
            assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (404, "https://ok.example")
        ask = {"Access-Control-Request-Method": "POST"}
        async with server.http.options(f"{server.url}/v1/responses", headers={**allowed, **ask}) as response:
            assert response.status == 204
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with server.http.options(f"{server.url}/v1/responses", headers={"Origin": "null", **ask}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_what_a_page_can_send_without_asking_is_refused() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        status, _ = await server.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"})
        assert status == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            data = b'{"messages": [{"role": "user", "content": "x"}]}'
            headers = {"Content-Type": kind}
            url = f"{server.url}/v1/chat/completions"
            async with server.http.post(url, data=data, headers=headers) as response:
                assert response.status == 415
                assert (await response.json())["error"]["type"] == "invalid_request_error"
        for origin, status in (({"Origin": "null"}, 403), ({}, 200)):  # a page says where it is from, clients do not
            data = b'{"model": "gpt-oss-20b"}'
            options: dict[str, Any] = {"data": data, "headers": origin, "skip_auto_headers": ["Content-Type"]}
            async with server.http.post(f"{server.url}/api/chat", **options) as response:
                assert response.status == status
            async with server.http.post(f"{server.url}/v1/responses", **options) as response:
                assert response.status in (403, 415)
        upgrade = (
            b"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert status_of(await send(server, upgrade, end=True)) in (0, 400, 404, 405)
    assert server.engine.prompts == []


async def test_without_the_key_nothing_but_health_answers(caplog: pytest.LogCaptureFixture) -> None:
    rules = rules_for("127.0.0.1", [], [], ["sk-right", "sk-other"])
    caplog.set_level(logging.INFO)
    logging.getLogger("gptoss_tui.server.access").propagate = True
    async with running(ScriptedEngine(final("x")), rules=rules) as server:
        bad: list[dict[str, str]] = [
            *({}, {"Authorization": "sk-right"}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "Bearer "}),
            *({"Authorization": "Basic sk-right"}, {"X-Api-Key": "sk-righ"}, {"Authorization": "Bearer sk-right x"}),
        ]
        for headers in bad:
            status, answer = await server.get("/v1/models", headers=headers)
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key"), headers
            status, _ = await server.get("/metrics", headers=headers)
            assert status == 401
        good = [{"Authorization": "Bearer sk-right"}, {"authorization": "bearer sk-other"}, {"X-Api-Key": "sk-right"}]
        for headers in good:
            assert (await server.get("/v1/models", headers=headers))[0] == 200, headers
        assert (await server.get("/health"))[0] == 200
    assert "sk-" not in caplog.text


async def test_the_owner_of_a_response_is_the_one_with_its_key(tmp_path: Any) -> None:
    rules = rules_for("127.0.0.1", [], [], ["one", "two"])
    async with running(ScriptedEngine(final("x")), rules=rules, store=tmp_path) as server:
        mine, others = {"X-Api-Key": "one"}, {"X-Api-Key": "two"}
        _, made = await server.post("/v1/responses", {"input": "x"}, headers=mine)
        assert (await server.get(f"/v1/responses/{made['id']}", headers=mine))[0] == 200
        assert (await server.get(f"/v1/responses/{made['id']}", headers=others))[0] == 404
        body = {"input": "y", "previous_response_id": made["id"]}
        assert (await server.post("/v1/responses", body, headers=others))[0] == 400
        async with server.http.delete(f"{server.url}/v1/responses/{made['id']}", headers=others) as response:
            assert response.status == 404


async def test_the_log_has_one_line_a_request_and_nothing_of_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("gptoss_tui.server.access").propagate = True
    async with running(ScriptedEngine(final("the answer"))) as server:
        await server.post("/v1/responses", {"input": "the question", "user": "somebody"})
        await server.get("/v1/x\x1b[31m%1b%0aforged")
        await server.post("/v1/responses", {"input": [{"role": "somebody", "content": "x"}]})
        await server.post("/v1/responses", {"input": "x", "logit_bias": {"somebody": "the question"}})
        no_http = b"POST /v1/responses HTTP/1.1\nHost: localhost\nAuthorization: Bearer the-key\n\nthe question"
        assert status_of(await send(server, no_http)) == 400
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name.endswith("server.access")]
    assert [(line.get("route"), line["status"], line.get("error")) for line in lines] == [
        ("/v1/responses", 200, None),
        ("none", 404, "unknown_url"),
        ("/v1/responses", 400, "invalid_request_error input"),
        ("/v1/responses", 400, "invalid_request_error logit_bias"),
        (None, 400, "bad_http"),
    ]
    assert lines[-1]["client"] == "127.0.0.1"
    assert (lines[0]["model"], lines[0]["generated"]) == ("gpt-oss-20b", 6)
    for secret in ("the question", "the answer", "somebody", "forged", "\x1b", "the-key"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        *(("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("example.org", False)),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
    assert rules_for(host, [], [], []).any_address is not alone


def test_a_server_for_others_answers_to_its_addresses_and_names() -> None:
    rules = rules_for("0.0.0.0", ["gpu.lan"], [], ["k"])
    assert rules.any_address
    assert "gpu.lan" in rules.hosts
    assert "evil.example" not in rules.hosts


def test_keys_come_from_a_file_or_the_environment_which_forgets_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "from-environment")
    file = tmp_path / "keys"
    file.write_text("one\n\n two \n", encoding="utf-8")
    assert read_keys(file) == ("from-environment", "one", "two")
    assert read_keys(None) == ()
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError):
        read_keys(file)
    with pytest.raises(UsageError):
        read_keys(tmp_path / "nothing")


def test_the_default_is_loopback_without_pages() -> None:
    assert Rules().origins == frozenset()
    assert not Rules().any_address


async def test_a_key_is_one_client_whatever_users_it_names() -> None:
    engine = ScriptedEngine(final("x"), hang=True)
    async with running(engine, gate=Gate(1, 3), rules=Rules(keys=(b"one", b"two"))) as server:

        async def ask(key: str, user: str) -> int:
            body = {"messages": [{"role": "user", "content": "x"}], "user": user}
            headers = {"Authorization": f"Bearer {key}"}
            return (await server.post("/v1/chat/completions", body, headers=headers))[0]

        asked = [asyncio.create_task(ask("one", str(number))) for number in range(3)]
        await until(lambda: server.service.gate.inside == 3)
        assert await ask("one", "somebody else") == 429
        asked.append(asyncio.create_task(ask("two", "")))
        await until(lambda: server.service.gate.inside == 4)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
