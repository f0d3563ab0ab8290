"""Work of one part: really done where ``--on`` says, or one line says that it is not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_tasks import run_dask
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import run
from impasto.cluster.places import WorkPlace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that are killed")
EXACT = ["--size", "48", "--precision", "float32", "--layout", "planes"]
COMMANDS = {
    "paint": ["paint", "a photo.png", "-s", "style.png", "--steps", "2", *EXACT],
    "instant": ["instant", "a photo.png", "-s", "style.png", "--precision", "float32"],
    "relight": ["relight", "a photo.png", "-l", "style.png"],
}
ONE = "the work has 1 part: one process does it, and not 4"


@pytest.fixture(scope="module")
def dask(tmp_path_factory) -> Iterator[str]:
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    with run_dask(tmp_path_factory.mktemp("dask"), workers=1) as on:
        yield on


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(draw_picture(48, 40, 1)).save(tmp_path / "a photo.png")
    Image.fromarray(draw_picture(48, 48, 2)).save(tmp_path / "style.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name", ["paint", *(pytest.param(n, marks=pytest.mark.slow) for n in ("instant", "relight"))]
)
def test_one_picture_is_made_on_a_cluster(name, dask, capsys):
    command = COMMANDS[name]
    assert run([*command, "-o", "here.png"]) == 0
    Path("there.png").write_bytes(b"something else, which is written over as it is here")
    assert run([*command, "-o", "there.png", "--on", dask]) == 0
    assert Path("there.png").read_bytes() == Path("here.png").read_bytes()
    assert f" there.png on {dask} in " in capsys.readouterr().err.splitlines()[-1]


def test_what_is_wrong_with_one_picture_comes_back_from_a_cluster(dask, capsys):
    Path("a photo.png").write_bytes(b"no picture")
    assert run([*COMMANDS["paint"], "-o", "out.png", "--on", dask]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("impasto: 'a photo.png'")
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("paint", ["--history", "x.csv"], "--history goes with work on this machine, not with"),
        ("paint", ["--checkpoint", "x"], "--checkpoint goes with work on this machine, not with"),
        ("relight", ["--lut", "x.cube"], "--lut with --like goes with work on this machine, not"),
        ("relight", ["--show-regions", "x.png"], "--show-regions goes with work on this machine"),
        ("instant", ["--jobs", "2"], "jobs and on both say where the work is done"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_refused(name, more, said, capsys):
    assert run([*COMMANDS[name], *more, "--on", "dask:127.0.0.1:1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_listens_at_an_address(name, capsys):
    assert run([*COMMANDS[name], "--on", "dask:127.0.0.1:1"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "impasto: no dask cluster answers at '127.0.0.1:1': connection refused"


@pytest.mark.parametrize("name", ["instant", "relight"])
def test_one_picture_is_not_shared_out_on_this_machine(name, capsys):
    assert run([*COMMANDS[name], "-o", "out.png", "--on", "local:4"]) == 0
    assert f"note: {ONE}" in capsys.readouterr().err.splitlines()


def test_more_processes_than_parts_are_one_line():
    place = WorkPlace("local", 4)
    assert place.describe_idle(1) == [ONE]
    assert place.describe_idle(3) == ["the work has 3 parts: 3 processes do it, and not 4"]
    assert place.describe_idle(4) == WorkPlace("ray").describe_idle(1) == []
