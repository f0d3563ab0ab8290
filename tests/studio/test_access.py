"""Nobody comes in without a token, and nothing from another page."""

from __future__ import annotations

import re
import stat
from dataclasses import replace

import pytest
from served import API, HOST
from starlette.websockets import WebSocketDisconnect

from impasto.studio.access import Access, is_loopback, list_hosts, read_secret, write_token

GOOD = f"http://{HOST}"
JSON = {"content-type": "application/json"}
FORMS = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/plain;charset=application/json",
    "application/json-patch+json",
    "",
)
HOSTS = (
    "evil.example",
    "evil.example:8765",
    "127.0.0.1.evil.example:8765",
    "localhost.evil.example:8765",
    "127.0.0.1:9999",
    "127.0.0.1",
    "localhost:80",
    "127.0.0.1:8765@evil.example",
    "127.0.0.1:8765.evil.example",
    "2130706433:8765",
    "0x7f.1:8765",
    "10.0.0.1:8765",
    "[::ffff:127.0.0.1]:8765",
    "",
)
ORIGINS = (
    "null",
    "http://evil.example",
    "https://127.0.0.1:8765",
    "http://127.0.0.1",
    "http://127.0.0.1:9999",
    "http://localhost:8765",  # another name of the same server is another origin
    "http://127.0.0.1:8765.evil.example",
    "http://127.0.0.1:8765@evil.example",
    "http://127.0.0.1:8765/",
    "file://",
)
HOSTILE = [
    *[("GET", "/jobs", {"host": host}) for host in HOSTS],
    *[("POST", "/jobs", {"origin": origin, **JSON}) for origin in ORIGINS],
    *[("POST", "/jobs", {"content-type": media}) for media in FORMS],
    ("GET", "/jobs", {"origin": "null"}),
    ("GET", "/jobs", {"sec-fetch-site": "cross-site"}),
    ("POST", "/jobs", {"sec-fetch-site": "same-site", **JSON}),
    ("GET", "/events", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
    ("PUT", "/uploads?name=a.png", {"content-type": "multipart/form-data; boundary=x"}),
    ("PUT", "/uploads?name=a.png", {"content-type": "text/html"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), HOSTILE)
def test_hostile_requests_are_refused_even_with_the_token(api, method, path, headers):
    answer = api.request(method, f"{API}{path}", headers=headers, content=b"{}" * (method != "GET"))
    assert answer.status_code in (403, 415), answer.text


def test_the_same_requests_are_taken_without_what_is_wrong_with_them(api):
    assert len(HOSTILE) >= 30
    good = {"origin": GOOD, "sec-fetch-site": "same-origin"}
    assert api.get(f"{API}/jobs", headers=good).status_code == 200
    assert api.post(f"{API}/jobs", headers={**good, **JSON}, content=b"{}").status_code == 422
    for host in ("127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST:8765"):
        assert api.get(f"{API}/jobs", headers={"host": host}).status_code == 200


def list_routes(app):
    schema = app.openapi()
    return [(method, path) for path, methods in schema["paths"].items() for method in methods]


def test_every_route_needs_the_token(studio):
    routes = list_routes(studio.app)
    assert len(routes) > 30
    more = [("get", "/"), ("get", f"{API}/docs"), ("get", f"{API}/openapi.json"), ("get", "/x")]
    for headers in (
        {"x": "nothing"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {studio.access.token}"},
        {"cookie": "impasto-8765=1.2.3"},
        {"cookie": "impasto-8765=99999999999.aaaa.x"},
    ):
        client = studio.client(**headers)
        for method, path in [*routes, *more]:
            filled = re.sub(r"\{number\}", "0", path)
            filled = re.sub(r"\{\w+\}", "0" * 20, filled)
            answer = client.request(method, filled)
            assert answer.status_code == 401, (headers, method, path)
            assert list(answer.json()) == ["error"]


def test_a_link_works_once_and_its_cookie_from_then_on(studio):
    browser = studio.client(x="y")
    link = studio.access.make_link()
    answer = browser.get(link)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert re.search(r"; HttpOnly; SameSite=Strict$", cookie)
    assert browser.get("/").status_code == 200
    assert browser.get(f"{API}/jobs").status_code == 200
    other = studio.client(x="y")
    assert other.get(link).status_code == 403
    assert other.get(f"{API}/jobs").status_code == 401
    assert other.get("/enter?ticket=guess").status_code == 403


def test_what_is_asked_by_cookie_says_its_page(studio):
    browser = studio.client(x="y")
    browser.get(studio.access.make_link())
    body = {"content": b"{}", "headers": JSON}
    assert browser.post(f"{API}/jobs", **body).status_code == 403
    body["headers"] = {**JSON, "origin": GOOD}
    assert browser.post(f"{API}/jobs", **body).status_code == 422


def test_a_browser_that_is_in_lets_another_in(api, studio):
    answer = api.post(f"{API}/links").json()
    assert answer["link"].startswith(f"{GOOD}/enter?ticket=")
    other = studio.client(x="y")
    assert other.get(answer["link"]).status_code == 200
    assert other.get(f"{API}/jobs").status_code == 200


def test_cookies_end_and_cannot_be_made(studio):
    access = studio.access
    name, _, value = access.make_cookie().partition(";")[0].partition("=")
    end, client, signature = value.split(".")
    for forged in (
        f"{int(end) + 1}.{client}.{signature}",
        f"{end}.another.{signature}",
        f"1.{client}.{signature}",
        f"{end}.{client}.",
    ):
        headers = {"cookie": f"{name}={forged}"}
        assert studio.client(**headers).get(f"{API}/jobs").status_code == 401
    other = Access(b"t" * 32, 8765, access.hosts)
    headers = {"cookie": other.make_cookie().partition(";")[0]}
    assert studio.client(**headers).get(f"{API}/jobs").status_code == 401


def connect(client, **headers):
    with client.websocket_connect(f"{API}/live", headers=headers) as socket:
        socket.send_text("{}")
        return socket.receive_text()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"authorization": "Bearer wrong"},
    ],
)
def test_sockets_of_other_pages_are_closed(api, headers):
    with pytest.raises(WebSocketDisconnect) as refusal:
        connect(api, **headers)
    assert refusal.value.code == 1008


def test_a_socket_by_cookie_says_its_page(studio):
    browser = studio.client(x="y")
    browser.get(studio.access.make_link())
    with pytest.raises(WebSocketDisconnect):
        connect(browser)


def test_answers_have_a_strict_policy(api):
    for path in ("/", f"{API}/jobs", f"{API}/docs", "/nothing"):
        headers = api.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        # The page's own files are asked for again each time; what belongs to a user is not kept.
        assert headers["cache-control"] == ("private, no-cache" if path == "/" else "no-store")
        assert "access-control-allow-origin" not in headers


def test_addresses_are_its_own_only_where_others_may_come(studio):
    access = replace(studio.access, hosts=list_hosts(8765, ["Studio.local"]), any_address=True)
    for host in ("192.168.1.7:8765", "studio.local:8765", "[fe80::1]:8765"):
        assert access.is_own_host(host)
    for host in ("192.168.1.7:80", "evil.example:8765", "192.168.1.7.evil.example:8765"):
        assert not access.is_own_host(host)
    assert list_hosts(443, ["a.example"]) >= {"a.example", "a.example:443"}
    assert is_loopback("127.0.0.2")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("studio.local")


def test_the_secret_is_its_owner_s_and_stays(tmp_path):
    secret = read_secret(tmp_path)
    assert read_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    (tmp_path / "secret").write_bytes(b"cut")
    assert len(read_secret(tmp_path)) == 32
    token = tmp_path / "token"
    token.write_text("old")
    token.chmod(0o644)
    write_token(token, "new")
    assert token.read_text() == "new\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
