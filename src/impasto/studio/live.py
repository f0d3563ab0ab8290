"""What is waited for: events as they happen, one pass over a picture, and a camera's pictures."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from impasto.errors import ImpastoError
from impasto.instant.options import InstantOptions
from impasto.options import describe_error
from impasto.studio.instant_painter import InstantTask
from impasto.studio.limits import RefusalError
from impasto.studio.messages import (
    InstantRequest,
    LiveSettings,
    RegionsAnswer,
    RegionsRequest,
    WordSource,
)
from impasto.studio.region_finder import RegionsTask
from impasto.studio.services import Services
from impasto.studio.session import ERRORS, Here

live_routes = APIRouter(tags=["live"])
MOST_FRAME_BYTES = 2 << 20
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "job, queue, progress, preview, deleted and reset events, as they happen.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The painted picture.",
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for media in ("image/jpeg", "image/png", "image/webp")
        },
    }
}
_MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


# --- events -------------------------------------------------------------------------------------


@live_routes.get("/events", responses=_EVENTS | ERRORS(422, 429), response_class=StreamingResponse)
async def follow_events(
    here: Here,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    after: Annotated[
        str | None, Query(max_length=100, description="The same, for the first time.")
    ] = None,
) -> Response:
    """Follow what happens, from an event on; ``reset`` says to look at everything anew."""
    if here.events.readers >= here.limits.event_readers:
        raise RefusalError(429, "too many pages follow the events already", retry=10)
    events = here.events.follow(last_event_id or after, lambda: {"counts": here.queue.count()})
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


# --- one pass -----------------------------------------------------------------------------------


@live_routes.post(
    "/instant",
    responses=_PICTURE | ERRORS(400, 404, 408, 409, 413, 415, 422, 429, 503, 507),
    response_class=Response,
)
async def paint_at_once(request: Request, here: Here, asked: InstantRequest) -> Response:
    """Paint a small picture in one pass, and send it; larger ones are jobs.

    Who moves a slider gives up the last request, whose turn is then passed over.
    """
    task = await run_in_threadpool(make_instant_task, here, asked)
    waiting = asyncio.create_task(_wait_until_left(request))
    try:
        done = await run_in_threadpool(here.painter.paint, task, lambda: not waiting.done())
    finally:
        waiting.cancel()
    headers = {"Server-Timing": f"paint;dur={1000 * done.seconds:.0f}"}
    return Response(done.content, media_type=_MEDIA[asked.format], headers=headers)


@live_routes.post(
    "/regions", responses=ERRORS(400, 404, 408, 409, 413, 415, 422, 429, 501, 503, 507)
)
def tell_regions(here: Here, asked: RegionsRequest) -> RegionsAnswer:
    """Find the regions of two pictures, as relighting does: the option 'pair' names them."""
    content, like = (here.sources.find_file(each) for each in (asked.content, asked.like))
    for each, where in ((content, "content"), (like, "like")):
        here.sources.check_kind(each, "picture", where)
    options = {"regions": asked.regions}
    task = RegionsTask(here.name_file(content), here.name_file(like), options)
    return here.painter.find_regions(task)


async def _wait_until_left(request: Request) -> None:
    """Return when who asked is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_instant_task(here: Services, asked: InstantRequest) -> InstantTask:
    """Return a picture that is asked for, as the process that paints takes it."""
    content = here.sources.find_file(asked.content)
    return InstantTask(
        here.name_file(content),
        _name_styles(here, asked),
        _place_options(here, asked.options),
        asked.format,
        int(here.limits.instant_megapixels * 1e6),
    )


def _name_styles(here: Services, asked: InstantRequest | LiveSettings) -> tuple[str, ...]:
    return tuple(
        here.sources.find_word(each).name
        if isinstance(each, WordSource)
        else here.name_file(here.sources.find_file(each))
        for each in asked.style
    )


def _place_options(here: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Return checked options, with the paths of files that they name."""
    options, files = here.sources.split_options(InstantOptions, given)
    for name, values in files.items():
        paths = [here.name_file(each) for each in values]
        options[name] = paths if isinstance(options[name], list) else paths[0]
    return options


# --- a camera -----------------------------------------------------------------------------------


@live_routes.websocket("/live")
async def paint_camera(socket: WebSocket) -> None:
    """Paint a camera's pictures.

    A page sends its settings as JSON, and pictures as JPEG or WebP; each is answered by one, or by
    JSON that says what was wrong. A picture that comes while another is painted takes the place of
    one that waits.
    """
    here: Services = socket.app.state.services
    await socket.accept()
    camera = _Camera(here, socket)
    painting = asyncio.create_task(camera.paint())
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await camera.take(message)
    except (WebSocketDisconnect, RuntimeError):
        return  # it was closed as it was answered
    finally:
        painting.cancel()


class _Camera:
    """One page's camera: its settings, and the last picture that came."""

    def __init__(self, here: Services, socket: WebSocket) -> None:
        self.here, self.socket = here, socket
        self.settings: LiveSettings | None = None
        self.styles: tuple[str, ...] = ()
        self.options: dict[str, Any] = {}
        self.frame: bytes | None = None
        self.came = asyncio.Event()

    async def take(self, message: Any) -> None:
        """Take in new settings, or a picture."""
        if (text := message.get("text")) is not None:
            try:
                await run_in_threadpool(self._set, text)
            except ImpastoError as error:
                await self._refuse(str(error))
            return
        frame = message.get("bytes") or b""
        if self.settings is None:
            await self._refuse("send the settings first")
        elif not frame or len(frame) > MOST_FRAME_BYTES:
            await self._refuse(f"a picture has from 1 to {MOST_FRAME_BYTES} bytes")
        else:
            self.frame = frame
            self.came.set()

    def _set(self, text: str) -> None:
        try:
            asked = LiveSettings.model_validate_json(text)
        except ValidationError as error:
            names = list(LiveSettings.model_fields)
            raise RefusalError(422, describe_error(error, names)) from None
        self.styles = _name_styles(self.here, asked)
        self.options = _place_options(self.here, asked.options)
        self.settings = asked

    async def _refuse(self, why: str) -> None:
        await self.socket.send_text(json.dumps({"error": why}))

    async def paint(self) -> None:
        """Paint the last picture that came, again and again."""
        while True:
            await self.came.wait()
            self.came.clear()
            if self.frame is None or self.settings is None:
                continue
            most = int(self.here.limits.instant_megapixels * 1e6)
            task = InstantTask(self.frame, self.styles, self.options, self.settings.format, most)
            try:
                done = await run_in_threadpool(self.here.painter.paint, task)
            except ImpastoError as error:
                await self._refuse(str(error))
                continue
            await self.socket.send_bytes(done.content)
