"""What `impasto serve` and `impasto jobs` say where there is nothing to serve."""

from __future__ import annotations

import sys

import pytest

from impasto.cli.app import run
from impasto.cli.serve import find_home
from impasto.jobs.job import JobInput, JobOrder
from impasto.jobs.queue import JobQueue
from impasto.jobs.store import JobStore


def test_a_library_that_is_missing_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert run(["serve", "--folder", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err
    assert error == (
        "impasto: the server needs FastAPI, uvicorn and websockets, which is not installed; "
        "pip install 'impasto[studio]'\n"
    )
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--on", "rai"], "on 'rai': give local:N, ray, "),
        (["--on", "dask:tcp://10.0.0.1:1"], "is no address of a Dask scheduler to be trusted"),
        (["--on", "local:2", "--jobs", "2"], "give one of them"),
    ],
)
def test_where_jobs_are_done_is_checked_first(flags, text, capsys, tmp_path):
    assert run(["serve", "--folder", str(tmp_path / "s"), *flags]) == 2
    said = capsys.readouterr().err.strip()
    assert text in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_the_folder_is_where_data_is(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))
    assert find_home() == tmp_path
    monkeypatch.delenv("IMPASTO_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(find_home()) == "/data/impasto"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(find_home()) == "/home/me/.local/share/impasto"


@pytest.fixture
def folder(tmp_path):
    store = JobStore(tmp_path)
    order = JobOrder(
        "paint", {"content": (JobInput("a photo.png", "a" * 64),)}, {"steps": 3, "mask": None},
        {"mask": (JobInput("m.png", "b" * 64),)},
    )  # fmt: skip
    for _ in range(2):
        JobQueue(store).submit(order)
    store.close()
    return tmp_path


def say(capsys, *words):
    code = run(["jobs", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_queue_is_listed_shown_and_steered(capsys, folder):
    place = ["--folder", str(folder)]
    _, listed, _ = say(capsys, "list", *place)
    first, second = (line.split()[0] for line in listed.splitlines()[1:])
    assert "a photo.png" in listed
    assert say(capsys, "cancel", first[:9], *place)[1] == f"{first} cancelled\n"
    _, shown, _ = say(capsys, "show", first, *place)
    assert "m.png" in shown
    assert "cancelled" in shown
    again = say(capsys, "run-again", first, *place)[1].split()
    assert again[1] == "queued"
    _, listed, _ = say(capsys, "list", *place)
    states = [line.split()[1] for line in listed.splitlines()[1:]]
    assert states == ["queued", "queued", "cancelled"]
    code, _, error = say(capsys, "cancel", first, *place)
    assert (code, error) == (2, "impasto: the job is cancelled already\n")
    code, _, error = say(capsys, "show", "zzz", *place)
    assert code == 2
    assert error.startswith("impasto: unknown job 'zzz'; choose from ")
    assert second in error
    code, _, error = say(capsys, "show", "", *place)
    assert error == "impasto: '' begins the ids of 3 jobs; give more of it\n"


def test_a_folder_without_jobs_is_told(capsys, tmp_path):
    code, _, error = say(capsys, "list", "--folder", str(tmp_path))
    assert code == 2
    assert error == f"impasto: there are no jobs in {str(tmp_path)!r}; 'impasto serve' takes some\n"
    assert not list(tmp_path.iterdir())
