"""Jobs over HTTP, as far as no painting is needed for it."""

from __future__ import annotations

import threading

import pytest
from served import API, HeldExecutor, Studio, make_body, send_file

from impasto.operations import OPERATIONS
from impasto.studio.limits import StudioLimits
from impasto.studio.services import serving


@pytest.fixture
def body(api, photo, picture):
    return make_body(api, photo, picture)


def submit(api, body, **headers):
    return api.post(f"{API}/jobs", json=body, headers=headers)


def test_a_job_is_accepted_and_told(api, body, photo):
    answer = submit(api, body)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{API}/jobs/{job['id']}"
    assert (job["state"], job["operation"]) == ("queued", "paint")
    assert job["options"] == body["options"]
    assert api.get(job["inputs"]["content"][0]["content"]).content == photo.read_bytes()
    assert api.get(job["inputs"]["style"][0]["thumbnail"]).status_code == 200
    known = api.get(f"{API}/jobs/{job['id']}")
    assert known.json() == {**job, "turn": 1}
    tag = known.headers["etag"]
    assert api.get(f"{API}/jobs/{job['id']}", headers={"If-None-Match": tag}).status_code == 304
    listed = api.get(f"{API}/jobs")
    assert [each["id"] for each in listed.json()["jobs"]] == [job["id"]]
    tag = listed.headers["etag"]
    assert api.get(f"{API}/jobs", headers={"If-None-Match": tag}).status_code == 304
    api.post(f"{API}/jobs/{job['id']}/pause")
    assert api.get(f"{API}/jobs", headers={"If-None-Match": tag}).status_code == 200


def test_a_favourite_is_marked_for_every_browser(api, studio, body):
    id_ = submit(api, body).json()["id"]
    assert api.put(f"{API}/jobs/{id_}/favourite").json()["favourite"] is True
    other = studio.client().get(f"{API}/jobs").json()["jobs"]
    assert [each["favourite"] for each in other] == [True]
    assert api.delete(f"{API}/jobs/{id_}/favourite").json()["favourite"] is False
    assert api.put(f"{API}/jobs/{'0' * 20}/favourite").status_code == 404


def test_a_folder_that_a_job_is_made_from_is_there_for_another(api, photo):
    files = {f"{name}.png": {"upload": send_file(api, photo)} for name in ("a", "b")}
    order = {"operation": "report", "inputs": {"folder": [{"files": files}]}}
    job = submit(api, order).json()
    order["inputs"] = {"folder": [{"job": job["id"], "input": "folder", "number": 0}]}
    again = submit(api, order).json()
    assert [each["files"] for each in again["inputs"]["folder"]] == [2]
    order["inputs"] = {"folder": [{"job": job["id"], "input": "folder", "number": 1}]}
    assert submit(api, order).json() == {"error": "the job has no such folder"}


def test_a_sample_is_known_again_by_its_digest(api, body):
    body["inputs"]["style"] = [{"sample": "waves"}]
    given = submit(api, body).json()["inputs"]["style"][0]["sha256"]
    styles = api.get(f"{API}/styles").json()["styles"]
    assert [each["name"] for each in styles if each["sha256"] == given] == ["waves"]


def test_what_a_job_is_made_from_is_there_for_another(api, body, photo, picture):
    body["options"]["mask"] = {"upload": send_file(api, photo)}
    job = submit(api, body).json()
    at = f"{API}/jobs/{job['id']}/inputs"
    assert api.get(f"{at}/mask/0/content").content == photo.read_bytes()
    assert api.get(f"{at}/mask/1/content").status_code == 404
    for upload in api.get(f"{API}/uploads").json()["uploads"]:
        api.delete(f"{API}/uploads/{upload['id']}")
    files = {each: {"job": job["id"], "input": each} for each in ("content", "style", "mask")}
    again = {
        "operation": "paint",
        "inputs": {each: [files[each]] for each in ("content", "style")},
        "options": {**body["options"], "mask": files["mask"]},
    }
    other = submit(api, again).json()
    assert other["options"] == job["options"]
    content = api.get(other["inputs"]["style"][0]["content"]).content
    assert content == picture.read_bytes()
    again["inputs"]["content"][0]["number"] = 1
    assert submit(api, again).status_code == 404


def test_the_same_key_is_the_same_job(api, body):
    first = submit(api, body, **{"Idempotency-Key": "k"}).json()
    assert submit(api, body, **{"Idempotency-Key": "k"}).json()["id"] == first["id"]
    assert submit(api, body).json()["id"] != first["id"]
    other = {**body, "options": {"size": 64}}
    assert submit(api, other, **{"Idempotency-Key": "k"}).status_code == 409


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"operation": "pant"}, 422, "unknown operation 'pant'; did you mean 'paint'?"),
        ({"inputs": {}}, 422, "content is missing: the photograph"),
        ({"options": {"step": 3}}, 422, "unknown option 'step'; did you mean 'steps'?"),
        ({"options": {"steps": -1}}, 422, "steps: -1 is wrong"),
        ({"recipe": "drift"}, 422, "unknown recipe 'drift'; did you mean 'draft'?"),
        ({"recipe": "/etc/passwd"}, 422, "unknown recipe"),
        ({"recipe": "../recipes/draft.toml"}, 422, "unknown recipe"),
        ({"more": 1}, 422, "more: extra inputs are not permitted"),
        ({"format": "svg"}, 422, "format: "),
        ({"options": {"mask": "/etc/passwd"}}, 422, "mask: give a file as {'upload': ID}"),
        ({"options": {"mask": "mask.png"}}, 422, "mask: give a file as {'upload': ID}"),
        ({"options": {"init": "../x.png"}}, 422, "init: give a file as {'upload': ID}, or content"),
        ({"options": {"style_mask": ["a.png"]}}, 422, "style_mask: give a file as"),
        ({"options": {"mask": {"upload": "0" * 20}}}, 404, "unknown upload"),
        ({"options": {"mask": {"upload": "../../../etc"}}}, 422, "mask: give a file as"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(api, body, change, status, error):
    answer = submit(api, {**body, **change})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(error)
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "source",
    [
        {"name": "/etc/passwd"},
        {"name": "monet"},
        {"upload": "0" * 20},
        {"sample": "../samples/waves"},
        {"sample": "nothing"},
        {"job": "0" * 20, "result": "output.png"},
        {"job": "0" * 20, "result": "../../secret"},
        {"path": "/etc/passwd"},
        {"url": "http://127.0.0.1:8765/"},
        "http://evil.example/a.png",
        {"files": {"../a.png": {"sample": "waves"}}},
    ],
)
def test_inputs_are_no_paths_and_no_addresses(api, body, source):
    body["inputs"]["content"] = [source]
    assert submit(api, body).status_code in (404, 422)


def test_words_are_no_paths(api, body):
    body |= {"operation": "instant", "options": {"model": "painters"}}
    body["inputs"]["style"] = [{"name": "monet"}]
    assert submit(api, body).status_code == 202
    for word in ("../monet", "/etc/passwd", ".ssh", "a/b", "a\\b", "a\0b", "~root"):
        body["inputs"]["style"] = [{"name": word}]
        assert submit(api, body).status_code == 422


def test_options_that_would_read_other_files_are_refused(api, body):
    body["operation"] = "sweep"
    for vary in ("init=/etc/passwd,noise", "mask=/etc/passwd", "style-mask=a.png+/etc/b"):
        answer = submit(api, {**body, "options": {"vary": [vary]}})
        assert answer.status_code == 422
        assert "an option names a file" in answer.json()["error"]
    assert submit(api, {**body, "options": {"vary": ["init=noise,content"]}}).status_code == 202
    body["operation"] = "tune"
    answer = submit(api, {**body, "options": {"search": ["init=/etc/passwd,noise"]}})
    assert answer.status_code == 422


def test_a_file_of_another_kind_is_refused(api, body, photo):
    body["operation"], body["options"] = "instant", {"model": {"upload": send_file(api, photo)}}
    answer = submit(api, body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "model takes a model; 'a photo.png' is none"


def test_options_take_files_and_tell_their_names(api, body, photo):
    mask = {"upload": send_file(api, photo)}
    body["options"] = {"mask": mask, "style_mask": [mask], "init": "noise"}
    job = submit(api, body).json()
    assert job["options"] == {"mask": photo.name, "style_mask": [photo.name], "init": "noise"}


def test_recipes_come_before_options(api, body):
    recipe = api.get(f"{API}/recipes/draft").json()
    job = submit(api, {**body, "recipe": "draft", "options": {"size": 64}}).json()
    assert job["options"] == {**recipe["options"], "size": 64}


def test_folders_are_made_of_files(api, photo):
    file = {"upload": send_file(api, photo)}
    inputs = {"source": [{"files": {"cats/1.png": file, "dogs/1.png": {"sample": "waves"}}}]}
    body = {"operation": "augment", "inputs": inputs}
    job = submit(api, body).json()
    assert job["inputs"]["source"][0]["files"] == 2
    for path in ("/a.png", "../a.png", "a/../../b.png", "a//b.png", ".git/x", "a\\b.png", ""):
        inputs["source"] = [{"files": {path: file}}]
        assert submit(api, body).status_code == 422


def test_films_may_be_pictures_or_folders_of_them_and_tables_are_taken(api, photo):
    file = {"upload": send_file(api, photo)}
    inputs = {"film": [file], "style": [{"sample": "waves"}]}
    assert submit(api, {"operation": "animate", "inputs": inputs}).status_code == 202
    inputs["film"] = [{"files": {"0001.png": file, "0002.png": file}}]
    assert submit(api, {"operation": "animate", "inputs": inputs}).status_code == 202
    inputs["film"] = [{"name": "film"}]
    assert submit(api, {"operation": "animate", "inputs": inputs}).status_code == 422
    table = photo.with_name("warm.cube")
    table.write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    inputs = {"content": [file], "lut": [{"upload": send_file(api, table)}]}
    assert submit(api, {"operation": "relight", "inputs": inputs}).status_code == 202
    inputs["lut"] = [file]
    assert submit(api, {"operation": "relight", "inputs": inputs}).status_code == 422


def test_a_queue_that_is_full_says_when_to_try_again(tmp_path, photo, picture, inspector):
    limits = StudioLimits(queue=5, client_queue=3)
    with serving(tmp_path / "s", limits, executor=HeldExecutor()) as services:
        services.inspector, own = inspector, services.inspector
        api = Studio(services).client()
        body = make_body(api, photo, picture)
        assert [submit(api, body).status_code for _ in range(4)] == [202, 202, 202, 429]
        assert submit(api, body).headers["retry-after"] == "5"
        assert (
            api.post(
                f"{API}/jobs/{api.get(f'{API}/jobs').json()['jobs'][0]['id']}/again"
            ).status_code
            == 429
        )
        services.inspector = own


def test_two_hundred_at_once_are_each_answered(api, body):
    """With one key they are one job."""
    statuses, ids = [], set()

    def send(number):
        headers = {"Idempotency-Key": "same"} if number % 2 else {}
        answer = submit(api, body, **headers)
        statuses.append(answer.status_code)
        if number % 2:
            ids.add(answer.json()["id"])

    threads = [threading.Thread(target=send, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 60
    assert len(ids) == 1
    assert api.get(f"{API}/jobs").json()["counts"] == {"queued": 31}


def test_jobs_are_steered(api, body):
    a, b, c = (submit(api, body).json()["id"] for _ in range(3))
    assert api.post(f"{API}/jobs/{c}/move", json={"before": a}).status_code == 200
    turns = {each["id"]: each["turn"] for each in api.get(f"{API}/jobs").json()["jobs"]}
    assert turns == {c: 1, a: 2, b: 3}
    assert api.post(f"{API}/jobs/{a}/pause").json()["state"] == "paused"
    assert api.post(f"{API}/jobs/{a}/resume").json()["state"] == "queued"
    assert api.post(f"{API}/jobs/{c}/cancel").json()["state"] == "cancelled"
    assert api.post(f"{API}/jobs/{c}/resume").status_code == 409
    assert api.post(f"{API}/jobs/{c}/cancel").status_code == 409
    again = api.post(f"{API}/jobs/{c}/again")
    assert again.status_code == 202
    others = api.post(f"{API}/jobs/{b}/only").json()["jobs"]
    assert sorted(others) == sorted([a, again.json()["id"]])
    assert api.get(f"{API}/jobs?state=cancelled&state=queued").json()["counts"] == {
        "queued": 1,
        "cancelled": 3,
    }
    assert sorted(api.delete(f"{API}/jobs?state=cancelled").json()["jobs"]) == sorted([*others, c])
    assert api.delete(f"{API}/jobs?state=queued").status_code == 422
    assert [each["id"] for each in api.get(f"{API}/jobs").json()["jobs"]] == [b]


def test_an_unknown_job_is_unknown(api):
    for path in ("", "/history", "/preview", "/results/output.png", "/inputs/content/0/content"):
        assert api.get(f"{API}/jobs/{'0' * 20}{path}").status_code == 404
    for path in ("cancel", "pause", "resume", "again", "only"):
        assert api.post(f"{API}/jobs/{'0' * 20}/{path}").status_code == 404
    assert api.delete(f"{API}/jobs/{'0' * 20}").status_code == 404
    assert api.get(f"{API}/jobs/nonsense").status_code == 422


# --- the catalogue ------------------------------------------------------------------------------


def test_operations_tell_their_options_and_inputs(api):
    listed = api.get(f"{API}/operations").json()["operations"]
    assert [each["name"] for each in listed] == list(OPERATIONS)
    for name, operation in OPERATIONS.items():
        told = api.get(f"{API}/operations/{name}").json()
        fields = operation.options.model_fields
        assert list(told["options"]["properties"]) == [f.alias or n for n, f in fields.items()]
        assert [each["name"] for each in told["inputs"]] == [e.name for e in operation.inputs]
        for field, mark in operation.options.file_marks().items():
            assert told["options"]["properties"][field]["x-file"]["kind"] == mark.kind
    assert api.get(f"{API}/operations/nothing").status_code == 404


def test_files_among_the_options_are_marked_for_forms(api):
    options = api.get(f"{API}/operations/paint").json()["options"]["properties"]
    assert options["mask"]["x-file"] == {"kind": "picture", "names": [], "several": False}
    assert options["style_mask"]["x-file"]["several"]
    assert options["labels"]["x-file"]["several"]
    assert "noise" in options["init"]["x-file"]["names"]
    assert options["steps"]["x-group"] == "How a picture is found, step by step."
    assert options["mask"]["x-group"] == "Where a picture is painted, and which style where."


def test_styles_photographs_and_recipes_are_there_to_begin_with(api):
    styles = api.get(f"{API}/styles").json()["styles"]
    assert {each["name"] for each in styles} >= {"strokes", "glass", "waves", "dots", "halftone"}
    assert {each["model"] for each in styles} == {None, "painters"}
    waves = next(each for each in styles if each["name"] == "waves")
    assert api.get(waves["content"]).headers["content-type"] == "image/jpeg"
    assert api.get(waves["thumbnail"]).headers["content-type"] == "image/webp"
    photographs = api.get(f"{API}/photographs").json()["photographs"]
    assert {each["name"] for each in photographs} == {"astronaut", "cat", "coffee", "rocket"}
    recipes = api.get(f"{API}/recipes").json()["recipes"]
    assert {"default", "draft", "gatys-2015"} <= {each["name"] for each in recipes}


def test_the_docs_name_every_route(api):
    docs = api.get(f"{API}/docs").text
    assert "<script" not in docs
    for path in api.get(f"{API}/openapi.json").json()["paths"]:
        assert path in docs
