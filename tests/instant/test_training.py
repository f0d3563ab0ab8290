"""Teaching a network to paint in one pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image
from safetensors.torch import load_file

from impasto.errors import DivergedError, ImageError, MissingFileError, OptionError
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.instant import teacher
from impasto.instant.model_file import find_net, load_net, save_net
from impasto.instant.net import LEAST_STYLE, draw_grain, encode_style
from impasto.instant.options import TrainOptions
from impasto.instant.teacher import rate_at
from impasto.instant.training import Training, check_memory
from impasto.networks.weights import load_backbone
from impasto.painting.inputs import fit_style
from impasto.samples.style_pictures import open_style
from impasto.work import Request, Step

QUICK = {
    "net": "slim",
    "steps": 8,
    "batch": 2,
    "crop": 64,
    "style_size": 96,
    "device": "cpu",
    "precision": "float32",
    "learning_rate": 3e-3,
}


def read_options(**more: object) -> TrainOptions:
    return TrainOptions.read({**QUICK, **more})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(draw_picture(96, 80, seed=i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def drawn() -> dict[str, Image.Image]:
    return {name: open_style(name, 96) for name in ("strokes", "dots", "waves")}


@pytest.fixture
def styles(tmp_path: Path, drawn: dict[str, Image.Image]) -> list[Path]:
    for name, style in drawn.items():
        style.save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in drawn]


def teach(work: Training, most: int | None = None) -> list[Step]:
    """So many steps, then broken off; or all."""
    steps, lessons = work.steps(), []
    for lesson in steps:
        lessons.append(lesson)
        if len(lessons) == most:
            break
    steps.close()
    return lessons


def finish(work: Training, path: Path) -> bytes:
    teach(work)
    work.result().save(path)
    return path.read_bytes()


# --- learning -----------------------------------------------------------------------------------


def test_it_learns_and_shows_what_it_learnt(photos, styles, tmp_path):
    work = Training(styles[:2], photos, read_options(steps=40))
    lessons = teach(work)
    assert [lesson.number for lesson in lessons] == list(range(1, 41))
    first, last = (np.mean([each.total for each in part]) for part in (lessons[:4], lessons[-4:]))
    assert last < 0.6 * first
    for each in lessons:
        parts = 15 * each.style + each.content + 5 * each.tv
        assert parts <= each.total * 1.0001  # what is out of range is the rest
        assert each.steps == 40
    assert lessons[-1].measured["seconds_left"] == 0
    assert lessons[0].measured["seconds_left"] > 0
    assert lessons[-1].measured["crops_per_second"] > 0
    sheet = work.preview()
    assert sheet.width > 3 * 256  # the photographs, and two styles
    assert sheet.height > 5 * 256  # the styles, and four photographs
    result = work.result()
    result.save(tmp_path / "model.safetensors")
    found = load_net(tmp_path / "model.safetensors")
    assert found.palette is not None
    assert found.palette.names == ("strokes", "dots")
    assert found.facts["steps"] == 40
    assert found.facts["learnt"] == ["strokes", "dots"]
    assert found.facts["options"]["net"] == "slim"
    assert set(found.facts["losses"]) == {"total", "style", "content", "tv"}
    assert str(tmp_path) not in json.dumps(found.facts)
    assert (tmp_path / "model.safetensors").stat().st_size < 800_000  # half the digits do


def test_styles_take_turns_and_batches_are_shared_out(photos, styles):
    work = Training(styles, photos, read_options(batch=4))
    counts = Counter(style for step in range(6) for style in work.batches.draw(step)[1])
    assert counts == {0: 8, 1: 8, 2: 8}
    pictures, turns = work.batches.draw(5)
    assert pictures.shape == (4, 3, 64, 64)
    work.team.size = 3
    for rank in range(3):
        work.team.rank = rank
        part, some = work.batches.draw(5)
        assert torch.equal(part, pictures[rank::3])
        assert some == turns[rank::3]


def test_the_rate_is_warmed_up_and_falls_at_last():
    assert [rate_at(n, 1000) for n in (1, 50, 100, 600)] == pytest.approx([0.01, 0.5, 1, 1])
    assert rate_at(800, 1000) == pytest.approx(0.51)
    assert rate_at(1000, 1000) == pytest.approx(0.02)
    assert rate_at(1, 3) == 1
    assert [rate_at(1, 40), rate_at(4, 40)] == pytest.approx([0.25, 1])


def test_biases_that_a_normalisation_undoes_are_not_learnt(photos, styles):
    work = Training(styles[:1], photos, read_options())
    photo = work.shown[0]
    before, _ = work.teacher.learner.averaged()
    rows = torch.zeros(1, before.count)
    with torch.no_grad():
        painted = before(photo, rows)
        for name, each in before.named_parameters():
            if f"net.{name}" not in work.teacher.learner.weights:
                each += 0.1
        torch.testing.assert_close(before(photo, rows), painted, atol=1e-4, rtol=0)
    assert "net.exit.bias" in work.teacher.learner.weights


def test_every_step_has_a_grain_of_its_own_and_what_is_kept_the_usual_one(photos, styles):
    work = Training(styles[:1], photos, read_options())
    seen = []
    for _ in work.steps():
        seen.append(work.teacher.learner.net.grain.clone())
    usual = draw_grain()
    for one, other in combinations([*seen, usual], 2):
        assert abs(float((one * other).mean())) < 0.05  # nothing of one is in the other
    assert torch.equal(work.teacher.learner.averaged()[0].grain, usual)


def test_numbers_of_16_bits_learn_too(photos, styles):
    work = Training(styles[:1], photos, read_options(precision="bfloat16", steps=2))
    plain = Training(styles[:1], photos, read_options(steps=2))
    for ours, theirs in zip(teach(work), teach(plain), strict=True):
        assert ours.total == pytest.approx(theirs.total, rel=0.05)


def test_flat_and_tiny_pictures_are_no_trouble(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(1, 1), (70, 3), (90, 90)]):
        Image.new("RGB", size, (90 * i, 40, 200)).save(folder / f"{i}.png")
    flat = [Image.new("RGB", (3, 2), "black"), np.full((40, 40, 3), 255, np.uint8)]
    work = Training(flat, folder, read_options(steps=4))
    assert work.styles.palette.names == ("picture", "picture-2")
    for lesson in teach(work):
        assert np.isfinite(lesson.total)
    assert work.teacher.state.lost == 0
    assert all(bool(each.isfinite().all()) for each in work.teacher.learner.average.values())
    work.preview()


def test_a_mere_line_is_seen_no_larger_than_four_times_the_size(photos):
    line = Image.new("RGB", (5000, 1), "red")
    work = Training(line, photos, read_options(style_size=64))
    assert work.styles.icons[0].size == (4 * 64, 32)


def test_a_style_of_which_nothing_is_seen_is_refused(photos):
    clear = Image.new("RGBA", (40, 40), (200, 10, 10, 0))
    text = r"^picture leaves nothing: masks and transparency together cover all of it$"
    with pytest.raises(ImageError, match=text):
        Training(clear, photos, read_options())


def test_a_photograph_that_cannot_be_read_is_told(photos, styles):
    (photos / "bad.jpg").write_bytes(b"no picture")
    work = Training(styles[:1], photos, read_options(steps=6))
    assert len(teach(work)) == 6
    (note,) = [note for note in work.notes if "left out" in note]
    assert note.startswith("left out: 1 photograph that cannot be read; 'bad.jpg' is damaged")
    assert work.result().about["photographs"] == 4


def test_photographs_left_out_before_a_break_are_known_after_it(photos, styles, tmp_path):
    """The fifth is seen in no preview: it is found when it is drawn, before the break or after."""
    for name in ("later.png", "latest.png"):
        (photos / name).write_bytes(b"no picture")
    whole = finish(Training(styles[:1], photos, read_options()), tmp_path / "whole.safetensors")
    path = tmp_path / "model.safetensors"
    first = Training(styles[:1], photos, read_options(), output=path)
    assert not first.crops.failed
    teach(first, 7)
    assert first.crops.failed
    last = Training(styles[:1], photos, read_options(), output=path)
    assert last.crops.failed == first.crops.failed
    assert finish(last, path) == whole


def test_photographs_take_what_a_batch_leaves(photos, styles):
    """576 MiB and 2 x 64^2 x 3000 bytes are a batch's."""
    work = Training(styles[:1], photos, read_options(memory="600M"))
    held = sum(each.nbytes for each in work.crops.held.values())
    assert work.crops.room + held == 600 * 2**20 - 576 * 2**20 - 2 * 64**2 * 3000
    assert Training(styles[:1], photos, read_options(memory="8G")).crops.room == 2**30 - held


def test_a_loss_that_is_no_number_is_left_out_and_then_told(photos, styles, monkeypatch):
    monkeypatch.setattr(teacher, "MOST_LOST", 3)
    work = Training(styles[:1], photos, read_options())
    before = {name: each.clone() for name, each in work.teacher.learner.average.items()}
    kept, work.crops.held[0] = work.styles.palette, np.zeros((80, 96, 3), np.uint8)
    nothing = torch.full((1, 3), torch.nan, dtype=torch.float64)
    work.batches.palette = type(kept)(kept.names, kept.numbers, nothing, kept.covariances)
    steps = work.steps()
    assert np.isnan(next(steps).total)
    next(steps)
    assert all(
        torch.equal(each, before[name]) for name, each in work.teacher.learner.average.items()
    )
    with pytest.raises(
        DivergedError, match=r"^step 3: the loss is no longer a number; lower --learni"
    ):
        next(steps)


# --- broken off and taken up --------------------------------------------------------------------


WHOLE: list[bytes] = []  # made once


@pytest.fixture
def whole(photos, styles, tmp_path) -> bytes:
    """The model of a run that was never broken off."""
    if not WHOLE:
        work = Training(styles[:2], photos, read_options())
        WHOLE.append(finish(work, tmp_path / "whole.safetensors"))
    return WHOLE[0]


def test_broken_off_it_goes_on_to_the_same_bytes(whole, photos, styles, tmp_path):
    path, folder = tmp_path / "out" / "model.safetensors", tmp_path / "out"
    folder.mkdir()
    for after in (1, 3, 2):
        work = Training(styles[:2], photos, read_options(), output=path)
        lessons = teach(work, after)
        assert [each.name for each in folder.iterdir()] == ["model.safetensors.checkpoint"]
        work.result().save(tmp_path / "so far.safetensors")  # which is not the end
        assert [each.name for each in folder.iterdir()] == ["model.safetensors.checkpoint"]
    last = Training(styles[:2], photos, read_options(preview_every=3), output=path)
    assert "taken up at step 7" in last.notes
    assert last.teacher.state.seconds == pytest.approx(lessons[-1].seconds)
    assert finish(last, path) == whole
    assert [each.name for each in folder.iterdir()] == ["model.safetensors"]


def test_what_is_done_is_not_done_again(whole, photos, styles, tmp_path):
    path = tmp_path / "model.safetensors"
    teach(Training(styles[:2], photos, read_options(), output=path))
    work = Training(styles[:2], photos, read_options(), output=path)
    assert teach(work) == []
    work.result().save(path)
    assert path.read_bytes() == whole


PROGRAM = """
import os, signal, sys
from pathlib import Path
from safetensors.torch import save_file
from impasto.instant import training_output
from impasto.instant.training import Training
from impasto.instant.options import TrainOptions
options, photos, output, kill, *styles = sys.argv[1:]
training_output.SAVE_EVERY = 0
work = Training(
    styles, photos, TrainOptions.model_validate_json(options), output=output
)
for lesson in work.steps():
    if lesson.number == int(kill):
        os.kill(os.getpid(), signal.SIGKILL)
work.result().save(output)
if work.is_first:
    packed = {name: each.contiguous() for name, each in work.teacher.learner.pack().items()}
    save_file(packed, Path(output).with_name("packed"))
    print(lesson.number, lesson.total)
"""


def command(tmp_path: Path, *arguments: object) -> list[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return [str(program), read_options().model_dump_json(), *map(str, arguments)]


def test_killed_it_goes_on_to_the_same_bytes(whole, photos, styles, tmp_path):
    path = tmp_path / "model.safetensors"
    arguments = command(tmp_path, photos, path, 6, *styles[:2])
    done = subprocess.run([sys.executable, *arguments], capture_output=True, timeout=100)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not path.exists()
    work = Training(styles[:2], photos, read_options(), output=path)
    assert "taken up at step 6" in work.notes  # the sixth was not saved yet
    assert finish(work, path) == whole
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_stopped_amid_a_step_it_keeps_the_steps_before(whole, photos, styles, tmp_path):
    """Nothing changes while a batch is measured; once it does, nothing is written."""
    path = tmp_path / "model.safetensors"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    measuring = Training(styles[:2], photos, read_options(), output=path)
    steps = measuring.steps()
    list(islice(steps, 2))
    measuring.teacher.measure = stop
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert measuring.output.kept == 2

    learning = Training(styles[:2], photos, read_options(), output=path)
    steps = learning.steps()
    next(steps)
    learning.teacher.learner.learn = stop
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert learning.teacher.state.number == 4
    assert learning.output.kept == 2  # since then nothing was due to be saved

    last = Training(styles[:2], photos, read_options(), output=path)
    assert "taken up at step 3" in last.notes
    assert finish(last, path) == whole


def test_a_checkpoint_that_cannot_be_written_stops_nothing(whole, photos, styles, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "model.safetensors"
    work = Training(styles[:2], photos, read_options(), output=path)
    (folder / ".model.safetensors.checkpoint.part").mkdir()  # what it is written to first
    teach(work)
    work.preview()
    (note,) = [note for note in work.notes if "cannot write" in note]
    assert note.startswith("cannot write checkpoint 'model.safetensors.checkpoint': ")
    assert work.output.kept is None
    (folder / ".model.safetensors.checkpoint.part").rmdir()
    work.result().save(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("change", ["options", "pixels", "styles", "photographs"])
def test_another_training_s_checkpoint_is_not_gone_on_with(change, photos, styles, tmp_path):
    path, options, pictures = tmp_path / "model.safetensors", read_options(), styles[:1]
    teach(Training(pictures, photos, options, output=path), 1)
    if change == "options":
        options = read_options(seed=1)
    elif change == "pixels":  # which decide what photographs are left out
        options = read_options(max_megapixels=50)
    elif change == "styles":
        Image.fromarray(draw_picture(96, 96)).save(styles[0])
    else:
        Image.fromarray(draw_picture(70, 70)).save(photos / "another.png")
    text = r"^'model\.safetensors\.checkpoint' is of another training: other styles, photographs, "
    with pytest.raises(OptionError, match=text + r"options or version; remove it, or name another"):
        Training(pictures, photos, options, output=path)


def test_two_cannot_train_one_model(photos, styles, tmp_path):
    path = tmp_path / "model.safetensors"
    first, second = (Training(styles[:1], photos, read_options(), output=path) for _ in range(2))
    steps = first.steps()
    next(steps)
    with pytest.raises(OptionError, match=r"^'model\.safetensors' is being trained by another pro"):
        next(second.steps())
    steps.close()
    assert not list(tmp_path.glob(".*lock"))
    with second.alone():
        teach(second)
        with pytest.raises(OptionError, match=r"^'model\.safetensors' is being trained by another"):
            next(first.steps())
        assert list(tmp_path.glob(".*lock"))  # until the model is saved
    assert not list(tmp_path.glob(".*lock"))


# --- new styles for a net -----------------------------------------------------------------------


@pytest.fixture
def model(photos, styles, tmp_path) -> Path:
    path = tmp_path / "start.safetensors"
    finish(Training(styles[:2], photos, read_options(steps=3)), path)
    return path


def test_new_styles_are_learnt_and_nothing_else_changes(model, photos, styles, tmp_path):
    work = Training(styles[2:], photos, read_options(steps=12), start=model)
    assert "learnt: 1 new style; the net and its 2 so far stay as they are" in work.notes
    lessons = teach(work)
    assert lessons[-1].total < lessons[0].total
    work.result().save(tmp_path / "more.safetensors")
    old, new = load_net(model), load_net(tmp_path / "more.safetensors")
    assert old.palette is not None
    assert new.palette is not None
    assert new.palette.names == ("strokes", "dots", "waves")
    for name, value in old.net.state_dict().items():
        assert torch.equal(new.net.state_dict()[name], value)
    for part in ("numbers", "means", "covariances"):
        assert torch.equal(getattr(new.palette, part)[:2], getattr(old.palette, part))
    assert not torch.equal(new.palette.numbers[2], old.palette.numbers.mean(0))
    assert new.facts["start"] == "start.safetensors"


def test_a_full_start_stays_full(model, photos, styles, tmp_path):
    """What float16 would round is kept as it is."""
    old = load_net(model)
    with torch.no_grad():
        old.net.entry.weight[0, 0, 0, 0] = 1 / 3
    save_net(model, old.net, palette=old.palette)
    work = Training(styles[2:], photos, read_options(steps=2), start=model)
    finish(work, tmp_path / "more.safetensors")
    new = load_net(tmp_path / "more.safetensors")
    assert torch.equal(new.net.entry.weight, old.net.entry.weight)


def test_starts_that_will_not_do(model, photos, styles):
    quick = read_options()
    with pytest.raises(OptionError, match=r"^'dots' is in the model already; give the picture an"):
        Training(styles[1:], photos, quick, start=model)
    with pytest.raises(OptionError, match=r"^net: the model to start from is slim, not johnson$"):
        Training(styles[2:], photos, read_options(net="johnson"), start=model)
    with pytest.raises(
        MissingFileError, match=r"^unknown model 'gone'; choose from any, painters$"
    ):
        Training(styles[2:], photos, quick, start="gone")


def test_from_a_network_for_any_style_it_begins_with_what_that_reads(photos, styles):
    work = Training(styles, photos, read_options(net=None, style_weight=40.0, steps=2))
    assert f"learnt: {len(styles)} new styles; its net stays as it is" in work.notes
    file = load_net(find_net("any"))
    side = work.options.style_size
    rows = []
    for style in styles:
        seen = read_image(style).pixels
        size = fit_style(*seen.shape[:1:-1], side, LEAST_STYLE)
        code = encode_style(load_backbone("compact"), resize_pixels(seen, *size))
        rows.append(file.reader(code, torch.tensor([40.0])))
    begun = work.result()
    torch.testing.assert_close(begun.palette.numbers, torch.cat(rows), atol=2e-3, rtol=2e-3)
    for _ in work.steps():
        pass
    learnt = work.result()
    assert not torch.equal(learnt.palette.numbers, begun.palette.numbers)
    # And so from a model of this very net, whose own styles stay first.
    more = Training(styles[:1], photos, read_options(net=None, style_weight=40.0), start="painters")
    torch.testing.assert_close(more.result().palette.numbers[8:], begun.palette.numbers[:1])
    for name, weight in learnt.net.state_dict().items():
        assert torch.equal(weight, file.net.state_dict()[name])


# --- what is wrong is said before the work ------------------------------------------------------


def test_errors_before_the_work(photos, styles, tmp_path):
    quick = read_options()
    with pytest.raises(OptionError, match=r"^no style given; at least one is needed$"):
        Training([], photos, quick)
    with pytest.raises(MissingFileError, match=r"^no such folder: '.*gone' \(of photographs\)$"):
        Training(styles, tmp_path / "gone", quick)
    with pytest.raises(
        OptionError, match=r"^cannot write a model 'm\.png' with suffix '\.png'; ch"
    ):
        Training(styles, photos, quick, output=tmp_path / "m.png")
    with pytest.raises(MissingFileError, match=r"^no such folder: '.*gone' \(to write"):
        Training(styles, photos, quick, output=tmp_path / "gone" / "m.safetensors")
    with pytest.raises(OptionError, match=r"^1 names for 3 styles; give one for each$"):
        Training(styles, photos, quick, names=["a"])
    for path in photos.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"^none of the photographs, 4 in all, can be read: '"):
        Training(styles, photos, quick)


def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(monkeypatch):
    """A gibibyte less 448 MiB for the process and 128 of slack is 448: 2.4 x 256^2 x 3000."""
    device = torch.device("cpu")
    options = read_options(batch=16, crop=256, memory="1G")
    text = r"^16 crops of 256 pixels take about 3\.\d GiB of the 1\.0 GiB granted; --batch 2 fits$"
    with pytest.raises(OptionError, match=text):
        check_memory("slim", options, device)
    needed = (448 + 128) * 2**20 + 2 * 256**2 * 3000
    tight = read_options(batch=2, crop=256, memory="1G")
    assert check_memory("slim", tight, device) == (2**30 - needed, False)
    spared = read_options(batch=3, crop=256, memory="4G")
    assert check_memory("slim", spared, device) == (2**30, True)
    assert check_memory("slim", read_options(memory="1G"), torch.device("cuda"))[0] == 2**30
    with pytest.raises(OptionError, match=r"granted; take a smaller --crop, or more --memory$"):
        check_memory("slim", read_options(batch=1, crop=1024, memory="1G"), device)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(OptionError, match=r"^batch: 2 for 4 processes; give at least 4$"):
        check_memory("slim", read_options(), device)
    check_memory("slim", options.model_copy(update={"memory": "1400M"}), device)


def test_it_is_made_of_a_request(photos, styles, tmp_path):
    inputs = {
        "styles": tuple(map(str, styles[:2])),
        "photos": (str(photos),),
        "start": (),
        "names": ("one", "two"),
    }
    request = Request(inputs, read_options(), output=tmp_path / "m.safetensors")
    work = Training.from_request(request)
    assert work.styles.palette.names == ("one", "two")
    assert work.output.path == tmp_path / "m.safetensors"
    assert work.start is None


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_looping_link_among_the_photographs_ends_nothing(photos, styles):
    (photos / "loop.png").symlink_to("loop.png")
    (photos / "up").symlink_to(photos, target_is_directory=True)
    assert len(Training(styles[:1], photos, read_options()).crops) == 4


# --- several processes --------------------------------------------------------------------------


def test_two_processes_come_to_the_slopes_of_one(photos, styles, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setitem(QUICK, "steps", 1)  # later ones grow apart by rounding
    monkeypatch.setitem(QUICK, "batch", 3)  # which two share unequally
    monkeypatch.setitem(QUICK, "learning_rate", 1e-4)
    path = tmp_path / "two.safetensors"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = command(tmp_path, photos, path, 0, *styles)
    done = subprocess.run(
        [sys.executable, *launcher, *arguments],
        capture_output=True,
        timeout=200,
        env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr.decode()
    number, total = done.stdout.split()  # of the first process alone
    one = Training(styles, photos, read_options())
    lessons = teach(one)
    assert int(number) == 1
    assert float(total) == pytest.approx(lessons[-1].total, rel=1e-3)
    ours = load_file(tmp_path / "packed")
    # Not weights: of the least slopes, which are rounding, Adam makes what it makes of the largest.
    slopes = {name: each for name, each in one.teacher.learner.pack().items() if "exp_avg." in name}
    assert len(slopes) == len(one.teacher.learner.weights)
    for name, slope in slopes.items():
        assert float((ours[name] - slope).norm()) < 1e-3 * float(slope.norm()), name
    assert len(load_net(path).palette or ()) == 3
    assert not list(tmp_path.glob("*.checkpoint*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_of_two_processes_one_is_killed_and_they_go_on_to_the_same_weights(
    photos, styles, tmp_path
):
    def launch(output: Path) -> subprocess.Popen:
        told = ["--style", styles[0], "--photos", photos, "-o", output, "--net", "slim"]
        told += ["--steps", 40, "--batch", 2, "--crop", 64, "--style-size", 96]
        told += ["--precision", "float32", "--preview-every", 4]
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=2"]
        launcher += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "-m", "impasto", "train"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        return subprocess.Popen(
            [sys.executable, *launcher, *map(str, told)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    assert launch(whole).wait(timeout=300) == 0
    running = launch(broken)
    checkpoint = tmp_path / "broken.safetensors.checkpoint"
    wait_until(checkpoint.exists)
    children = f"/proc/{running.pid}/task/{running.pid}/children"
    os.kill(int(Path(children).read_text().split()[-1]), signal.SIGKILL)
    assert running.wait(timeout=300) == 0
    assert broken.read_bytes() == whole.read_bytes()


def wait_until(is_so: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
