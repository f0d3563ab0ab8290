"""The studio's page: its files, which are in the package, and nothing else."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from impasto.errors import MissingJobError
from impasto.studio.file_answers import is_known

page_file_routes = APIRouter()
FOLDER = Path(str(resources.files("impasto"))) / "studio" / "page"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def list_page_files() -> dict[str, Path]:
    """Return the files of the page by their names in it; no other path is ever opened."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in _MEDIA)
    return {path.relative_to(FOLDER).as_posix(): path for path in found}


@page_file_routes.get("/", include_in_schema=False)
def show_studio(request: Request) -> Response:
    """Send the page itself."""
    return _send(request, "index.html")


@page_file_routes.get("/studio/{name:path}", include_in_schema=False)
def get_page_file(request: Request, name: str) -> Response:
    """Send a module, a style sheet or a picture of the page."""
    return _send(request, name)


def _send(request: Request, name: str) -> Response:
    """Send a file; browsers ask whether it has changed, for a new version may be installed."""
    path = list_page_files().get(name)
    if path is None:
        raise MissingJobError("the page has no such file")
    content = path.read_bytes()
    quoted = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": quoted}
    if is_known(request, quoted):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_MEDIA[path.suffix], headers=headers)
