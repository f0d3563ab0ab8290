"""The plain pages of the server: where it is entered, what it is, and what its API takes."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from impasto.studio.access import ENTRANCE, LINK_SECONDS, Access
from impasto.studio.messages import LimitInfo, LinkInfo, StorageInfo, StudioInfo
from impasto.studio.session import Here
from impasto.studio.uploads import list_kinds
from impasto.studio.views import API

page_routes = APIRouter()
server_routes = APIRouter(tags=["server"])
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">{more}</head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""


def write_page(title: str, body: str, *, more: str = "", status: int = 200) -> HTMLResponse:
    """Return a page of plain HTML; ``body`` is HTML already."""
    return HTMLResponse(_PAGE.format(title=escape(title), body=body, more=more), status)


@page_routes.get(ENTRANCE, include_in_schema=False)
def enter(request: Request, ticket: Annotated[str, Query(max_length=100)] = "") -> Response:
    """Let a browser in by a link that works once."""
    access: Access = request.app.state.access
    if not access.use_link(ticket):
        again = "Links work once. Restart the server, or take one from a browser that is in."
        return write_page("This link does not work any more", f"<p>{again}</p>", status=403)
    # A page of our own, and no redirect: its next request counts as coming from here.
    more = '<meta http-equiv="refresh" content="0; url=/">'
    answer = write_page("Impasto", '<p><a href="/">Go on</a></p>', more=more)
    answer.headers["Set-Cookie"] = access.make_cookie()
    return answer


@page_routes.get(f"{API}/docs", include_in_schema=False)
def show_docs(request: Request) -> Response:
    """Show all routes on one page that loads nothing."""
    schema = request.app.openapi()
    rows = [
        _describe_route(method, path, facts)
        for path, methods in schema["paths"].items()
        for method, facts in methods.items()
    ]
    body = (
        f"<p>All of it, with schemas, is in <a href='{API}/openapi.json'>openapi.json</a>; "
        "docs/api.md has examples.</p><table>" + "".join(rows) + "</table>"
    )
    return write_page("Impasto's API", body)


def _describe_route(method: str, path: str, facts: dict[str, Any]) -> str:
    said = escape(facts.get("description", ""))
    parts = f"<td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
    return f"<tr>{parts}<td>{said}</td></tr>"


# --- the server itself --------------------------------------------------------------------------


@server_routes.get("")
def show_server(request: Request, here: Here) -> StudioInfo:
    """Tell of the server: its version, what it keeps, and what clients may take."""
    from importlib.metadata import version

    from impasto.images.inspection import list_formats

    access: Access = request.app.state.access
    limits = here.limits
    return StudioInfo(
        version=version("impasto"),
        secure=access.is_secure,
        storage=StorageInfo(
            used=here.uploads.count_bytes(), quota=limits.quota, free=here.files.free_bytes()
        ),
        limits=LimitInfo(
            upload_bytes=limits.upload_bytes,
            megapixels=limits.megapixels,
            instant_megapixels=limits.instant_megapixels,
            queue=limits.queue,
            client_queue=limits.client_queue,
            kinds={k: v for k, v in list_formats().items() if k in list_kinds()},
        ),
        counts=here.queue.count(),
        event=here.events.last_id,
    )


@server_routes.post("/links", status_code=201)
def make_link(request: Request) -> LinkInfo:
    """Make a link that lets another browser in once: a telephone, for example."""
    access: Access = request.app.state.access
    host = request.headers["host"]
    return LinkInfo(link=f"{access.scheme}://{host}{access.make_link()}", seconds=LINK_SECONDS)


@server_routes.get("/openapi.json", include_in_schema=False)
def show_schema(request: Request) -> dict[str, Any]:
    """Send the API's description."""
    schema: dict[str, Any] = request.app.openapi()
    return schema
