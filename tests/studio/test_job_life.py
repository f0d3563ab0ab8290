"""Jobs from their beginning to their end, as pages see them."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
import torch
from PIL import Image
from served import API, HeldExecutor, make_body

from impasto.cluster.executors import JobExecutor
from impasto.errors import OptionError
from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.images.writing import write_image
from impasto.jobs.task import MadeFile, TaskOutcome, TaskProgress, encode_preview, list_made
from impasto.studio.conversion import convert_picture
from impasto.work import Step


@pytest.fixture
def body(api, photo, picture):
    return make_body(api, photo, picture)


def submit(api, body):
    return api.post(f"{API}/jobs", json=body)


@pytest.fixture
def executor() -> JobExecutor:
    return HeldExecutor(1)


def wait_for(condition):
    for _ in range(500):
        if found := condition():
            return found
        threading.Event().wait(0.02)
    raise AssertionError("it did not come to that")


def read_events(studio, last_id):
    """The events after one, as (kind, facts)."""
    place = studio.services.events.find_place(last_id)
    _, text = studio.services.events._read(place)
    found = []
    for block in text.decode().strip().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_is_seen_to_grow_and_what_it_made_is_there(api, studio, executor, body, photo):
    before = api.get(API).json()["event"]
    id_ = submit(api, body).json()["id"]
    _, _, future = wait_for(lambda: executor.tasks and executor.tasks[0])
    step = Step(3, 4, size=(48, 36), measured={"total": 2.0, "style": float("nan")})
    with Image.open(photo) as image:
        preview = encode_preview(image)
    future.on_message(TaskProgress((step.pack(),), ("a note",), preview, 3))
    job = api.get(f"{API}/jobs/{id_}").json()
    assert (job["state"], job["attempts"], job["turn"]) == ("running", 1, None)
    assert job["progress"]["number"] == 3
    assert job["progress"]["measured"] == {"total": 2.0}
    seen = api.get(job["preview"])
    assert (seen.content, seen.headers["content-type"]) == (preview, "image/webp")
    tag = {"If-None-Match": seen.headers["etag"]}
    assert api.get(job["preview"], headers=tag).status_code == 304
    assert api.get(f"{API}/jobs/{id_}/history").json()["steps"][0]["number"] == 3
    assert api.delete(f"{API}/jobs/{id_}").status_code == 409
    output = studio.services.files.work_folder(id_) / "output"
    (output / "deep").mkdir(parents=True)
    (output / "output.png").write_bytes(photo.read_bytes())
    (output / "deep" / "page.html").write_text("<script>alert(1)</script>")
    (output / ".hidden").write_text("x")
    future.set_result(TaskOutcome(True, 1.0, tuple(list_made(output)), ("another",)))
    job = wait_for(lambda: (j := api.get(f"{API}/jobs/{id_}").json())["state"] == "done" and j)
    assert job["notes"] == ["a note", "another"]
    assert [(r["name"], r["width"]) for r in job["results"]] == [
        ("deep/page.html", 0),
        ("output.png", 64),
    ]
    page, made = (api.get(each["content"]) for each in job["results"])
    assert made.content == photo.read_bytes()
    assert made.headers["content-disposition"].startswith("inline; filename*=utf-8''a%20photo")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    assert api.get(job["results"][1]["thumbnail"]).status_code == 200
    assert api.get(f"{API}/jobs/{id_}/results/../../../secret").status_code == 404
    assert not studio.services.files.work_folder(id_).exists()

    def list_states():
        return [facts["state"] for kind, facts in read_events(studio, before) if kind == "job"]

    wait_for(lambda: list_states()[-1:] == ["done"])  # events are told a moment later
    states = list_states()
    assert states == sorted(states, key=["queued", "running", "done"].index)
    kinds = [kind for kind, _ in read_events(studio, before)]
    assert {"job", "queue", "progress", "preview"} <= set(kinds)
    inputs = {"content": [{"job": id_, "result": "output.png"}], "style": [{"sample": "waves"}]}
    assert submit(api, {**body, "inputs": inputs}).status_code == 202
    inputs = {"folder": [{"job": id_}]}
    assert submit(api, {"operation": "report", "inputs": inputs}).status_code == 202


def test_a_painting_is_handed_out_in_other_formats_with_its_recipe(
    api, studio, executor, body, tmp_path, monkeypatch
):
    def convert(path, suffix):  # here, and not in a process that loads torch first
        return convert_picture(path, suffix)

    monkeypatch.setattr(studio.services.painter, "convert", convert)
    id_ = submit(api, body).json()["id"]
    _, _, future = wait_for(lambda: executor.tasks and executor.tasks[0])
    output = studio.services.files.work_folder(id_) / "output"
    output.mkdir(parents=True)
    pixels = torch.linspace(0, 1, 64).expand(1, 3, 48, 64)
    write_image(output / "output.png", pixels, recipe='version = "é"\n')
    (output / "table.csv").write_text("a,b\n")
    future.set_result(TaskOutcome(True, 1.0, tuple(list_made(output)), ()))
    wait_for(lambda: api.get(f"{API}/jobs/{id_}").json()["state"] == "done")
    at = f"{API}/jobs/{id_}/results"
    whole = api.get(f"{at}/output.png")
    assert api.get(f"{at}/output.png?to=png").content == whole.content
    for to, media in (("tif", "tiff"), ("webp", "webp"), ("jpg", "jpeg")):
        answer = api.get(f"{at}/output.png?to={to}")
        assert answer.headers["content-type"] == f"image/{media}"
        assert answer.headers["content-disposition"].endswith(f".{to}")
        made = tmp_path / f"made.{to}"
        made.write_bytes(answer.content)
        assert read_recipe(made) == 'version = "é"\n'
        far = (read_image(made).pixels - (pixels * 255).round() / 255).abs().mean()
        assert float(far) < (1e-6 if to == "tif" else 0.02)
    assert api.get(f"{at}/output.png?to=gif").status_code == 422
    assert api.get(f"{at}/table.csv?to=png").json() == {"error": "only pictures are converted"}


def test_deleting_deletes_files_previews_and_rows(api, studio, executor, body, photo):
    id_ = submit(api, {**body, "label": "a secret label"}).json()["id"]
    _, _, future = wait_for(lambda: executor.tasks and executor.tasks[0])
    output = studio.services.files.work_folder(id_) / "output"
    output.mkdir(parents=True)
    (output / "output.png").write_bytes(photo.read_bytes() + b"made")
    future.set_result(TaskOutcome(True, 1.0, (MadeFile("output.png", 4, 64, 48),)))
    job = wait_for(lambda: (j := api.get(f"{API}/jobs/{id_}").json())["state"] == "done" and j)
    api.get(job["results"][0]["thumbnail"])
    digest = job["results"][0]["sha256"]
    folder = studio.services.folder
    assert len([path for path in folder.rglob("*") if digest in path.name]) >= 1
    assert api.delete(f"{API}/jobs/{id_}").status_code == 204
    for upload in api.get(f"{API}/uploads").json()["uploads"]:
        api.delete(f"{API}/uploads/{upload['id']}")
    assert not [path for path in folder.rglob("*") if digest in path.name]
    assert not [path for path in (folder / "files").rglob("*") if path.is_file()]
    assert not list((folder / "thumbnails").iterdir())
    assert api.get(f"{API}/jobs/{id_}").status_code == 404
    for path in folder.glob("jobs.sqlite*"):
        assert b"a secret label" not in path.read_bytes()


def test_errors_of_the_work_are_told(api, executor, body):
    id_ = submit(api, body).json()["id"]
    _, _, future = wait_for(lambda: executor.tasks and executor.tasks[0])
    future.set_exception(OptionError("a mask of another size"))
    job = wait_for(lambda: (j := api.get(f"{API}/jobs/{id_}").json())["state"] == "failed" and j)
    assert job["error"] == "a mask of another size"


def test_old_jobs_and_uploads_are_deleted_when_that_is_wished(api, studio, body):
    id_ = submit(api, body).json()["id"]
    api.post(f"{API}/jobs/{id_}/cancel")
    wait_for(lambda: api.get(f"{API}/jobs/{id_}").json()["state"] != "queued")
    services = studio.services
    wait_for(lambda: api.get(f"{API}/jobs/{id_}").json()["state"] == "cancelled")
    assert services.clean() == 0
    services.limits = replace(services.limits, keep_days=1)
    assert services.clean() == 0
    services.limits = replace(services.limits, keep_days=1e-9)
    threading.Event().wait(0.01)
    assert services.clean() == 3
    assert api.get(f"{API}/jobs").json()["jobs"] == []
    assert api.get(f"{API}/uploads").json()["uploads"] == []
