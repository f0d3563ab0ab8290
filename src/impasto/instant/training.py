"""Teaching a network to paint in one pass, after one style or many.

Squares of photographs in a style's colours go in; what comes out is to have the statistics of the
style's features and the features of the photograph (Johnson et al. 2016). All styles share the
convolutions, and parameters are learnt for each (Dumoulin et al. 2017). From a ``start``, a model
that was made before, only new styles' parameters are learnt: its net and its styles stay the same.
From a network for any style they begin as that reads them.

What is drawn follows from the seed and the step alone, so that a run that was killed goes on from
its checkpoint to the same weights. The processes that ``torchrun`` starts share each batch.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from impasto.errors import OptionError
from impasto.figures.contact_sheet import draw_sheet
from impasto.images.picture import ImageSource, Picture
from impasto.images.writing import to_pil
from impasto.instant.distributed import Team, choose_own_machine, count_processes
from impasto.instant.learner import Learner
from impasto.instant.model_file import NetFile, Trained, find_net, load_net
from impasto.instant.net import CODE_LAYERS, NET_SHAPES, DialReader, PaintingNet
from impasto.instant.options import TrainOptions
from impasto.instant.palette import join_palettes, name_styles
from impasto.instant.taught_styles import SHOWN_STYLES, TaughtStyles, read_taught
from impasto.instant.teacher import Teacher
from impasto.instant.training_output import ModelOutput
from impasto.instant.training_photos import (
    PHOTOS_MEMORY,
    Batches,
    Crops,
    draw_all,
    list_photographs,
)
from impasto.networks.weights import load_backbone
from impasto.options import format_memory
from impasto.painting.memory_plan import PROCESS, ROOMY, SLACK, grant_memory
from impasto.painting.painter import list_styles
from impasto.system.devices import working_on
from impasto.system.memory import keeping_memory
from impasto.work import Request, Step

_BESIDE = ("memory", "preview_every")  # options that change no weight
_FEW, _MANY = 400, 4000  # steps from a start, and from the beginning
_SHOWN, _SHOWN_SIDE = 4, 256  # photographs of a preview
_CROPS = 3  # the long side at which photographs are held, in crops
# Bytes that learning takes for each pixel of a batch: peaks with float32, rounded up.
_BYTES = {"slim": 3000, "johnson": 9000}


class Training:
    """Teaches styles from photographs, step by step.

    ``preview()`` and ``result()`` show the net as it stands between steps. With an ``output`` the
    same call goes on where a run that was killed stands.
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
        self.said: list[str] = []
        self.output = ModelOutput(output, self.add_note)
        paths = list_photographs(photos)
        pictures = [read_taught(each, options.max_megapixels) for each in list_styles(styles)]
        self.said += [note for picture in pictures for note in picture.notes]
        if start is None and options.net in (None, "any"):
            start = "any"
        self.start = None if start is None else find_net(os.fspath(start))
        self.count = options.steps or (_MANY if start is None else _FEW)
        self.before = None if self.start is None else load_net(self.start)
        self.learnt = None if self.before is None else self.before.palette
        known = self.learnt.names if self.learnt else ()
        names = name_styles([picture.name for picture in pictures], names, known)
        self.machine = choose_own_machine(options)
        if self.machine.is_slow():
            self.said.append("bfloat16 is emulated here, which is slow; take --precision float32")
        self.shape = self._choose_shape()
        memory, self.is_roomy = check_memory(self.shape, options, self.machine.device)
        self.crops = Crops(
            paths, _CROPS * options.crop, memory=memory, max_megapixels=options.max_megapixels
        )
        self.shown = list(islice(self.crops.middles(_SHOWN_SIDE), _SHOWN))
        backbone = load_backbone("compact").place(self.machine)
        self.styles = TaughtStyles(
            pictures, names, backbone, options.style_size, self.machine.device
        )
        learner, self.team = self._make_learner(), Team(self.machine.device)
        self.batches = Batches(self.crops, self.styles.palette, options, self.team)
        self.teacher = Teacher(
            learner,
            backbone,
            self.styles.targets,
            options,
            steps=self.count,
            machine=self.machine,
            team=self.team,
        )
        self._take_up(pictures)

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        return cls(
            request.many("styles"),
            request.one("photos"),
            TrainOptions.parse(request.options),
            output=request.output,
            start=request.some("start"),
            names=request.many("names") or None,
        )

    @property
    def is_first(self) -> bool:
        """Whether this is the one of several processes that writes and tells."""
        return self.team.rank == 0

    @property
    def notes(self) -> list[str]:
        """What is to be said so far; more may come while it learns."""
        return [*self.said, *self.crops.notes()]

    def add_note(self, text: str) -> None:
        """Note this once, however often it is so."""
        if text not in self.said:
            self.said.append(text)

    # --- what learns

    def _choose_shape(self) -> str:
        """Return the net's: as of the model to start from, or as asked for."""
        asked = self.options.net
        if self.before is not None:
            layout = self.before.net.layout
            shape = next((name for name, each in NET_SHAPES.items() if each == layout), "another")
            if asked not in (None, shape):
                raise OptionError(f"net: the model to start from is {shape}, not {asked}")
            return shape
        assert asked is not None
        return asked

    def _make_learner(self) -> Learner:
        """Make it new from the seed, or from a start.

        New styles begin as they are read, where the net reads any, or as the mean of the old ones.
        """
        device, count = self.machine.device, len(self.styles.palette)
        if self.before is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.options.seed)
                net = PaintingNet(NET_SHAPES[self.shape])
            first = torch.zeros(count, net.count)
        else:
            net, reader = copy.deepcopy(self.before.net), find_reader(self.before)
            if reader is not None:
                first = self._read_styles(reader)
            else:
                assert self.learnt is not None
                first = self.learnt.numbers.mean(0).repeat(count, 1)
            new = f"{count} new style{'s' * (count > 1)}"
            stay = "its net stays as it is"
            if self.learnt is not None:
                stay = f"the net and its {len(self.learnt)} so far stay as they are"
            self.said.append(f"learnt: {new}; {stay}")
        net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Learner(net, first.to(device), only_numbers=self.before is not None)

    @torch.no_grad()
    def _read_styles(self, reader: DialReader) -> Tensor:
        """Return the parameters of all styles, as a network for any style reads them."""
        seen = [self.styles.targets[name] for name in CODE_LAYERS]
        parts = [(each.mean, each.covariance.diagonal(dim1=1, dim2=2)) for each in seen]
        code = torch.cat([p for mean, variance in parts for p in (mean, variance.sqrt())], 1)
        weights = torch.full((len(code),), self.options.style_weight)
        return reader(code.float().cpu(), weights)  # type: ignore[no-any-return]

    # --- a broken-off run

    def _take_up(self, pictures: Sequence[Picture]) -> None:
        """Go on where a run that was broken off stands."""
        saved = None
        state = self.teacher.state
        if self.output.checkpoint is not None:
            saved = self.output.take_up(self._digest(pictures))
        if saved is not None:
            tensors, facts = saved
            self.teacher.learner.unpack(tensors)
            for name in asdict(state):
                setattr(state, name, facts[name])
            self.crops.failed.update({int(n): text for n, text in facts["failed"].items()})
            self.said.append(f"taken up at step {state.number + 1}")
        numbers = torch.zeros(self.team.size, device=self.machine.device)
        numbers[self.team.rank] = state.number
        self.team.add_up([numbers])
        if len(set(numbers.tolist())) > 1:
            raise OptionError("not all processes see the checkpoint; name an output that all see")

    def _digest(self, pictures: Sequence[Picture]) -> str:
        """Return that of all that the weights depend on."""
        said = [
            [version("impasto"), torch.__version__, self.teacher.backbone.fingerprint()],
            self._list_options(),
            self.styles.palette.names,
            [(path.name, path.stat().st_size) for path in self.crops.paths if path.exists()],
        ]
        digest = hashlib.sha256(json.dumps(said).encode())
        for picture in pictures:
            digest.update(repr(picture.size).encode() + picture.pixels.numpy().tobytes())
        if self.start is not None:
            digest.update(self.start.read_bytes())
        return digest.hexdigest()

    def _list_options(self) -> dict[str, Any]:
        """Return those that the weights depend on, as they were settled."""
        options = self.options.model_dump(mode="json", exclude=set(_BESIDE)) | {"steps": self.count}
        found = {"device": self.machine.device.type, "precision": self.machine.describe_precision()}
        return options | {"net": self.shape} | found

    def save_progress(self) -> None:
        """Write the checkpoint, if there is to be one and no step is half done."""
        if not self.teacher.is_resting or not self.is_first:
            return
        facts = asdict(self.teacher.state)
        facts["failed"] = dict(self.crops.failed)  # a thread may be reading more
        self.output.save_progress(self.teacher.learner.pack(), facts)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training this model, with an error at once if one does.

        ``steps()`` sees to it itself; who is to save the model under the same lock takes it before.
        """
        with ExitStack() as stack:
            if self.is_first:
                stack.enter_context(self.output.alone())
            yield

    # --- learning

    def steps(self) -> Iterator[Step]:
        """Learn, yielding what each step measured before it changed the net."""
        options, state = self.options, self.teacher.state
        paces = deque[float](maxlen=50)
        with ExitStack() as stack:
            stack.callback(self.team.leave)
            stack.enter_context(self.alone())
            stack.enter_context(keeping_memory(all_of_it=self.is_roomy))
            stack.callback(self.save_progress)
            steps, began = range(state.number, self.count), time.perf_counter()
            is_idle = self.machine.device.type != "cpu"  # this processor
            for photos, styles in draw_all(self.batches.draw, steps, ahead=is_idle):
                with working_on(self.machine.device):
                    measured = self.teacher.teach(photos, styles)
                paces.append(time.perf_counter() - began)
                state.seconds += paces[-1]
                pace = sum(paces) / len(paces)
                measured["seconds_left"] = pace * (self.count - state.number)
                measured["crops_per_second"] = options.batch / pace
                yield Step(state.number, self.count, measured=measured, seconds=state.seconds)
                if self.output.is_due():
                    self.save_progress()
                began = time.perf_counter()

    # --- what it came to

    @torch.no_grad()
    def preview(self) -> Image.Image:
        """Paint some photographs after some of the styles, as far as these are learnt.

        The checkpoint is written as well.
        """
        net, numbers = self.teacher.learner.averaged()
        icons, palette = self.styles.icons, self.styles.palette
        rows: list[list[Image.Image | None]] = [[None, *icons]]
        for photo in self.shown:
            painted = [
                net(palette.recolor(photo, i), numbers[i : i + 1]) for i in range(len(icons))
            ]
            rows.append([to_pil(photo), *map(to_pil, painted)])
        self.save_progress()
        heads = ["", *palette.names[:SHOWN_STYLES]]
        title = f"step {self.teacher.state.number} of {self.count}"
        return draw_sheet(rows, column_labels=heads, title=title, tile=_SHOWN_SIDE)

    def result(self) -> Trained:
        """Return the net with the styles that it knew and those that it learnt."""
        net, numbers = self.teacher.learner.averaged()
        palette, kept = replace(self.styles.palette, numbers=numbers), list[Tensor]()
        if self.before is not None:
            kept = [*net.parameters()]
        if self.learnt is not None:
            kept.append(self.learnt.numbers)
            palette = join_palettes([self.learnt, palette])
        state = self.teacher.state
        about = {
            "operation": "train",
            "impasto": version("impasto"),
            "options": self._list_options(),
            "learnt": self.styles.palette.names,
            "start": None if self.start is None else self.start.name,
            "photographs": len(self.crops.paths) - len(self.crops.failed),
            "steps": state.number,
            "losses": {name: round(value, 6) for name, value in state.losses.items()},
        }
        return Trained(net, palette, about, self.shown[0], kept, self._finish, self.is_first)

    def _finish(self) -> None:
        """Remove the checkpoint once the model is saved, if it is at its end."""
        if self.teacher.state.number == self.count:
            self.output.finish()


def find_reader(file: NetFile) -> DialReader | None:
    """Return what reads any style for a net: its own, or that of the packaged one if it is this."""
    if file.reader is not None or file.net.layout != NET_SHAPES["any"]:
        return file.reader
    usual, own = load_net(find_net("any")), file.net.state_dict()
    same = all(torch.equal(value, own[name]) for name, value in usual.net.state_dict().items())
    return usual.reader if same else None


def check_memory(shape: str, options: TrainOptions, device: torch.device) -> tuple[int, bool]:
    """Return the bytes that are left for photographs, and whether there is memory to spare.

    Where a batch does not fit, the error says what would.
    """
    grant, team = grant_memory(device, options.memory), count_processes()
    if options.batch < team:
        raise OptionError(f"batch: {options.batch} for {team} processes; give at least {team}")
    base = SLACK + (PROCESS if device.type == "cpu" else 0)
    each = _BYTES.get(shape, max(_BYTES.values())) * options.crop**2
    needed = base + each * -(-options.batch // team)
    if grant is None:
        return PHOTOS_MEMORY, True
    if needed <= grant:
        # Photographs lie in the processor's memory, which a card's grant says nothing of.
        if device.type != "cpu":
            return PHOTOS_MEMORY, needed < ROOMY * grant
        held = min(PHOTOS_MEMORY, grant - needed)
        return held, needed + held < ROOMY * grant
    rows = max(0, grant - base) // each
    fits = f"--batch {rows * team} fits" if rows else "take a smaller --crop, or more --memory"
    raise OptionError(
        f"{options.batch} crops of {options.crop} pixels take about {format_memory(needed)} of the "
        f"{format_memory(grant)} granted; {fits}"
    )
