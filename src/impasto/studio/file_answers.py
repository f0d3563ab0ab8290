"""Files as answers: inert whatever they hold, asked for again only where they changed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse, Response

from impasto.errors import MissingJobError
from impasto.images.inspection import START_BYTES
from impasto.studio.access import INERT
from impasto.studio.views import find_media

_PLAIN = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
_PLAIN |= {".toml": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8"}


def answer_file(request: Request, path: Path, name: str, etag: str) -> Response:
    """Return a kept file under the name that its user knows.

    Pictures and films may be shown; all else is saved, and nothing runs or loads anything.
    """
    headers = make_headers(etag)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        with path.open("rb") as file:
            shown = find_media(file.read(START_BYTES))
    except FileNotFoundError:
        raise MissingJobError("the file was deleted") from None
    media = shown or _PLAIN.get(Path(name).suffix.lower(), "application/octet-stream")
    return FileResponse(
        path,
        media_type=media,
        headers=headers,
        filename=name,
        content_disposition_type="inline" if shown else "attachment",
    )


def answer_bytes(request: Request, content: bytes, media: str, etag: str) -> Response:
    """Return a picture that is held in memory."""
    headers = make_headers(etag)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media, headers=headers)


def answer_converted(content: bytes, media: str, name: str) -> Response:
    """Return a picture that was made for the one who saves it."""
    headers = {
        "Content-Security-Policy": INERT,
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}",
    }
    return Response(content, media_type=media, headers=headers)


def make_headers(etag: str) -> dict[str, str]:
    """Return the headers of content that may be kept, and asked for again each time."""
    return {
        "Content-Security-Policy": INERT,
        "Cache-Control": "private, no-cache",
        "ETag": f'"{etag}"',
    }


def is_known(request: Request, quoted: str) -> bool:
    """Return whether the client has this version already."""
    given = request.headers.get("if-none-match", "")
    return quoted in [each.strip().removeprefix("W/") for each in given.split(",")]
