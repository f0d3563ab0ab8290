"""What clients of the server may take, and the errors that tell them so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import (
    DependencyError,
    ImageError,
    ImpastoError,
    JobStateError,
    LimitError,
    LostProcessError,
    MissingFileError,
    MissingJobError,
    OptionError,
    QueueFullError,
    StorageFullError,
    StoreError,
)


@dataclass(frozen=True)
class StudioLimits:
    """Limits of a server; the command line sets those that its user may want otherwise."""

    upload_bytes: int = 512 << 20
    json_bytes: int = 1 << 20
    megapixels: float = 100.0
    decode_seconds: float = 5.0
    decode_memory: int = 1 << 30
    uploads_at_once: int = 8
    idle_seconds: float = 20.0  # without a byte of a body, after which it is given up
    queue: int = 1000  # jobs that wait
    client_queue: int = 500  # of one client
    event_readers: int = 100
    instant_megapixels: float = 1.1  # of the result of one pass that is waited for
    instant_line: int = 8  # requests that wait for it
    instant_seconds: float = 60.0
    quota: int = 20 << 30  # bytes of uploads and results
    keep_days: float | None = None  # of jobs that have ended, and of uploads that none has
    job_memory: int | None = None
    job_seconds: float | None = None
    folder_files: int = 5000  # of an input that is a folder


class RefusalError(ImpastoError):
    """A request that is refused, with its HTTP status."""

    def __init__(self, status: int, text: str, *, retry: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry = status, retry


_STATUSES: tuple[tuple[type[ImpastoError], int], ...] = (
    (MissingJobError, 404),
    (JobStateError, 409),
    (QueueFullError, 429),
    (StorageFullError, 507),
    (StoreError, 503),
    (LimitError, 422),
    (LostProcessError, 503),
    (DependencyError, 501),
    (MissingFileError, 422),
    (ImageError, 422),
    (OptionError, 422),
    (ImpastoError, 422),
)
RETRY_SECONDS = {429: 5, 503: 1}


def answer_error(error: ImpastoError) -> JSONResponse:
    """Return the answer to a request that ended in an error: one line, with a fitting status."""
    if isinstance(error, RefusalError):
        status = error.status
    else:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    retry = getattr(error, "retry", None) or RETRY_SECONDS.get(status)
    headers = {"Retry-After": str(retry)} if retry else None
    return JSONResponse({"error": str(error)}, status, headers)


async def read_counted(request: Request, most: int, idle: float) -> AsyncIterator[bytes]:
    """Yield a request's body piece by piece; one that is too long or too slow is refused."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise RefusalError(413, f"the body has {said} bytes; at most {most} are taken")
    count, pieces = 0, request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(idle):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusalError(408, f"no byte came for {idle:g} seconds") from None
        count += len(piece)
        if count > most:
            raise RefusalError(413, f"the body has more than the {most} bytes that are taken")
        yield piece


class BodyGuard:
    """Reads the bodies of requests but uploads: JSON alone, of bounded length, in bounded time."""

    def __init__(self, app: ASGIApp, limits: StudioLimits, uploads: str) -> None:
        """Guard an application; bodies that are PUT to the path ``uploads`` are passed on."""
        self.app, self.limits, self.uploads = app, limits, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose body is there, or refuse it."""
        is_upload = scope["type"] == "http" and scope["path"] == self.uploads
        if scope["type"] != "http" or (is_upload and scope["method"] == "PUT"):
            await self.app(scope, receive, send)
            return
        request, pieces = Request(scope, receive), list[bytes]()
        limits = self.limits
        try:
            async for piece in read_counted(request, limits.json_bytes, limits.idle_seconds):
                pieces.append(piece)
            body = b"".join(pieces)
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if body and media != "application/json":
                raise RefusalError(415, "send the body as application/json")  # noqa: TRY301
        except RefusalError as error:
            await answer_error(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        await self.app(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then what else comes."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
