"""Who may use the server: a token, a link that works once, and requests from its own pages alone.

Other users of this computer can reach a server on 127.0.0.1, and so can every page that its user
has open in a browser. So each request needs the token, in a header or in a cookie that a link
exchanged for it; its Host must be the server's own, which a name that was made to lead here is not
(DNS rebinding); and what comes from another page is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE_SECONDS = 30 * 24 * 3600
LINK_SECONDS = 24 * 3600
ENTRANCE = "/enter"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
INERT = "default-src 'none'; sandbox"  # the policy of what clients sent, and of what was made


def read_secret(folder: Path) -> bytes:
    """Return the secret of a store, which only its user can read; made if it is not there."""
    path = folder / "secret"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        found = path.read_bytes()
        if len(found) == 32:
            return found
        path.unlink()  # a process was killed as it wrote it
        return read_secret(folder)
    with os.fdopen(descriptor, "wb") as file:
        secret = secrets.token_bytes(32)
        file.write(secret)
    return secret


@dataclass
class Access:
    """What opens the server."""

    secret: bytes
    port: int
    hosts: frozenset[str]  # names that it goes by, with ports
    any_address: bool = False  # any IP address is one of its own
    is_secure: bool = False  # by TLS
    _links: dict[str, float] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What programs send: ``Authorization: Bearer TOKEN``."""
        return hmac.digest(self.secret, b"token", "sha256").hex()

    @property
    def cookie(self) -> str:
        """The cookie's name; cookies of one host are shared by its ports."""
        return f"impasto-{self.port}"

    @property
    def scheme(self) -> str:
        """What its addresses begin with."""
        return "https" if self.is_secure else "http"

    # --- links and cookies

    def make_link(self) -> str:
        """Return the path of a link that lets a browser in once."""
        ticket = secrets.token_urlsafe(24)
        self._links = {key: end for key, end in self._links.items() if end > time.time()}
        self._links[ticket] = time.time() + LINK_SECONDS
        return f"{ENTRANCE}?ticket={ticket}"

    def use_link(self, ticket: str) -> bool:
        """Return whether a link's ticket is good; from now on it is not."""
        return self._links.pop(ticket, 0.0) > time.time()

    def make_cookie(self) -> str:
        """Return the ``Set-Cookie`` header of a browser that was let in."""
        said = f"{int(time.time()) + COOKIE_SECONDS}.{secrets.token_hex(8)}"
        secure = "; Secure" if self.is_secure else ""
        return (
            f"{self.cookie}={said}.{self._sign(said)}; Path=/; Max-Age={COOKIE_SECONDS}; "
            f"HttpOnly; SameSite=Strict{secure}"
        )

    def _sign(self, said: str) -> str:
        return hmac.digest(self.secret, f"cookie {said}".encode(), "sha256").hex()

    def find_client(self, headers: Headers) -> str | None:
        """Return who sends a request; None if it shows neither token nor cookie."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            good = hmac.compare_digest(given.strip().encode(), self.token.encode())
            return "token" if good else None
        said, _, signature = _read_cookie(headers, self.cookie).rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(said).encode()):
            return None
        end, _, client = said.partition(".")
        return client if int(end) > time.time() else None

    # --- hosts and origins

    def is_own_host(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        if host in self.hosts:
            return True
        name, _, port = host.rpartition(":")
        if not self.any_address or port != str(self.port):
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def find_fault(self, scope: Scope, headers: Headers) -> str | None:
        """Return what is wrong with where a request comes from; None if nothing is."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.is_own_host(hosts[0].lower()):
            return "the Host is not this server's"
        origins = headers.getlist("origin")
        wanted = f"{self.scheme}://{hosts[0].lower()}"
        if len(origins) > 1 or (origins and origins[0].lower() != wanted):
            return "the Origin is another page"
        if scope["type"] == "websocket":
            by_cookie = "authorization" not in headers
            return "the Origin is missing" if by_cookie and not origins else None
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not _is_visit(scope, headers):
            return "the request comes from another site"
        return None


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Return whether somebody follows a link to a page, which no other page can read."""
    is_page = headers.get("sec-fetch-mode") == "navigate" and scope["path"] in ("/", ENTRANCE)
    return is_page and scope["method"] in ("GET", "HEAD")


def _read_cookie(headers: Headers, name: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def list_hosts(port: int, names: Iterable[str]) -> frozenset[str]:
    """Return what a Host header may say: names with the port, which goes unsaid where usual."""
    found = {f"{name.lower()}:{port}" for name in (*_LOOPBACK, *names)}
    if port in (80, 443):
        found |= {name.rpartition(":")[0] for name in found}
    return frozenset(found)


def is_loopback(host: str) -> bool:
    """Return whether only this computer can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """The application's outermost part: lets in what may come in, and puts headers on answers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on with who sent it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = self._safely_find_client(headers)
        refusal = self._refuse(scope, headers, client)
        if scope["type"] == "websocket":
            if refusal is not None:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            scope.setdefault("state", {})["client"] = client
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})["client"] = client
        app = self.app if refusal is None else refusal
        await app(scope, receive, _adding_headers(send))

    def _safely_find_client(self, headers: Headers) -> str | None:
        try:
            return self.access.find_client(headers)
        except ValueError:  # what was signed by an older version
            return None

    def _refuse(self, scope: Scope, headers: Headers, client: str | None) -> Response | None:
        if fault := self.access.find_fault(scope, headers):
            return _refuse(403, fault)
        if client is None and scope["path"] != ENTRANCE:
            how = "open the link that 'impasto serve' printed, or send its token"
            return _refuse(401, how, {"WWW-Authenticate": "Bearer"})
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            by_cookie = "authorization" not in headers
            shows_page = "origin" in headers or headers.get("sec-fetch-site") == "same-origin"
            if by_cookie and not shows_page:
                return _refuse(403, "a request by cookie says the page that it comes from: Origin")
        return None


def _refuse(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)


def _adding_headers(send: Send) -> Send:
    """Return what sends an answer with the headers that all have, unless it has its own."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def write_token(path: Path, token: str) -> None:
    """Write the token to a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{token}\n")
