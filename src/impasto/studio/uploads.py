"""Uploads: bytes that are counted as they come, looked into by a process of little means, kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from impasto.errors import MissingJobError
from impasto.images.inspection import START_BYTES, FileFacts, recognise_format
from impasto.jobs.file_store import IncomingFile
from impasto.jobs.job import Upload
from impasto.jobs.task import clean_name
from impasto.operations import DEFAULT_OPERATION, OPERATIONS, find_operation
from impasto.recipes import parse_picture_recipe
from impasto.studio.file_answers import answer_file
from impasto.studio.limits import RefusalError, read_counted
from impasto.studio.messages import Id, RecipeInput, UploadInfo, UploadPage, UploadRecipe
from impasto.studio.services import Services
from impasto.studio.session import ERRORS, FILE_ANSWER, Here
from impasto.studio.views import show_upload

upload_routes = APIRouter(prefix="/uploads", tags=["uploads"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file's bytes as they are.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_TYPES = ("application/octet-stream", "image/", "video/")


def list_kinds() -> set[str]:
    """Return the kinds of files that any operation takes."""
    inputs = {each.kind for one in OPERATIONS.values() for each in one.inputs}
    marks = {m.kind for one in OPERATIONS.values() for m in one.options.file_marks().values()}
    return inputs | marks


@contextmanager
def _taking_part(here: Services) -> Iterator[None]:
    """Count who uploads at the moment; refuse more than may."""
    if here.uploading >= here.limits.uploads_at_once:
        raise RefusalError(429, "too many uploads at once; try again", retry=2)
    here.uploading += 1
    try:
        yield
    finally:
        here.uploading -= 1


@upload_routes.put("", responses=ERRORS(400, 408, 413, 415, 422, 429, 507), openapi_extra=_BODY)
async def upload_file(
    request: Request,
    here: Here,
    name: Annotated[str, Query(min_length=1, max_length=200, description="The file's name.")],
) -> UploadInfo:
    """Keep a picture, a film or a model. The same file under the same name is one upload."""
    media = request.headers.get("content-type", "").lower()
    if not media.startswith(_TYPES):
        raise RefusalError(415, f"send the file's bytes as they are, as {_TYPES[0]}")
    with _taking_part(here), here.files.receive() as incoming:
        said = request.headers.get("content-length", "")
        here.check_room(int(said) if said.isdigit() and len(said) < 16 else 0)
        await _receive(request, here, incoming)
        return show_upload(await run_in_threadpool(_keep, here, incoming, clean_name(name)))


async def _receive(request: Request, here: Services, incoming: IncomingFile) -> None:
    """Write a body down, as long as it may be of a kind that is taken."""
    start = b""
    limits = here.limits
    async for piece in read_counted(request, limits.upload_bytes, limits.idle_seconds):
        if len(start) < START_BYTES:
            start += piece[:START_BYTES]
            if len(start) >= START_BYTES:
                _check_start(start)
        incoming.write(piece)
    _check_start(start)


def _check_start(start: bytes) -> None:
    found = recognise_format(start)
    if found is None or found[0] not in list_kinds():
        raise RefusalError(415, "the file is no picture, film or model of a kind that is read")


def _keep(here: Services, incoming: IncomingFile, name: str) -> Upload:
    """Look into a file that has come, give it its place, and accept it."""
    here.check_room(incoming.size)
    facts = here.inspector.inspect(incoming.path)
    with here.files.turn:
        digest = here.files.keep(incoming)
        if facts.thumbnail is not None:
            here.keep_thumbnail(digest, facts.thumbnail)
        return here.uploads.add(name, digest, incoming.size, facts.kind, _pack_facts(facts))


def _pack_facts(facts: FileFacts) -> dict[str, Any]:
    recipe = facts.recipe if facts.recipe and len(facts.recipe) <= 1 << 20 else None
    return {
        "format": facts.format,
        "width": facts.width,
        "height": facts.height,
        "recipe": recipe,
        "styles": facts.styles,
        "seconds": facts.seconds,
    }


@upload_routes.get("", responses=ERRORS(404, 422))
def list_uploads(
    here: Here,
    most: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[Id | None, Query(description="The last upload of an earlier page.")] = None,
) -> UploadPage:
    """List uploads, the newest first."""
    found = here.uploads.list_uploads(most=most + 1, before=before)
    more = found[most - 1].id if len(found) > most else None
    return UploadPage(uploads=[show_upload(each) for each in found[:most]], more=more)


@upload_routes.get("/{upload}", responses=ERRORS(404, 422))
def get_upload(here: Here, upload: Id) -> UploadInfo:
    """Tell of one upload."""
    return show_upload(here.uploads.get(upload))


@upload_routes.delete("/{upload}", status_code=204, responses=ERRORS(404, 409, 422))
def delete_upload(here: Here, upload: Id) -> Response:
    """Delete an upload; its file stays as long as a job has it."""
    here.delete_upload(upload)
    return Response(status_code=204)


@upload_routes.get("/{upload}/content", responses=FILE_ANSWER | ERRORS(404, 422))
def get_upload_content(request: Request, here: Here, upload: Id) -> Response:
    """Send an upload's bytes."""
    found = here.uploads.get(upload)
    return answer_file(request, here.files.path(found.digest), found.name, found.digest)


@upload_routes.get("/{upload}/thumbnail", responses=FILE_ANSWER | ERRORS(404, 422))
def get_upload_thumbnail(request: Request, here: Here, upload: Id) -> Response:
    """Send a picture's small version, a WebP."""
    found = here.uploads.get(upload)
    return answer_thumbnail(request, here, found.digest)


def answer_thumbnail(request: Request, here: Services, digest: str) -> Response:
    """Return the small version of a kept picture."""
    path = here.find_thumbnail(digest)
    if path is None:
        raise MissingJobError("there is no small version of this")
    return answer_file(request, path, "thumbnail.webp", f"small-{digest}")


@upload_routes.get("/{upload}/recipe", responses=ERRORS(404, 422))
def get_upload_recipe(here: Here, upload: Id) -> UploadRecipe:
    """Tell the recipe that a painting carries, and which uploads it was made from."""
    found = here.uploads.get(upload)
    if found.facts["recipe"] is None:
        raise MissingJobError(f"{found.name!r} carries no recipe")
    painted = parse_picture_recipe(found.facts["recipe"], found.name)
    maker = painted.operation or DEFAULT_OPERATION
    options = find_operation(maker).options.read(painted.options)
    changed = options.changed()
    inputs = {
        kind: [
            _find_input(here, name, painted.find_digest(kind, n)) for n, name in enumerate(names)
        ]
        for kind, names in painted.inputs.items()
    }
    files = {name: list(names) for name, names in options.files().items()}
    return UploadRecipe(
        operation=maker,
        options={name: value for name, value in changed.items() if name not in files},
        files=files,
        inputs=inputs,
        version=painted.version,
    )


def _find_input(here: Services, name: str, digest: str | None) -> RecipeInput:
    same = here.uploads.find_by_start(digest) if digest else []
    return RecipeInput(name=name, digest=digest, upload=same[0].id if same else None)
