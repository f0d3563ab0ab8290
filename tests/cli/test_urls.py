"""URLs in the place of files and folders, run as a user runs it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cli import urls
from impasto.cli.app import run
from impasto.cluster.worker import open_node_folder
from impasto.errors import ImpastoError
from impasto.system.remote_files import RemoteCopy, find_local, find_scheme

fsspec = pytest.importorskip("fsspec")
LOOK = "LUT_3D_SIZE 2\n" + "\n".join(
    f"{1 - red} {green} {blue}" for blue in (0, 1) for green in (0, 1) for red in (0, 1)
)  # red becomes its opposite


@pytest.fixture
def store():
    """A store of files in memory with three photographs and a table of colours."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/shop/a look.cube", LOOK.encode())
    for i in range(3):
        with store.open(f"/shop/my photos/{i}.png", "wb") as file:
            Image.fromarray(draw_picture(40, 30, i)).save(file, format="PNG")
    yield store
    store.rm("/", recursive=True)


def list_all(store) -> list[str]:
    return sorted(store.find("/"))


def relight(*arguments: object) -> int:
    return run(["relight", *map(str, arguments)])


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def left_here() -> list[Path]:
    return list(open_node_folder().glob("urls-*"))


def test_a_file_to_a_file(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--lut", "memory://shop/a look.cube"]
    before = left_here()
    assert relight("memory://shop/my photos/1.png", *flags, "-o", "memory://new/out/x.png") == 0
    assert "relit memory://new/out/x.png (40 x 30) in" in capsys.readouterr().err
    Path("1.png").write_bytes(store.cat("/shop/my photos/1.png"))
    Path("a look.cube").write_text(LOOK)
    assert (
        relight("1.png", "--lut", "a look.cube", "--output=file://" + str(tmp_path / "y.png")) == 0
    )
    assert store.cat("/new/out/x.png") == Path("y.png").read_bytes()
    assert left_here() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "a look.cube", "y.png"]


@pytest.mark.parametrize("source", ["memory://shop/my photos", "memory://shop/my photos/*.png"])
def test_a_folder_to_a_folder_and_again(source, store, capsys):
    flags = ["--lut", "memory://shop/a look.cube", "-o", "memory://shop/out"]
    assert relight(source, *flags) == 0
    made = [f"/shop/out/{i}-a look.png" for i in range(3)]
    assert store.ls("/shop/out", detail=False) == made
    first = {name: store.modified(name) for name in list_all(store)}
    store.rm_file(made[1])
    capsys.readouterr()
    assert relight(source, *flags) == 0
    assert "2 of 3 are there already" in capsys.readouterr().err
    assert [name for name in list_all(store) if store.modified(name) != first[name]] == [made[1]]


def test_results_are_sent_while_others_are_made_and_after_an_error(store, monkeypatch):
    monkeypatch.setattr(urls, "_OFTEN", 0.01)
    given = ["paint", "memory://shop/my photos", "-o", "memory://shop/out"]

    def work_until_ctrl_c() -> None:
        with urls.standing_in(given) as words:
            photos, out = Path(words[1]), Path(words[3])
            assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png", "2.png"]
            out.mkdir()
            (out / ".half.part").write_bytes(b"not whole")
            (out / "run.checkpoint").write_bytes(b"of this machine")
            (out / "first.png").write_bytes(b"first")
            wait_until(lambda: store.exists("/shop/out/first.png"))
            (out / "first.png").unlink()
            wait_until(lambda: not store.exists("/shop/out/first.png"))
            (out / "last.png").write_bytes(b"last")
            (photos / "0.png").unlink()  # what was there before is not removed
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_until_ctrl_c()
    assert store.ls("/shop/out", detail=False) == ["/shop/out/last.png"]
    assert store.cat("/shop/out/last.png") == b"last"
    assert store.exists("/shop/my photos/0.png")


def test_what_cannot_be_sent_is_kept_here(store, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(type(store), "pipe_file", refuse)
    before = left_here()
    flags = ["--lut", "memory://shop/a look.cube", "-o", "memory://shop/x.png", "-q"]
    assert relight("memory://shop/my photos/1.png", *flags) == 2
    said = capsys.readouterr().err.strip()
    (kept,) = set(left_here()) - set(before)
    assert said == (
        "impasto: cannot write 'memory://shop/x.png': access denied; what was made is in "
        f"{str(kept)!r}"
    )
    assert (kept / "memory/shop/x.png").exists()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("memory://shop/none.png", "no such file: 'memory://shop/none.png'"),
        ("https://a.example/b.png", "is a page: fetch it first"),
        ("file://elsewhere/b.png", "names no file of this machine; give file:///PATH"),
        ("file:///no/b.png", "no such file: '/no/b.png'"),
        ("nothing://a/b.png", "is no URL that is known: there is no nothing://"),
        ("memory://shop/../../b.png", "has a name that no file here can have"),
    ],
)
def test_mistakes_are_one_line(url, text, store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store.pipe_file("/shop/../../b.png", b"a trap")
    assert relight(url, "--lut", "memory://shop/a look.cube", "-o", "x.png") == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_the_library_and_without_a_network(monkeypatch, capsys):
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    assert relight("s3://shop/a.png", "--lut", "a.cube") == 2
    assert "IMPASTO_OFFLINE says to touch no network" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert relight("memory://shop/a.png", "--lut", "a.cube") == 2
    assert "a URL needs fsspec, which is not installed; pip install 'impasto[cloud]'" in (
        capsys.readouterr().err
    )


def test_what_is_a_url():
    assert find_scheme("s3://a/b") == "s3"
    assert [find_scheme(each) for each in ("a.png", "dask:tls://a:1", "C:/a", "://a")] == [""] * 4
    assert find_local("file:///a/b%20c.png") == "/a/b c.png"


def test_names_stay_below_the_folder(tmp_path):
    copy = RemoteCopy(fsspec.filesystem("memory"), "memory", tmp_path / "copy")
    with pytest.raises(ImpastoError, match="has a name that no file here can have"):
        copy.fetch("memory://a/../../x.png")
    assert not list(tmp_path.iterdir())


# --- a real server ------------------------------------------------------------------------------


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """A server that speaks S3 on a port of this machine: the environment of its clients."""
    libraries = Path(sys.prefix) / "s3"  # what ``make test-slow`` installs
    if not libraries.is_dir():
        pytest.skip("moto and s3fs are not installed in .venv/s3")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = Path(__file__).parent.parent.parent / "src"
    monkeypatch.chdir(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (libraries, source))),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, **quiet)
    try:
        wait_until(lambda: server.poll() is None and _answers(port))
        yield environment
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def run_python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


PUT = """
import sys, fsspec
store = fsspec.filesystem("s3")
store.mkdir("shop")
store.put(sys.argv[1], "shop/", recursive=True)
"""
LIST = """
import hashlib, fsspec
store = fsspec.filesystem("s3")
for name in store.find("shop/out"):
    print(name, hashlib.sha256(store.cat(name)).hexdigest())
"""


@pytest.mark.slow
def test_a_batch_from_s3_to_s3(s3, store):
    store.get("/shop", "here", recursive=True)
    assert run_python(s3, "-c", PUT, "here/").returncode == 0
    command = ["-m", "impasto", "relight", "s3://shop/my photos/*.png"]
    command += ["--lut", "s3://shop/a look.cube", "-o", "s3://shop/out"]
    done = run_python(s3, *command)
    assert done.returncode == 0, done.stderr
    assert relight("here/my photos", "--lut", "here/a look.cube", "-o", "here/out") == 0
    expected = [
        f"shop/out/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(Path("here/out").iterdir())
    ]
    assert run_python(s3, "-c", LIST).stdout.splitlines() == expected
    assert len(expected) == 3
    again = run_python(s3, *command)
    assert "3 of 3 are there already" in again.stderr
    table = ["--lut", "here/a look.cube"]
    missing = run_python(s3, "-m", "impasto", "relight", "s3://none/a.png", *table)
    assert missing.returncode == 2
    assert "no such file: 's3://none/a.png'" in missing.stderr
