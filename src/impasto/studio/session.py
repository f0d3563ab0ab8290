"""What every route has: the services, who asks, and how its answers are described."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends
from fastapi.requests import HTTPConnection

from impasto.studio.messages import ErrorAnswer
from impasto.studio.services import Services

_ABOUT = {
    400: "The request cannot be read.",
    401: "Neither token nor cookie.",
    403: "It comes from another page, or to another host.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    415: "The body's type is not taken.",
    422: "Something in the request is wrong.",
    429: "Too much at once; Retry-After says when to try again.",
    501: "A library that it needs is not installed.",
    503: "The process that does it died; try again.",
    507: "There is no room to keep it.",
}
_Answers = dict[int | str, dict[str, Any]]


def ERRORS(*statuses: int) -> _Answers:  # noqa: N802  (it stands for a constant)
    """Return the description of errors that a route may answer with."""
    return {each: {"model": ErrorAnswer, "description": _ABOUT[each]} for each in statuses}


FILE_ANSWER: _Answers = {
    200: {
        "description": "The bytes.",
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for media in ("application/octet-stream", "image/*", "video/*", "text/*")
        },
    },
    206: {"description": "A part of the bytes."},
    304: {"description": "The client has it already."},
    416: {"description": "There is no such part."},
}


async def find_services(connection: HTTPConnection) -> Services:
    """Return the services behind the application."""
    return cast("Services", connection.app.state.services)


async def find_client(connection: HTTPConnection) -> str:
    """Return who asks: each browser is a client of its own."""
    return cast("str", connection.state.client)


Here = Annotated[Services, Depends(find_services)]
Client = Annotated[str, Depends(find_client)]
