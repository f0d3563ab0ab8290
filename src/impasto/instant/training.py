"""Teaching a network to paint in one pass, after one style or many.

Squares of photographs in a style's colours go in; what comes out is to have the statistics of the
style's features and the features of the photograph (Johnson et al. 2016). All styles share the
convolutions, and a row of numbers is learnt for each (Dumoulin et al. 2017). From a ``start``, a
model that was made before, only new styles' rows are learnt: its net and its styles stay the same.

What is drawn follows from the seed and the step alone, so that a run that was killed goes on from
its checkpoint to the same weights. The processes that ``torchrun`` starts share each batch.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from impasto.errors import DivergedError, OptionError
from impasto.figures.contact_sheet import draw_sheet
from impasto.images.color_transfer import color_statistics
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import make_opaque
from impasto.images.writing import to_pil
from impasto.instant.distributed import Team, choose_own_machine, count_processes
from impasto.instant.learner import KEPT, Pupil
from impasto.instant.model_file import Trained, find_net, load_net_of_many
from impasto.instant.net import LAYOUTS, LEAST_STYLE, PaintingNet
from impasto.instant.options import TrainOptions
from impasto.instant.palette import Palette, join_palettes, name_styles
from impasto.instant.training_losses import (
    PERIODS,
    disturb,
    measure_content,
    measure_lattice,
    measure_paintings,
    measure_styles,
    measure_unrest,
)
from impasto.instant.training_photos import MEMORY, Crops, draw_all, list_photographs
from impasto.losses.regularisers import total_variation
from impasto.losses.statistics import Gaussian
from impasto.networks.weights import load_backbone
from impasto.options import format_memory
from impasto.painting.inputs import check_mask, fit_style
from impasto.painting.memory_plan import PROCESS, ROOMY, SLACK, grant_memory
from impasto.painting.painter import list_styles
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import check_place, locked
from impasto.system.memory import keeping_memory

SHORT_SIDES = (1.0, 3.0)  # of photographs, in crops
DISTURBED = 4  # every so many photographs are painted again, with noise
RANGE_WEIGHT, STEEPEST = 100.0, 5.0  # the latter is the norm of a gradient, at most
WARM_UP, COOLING, COLDEST = 100, 0.4, 0.02  # steps at first; share of them at last; the last rate
FACTS = ("number", "lost", "losses", "seconds")  # that a checkpoint keeps beside the weights
BESIDE = ("memory", "preview_every")  # options that change no weight
LOSSES = ("total", "style", "content", "tv")
MOST_LOST = 50  # steps in a row that led nowhere
SAVE_EVERY = 30.0  # seconds
SHOWN, SHOWN_SIDE = 4, 256  # photographs, and styles, of a preview
LONGEST = 4  # times the size at which styles are seen, however narrow one is
# Bytes that learning takes for each pixel of a batch: peaks with float32, rounded up.
BYTES = {"slim": 3000, "johnson": 9000}


@dataclass(frozen=True)
class Lesson:
    """What one step measured, before it changed the net, and how long all of them take."""

    number: int
    steps: int
    total: float
    style: float
    content: float
    tv: float
    seconds: float
    seconds_left: float
    crops_per_second: float


# --- training -----------------------------------------------------------------------------------


class Training:
    """``steps()`` teaches; ``preview()`` and ``result()`` show the net as it stands between steps.

    Beside the ``output`` lie a lock while it works and, until the model is saved, the checkpoint,
    ``model.safetensors.checkpoint``: the same call goes on from it.
    """

    def __init__(
        self,
        styles: ImageSource | Sequence[ImageSource],
        photos: str | os.PathLike[str] | Sequence[str | Path],
        options: TrainOptions | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        start: str | os.PathLike[str] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.options = options = options or TrainOptions()
        self.output = self.checkpoint = None
        if output is not None:
            self.output = check_place(output, "a model", [".safetensors"])
            self.checkpoint = Checkpoint(self.output.with_name(f"{self.output.name}.checkpoint"))
        most = options.max_megapixels
        paths = list_photographs(photos)
        pictures = [read_style(each, most) for each in list_styles(styles)]
        self.said = [note for picture in pictures for note in picture.notes]
        self.start = None if start is None else find_net(os.fspath(start))
        self.before = None if self.start is None else load_net_of_many(self.start)
        known = self.before[1].names if self.before else ()
        names = name_styles([picture.name for picture in pictures], names, known)
        self.machine = choose_own_machine(options)
        if self.machine.is_slow():
            self.said.append("bfloat16 is emulated here, which is slow; take --precision float32")
        self.shape = self._choose_shape()
        memory, self.is_roomy = check_memory(self.shape, options, self.machine.device)
        self.crops = Crops(paths, 3 * options.crop, memory=memory, max_megapixels=most)
        self.shown = list(islice(self.crops.middles(SHOWN_SIDE), SHOWN))
        self._measure_styles(pictures, names)
        self.pupil = self._make_pupil()
        self.number, self.lost, self.seconds = 0, 0, 0.0
        self.losses: dict[str, float] = {}  # their running averages
        self.resting, self.saved = True, time.perf_counter()  # no step is half done
        self.kept: int | None = None  # steps in the checkpoint
        self.is_alone = False  # the lock is held
        self.team = Team(self.machine.device)
        self.is_first = self.team.rank == 0  # of several processes the one that writes and tells
        self._take_up(pictures)

    @property
    def notes(self) -> list[str]:
        """What is to be said so far; more may come while it learns."""
        return [*self.said, *self.crops.notes()]

    def add_note(self, text: str) -> None:
        """Once, however often it is so."""
        if text not in self.said:
            self.said.append(text)

    # --- what is taught

    def _choose_shape(self) -> str:
        """The net's: as it was asked for, as it is in the model to start from, or as it suits."""
        asked, device = self.options.net, self.machine.device.type
        if self.before is not None:
            layout = self.before[0].layout
            shape = next((name for name, each in LAYOUTS.items() if each == layout), "another")
            if asked not in (None, shape):
                raise OptionError(f"net: the model to start from is {shape}, not {asked}")
            return shape
        if asked is None:
            asked = "johnson" if device == "cuda" else "slim"
            self.said.append(f"net {asked}, as this is {device}; --net for another")
        return asked

    @torch.no_grad()
    def _measure_styles(self, pictures: Sequence[Picture], names: tuple[str, ...]) -> None:
        """The colours of each style, and the statistics of its features."""
        self.backbone = load_backbone("compact").place(self.machine)
        colors, measured = [], []
        self.icons: list[Image.Image] = []
        for picture in pictures:
            side = self.options.style_size
            width, height = fit_style(*picture.size, side, LEAST_STYLE)
            seen = resize_pixels(
                picture.pixels, min(width, LONGEST * side), min(height, LONGEST * side)
            )
            colors.append(color_statistics(seen))
            measured.append(measure_styles(self.backbone, seen.to(self.machine.device)))
            if len(self.icons) < SHOWN:
                self.icons.append(to_pil(seen))
        means, covariances = (torch.stack(each) for each in zip(*colors, strict=True))
        self.palette = Palette(names, torch.empty(0), means, covariances)
        self.targets = {n: Gaussian.join([each[n] for each in measured]) for n in measured[0]}

    def _make_pupil(self) -> Pupil:
        """New, from the seed; or what was made before, its new styles like the mean of the old."""
        device, count = self.machine.device, len(self.palette)
        if self.before is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.options.seed)
                net = PaintingNet(LAYOUTS[self.shape])
            first = torch.zeros(net.count)
        else:
            net, known = copy.deepcopy(self.before[0]), self.before[1]
            first = known.numbers.mean(0)
            new = f"{count} new style{'s' * (count > 1)}"
            self.said.append(f"learnt: {new}; the net and its {len(known)} so far stay as they are")
        net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Pupil(net, first.to(device).repeat(count, 1), only_numbers=self.before is not None)

    # --- a broken-off run

    def _take_up(self, pictures: Sequence[Picture]) -> None:
        """Go on where a run that was broken off stands."""
        saved = None
        if self.checkpoint is not None:
            self.digest = self._digest(pictures)
            if self.checkpoint.run not in (None, self.digest):
                raise OptionError(
                    f"{self.checkpoint.path.name!r} is of another training: other styles, "
                    "photographs, options or version; remove it, or name another output"
                )
            saved = self.checkpoint.load(self.digest)
        if saved is not None:
            tensors, facts = saved
            self.pupil.unpack(tensors)
            for each in FACTS:
                setattr(self, each, facts[each])
            self.crops.failed.update({int(n): text for n, text in facts["failed"].items()})
            self.kept = self.number
            self.said.append(f"taken up at step {self.number + 1}")
        stand = torch.zeros(self.team.size, device=self.machine.device)
        stand[self.team.rank] = self.number
        self.team.add_up([stand])
        if len(set(stand.tolist())) > 1:
            raise OptionError("not all processes see the checkpoint; name an output that all see")

    def _digest(self, pictures: Sequence[Picture]) -> str:
        """Of all that the weights depend on."""
        said = [
            [version("impasto"), torch.__version__, self.backbone.fingerprint()],
            self._list_options(),
            self.palette.names,
            [(path.name, path.stat().st_size) for path in self.crops.paths if path.exists()],
        ]
        digest = hashlib.sha256(json.dumps(said).encode())
        for picture in pictures:
            digest.update(repr(picture.size).encode() + picture.pixels.numpy().tobytes())
        if self.start is not None:
            digest.update(self.start.read_bytes())
        return digest.hexdigest()

    def _list_options(self) -> dict[str, Any]:
        """Those that the weights depend on, as they were settled."""
        options = self.options.model_dump(mode="json", exclude=set(BESIDE))
        found = {"device": self.machine.device.type, "precision": self.machine.describe_numbers()}
        return options | {"net": self.shape} | found

    def save_progress(self) -> None:
        """Write the checkpoint, if there is to be one and no step is half done. Where it cannot be
        written that is noted: the net still learns, and may yet be saved."""
        if self.checkpoint is None or not self.resting or not self.is_first:
            return
        facts = {each: getattr(self, each) for each in FACTS}
        facts["failed"] = dict(self.crops.failed)  # a thread may be reading more
        try:
            self.checkpoint.save(self.pupil.pack(), facts, self.digest)
            self.kept = self.number
        except OptionError as error:
            self.add_note(str(error))
        self.saved = time.perf_counter()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process trains this model meanwhile: an error at once if one does. ``steps()``
        sees to it itself; who is to save the model under the same lock takes it before."""
        if self.is_alone or self.output is None or not self.is_first:
            yield
            return
        with locking(self.output, self.add_note):
            self.is_alone = True
            try:
                yield
            finally:
                self.is_alone = False

    # --- learning

    def steps(self) -> Iterator[Lesson]:
        """Learn, yielding what each step measured."""
        options, paces = self.options, deque[float](maxlen=50)
        with ExitStack() as stack:
            stack.callback(self.team.leave)
            stack.enter_context(self.alone())
            stack.enter_context(keeping_memory(all_of_it=self.is_roomy))
            stack.callback(self.save_progress)
            steps, began = range(self.number, options.steps), time.perf_counter()
            is_idle = self.machine.device.type != "cpu"  # this processor
            for photos, styles in draw_all(self._draw, steps, ahead=is_idle):
                total, style, content, tv = self._learn(photos, styles)
                paces.append(time.perf_counter() - began)
                self.seconds += paces[-1]
                pace = sum(paces) / len(paces)
                times = self.seconds, pace * (options.steps - self.number), options.batch / pace
                yield Lesson(self.number, options.steps, total, style, content, tv, *times)
                if time.perf_counter() - self.saved > SAVE_EVERY:
                    self.save_progress()
                began = time.perf_counter()

    def _draw(self, step: int) -> tuple[Tensor, list[int]]:
        """This process's share of a batch, in the colours of styles that take turns; each picture
        is drawn from its number alone."""
        batch, side, photos, styles = self.options.batch, self.options.crop, [], []
        for row in range(self.team.rank, batch, self.team.size):
            number = step * batch + row
            draw = random.Random(f"{self.options.seed} {number}")
            photo = self.crops.cut(draw, side, side * draw.uniform(*SHORT_SIDES))
            styles.append(number % len(self.palette))
            photos.append(self.palette.recolor(photo, styles[-1]))
        return torch.cat(photos), styles

    def _measure(self, photos: Tensor, styles: Sequence[int]) -> Tensor:
        """Style, content, variation and what is out of range: this process's part of their means
        over the whole batch."""
        device, short = self.machine.device, self.machine.precision == torch.bfloat16
        photos = photos.to(device).contiguous(memory_format=torch.channels_last)
        rows = torch.tensor(styles, device=device)
        # A product, since its slope is always added up in the same order.
        numbers = nn.functional.one_hot(rows, len(self.palette)).float() @ self.pupil.numbers
        targets = {layer: each.take(rows) for layer, each in self.targets.items()}
        content = measure_content(self.backbone, photos)
        self.pupil.net.renew_grain(self.number + 1)
        with torch.autocast(device.type, torch.bfloat16, enabled=short):
            painted = self.pupil.net(photos, numbers).float()
        style, away = measure_paintings(self.backbone, painted, targets, content)
        values = painted[0].numel()
        tv = total_variation(painted) / values
        outside = (painted - painted.clamp(0, 1)).square().sum() / values
        unrest = self._measure_unrest(photos, numbers, painted)
        lattice = measure_lattice(painted, PERIODS[self.number % len(PERIODS)])
        parts = [style.sum(), away.sum(), tv, outside, unrest, lattice.sum()]
        return torch.stack(parts) / self.options.batch

    def _measure_unrest(self, photos: Tensor, numbers: Tensor, painted: Tensor) -> Tensor:
        """Of every fourth photograph of the batch, in place of all."""
        batch, team, short = self.options.batch, self.team, self.machine.precision == torch.bfloat16
        mine = range(team.rank, batch, team.size)
        some = [i for i, row in enumerate(mine) if row % DISTURBED == 0]
        if not (some and self.options.steady_weight):
            return painted.new_zeros(())
        noisy = [disturb(photos[i : i + 1], self.number * batch + mine[i]) for i in some]
        again = torch.cat(noisy).contiguous(memory_format=torch.channels_last)
        with torch.autocast(photos.device.type, torch.bfloat16, enabled=short):
            again = self.pupil.net(again, numbers[some]).float()
        return measure_unrest(painted[some], again).sum() * batch / len(range(0, batch, DISTURBED))

    def _learn(self, photos: Tensor, styles: Sequence[int]) -> tuple[float, ...]:
        """One step; one whose loss or gradient is no number leads nowhere. What it measured: all in
        all, style, content and variation."""
        options, pupil = self.options, self.pupil
        weights = [options.style_weight, options.content_weight, options.tv_weight, RANGE_WEIGHT]
        weights += [options.steady_weight, options.lattice_weight]
        parts = self._measure(photos, styles)
        pupil.optimizer.zero_grad(set_to_none=True)
        (parts @ parts.new_tensor(weights)).backward()  # type: ignore[no-untyped-call]
        measured = parts.detach().clone()
        slopes = [each.grad for each in pupil.weights.values() if each.grad is not None]
        self.team.add_up([*slopes, measured])
        steep = nn.utils.clip_grad_norm_(pupil.weights.values(), STEEPEST)
        values = measured.tolist()
        total = sum(weight * value for weight, value in zip(weights, values, strict=True))
        losses = total, *values[:3]
        self.resting = False  # who stops it before, or after, stops it where nothing is half done
        self.number += 1
        is_sound = math.isfinite(total) and bool(steep.isfinite())
        self.lost = 0 if is_sound else self.lost + 1
        if self.lost >= MOST_LOST:
            raise DivergedError(
                f"step {self.number}: the loss is no longer a number; lower --learning-rate"
            )
        if is_sound:
            pupil.learn(options.learning_rate * rate_at(self.number, options.steps), self.number)
            for name, value in zip(LOSSES, losses, strict=True):
                self.losses[name] = KEPT * self.losses.get(name, value) + (1 - KEPT) * value
        self.resting = True
        return losses

    # --- what it came to

    @torch.no_grad()
    def preview(self) -> Image.Image:
        """Some photographs after some of the styles that are learnt, as they are painted now. The
        checkpoint is written as well."""
        net, numbers = self.pupil.averaged()
        shown, palette = range(len(self.icons)), self.palette
        rows: list[list[Image.Image | None]] = [[None, *self.icons]]
        for photo in self.shown:
            painted = [net(palette.recolor(photo, i), numbers[i : i + 1]) for i in shown]
            rows.append([to_pil(photo), *map(to_pil, painted)])
        self.save_progress()
        heads, title = ["", *palette.names[:SHOWN]], f"step {self.number} of {self.options.steps}"
        return draw_sheet(rows, column_labels=heads, title=title, tile=SHOWN_SIDE)

    def result(self) -> Trained:
        """The net with the styles that it knew and those that it learnt."""
        net, numbers = self.pupil.averaged()
        palette, kept = replace(self.palette, numbers=numbers), list[Tensor]()
        if self.before is not None:
            kept = [*net.parameters(), self.before[1].numbers]
            palette = join_palettes([self.before[1], palette])
        about = {
            "operation": "train",
            "impasto": version("impasto"),
            "options": self._list_options(),
            "learnt": self.palette.names,
            "start": None if self.start is None else self.start.name,
            "photographs": len(self.crops.paths) - len(self.crops.failed),
            "steps": self.number,
            "losses": {name: round(value, 6) for name, value in self.losses.items()},
        }
        return Trained(net, palette, about, self.shown[0], kept, self._finish, self.is_first)

    def _finish(self) -> None:
        """The model is saved."""
        if self.checkpoint is not None and self.number == self.options.steps:
            self.checkpoint.remove()


def read_style(source: ImageSource, max_megapixels: float) -> Picture:
    """A picture to learn; an error where there is nothing of it to see."""
    picture = read_image(source, max_megapixels=max_megapixels)
    check_mask(picture.alpha, picture.name)
    return make_opaque(picture)


def check_memory(shape: str, options: TrainOptions, device: torch.device) -> tuple[int, bool]:
    """An error where a batch does not fit, with what would; else the bytes that are left for
    photographs, and whether there is memory to spare."""
    grant, team = grant_memory(device, options.memory), count_processes()
    if options.batch < team:
        raise OptionError(f"batch: {options.batch} for {team} processes; give at least {team}")
    base = SLACK + (PROCESS if device.type == "cpu" else 0)
    each = BYTES.get(shape, max(BYTES.values())) * options.crop**2
    needed = base + each * -(-options.batch // team)
    if grant is None:
        return MEMORY, True
    if needed <= grant:
        # Photographs lie in the processor's memory, which a card's grant says nothing of.
        if device.type != "cpu":
            return MEMORY, needed < ROOMY * grant
        held = min(MEMORY, grant - needed)
        return held, needed + held < ROOMY * grant
    rows = max(0, grant - base) // each
    fits = f"--batch {rows * team} fits" if rows else "take a smaller --crop, or more --memory"
    raise OptionError(
        f"{options.batch} crops of {options.crop} pixels take about {format_memory(needed)} of the "
        f"{format_memory(grant)} granted; {fits}"
    )


def rate_at(number: int, steps: int) -> float:
    """The share of the learning rate: warmed up, the same for long, and falling at last."""
    warm = number / max(1.0, min(WARM_UP, steps / 10))
    late = max(0.0, number / steps - (1 - COOLING)) / COOLING
    return min(1.0, warm) * (1 - (1 - COLDEST) * late)


@contextmanager
def locking(output: Path, note: Callable[[str], None]) -> Iterator[None]:
    """An error at once if another process trains this model. A lock that cannot be taken away, as
    in a folder that nothing can be written to any longer, is noted: it is in nobody's way."""
    stack = ExitStack()
    try:
        stack.enter_context(locked(output.with_name(f".{output.name}.lock"), wait=False))
    except BlockingIOError:
        raise OptionError(
            f"{output.name!r} is being trained by another process; wait for it, or name another"
        ) from None
    except OSError as error:
        raise OptionError(f"cannot write to {str(output.parent)!r}: {explain(error)}") from None
    try:
        yield
    finally:
        try:
            stack.close()
        except OSError as error:
            note(f"cannot remove the lock of {output.name!r}: {explain(error)}")


def explain(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
