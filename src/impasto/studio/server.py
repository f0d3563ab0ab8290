"""The application, and the process that serves it until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from impasto.errors import ImpastoError, OptionError, StorageFullError, describe_reason, shorten
from impasto.studio.access import Access, Gate, is_loopback, list_hosts, read_secret, write_token
from impasto.studio.catalogue import catalogue_routes
from impasto.studio.job_routes import jobs_routes
from impasto.studio.limits import BodyGuard, StudioLimits, answer_error
from impasto.studio.live import MOST_FRAME_BYTES, live_routes
from impasto.studio.page_files import page_file_routes
from impasto.studio.pages import page_routes, server_routes
from impasto.studio.services import Services, serving
from impasto.studio.session import ERRORS
from impasto.studio.uploads import upload_routes
from impasto.studio.views import API

_ABOUT = """Jobs that paint, over HTTP. Send `Authorization: Bearer TOKEN`, or the cookie that a
link of `impasto serve` sets. Errors are `{"error": "one line"}`."""
_MOST_CONNECTIONS = 500
_STOPPING = 2  # seconds that answers have to come to their end


def make_app(services: Services, access: Access) -> FastAPI:
    """Return the application: routes, and around them the gate."""

    @asynccontextmanager
    async def live_with_loop(_: FastAPI) -> AsyncIterator[None]:
        services.events.attach(asyncio.get_running_loop())
        yield
        services.events.close()

    app = FastAPI(
        title="Impasto",
        version=version("impasto"),
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=live_with_loop,
    )
    app.state.services, app.state.access = services, access
    for routes in (server_routes, upload_routes, jobs_routes, catalogue_routes, live_routes):
        app.include_router(routes, prefix=API, responses=ERRORS(401, 403))
    app.include_router(page_routes)
    app.include_router(page_file_routes)
    app.add_exception_handler(ImpastoError, _answer_own)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(StarletteHTTPException, _answer_http)
    app.add_exception_handler(OSError, _answer_system)
    app.add_middleware(BodyGuard, limits=services.limits, uploads=f"{API}/uploads")
    app.add_middleware(Gate, access=access)
    app.openapi = _describe_access(app.openapi)  # type: ignore[method-assign]
    return app


def _describe_access(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return what describes the API, with the token that each route needs."""

    def describe_with_token() -> dict[str, Any]:
        schema = describe()
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        return schema

    return describe_with_token


# --- errors as answers --------------------------------------------------------------------------


def _answer_own(_: Request, error: Exception) -> Response:
    assert isinstance(error, ImpastoError)
    return answer_error(error)


def _answer_invalid(_: Request, error: Exception) -> Response:
    """Name the first thing that is wrong with a request."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(each) for each in first["loc"][1:]) or str(first["loc"][0])
    said = str(first["msg"]).removeprefix("Value error, ")
    status = 400 if first["type"] == "json_invalid" else 422
    text = f"{shorten(where)}: {said[:1].lower()}{said[1:]}"
    return JSONResponse({"error": text}, status)


def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)
    return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)


def _answer_system(_: Request, error: Exception) -> Response:
    """Tell of a full disk as what it is."""
    import errno

    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return answer_error(StorageFullError("the disk is full"))
    raise error


# --- serving ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a server is reached, and how."""

    host: str = "127.0.0.1"
    port: int = 8765
    names: tuple[str, ...] = ()  # that it also goes by
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None


class StudioServer(uvicorn.Server):
    """A server that lets those who follow its events go before it stops."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self.services = services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer first, and only then begin to work: a process that loads torch takes a core."""
        await super().startup(sockets)
        self.services.runner.start()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop at SIGTERM and Ctrl-C; a second Ctrl-C stops at once."""
        self.services.events.close()
        super().handle_exit(sig, frame)


def serve_studio(
    folder: Path,
    place: Place,
    tell: Callable[[str], None],
    limits: StudioLimits | None = None,
    **given: Any,
) -> None:
    """Serve a store until SIGTERM or Ctrl-C; ``tell`` is told the link and what is to be known."""
    _check_certificate(place)
    with _listening(place) as listener:
        port = listener.getsockname()[1]
        with serving(folder, limits, works=False, **given) as services:
            access = _make_access(services.folder, place, port)
            if place.token_file is not None:
                write_token(place.token_file, access.token)
            for line in (*services.notes, *describe_place(access, place)):
                tell(line)
            config = uvicorn.Config(
                make_app(services, access),
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                lifespan="on",
                ws="websockets-sansio",
                ws_max_size=MOST_FRAME_BYTES + 1024,
                timeout_keep_alive=30,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_STOPPING,
                ssl_certfile=place.certificate,
                ssl_keyfile=place.key,
            )
            _run(StudioServer(config, services), listener)


def _run(server: StudioServer, listener: socket.socket) -> None:
    """Run until a signal, which is not raised again: the work stops by itself."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in kept:  # uvicorn raises them again for these
        signal.signal(each, lambda *_: None)
    try:
        server.run(sockets=[listener])
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """Yield a socket that listens; whoever comes before the server is there waits a little."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place.host, place.port))
        except (OSError, OverflowError) as error:
            where = f"{place.host}:{place.port}"
            reason = describe_reason(error)
            raise OptionError(f"cannot serve at {where}: {reason}; --port names another") from None
        listener.listen(128)
        yield listener


def _check_certificate(place: Place) -> None:
    import ssl

    if (place.certificate is None) != (place.key is None):
        raise OptionError("--certificate and --key go together")
    if place.certificate is None or place.key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(place.certificate, place.key)
    except (OSError, ssl.SSLError) as error:
        reason = describe_reason(error)
        raise OptionError(f"cannot use {place.certificate.name!r} with its key: {reason}") from None


def _make_access(folder: Path, place: Place, port: int) -> Access:
    is_open = not is_loopback(place.host)
    named = place.names if place.host in ("0.0.0.0", "::") else (_spell(place.host), *place.names)
    return Access(
        read_secret(folder),
        port,
        list_hosts(port, named),
        any_address=is_open,
        is_secure=place.certificate is not None,
    )


def _spell(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def describe_place(access: Access, place: Place) -> list[str]:
    """Return what is printed first: the link, and where the API is described."""
    shown = "127.0.0.1" if place.host in ("0.0.0.0", "::") else _spell(place.host)
    if place.names:
        shown = place.names[0]
    base = f"{access.scheme}://{shown}:{access.port}"
    lines = [f"open {base}{access.make_link()}", f"the API is described at {base}{API}/docs"]
    if not is_loopback(place.host) and not access.is_secure:
        lines.append(
            "warning: without --certificate and --key, what is sent can be read on the way, and "
            "no browser but this computer's gives its camera"
        )
    return lines
