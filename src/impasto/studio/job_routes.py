"""Jobs over HTTP: asked for, watched, steered, and what they made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from impasto.errors import JobStateError, MissingJobError, OptionError
from impasto.images.inspection import START_BYTES
from impasto.jobs.job import EndedState, Job, JobResult, JobState
from impasto.studio.file_answers import answer_bytes, answer_converted, answer_file, is_known
from impasto.studio.messages import (
    HistoryAnswer,
    Id,
    JobIds,
    JobInfo,
    JobList,
    JobRequest,
    MoveRequest,
)
from impasto.studio.services import LISTED, Services
from impasto.studio.session import ERRORS, FILE_ANSWER, Client, Here
from impasto.studio.sources import find_job_file
from impasto.studio.uploads import answer_thumbnail
from impasto.studio.views import API, find_media, show_step

jobs_routes = APIRouter(prefix="/jobs", tags=["jobs"])
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It has not changed."}}
_Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="The same key is the same job, however often it is sent.",
    ),
]
_FILE = FILE_ANSWER | ERRORS(404, 422)
ResultName = Annotated[str, Path(max_length=500)]
ResultFormat = Annotated[
    Literal["png", "jpg", "webp", "tif"] | None,
    Query(description="A picture's format, if it is to be another; the recipe goes along."),
]


@jobs_routes.post(
    "",
    status_code=202,
    response_model=JobInfo,
    responses=ERRORS(400, 404, 408, 409, 413, 415, 422, 429, 507),
)
async def submit_job(
    here: Here, client: Client, asked: JobRequest, idempotency_key: _Key = None
) -> Response:
    """Accept a job: once this is answered, it will be done, whatever is killed meanwhile."""
    job, is_new = await here.intake.submit(asked, client, idempotency_key)
    if is_new:
        here.changed()
    return _answer_job(here, job, status=202)


def _answer_job(here: Services, job: Job, *, status: int = 200) -> Response:
    shown = here.show(job)
    headers = {"Location": f"{API}/jobs/{job.id}", "ETag": _tag(shown)}
    return JSONResponse(shown.model_dump(mode="json"), status, headers)


def _tag(shown: JobInfo) -> str:
    """Return what changes with all that is told of a job."""
    step = shown.progress.number if shown.progress else 0
    return f'"{shown.version}-{step}-{shown.preview_step}"'


@jobs_routes.get("", response_model=JobList, responses=_UNCHANGED | ERRORS(404, 422))
def list_jobs(
    request: Request,
    here: Here,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    most: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[Id | None, Query(description="The last job of an earlier page.")] = None,
) -> Response:
    """List jobs, the newest first, and say after which event they are as they are told here."""
    event = here.events.last_id  # before looking: what is told twice does no harm
    found = here.queue.list_jobs(state or (), most=most + 1, before=before)
    turns = {job: turn for turn, job in enumerate(here.queue.list_queue(), 1)}
    jobs = [here.show(job, turns.get(job.id), LISTED) for job in found[:most]]
    more = found[most - 1].id if len(found) > most else None
    tag = f'"{here.queue.store_version()}-{event}"'
    if is_known(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    answer = JobList(jobs=jobs, more=more, counts=here.queue.count(), event=event)
    return JSONResponse(answer.model_dump(mode="json"), headers={"ETag": tag})


@jobs_routes.get("/{job}", response_model=JobInfo, responses=_UNCHANGED | ERRORS(404, 422))
def get_job(request: Request, here: Here, job: Id) -> Response:
    """Tell of one job."""
    found = here.queue.get(job)
    turns = here.queue.list_queue() if found.state == "queued" else []
    shown = here.show(found, turns.index(job) + 1 if job in turns else None)
    headers = {"ETag": _tag(shown)}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return JSONResponse(shown.model_dump(mode="json"), headers=headers)


@jobs_routes.delete("/{job}", status_code=204, responses=ERRORS(404, 409, 422))
def delete_job(here: Here, job: Id) -> Response:
    """Delete a job with its files, previews and losses; one that runs is cancelled first."""
    here.delete_job(job)
    return Response(status_code=204)


# --- steering -----------------------------------------------------------------------------------


@jobs_routes.post("/{job}/cancel", response_model=JobInfo, responses=ERRORS(404, 409, 422))
def cancel_job(here: Here, job: Id) -> Response:
    """Cancel a job: at once if it waits, else where nothing is half done."""
    found = here.queue.ask(job, "cancel")
    here.changed()
    return _answer_job(here, found)


@jobs_routes.post("/{job}/pause", response_model=JobInfo, responses=ERRORS(404, 409, 422))
def pause_job(here: Here, job: Id) -> Response:
    """Let a job wait; what it has done stays."""
    found = here.queue.ask(job, "pause")
    here.changed()
    return _answer_job(here, found)


@jobs_routes.post("/{job}/resume", response_model=JobInfo, responses=ERRORS(404, 409, 422))
def resume_job(here: Here, job: Id) -> Response:
    """Let a paused job go on where it was."""
    found = here.queue.resume(job)
    here.changed()
    return _answer_job(here, found)


@jobs_routes.post(
    "/{job}/again", status_code=202, response_model=JobInfo, responses=ERRORS(404, 422, 429, 507)
)
def run_job_again(here: Here, client: Client, job: Id) -> Response:
    """Accept the same job anew; a failed or cancelled one is done from its beginning."""
    found = here.queue.run_again(job, client=client)
    here.changed()
    return _answer_job(here, found, status=202)


@jobs_routes.post(
    "/{job}/move", response_model=JobInfo, responses=ERRORS(400, 404, 408, 409, 413, 415, 422)
)
def move_job(here: Here, job: Id, asked: MoveRequest) -> Response:
    """Put a job that waits before another of the same client, or at the end."""
    found = here.queue.move(job, asked.before)
    here.changed()
    return _answer_job(here, found)


@jobs_routes.post("/{job}/only", responses=ERRORS(404, 422))
def cancel_other_jobs(here: Here, job: Id) -> JobIds:
    """Cancel all jobs that wait or run, but for this one; tell which."""
    cancelled = here.queue.cancel_others(job)
    here.changed()
    return JobIds(jobs=cancelled)


@jobs_routes.put("/{job}/favourite", response_model=JobInfo, responses=ERRORS(404, 422))
def mark_favourite(here: Here, job: Id) -> Response:
    """Mark a job as a favourite."""
    return _mark(here, job, True)


@jobs_routes.delete("/{job}/favourite", response_model=JobInfo, responses=ERRORS(404, 422))
def unmark_favourite(here: Here, job: Id) -> Response:
    """Take the mark of a favourite away."""
    return _mark(here, job, False)


def _mark(here: Services, job: str, is_favourite: bool) -> Response:
    found = here.queue.mark_favourite(job, is_favourite)
    here.look()
    return _answer_job(here, found)


# --- what comes of them -------------------------------------------------------------------------


@jobs_routes.get("/{job}/history", responses=ERRORS(404, 422))
def get_history(here: Here, job: Id) -> HistoryAnswer:
    """Tell what was measured at each step."""
    here.queue.get(job)
    active = here.runner.find(job)
    new = [] if active is None else list(active.steps)  # first: then they go to the store
    steps = {step["number"]: step for step in [*here.queue.list_steps(job), *new]}
    return HistoryAnswer(steps=[show_step(steps[number]) for number in sorted(steps)])


@jobs_routes.get("/{job}/preview", responses=_FILE)
def get_preview(request: Request, here: Here, job: Id) -> Response:
    """Send the picture as it stands, a WebP; its ETag is the step."""
    active = here.runner.find(job)
    if active is None or active.preview is None:
        here.queue.get(job)
        raise MissingJobError("there is nothing to see of this job at the moment")
    tag = f"{job}-{active.preview_step}"
    return answer_bytes(request, active.preview, "image/webp", tag)


@jobs_routes.get("/{job}/results/{name:path}", responses=_FILE | ERRORS(503))
def get_result(
    request: Request, here: Here, job: Id, name: ResultName, to: ResultFormat = None
) -> Response:
    """Send a file that a job made."""
    found = _find_result(here, job, name)
    name = _name_result(here, found, job)
    stem, _, suffix = name.rpartition(".")
    if to is not None and (to != suffix or not found.width):
        if not found.width:
            raise OptionError("only pictures are converted")
        content = here.painter.convert(here.files.path(found.digest), f".{to}")
        return answer_converted(content, find_media(content[:START_BYTES]) or "", f"{stem}.{to}")
    return answer_file(request, here.files.path(found.digest), name, found.digest)


@jobs_routes.get("/{job}/thumbnails/{name:path}", responses=_FILE)
def get_result_thumbnail(request: Request, here: Here, job: Id, name: ResultName) -> Response:
    """Send the small version of a picture that a job made, a WebP."""
    return answer_thumbnail(request, here, _find_result(here, job, name).digest)


def _find_result(here: Services, job: str, name: str) -> JobResult:
    found = [each for each in here.queue.get(job).results if each.name == name]
    if not found:
        raise MissingJobError("the job has no such result")
    return found[0]


def _name_result(here: Services, result: JobResult, job: str) -> str:
    """Return what a result is called when it is saved: after what it was made from."""
    parts = result.name.rpartition("/")
    stem, dot, suffix = parts[2].rpartition(".")
    if stem != "output":
        return parts[2]
    inputs = here.queue.get(job).order.inputs
    names = [each.name.rpartition(".")[0] or each.name for one in inputs.values() for each in one]
    return f"{'-'.join(names)[:120] or stem}{dot}{suffix}"


@jobs_routes.get("/{job}/inputs/{name}/{number}/content", responses=_FILE)
def get_input(
    request: Request, here: Here, job: Id, name: str, number: Annotated[int, Path(ge=0, le=9999)]
) -> Response:
    """Send a file that a job is made from."""
    found = find_job_file(here.queue.get(job), name, number)
    digest = str(found.digest)
    return answer_file(request, here.files.path(digest), found.name, digest)


@jobs_routes.get(
    "/{job}/inputs/{name}/{number}/thumbnail", responses=FILE_ANSWER | ERRORS(404, 422)
)
def get_input_thumbnail(
    request: Request, here: Here, job: Id, name: str, number: Annotated[int, Path(ge=0, le=9999)]
) -> Response:
    """Send the small version of a picture that a job is made from, a WebP."""
    return answer_thumbnail(
        request, here, str(find_job_file(here.queue.get(job), name, number).digest)
    )


@jobs_routes.delete("", responses=ERRORS(422))
def delete_jobs(
    here: Here,
    state: Annotated[list[EndedState], Query(min_length=1, description="How they ended.")],
) -> JobIds:
    """Delete all jobs that have ended so: done, failed or cancelled; tell which."""
    deleted = []
    for job in here.queue.list_jobs(state):
        try:
            here.delete_job(job.id)
        except (JobStateError, MissingJobError):
            continue  # somebody else was faster
        deleted.append(job.id)
    return JobIds(jobs=deleted)
