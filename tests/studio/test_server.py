"""A server in a process of its own: what it says, sends and survives."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from PIL import Image
from served import API, ServerProcess
from websockets.sync.client import connect

DOCS = Path(__file__).parent.parent.parent / "docs" / "api.md"
# Two processes may find another precision or layout faster on a busy machine.
PLAIN = {"size": 64, "layout": "planes", "precision": "float32"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    os.environ["OMP_NUM_THREADS"] = "1"
    served = ServerProcess(tmp_path_factory.mktemp("served") / "a store")
    yield served
    served.stop()
    assert served.rest.strip() == "stopped; what was not done goes on when it is served again"


@pytest.fixture
def serve(tmp_path):
    """What starts servers, none of which outlives its test."""
    begun = []

    def start(*flags, folder="a store", scheme="http"):
        begun.append(ServerProcess(tmp_path / folder, *flags, scheme=scheme))
        return begun[-1]

    yield start
    for each in begun:
        if each.process.poll() is None:
            each.kill()


def make_order(**options):
    return {
        "operation": "paint",
        "inputs": {"content": [{"sample": "cat"}], "style": [{"sample": "waves"}]},
        "options": {**PLAIN, "steps": 8, **options},
    }


def test_the_first_lines_are_the_link_and_where_the_api_is(server):
    link, api = server.lines
    browser = build_opener(HTTPCookieProcessor())
    page = browser.open(link.removeprefix("open ")).read().decode()
    assert 'content="0; url=/"' in page
    assert "/api/v1/docs" in browser.open(server.base).read().decode()
    assert api == f"the API is described at {server.base}{API}/docs"
    assert b"/api/v1/jobs" in browser.open(api.rpartition(" ")[2]).read()


def test_a_second_server_of_the_same_folder_is_refused(server):
    command = [sys.executable, "-m", "impasto", "serve", "--port", "0"]
    second = subprocess.run(
        [*command, "--folder", str(server.folder)], capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "is being worked on by another process" in second.stderr
    assert second.stdout == ""
    third = subprocess.run(
        [*command[:-1], str(server.port), "--folder", str(server.folder) + "2"],
        capture_output=True,
        text=True,
    )
    assert third.returncode == 2
    assert "address already in use; --port names another" in third.stderr


def test_the_queue_is_seen_and_steered_from_the_command_line(server):
    job = server.ask("POST", "/jobs", make_order(steps=100_000, plateau=0.0))["id"]
    server.wait(job, "running")

    def run(*words):
        command = [sys.executable, "-m", "impasto", "jobs", *words, "--folder", str(server.folder)]
        return subprocess.run(command, capture_output=True, text=True).stdout

    assert re.search(rf"{job} +running +paint +cat.png, waves.jpg", run("list"))
    assert run("cancel", job[:8]) == f"{job} will be cancelled\n"
    server.wait(job, "cancelled", seconds=30)
    assert re.search(r"steps +100000", run("show", job))


# --- events -------------------------------------------------------------------------------------


class Events:
    """A page that follows the events."""

    def __init__(self, server, last_id=None, after=None):
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        token = server.token_file.read_text().strip()
        lines = [
            f"GET {API}/events{f'?after={after}' if after else ''} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            f"Authorization: Bearer {token}",
            *([f"Last-Event-ID: {last_id}"] if last_id else []),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self.socket.makefile("rb")
        self.id = None

    def __iter__(self):
        event = {}
        for line in self.file:
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name in ("id", "event", "data"):
                event[name] = value
            elif not name and "data" in event:
                self.id = event["id"]
                yield event["event"], json.loads(event["data"])
                event = {}

    def close(self):
        self.file.close()
        self.socket.close()


def test_events_are_followed_and_taken_up_where_they_were_lost(server):
    start = server.ask("GET", "")["event"]
    first = Events(server, after=start)
    job = server.ask("POST", "/jobs", make_order())["id"]
    seen = []
    for kind, facts in first:
        seen.append((kind, facts))
        if kind == "progress":
            break  # the connection is lost
    lost = first.id
    first.close()
    server.wait(job, "done")
    rest = []
    second = Events(server, last_id=lost)
    for kind, facts in second:
        rest.append((kind, facts))
        if kind == "job" and facts["state"] == "done":
            break
    second.close()
    whole = []
    third = Events(server, last_id=start)
    for kind, facts in third:
        whole.append((kind, facts))
        if kind == "job" and facts["state"] == "done":
            break
    third.close()
    assert seen + rest == whole
    steps = [facts["progress"]["number"] for kind, facts in whole if kind == "progress"]
    assert steps == sorted(steps)
    states = [facts["state"] for kind, facts in whole if kind == "job"]
    assert states == sorted(states, key=["queued", "running", "done"].index)
    assert states[-1] == "done"
    assert len(server.ask("GET", f"/jobs/{job}/history")["steps"]) == steps[-1]


def test_who_was_away_too_long_is_told_to_look_at_everything(server):
    for unknown in ("0000-12", "nonsense", "x-" + "9" * 90):
        page = Events(server, last_id=unknown)
        kind, facts = next(iter(page))
        assert kind == "reset"
        assert "counts" in facts
        page.close()


def check_slow_readers(server, readers, jobs):
    """Pages that read nothing, and many jobs: nothing is kept for them."""
    order = make_order()

    def go_through(count):
        for _ in range(count):
            job = server.ask("POST", "/jobs", order)["id"]
            server.ask("POST", f"/jobs/{job}/cancel")

    blocker = server.ask("POST", "/jobs", make_order(steps=100_000, plateau=0.0))["id"]
    server.wait(blocker, "running")
    go_through(20)
    pages = [Events(server) for _ in range(readers)]
    time.sleep(1)
    memory, descriptors = server.count_memory(), server.count_descriptors()
    go_through(jobs)
    grown = server.count_memory() - memory
    assert abs(server.count_descriptors() - descriptors) <= 2
    for page in pages:
        page.close()
    server.ask("POST", f"/jobs/{blocker}/cancel")
    server.wait(blocker, "cancelled")
    server.ask("DELETE", "/jobs?state=cancelled")
    return grown


def test_a_share_of_slow_readers_costs_nothing(server):
    assert check_slow_readers(server, 10, 60) < 20 << 20


@pytest.mark.slow
def test_fifty_slow_readers_and_a_thousand_jobs_cost_little(server):
    grown = check_slow_readers(server, 50, 1000)
    print(f"grown by {grown / 1e6:.1f} MB")
    assert grown < 20 << 20


# --- at once ------------------------------------------------------------------------------------


def test_a_small_picture_is_painted_while_one_waits(server):
    order = {
        "content": {"sample": "cat"},
        "style": [{"sample": "waves"}],
        "options": {"size": 96},
        "format": "png",
    }
    status, first = server.call("POST", "/instant", order)
    assert status == 200
    with Image.open(io.BytesIO(first)) as image:
        assert (image.format, image.size) == ("PNG", (96, 64))
    assert server.call("POST", "/instant", order) == (200, first)
    order["options"]["strength"] = 0.0
    status, photograph = server.call("POST", "/instant", order)
    assert photograph != first
    for wrong, error in (
        ({"size": 4000}, "too large to be waited for"),
        ({"size": "x"}, "size: 'x' is wrong"),
        ({"mask": "/etc/passwd"}, "mask: give a file as"),
        ({"model": "/etc/passwd"}, "model: give a file as"),
    ):
        status, answer = server.call("POST", "/instant", {**order, "options": wrong})
        assert status == 422
        assert error in json.loads(answer)["error"]
    words = {**order, "options": {"size": 96, "model": "painters"}, "style": [{"name": "nobody"}]}
    status, answer = server.call("POST", "/instant", words)
    assert (status, b"nobody" in answer) == (422, True)


def test_regions_of_two_pictures_are_told(server):
    order = {"content": {"sample": "waves"}, "like": {"sample": "dots"}, "regions": 3}
    found = server.ask("POST", "/regions", order)
    for name in ("content", "like"):
        numbers = base64.b64decode(found[name]["numbers"])
        assert len(numbers) == found[name]["width"] * found[name]["height"]
        assert max(found[name]["width"], found[name]["height"]) <= 256
        assert set(numbers) <= set(range(1, found["count"] + 1))
        assert len(set(numbers)) > 1
    status, answer = server.call("POST", "/regions", {**order, "regions": 0})
    assert (status, b"regions" in answer) == (422, True)


def test_a_camera_s_pictures_are_painted(server):
    token = server.token_file.read_text().strip()
    address = f"ws://127.0.0.1:{server.port}{API}/live"
    encoded = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(encoded, format="JPEG")
    headers = {"Authorization": f"Bearer {token}"}
    with connect(address, additional_headers=headers) as camera:
        camera.send(encoded.getvalue())
        assert json.loads(camera.recv()) == {"error": "send the settings first"}
        camera.send("{}nonsense")
        assert "error" in json.loads(camera.recv())
        camera.send(json.dumps({"style": [{"sample": "waves"}], "options": {}}))
        for _ in range(2):
            camera.send(encoded.getvalue())
            with Image.open(io.BytesIO(camera.recv(timeout=60))) as painted:
                assert (painted.format, painted.size) == ("JPEG", (96, 64))
        camera.send(b"no picture")
        assert "error" in json.loads(camera.recv(timeout=60))


# --- the documentation --------------------------------------------------------------------------


def find_example(language):
    return re.search(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_examples_of_the_documentation_run(server, tmp_path, photo, language):
    with Image.open(photo) as image:
        image.save(tmp_path / "photo.jpg")
    shutil.copy(server.token_file, tmp_path / "token")
    example = find_example(language).replace("127.0.0.1:8765", f"127.0.0.1:{server.port}")
    command = {"sh": ["bash", "-e", "-c", example], "python": [sys.executable, "-c", example]}
    subprocess.run(command[language], cwd=tmp_path, check=True, timeout=120)
    with Image.open(tmp_path / "painted.png") as painted:
        assert painted.size == (64, 48)


# --- kills --------------------------------------------------------------------------------------


def wait_until_further(server):
    """Wait until what runs has come further since a worker was killed at it: three are too many."""
    while True:
        running = server.ask("GET", "/jobs?state=running")["jobs"]
        if all(job["attempts"] <= 1 for job in running):
            return
        time.sleep(0.05)


def check_kills(server, points, jobs, whom=("server", "worker", "both")):
    """Kill server, worker or both at seeded points; return how long starting again took."""
    rng = random.Random(18)
    orders = [make_order(seed=number, init="noise") for number in range(jobs)]
    started, keys = [], {}
    for point in range(points):
        for number, order in enumerate(orders):
            key = f"{point}-{number}"
            job = server.ask("POST", "/jobs", order, **{"Idempotency-Key": key})
            keys[key] = (number, job["id"])
        time.sleep(rng.uniform(0.0, 6.0))
        who = rng.choice(whom)
        if who != "server":
            wait_until_further(server)
            for child in server.list_children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        if who != "worker":
            server.kill()
            began = time.monotonic()
            server.start()
            server.ask("GET", "/jobs")
            started.append(time.monotonic() - began)
        for key, (number, job) in keys.items():
            again = server.ask("POST", "/jobs", orders[number], **{"Idempotency-Key": key})
            assert again["id"] == job
    done = {}
    for number, job in keys.values():
        found = server.wait(job, "done", "failed", seconds=600)
        assert found["error"] is None
        done.setdefault(number, set()).add(found["results"][0]["sha256"])
    expected = {number: next(iter(found)) for number, found in done.items()}
    assert done == {number: {digest} for number, digest in expected.items()}
    assert len(set(expected.values())) == jobs
    listed = server.ask("GET", "/jobs?most=500")
    assert len(listed["jobs"]) == len(keys)  # nothing is done twice
    assert server.stop() == 0
    return started


def test_a_share_of_kills_loses_nothing(serve):
    check_kills(serve(), 1, 2, ["both"])


@pytest.mark.slow
def test_twenty_kills_lose_nothing(serve):
    started = check_kills(serve(), 20, 2)
    print(f"served again after {max(started):.2f} s at most, of {len(started)}")


def test_sigterm_in_the_middle_stops_soon_and_the_job_goes_on(serve):
    server = serve()
    job = server.ask("POST", "/jobs", make_order())["id"]
    server.wait(job, "running")
    page = Events(server)
    children = server.list_children()
    assert server.stop() == 0
    assert server.rest.strip() == "stopped; what was not done goes on when it is served again"
    page.close()
    for child in children:
        assert not Path(f"/proc/{child}").exists()
    server.start()
    done = server.wait(job, "done", "failed")
    assert done["error"] is None
    assert done["attempts"] == 1
    server.process.send_signal(signal.SIGINT)
    assert server.close() == 0


@pytest.mark.slow
def test_two_hundred_at_once_with_a_job_running_are_each_answered(serve):
    server = serve("--queue", "300")
    blocker = server.ask("POST", "/jobs", make_order(steps=100_000, plateau=0.0))["id"]
    server.wait(blocker, "running")
    body = json.dumps(make_order()).encode()
    token = server.token_file.read_text().strip()
    sockets = selectors.DefaultSelector()
    for number in range(200):
        lines = [
            f"POST {API}/jobs HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(["Idempotency-Key: same"] if number % 4 == 0 else []),
        ]
        client = socket.create_connection(("127.0.0.1", server.port))
        sockets.register(client, selectors.EVENT_READ, ("\r\n".join(lines), number))
    time.sleep(1)
    began = time.monotonic()
    for key in list(sockets.get_map().values()):
        key.fileobj.sendall(f"{key.data[0]}\r\n\r\n".encode() + body)
    answers, took = dict.fromkeys(range(200), ""), []
    while sockets.get_map():
        for key, _ in sockets.select():
            answers[key.data[1]] += key.fileobj.recv(1 << 20).decode()
            head, _, rest = answers[key.data[1]].partition("\r\n\r\n")
            if rest and len(rest) >= int(re.search(r"content-length: (\d+)", head)[1]):
                took.append(time.monotonic() - began)
                sockets.unregister(key.fileobj)
                key.fileobj.close()
    statuses = {answer.split()[1] for answer in answers.values()}
    assert statuses <= {"202", "429"}
    ids = {re.search(r'"id":"(\w+)"', text)[1] for n, text in answers.items() if n % 4 == 0}
    assert len(ids) == 1
    print(f"200 at once: p95 {sorted(took)[189] * 1000:.0f} ms")
    assert server.stop() == 0


# --- other computers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(
        ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1,DNS:localhost", *files],
        check=True,
        capture_output=True,
    )
    return folder


def test_with_a_certificate_it_is_served_by_tls_alone(serve, certificate):
    flags = ["--certificate", certificate / "cert.pem", "--key", certificate / "key.pem"]
    server = serve(*map(str, flags), scheme="https")
    server.context = ssl.create_default_context(cafile=certificate / "cert.pem")
    assert server.ask("GET", "")["secure"] is True
    assert server.lines[0].startswith(f"open {server.base}/enter?ticket=")
    with urlopen(server.lines[0].removeprefix("open "), context=server.context) as answer:
        assert answer.headers["set-cookie"].endswith("; Secure")
    with pytest.raises(OSError, match=r"closed|reset|disconnected|bad|EOF"):
        urlopen(Request(server.base.replace("https", "http")), timeout=5)
    assert server.stop() == 0


def test_without_one_others_are_warned(serve):
    server = serve("--host", "0.0.0.0", "--name", "studio.local")
    assert server.lines[0].startswith(f"open http://studio.local:{server.port}/enter?ticket=")
    assert server.process.stdout.readline().startswith("warning: without --certificate and --key")
    host = {"Host": f"studio.local:{server.port}"}
    assert server.call("GET", "", **host)[0] == 200
    assert server.call("GET", "", Host=f"other.local:{server.port}")[0] == 403
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--certificate", "nothing.pem"], "--certificate and --key go together"),
        (["--certificate", "no.pem", "--key", "no.pem"], "cannot use 'no.pem' with its key"),
        (["--host", "nowhere.invalid"], "cannot serve at nowhere.invalid:8765"),
        (["--quota", "much"], "quota: 'much' is wrong"),
    ],
)
def test_what_is_wrong_with_the_flags_is_one_line(tmp_path, flags, error):
    command = [sys.executable, "-m", "impasto", "serve", "--folder", str(tmp_path / "s"), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert error in done.stderr
    assert done.stderr.count("\n") == 1
