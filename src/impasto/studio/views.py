"""What clients see of jobs and uploads: their facts, and addresses instead of paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from impasto.images.inspection import recognise_format
from impasto.jobs.job import Job, JobInput, JobResult, Upload
from impasto.jobs.runner import ActiveJob
from impasto.studio.messages import InputInfo, JobInfo, ResultInfo, StepInfo, UploadInfo

API = "/api/v1"


def show_upload(upload: Upload) -> UploadInfo:
    """Return what is told of an upload."""
    at, facts = f"{API}/uploads/{upload.id}", upload.facts
    return UploadInfo(
        id=upload.id,
        name=upload.name,
        kind=upload.kind,
        format=facts["format"],
        size=upload.size,
        sha256=upload.digest,
        width=facts["width"],
        height=facts["height"],
        seconds=facts.get("seconds"),
        has_recipe=facts["recipe"] is not None,
        styles=facts["styles"],
        created=upload.created,
        content=f"{at}/content",
        thumbnail=f"{at}/thumbnail" if facts["width"] else None,
    )


def show_step(packed: Mapping[str, Any]) -> StepInfo:
    """Return what is told of a step."""
    measured = {k: v for k, v in packed["measured"].items() if v == v and abs(v) != float("inf")}
    return StepInfo(
        number=packed["number"],
        steps=packed["steps"],
        text=packed["text"],
        size=tuple(packed["size"]),
        seconds=packed["seconds"],
        measured=measured,
    )


def show_job(
    job: Job, active: ActiveJob | None, turn: int | None = None, most: int | None = None
) -> JobInfo:
    """Return what is told of a job, and of the last step that it took, if it is worked on.

    ``most`` is how many of its results are told.
    """
    at = f"{API}/jobs/{job.id}"
    progress = (active.progress if active else None) or job.progress
    has_preview = active is not None and active.preview is not None
    return JobInfo(
        id=job.id,
        operation=job.order.operation,
        state=job.state,
        label=job.label,
        inputs={
            name: [show_input(each, f"{at}/inputs/{name}/{n}") for n, each in enumerate(values)]
            for name, values in job.order.inputs.items()
        },
        options={**job.order.options, **_name_files(job)},
        format=job.order.picture.removeprefix("."),
        wish=job.wish,
        turn=turn,
        attempts=job.attempts,
        created=job.created,
        started=job.started,
        ended=job.ended,
        seconds=job.seconds,
        progress=show_step(progress) if progress else None,
        notes=list(job.notes),
        error=job.error,
        preview=f"{at}/preview" if has_preview else None,
        preview_step=active.preview_step if active else 0,
        results=[_show_result(each, at) for each in job.results[:most]],
        result_count=len(job.results),
        favourite=job.is_favourite,
        version=job.version,
    )


def _name_files(job: Job) -> dict[str, Any]:
    """Return the options that name files, with the files' names."""
    named = {name: [each.name for each in values] for name, values in job.order.files.items()}
    options = job.order.options
    return {name: names if options[name] == [] else names[0] for name, names in named.items()}


def show_input(given: JobInput, at: str) -> InputInfo:
    """Return what is told of a value of an input."""
    is_file = given.digest is not None
    return InputInfo(
        name=given.name,
        content=f"{at}/content" if is_file else None,
        thumbnail=f"{at}/thumbnail" if is_file else None,
        files=len(given.members),
        sha256=given.digest,
    )


def _show_result(result: JobResult, at: str) -> ResultInfo:
    path = f"{at}/results/{quote(result.name)}"
    return ResultInfo(
        name=result.name,
        size=result.size,
        sha256=result.digest,
        width=result.width,
        height=result.height,
        content=path,
        thumbnail=f"{at}/thumbnails/{quote(result.name)}" if result.width else None,
    )


_MEDIA = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "avif": "image/avif",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


def find_media(start: bytes) -> str | None:
    """Return the type of a file that a browser may show; None for all that is only handed over."""
    found = recognise_format(start)
    return _MEDIA.get(found[1]) if found else None
