"""Work that is shared out comes to the bytes of work in one process, wherever it is done."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_tasks import run_dask
from conftest import draw_picture
from film_clips import draw_pan, write_clip
from PIL import Image

from impasto.cluster.places import WorkPlace, parse_place
from impasto.datasets.augmentation import augment
from impasto.jobs.batch import plan_batch, run_batch
from impasto.lab.sweep import sweep
from impasto.lab.tuning import tune
from impasto.painting.options import PaintOptions
from impasto.video.animation import animate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that are killed")
QUICK = {"steps": 2, "size": 48, "precision": "float32", "layout": "channels_last"}
NEEDED = {"local:2": "multiprocessing", "dask": "distributed", "ray": "ray"}


_CLUSTERS = [pytest.param(each, marks=pytest.mark.slow) for each in ("dask", "ray")]


@pytest.fixture(scope="module", params=["local:2", *_CLUSTERS])
def on(request, tmp_path_factory) -> str:
    if importlib.util.find_spec(NEEDED[request.param]) is None:
        pytest.skip(f"{NEEDED[request.param]} is not installed")
    if request.param == "dask":
        with run_dask(tmp_path_factory.mktemp("dask")) as address:
            yield address
    else:
        yield request.param


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    for i in range(3):
        put(folder / "k" / f"{i} a.png", i)
    return folder


def put(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_picture(48, 40, seed)).save(path)
    return path


def read_files(folder: Path, *kinds: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in kinds
    }


def compare(make: Callable[[Path, str | None], object], tmp_path: Path, on: str) -> None:
    """Compare what is made in this process with what is made there."""
    kinds = (".png", ".mp4", ".toml", ".jpg")
    make(tmp_path / "here", None)
    make(tmp_path / "there", on)
    here = read_files(tmp_path / "here", *kinds)
    assert here
    assert read_files(tmp_path / "there", *kinds) == here


@pytest.mark.slow  # in two processes also by jobs/test_batch.py
def test_paintings_with_a_mask(photos, picture, tmp_path, on):
    mask = put(tmp_path / "a mask.png", 5)
    options = PaintOptions(**QUICK, mask=str(mask))

    def paint_all(out: Path, on: str | None) -> None:
        out.mkdir()
        tasks = plan_batch([str(photos / "k")], [str(picture)], out, "every", ".png")
        place = parse_place(on) if on else WorkPlace()
        assert [o.error for o in run_batch(tasks, options, place=place)] == [None] * 3

    compare(paint_all, tmp_path, on)


@pytest.mark.slow  # in two processes also by datasets/test_augmentation.py
def test_copies_of_a_data_set(photos, picture, tmp_path, on):
    options = {"styliser": "statistics", "per_image": 2, "noise": ["gaussian"]}
    compare(lambda out, on: augment(photos, out, picture, options, on=on), tmp_path, on)


@pytest.mark.slow  # in two processes also by jobs/test_batch.py, datasets/test_augmentation.py
def test_a_sweep(photo, picture, tmp_path, on):
    start = put(tmp_path / "a start.png", 8)
    vary = {"style_weight": [1, 100], "init": [str(start), "noise"]}
    compare(lambda out, on: sweep(photo, picture, vary, out, QUICK, on=on), tmp_path, on)


@pytest.mark.slow  # as test_a_sweep, by the same workers
def test_a_search_in_rounds(photo, picture, tmp_path, on):
    pytest.importorskip("optuna")
    options = {**QUICK, "trials": 5, "round": 2, "search": ("style_weight=1:1000",)}

    def search(out: Path, on: str | None) -> None:
        rows = tune(photo, picture, out, options, on=on).rows
        assert [row.run.name[:3] for row in rows] == ["001", "002", "003", "004", "005"]

    compare(search, tmp_path, on)


@pytest.mark.slow  # in two processes also by video/test_animation.py
def test_a_film_in_shards(picture, tmp_path, on):
    film = write_clip(tmp_path / "a film.mp4", draw_pan(40, size=(32, 32)))
    options = {"precision": "float32", "shard": 16, "renew": 4, "every": 2, "measure": True}

    def paint_film(out: Path, on: str | None) -> None:
        out.mkdir()
        animate(film, picture, out / "b.mp4", options, on=on)
        assert [path.name for path in out.iterdir()] == ["b.mp4"]

    compare(paint_film, tmp_path, on)
