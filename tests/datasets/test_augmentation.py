"""Stylised data sets: same command same bytes, whatever happens in between."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cluster.places import WorkPlace
from impasto.datasets import augmentation
from impasto.datasets.augmentation import MANIFEST_COLUMNS, Augmentation, augment
from impasto.datasets.disturbances import NOISES
from impasto.datasets.options import AugmentOptions
from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.images.reading import read_image
from impasto.system.files import LOCK
from impasto.work import Request, finish, watch

QUICK = {"styliser": "color", "per_image": 2, "noise": ["gaussian", "blur", "spots"]}
SUFFIXES = (".png", ".jpg", ".JPEG", ".webp")


def put(path: Path, seed: int = 0, size: tuple[int, int] = (24, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_picture(*size, seed)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Two classes and several chunks' worth of pictures, of two sizes."""
    folder = tmp_path / "set"
    for i in range(70):
        size = (24, 16) if i % 5 else (16, 24)
        put(folder / ("cats" if i % 2 else "dogs/small") / f"{i:02}{SUFFIXES[i % 4]}", i, size)
    return folder


@pytest.fixture
def few(tmp_path):
    folder = tmp_path / "few"
    put(folder / "a" / "x.png", 1)
    put(folder / "b" / "y.png", 2)
    return folder


@pytest.fixture
def styles(tmp_path):
    folder = tmp_path / "styles"
    for i in range(3):
        put(folder / f"style {i}.png", 100 + i, (40, 30))
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- what is written ----------------------------------------------------------------------------


def test_the_same_labels_come_out_and_all_is_said(pictures, styles, tmp_path):
    out = tmp_path / "out"
    moments = []
    result = augment(pictures, out, styles, QUICK, on_step=moments.append)
    assert (result.written, result.kept, result.failed) == (210, 0, [])
    assert sorted({m.number for m in moments}) == [0, 96, 192, 210]
    assert {m.steps for m in moments} == {210}
    assert moments[-1].text.endswith(" images/s")
    files = set(read_tree(out)) - {"manifest.csv", "augment.json"}
    rows = read_manifest(out)
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert {row["file"] for row in rows} == files
    assert len(rows) == 210
    for row in rows:
        assert row["label"] == row["file"].split("/")[0] == row["source"].split("/")[0]
        if row["copy"] == "0":
            assert (out / row["file"]).read_bytes() == (pictures / row["source"]).read_bytes()
            assert not row["style"] + row["strength"] + row["noise"] + row["seed"]
            continue
        assert row["file"] == row["source"].replace(".", f"-{row['copy']}.")
        assert 0.3 <= float(row["strength"]) <= 0.9
        name, _, amount = row["parameters"].partition("=")
        noise = NOISES[row["noise"]]
        assert name == noise.parameter
        assert noise.least <= float(amount) <= noise.most
        with Image.open(out / row["file"]) as ours, Image.open(pictures / row["source"]) as theirs:
            assert (ours.size, ours.format) == (theirs.size, theirs.format)
    copies = [row for row in rows if row["copy"] != "0"]
    assert {row["style"] for row in copies} == {f"style {i}.png" for i in range(3)}
    assert {row["noise"] for row in copies} == set(NOISES)
    assert len({row["seed"] for row in copies}) == len(copies)


def test_what_a_copy_is_depends_on_it_alone(pictures, styles, tmp_path):
    augment(pictures, tmp_path / "all", styles, QUICK)
    for path in sorted(pictures.rglob("*.*"))[10:]:
        path.unlink()
    augment(pictures, tmp_path / "some", styles, QUICK)
    everything = {row["file"]: row for row in read_manifest(tmp_path / "all")}
    some = read_manifest(tmp_path / "some")
    assert len(some) == 30
    for row in some:
        assert row == everything[row["file"]]
        assert (tmp_path / "some" / row["file"]).read_bytes() == (
            tmp_path / "all" / row["file"]
        ).read_bytes()


def test_noise_changes_no_style_and_seeds_change_all(few, styles, tmp_path):
    for name, more in {"a": {}, "b": {"noise": ["blur"]}, "c": {"seed": 1}}.items():
        options = {"styliser": "color", "per_image": 20, **more}
        augment(few, tmp_path / name, styles, options)
    drawn = {
        name: [(row["style"], row["strength"]) for row in read_manifest(tmp_path / name)]
        for name in "abc"
    }
    assert drawn["a"] == drawn["b"] != drawn["c"]


def test_noise_alone_needs_no_styles(few, tmp_path):
    out = tmp_path / "out"
    augment(few, out, options={"noise": ["gaussian"], "per_image": 1, "originals": False})
    rows = read_manifest(out)
    assert [row["file"] for row in rows] == ["a/x-1.png", "b/y-1.png"]
    assert {(row["style"], row["strength"], row["noise"]) for row in rows} == {("", "", "gaussian")}
    with pytest.raises(OptionError, match="nothing to do to the copies"):
        Augmentation(few, tmp_path / "none")


def test_a_csv_comes_out_as_a_csv(few, styles, tmp_path):
    table = few / "list.csv"
    table.write_text("label,path,split\n3,b/y.png,train\n5,a/x.png,test\n")
    out = tmp_path / "out"
    augment(table, out, styles, QUICK | {"per_image": 1})
    assert (out / "labels.csv").read_text().splitlines() == [
        "label,path,split",
        "3,b/y.png,train",
        "3,b/y-1.png,train",
        "5,a/x.png,test",
        "5,a/x-1.png,test",
    ]
    assert [row["label"] for row in read_manifest(out)] == ["3", "3", "5", "5"]


def test_names_that_would_be_one_become_two(tmp_path, styles):
    folder = tmp_path / "set"
    for i, name in enumerate(("a.png", "A.jpg", "b.png", "b-1.png", "c.gif")):
        put(folder / "k" / name, i)
    out = tmp_path / "out"
    work = Augmentation(folder, out, styles)
    assert work.notes == ["copies of 1 .gif pictures are .png"]
    options = QUICK | {"format": "png", "per_image": 1}
    augment(folder, out, styles, options)
    copies = {row["source"]: row["file"] for row in read_manifest(out) if row["copy"] == "1"}
    assert copies == {
        "k/A.jpg": "k/A.jpg-1.png",
        "k/a.png": "k/a.png-1.png",
        "k/b-1.png": "k/b-1-1.png",
        "k/b.png": "k/b.png-1.png",
        "k/c.gif": "k/c-1.png",
    }
    assert len({file.lower() for file in read_tree(out)}) == 10 + 2


def test_alpha_stays_or_is_said_and_turned_pictures_stand_up(tmp_path, styles):
    folder, out = tmp_path / "set", tmp_path / "out"
    clear = np.dstack([draw_picture(24, 16), np.full((16, 24), 255, np.uint8)])
    clear[:, :9, 3] = 0
    (folder / "k").mkdir(parents=True)
    Image.fromarray(clear).save(folder / "k" / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_picture(24, 16)).save(folder / "k" / "turned.jpg", exif=exif)
    work = Augmentation(folder, out, styles)
    list(work.steps())
    alpha = read_image(out / "k" / "clear-1.png").alpha
    assert alpha is not None
    assert (alpha[0, 0] == 0).sum() == 9 * 16
    assert read_image(out / "k" / "turned-1.jpg").size == (16, 24)
    assert work.notes == ["turned as its EXIF says (1x)"]
    flat = Augmentation(
        folder, tmp_path / "flat", styles, work.options.model_copy(update={"format": "jpg"})
    )
    list(flat.steps())
    assert "jpeg has no alpha: flattened over white (3x)" in flat.notes


def test_a_broken_picture_stops_nothing(few, styles, tmp_path):
    (few / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    table = few / "list.csv"
    table.write_text("path,label\na/x.png,1\na/gone.png,1\na/broken.png,1\nb/y.png,2\n")
    out = tmp_path / "out"
    result = augment(table, out, styles, QUICK)
    (broken, damaged), (gone, missing) = result.failed
    assert (broken, gone) == ("a/broken.png", "a/gone.png")
    assert "damaged" in damaged
    assert "no such file" in missing
    assert result.written == 6
    assert {row["source"] for row in read_manifest(out)} == {"a/x.png", "b/y.png"}
    assert not list(out.rglob("broken*"))


def test_one_too_small_for_the_network_is_told(tmp_path, styles):
    put(tmp_path / "set" / "k" / "dot.png", 0, (2, 2))
    put(tmp_path / "set" / "k" / "fine.png", 1)
    result = augment(tmp_path / "set", tmp_path / "out", styles, {"per_image": 1})
    assert [name for name, _ in result.failed] == ["k/dot.png"]
    assert "too small for layer relu3_1" in result.failed[0][1]
    assert sorted(p.name for p in (tmp_path / "out" / "k").iterdir()) == ["fine-1.png", "fine.png"]


# --- going on -----------------------------------------------------------------------------------


PROGRAM = """
import os, signal, sys
from impasto.datasets.augmentation import augment
if __name__ == "__main__":
    source, out, styles, styliser, jobs, end = sys.argv[1:]
    def tell(moment):
        print(moment.number, flush=True)
        if end == "kill" and moment.number > 100:
            os.kill(os.getpid(), signal.SIGKILL)
    options = {"styliser": styliser, "per_image": 2, "noise": ["gaussian", "blur", "spots"]}
    try:
        augment(source, out, styles, options, jobs=int(jobs), on_step=tell)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


def command(tmp_path: Path, *arguments: object) -> list[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return [sys.executable, str(program), *map(str, arguments)]


def test_killed_or_thinned_out_and_done_again_is_as_if_nothing_had_been(pictures, styles, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    augment(pictures, whole, styles, QUICK)
    done = subprocess.run(
        command(tmp_path, pictures, out, styles, "color", 1, "kill"), capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(set(map(int, done.stdout.split()))) == [0, 96, 192]
    (out / "cats" / ".impasto-0123.part.png").write_bytes(b"half")
    assert (out / LOCK).exists()  # and nobody holds it
    result = augment(pictures, out, styles, QUICK)
    assert (result.kept, result.written) == (192, 18)
    assert read_tree(out) == read_tree(whole)
    (out / "cats" / "01-2.jpg").unlink()
    (out / "manifest.csv").unlink()
    result = augment(pictures, out, styles, QUICK)
    assert (result.kept, result.written) == (114, 96)
    assert read_tree(out) == read_tree(whole)
    result = augment(pictures, out, styles, QUICK)
    assert (result.kept, result.written) == (210, 0)
    assert read_tree(out) == read_tree(whole)


def test_two_processes_end_by_ctrl_c_and_one_goes_on_to_the_same_bytes(pictures, styles, tmp_path):
    for path in sorted(pictures.rglob("*.*"))[40:]:
        path.unlink()
    out, whole = tmp_path / "out", tmp_path / "whole"
    running = subprocess.Popen(
        command(tmp_path, pictures, out, styles, "statistics", 2, "wait"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    while (first := running.stdout.readline()) == "0\n":  # nothing yet
        pass
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert not errors
    assert first.strip() in ("24", "96")
    assert said.split()[-1] in ("stopped", "120")
    files = {row["file"] for row in read_manifest(out)}
    assert files <= set(read_tree(out))
    assert not list(out.rglob("*.part*"))
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a process is left")
    options = QUICK | {"styliser": "statistics"}
    assert augment(pictures, out, styles, options).kept >= int(first)
    augment(pictures, whole, styles, options)
    assert read_tree(out) == read_tree(whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_second_process_is_refused(few, styles, tmp_path):
    out = tmp_path / "out"
    options = AugmentOptions.read(QUICK)
    work, twin = (Augmentation(few, out, styles, options) for _ in range(2))
    other = Augmentation(few, out, styles, options.model_copy(update={"seed": 1}))
    steps = work.steps()
    next(steps)
    with pytest.raises(OptionError, match="is being worked on by another process"):
        next(twin.steps())
    steps.close()
    assert next(twin.steps()).text == "taken up"
    with pytest.raises(OptionError, match="another augmentation, with other seed"):
        next(other.steps())
    assert not list(out.glob(".*"))


# --- what stops it ------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_whoever_stops_it_need_not_wait_for_a_chunk(jobs, tmp_path, styles):
    """A chunk of these takes a minute; between two outcomes there are steps to stop at."""
    for i in range(40):
        put(tmp_path / "set" / "k" / f"{i}.png", i, (256, 256))
    out = tmp_path / "out"
    options = AugmentOptions.read({"styliser": "color" if jobs == 1 else "statistics"})
    work = Augmentation(tmp_path / "set", out, styles, options, place=WorkPlace(count=jobs))
    steps = []
    assert not watch(work, steps.append, is_stopped=lambda: len(steps) > 1)
    began = time.monotonic()
    assert (steps[0].number, steps[0].steps) == (0, 160)
    assert work.result().written == 0  # of whole chunks
    assert len(read_tree(out)) < 100
    assert not list(out.rglob("*.part*"))
    assert not read_manifest(out)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("what", ["as the system says it", "as the package says it"])
def test_a_full_disk_is_said_once_and_is_no_fault_of_a_picture(
    what, few, styles, tmp_path, monkeypatch
):
    full = OSError(errno.ENOSPC, "No space left on device")
    out, write = tmp_path / "out", augmentation.replace_file

    def fail_on_pictures(path: Path, *more: object, **_: object) -> None:
        if path.suffix == ".png" and what == "as the package says it":
            raise ImageError(f"cannot write {path.name!r}: no space left on device") from full
        if path.suffix == ".png":
            raise full
        write(path, *more)

    monkeypatch.setattr(augmentation, "replace_file", fail_on_pictures)
    text = r"^cannot write to '.*out': no space left on device; mended, the same command goes on$"
    with pytest.raises(OptionError, match=text):
        augment(few, out, styles, QUICK)
    monkeypatch.undo()
    assert augment(few, out, styles, QUICK).written == 6


def test_a_table_that_finds_no_room_is_said(few, styles, tmp_path, monkeypatch):
    write = augmentation.replace_file

    def fail_on_tables(path: Path, content: bytes) -> None:
        if path.suffix == ".csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(augmentation, "replace_file", fail_on_tables)
    with pytest.raises(OptionError, match=r"^cannot write to '.*out': no space left on device; "):
        augment(few, tmp_path / "out", styles, QUICK)


def test_a_name_that_is_too_long_is_one_picture_s_own(tmp_path, styles):
    long = "n" * 250 + ".png"  # a copy's name has two characters more
    put(tmp_path / "set" / "k" / "fine.png", 1)
    put(tmp_path / "short.png").rename(tmp_path / "set" / "k" / long)
    result = augment(tmp_path / "set", tmp_path / "out", styles, QUICK)
    ((name, why),) = result.failed
    assert name == f"k/{long}"
    assert "Errno" not in why
    assert why.endswith("file name too long")


@pytest.mark.parametrize(("styliser", "least"), [("statistics", 8), ("instant", 32)])
def test_a_style_that_is_too_small_is_named_before_the_work(styliser, least, few, tmp_path):
    small = put(tmp_path / "small.png", 0, (40, least - 1))
    text = rf"^the style 'small\.png' is 40 x {least - 1} pixels; the styliser {styliser} needs at "
    with pytest.raises(ImageError, match=text):
        Augmentation(few, tmp_path / "out", small, AugmentOptions.read({"styliser": styliser}))
    line = put(tmp_path / "line.png", 0, (600, least))  # which is not made any narrower
    options = {"styliser": styliser, "per_image": 1}
    assert augment(few, tmp_path / "out", line, options).failed == []


def test_it_is_made_of_a_request(few, styles, tmp_path):
    inputs = {"source": (str(few),), "styles": (str(styles),)}
    options = AugmentOptions.read(QUICK)
    work = Augmentation.from_request(
        Request(inputs, options, output=tmp_path / "out", place=WorkPlace(count=3))
    )
    assert work.place.count == 3
    assert [path.name for path in work.styles] == [f"style {i}.png" for i in range(3)]
    assert finish(work).written == 6
    with pytest.raises(OptionError, match=r"^augment writes a folder: name it$"):
        Augmentation.from_request(Request(inputs, options))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_circle_are_no_pictures(few, styles, tmp_path):
    (few / "a" / "loop.png").symlink_to("loop.png")
    (few / "a" / "up").symlink_to(few, target_is_directory=True)
    (styles / "loop.png").symlink_to("loop.png")
    result = augment(few, tmp_path / "out", styles, QUICK)
    assert (result.written, result.failed) == (6, [])


# --- refusals -----------------------------------------------------------------------------------


def test_places_that_would_be_read_again_are_refused(few, styles, tmp_path):
    for out in (few, few / "out", few / "a" / ".." / "out"):
        with pytest.raises(OptionError, match="lies in the folder that is read"):
            Augmentation(few, out, styles)
    put(tmp_path / "file.png")
    with pytest.raises(OptionError, match="is a file; name a folder"):
        Augmentation(few, tmp_path / "file.png", styles)
    with pytest.raises(OptionError, match="holds other files; choose a new folder"):
        Augmentation(few, styles, styles)
    with pytest.raises(MissingFileError, match="no such file"):
        Augmentation(few, tmp_path / "out", [styles / "none.png"])
    with pytest.raises(OptionError, match="jobs must be at least 1"):
        augment(few, tmp_path / "out", styles, jobs=0)


def test_another_augmentation_is_not_mixed_in(few, styles, tmp_path):
    out = tmp_path / "out"
    augment(few, out, styles, QUICK)
    before = read_tree(out)
    other = QUICK | {"strength": "0.5", "seed": 3}
    with pytest.raises(
        OptionError, match="another augmentation, with other strength, seed; choose"
    ):
        augment(few, out, styles, other)
    put(few / "a" / "more.png", 9)
    with pytest.raises(OptionError, match="another augmentation, with other pictures; choose"):
        augment(few, out, styles, QUICK)
    (few / "a" / "more.png").unlink()
    put(styles / "style 3.png", 9)
    with pytest.raises(OptionError, match="another augmentation, with other styles; choose"):
        augment(few, out, styles, QUICK)
    assert read_tree(out) == before
