"""The loop that every picture is found by: sizes from coarse to fine, and steps at each.

What is minimised is a ``Goal``, and what it is minimised for a ``Work``: a painting, a texture, an
inversion, a dream. The loop knows none of them by name.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import DivergedError
from impasto.images.picture import InputPictures, describe_pictures
from impasto.networks.vgg import Backbone
from impasto.painting.canvas import CANVASES, Canvas
from impasto.painting.memory_plan import Level
from impasto.painting.optimizers import OPTIMIZERS, Optimizer
from impasto.painting.options import LoopOptions
from impasto.painting.result import Painting
from impasto.recipes import write_recipe
from impasto.system.checkpoints import Checkpoint, fingerprint
from impasto.system.devices import Machine
from impasto.system.memory import give_memory_back, keeping_memory
from impasto.work import Step

PLATEAU = 20  # steps whose mean loss is compared with that of the steps before them


class Goal(Protocol):
    """What is minimised at one size."""

    remarks: list[str]  # what was done in the user's stead

    def show(self, pixels: Tensor) -> Tensor:
        """What is looked at of a picture."""

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, to be differentiated, and its parts by name."""


@dataclass
class Progress:
    """Where a run stands: all that it needs to go on, whatever happens in between."""

    best: Tensor | None = None  # what there is to show, at the size being painted
    history: list[Step] = field(default_factory=list)
    level: int = 0  # the size being painted: its place among the sizes
    done: int = 0  # steps at this size
    least: float = math.inf
    state: dict[str, Tensor] = field(default_factory=dict)  # the canvas's and the optimiser's
    remarks: list[str] = field(default_factory=list)  # what was done in the user's stead

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON has it."""
        tensors = {f"state.{name}": tensor for name, tensor in self.state.items()}
        if self.best is not None:
            tensors["best"] = self.best
        least = None if math.isinf(self.least) else self.least
        facts = {"level": self.level, "done": self.done, "least": least}
        return tensors, facts | {"history": [step.pack() for step in self.history]}

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Progress:
        history = [Step(**{**step, "size": tuple(step["size"])}) for step in facts["history"]]
        least = math.inf if facts["least"] is None else facts["least"]
        prefix = "state."
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        best = tensors.get("best")
        return cls(best, history, facts["level"], facts["done"], least, state)


# --- steps at one size --------------------------------------------------------------------------


def optimise(
    goal: Goal,
    canvas: Canvas,
    optimizer: Optimizer,
    count: int,
    progress: Progress,
    options: LoopOptions,
) -> Iterator[tuple[float, dict[str, float]]]:
    """Steps at one size, until there are ``count`` or the loss no longer falls; the best picture
    measured is kept, or the average of all, and not the last."""
    measured: dict[str, Tensor] = {}
    before = canvas.values  # the picture that was measured, before it was changed

    def measure() -> Tensor:
        nonlocal before
        optimizer.zero_grad(set_to_none=True)
        pixels = canvas.pixels()
        before = pixels.detach()
        total, parts = goal(goal.show(pixels), len(progress.history))
        total.backward()  # type: ignore[no-untyped-call]
        measured.update({name: part.detach() for name, part in parts.items()})
        return total.detach()

    average = progress.state.get("average")
    average = None if average is None else average.to(canvas.values.device)
    while progress.done < count and not has_settled(progress, options.plateau):
        total = float(optimizer.step(measure))
        if not math.isfinite(total):
            raise DivergedError(
                f"the loss is no longer a number at step {len(progress.history) + 1}; "
                "lower --learning-rate or --style-weight, or use --optimizer adam"
            )
        progress.done += 1
        if options.blur:
            soften_canvas(canvas, options.blur * (1 - 2 * progress.done / count))
        if options.average:
            average = average_in(average, before, options.average)
            progress.best = average / (1 - options.average**progress.done)
        elif total < progress.least:
            progress.least, progress.best = total, before
        progress.state = keep_state(canvas, optimizer, average)
        yield total, {name: float(part) for name, part in measured.items()}


def prepare(
    start: Tensor, options: LoopOptions, state: Mapping[str, Tensor]
) -> tuple[Canvas, Optimizer]:
    """The canvas and its optimiser, new for this size or as a broken-off run left them."""
    canvas = CANVASES[options.canvas](start)
    optimizer = OPTIMIZERS[options.optimizer](canvas, options.learning_rate)
    if state:
        with torch.no_grad():
            canvas.values.copy_(state["values"])
        optimizer.state[canvas.values] = {
            name.removeprefix("optimizer."): tensor.to(canvas.values.device)
            for name, tensor in state.items()
            if name.startswith("optimizer.")
        }
    return canvas, optimizer


def keep_state(canvas: Canvas, optimizer: Optimizer, average: Tensor | None) -> dict[str, Tensor]:
    """The tensors that the next step is made from; they are the ones in use, not copies."""
    remembered = optimizer.state[canvas.values]
    state = {f"optimizer.{n}": t for n, t in remembered.items() if isinstance(t, Tensor)}
    state["values"] = canvas.values.detach()
    if average is not None:
        state["average"] = average
    return state


def average_in(average: Tensor | None, pixels: Tensor, share: float) -> Tensor:
    return (1 - share) * pixels if average is None else share * average + (1 - share) * pixels


@torch.no_grad()
def soften_canvas(canvas: Canvas, sigma: float) -> None:
    """Blur between steps (mission row 4): grain is taken away before it sets."""
    if sigma <= 0.05:
        return
    reach = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    pixels = canvas.pixels()
    taps = (taps / taps.sum()).to(pixels).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    wide = functional.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    wide = functional.conv2d(wide, taps, groups=3)
    soft = functional.conv2d(wide, taps.transpose(2, 3), groups=3)
    canvas.replace(soft)


def has_settled(progress: Progress, plateau: float) -> bool:
    """Whether the mean loss of the last steps is hardly below that of the steps before them."""
    if not plateau or progress.done < 2 * PLATEAU:
        return False
    totals = [step.total for step in progress.history[-2 * PLATEAU :]]
    return sum(totals[PLATEAU:]) >= (1 - plateau) * sum(totals[:PLATEAU])


# --- sizes from coarse to fine ------------------------------------------------------------------


class Work(ABC):
    """A picture that is found by the loop: ``steps()`` works, ``result()`` is the best so far at
    any moment, so that work that is broken off has something to show.

    With a ``checkpoint`` file, work that was killed goes on where it was.
    """

    operation: str
    options: LoopOptions
    backbone: Backbone
    machine: Machine
    levels: Sequence[Level]
    notes: list[str]
    checkpoint: Checkpoint | None
    progress: Progress
    size: tuple[int, int]
    is_roomy = True  # whether there is memory to spare
    resting = True  # no step is half done

    @abstractmethod
    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """What is minimised at a size, and the picture to start from: the progress's best, if there
        is one."""

    @abstractmethod
    def result(self) -> Painting:
        """The best picture so far, at its full size."""

    @abstractmethod
    def list_pictures(self) -> InputPictures:
        """Return the pictures that go in, by what they are: "content", "style"."""

    @abstractmethod
    def list_inputs(self) -> Iterable[Tensor | None]:
        """Every tensor that the result depends on."""

    def steps(self) -> Iterator[Step]:
        """Work, yielding what each step measured."""
        for step in self._go_through_sizes():
            self.resting = True
            self.notes += self.progress.remarks
            self.progress.remarks.clear()
            yield step
            if self.checkpoint and self.checkpoint.is_due():
                self.save_progress()
            self.resting = False
        self.resting = True
        self.save_progress()

    def _go_through_sizes(self) -> Iterator[Step]:
        progress, options = self.progress, self.options
        spent = progress.history[-1].seconds if progress.history else 0.0
        began = time.perf_counter() - spent
        with keeping_memory(all_of_it=self.is_roomy):
            for number, level in enumerate(self.levels):
                if number < progress.level or level.steps == 0:
                    continue
                if number > progress.level:
                    progress.level, progress.done, progress.state = number, 0, {}
                    progress.least = math.inf
                    give_memory_back()  # what smaller sizes left in pieces
                goal, start = self.begin(level)
                canvas, optimizer = prepare(start, options, progress.state)
                del start
                for total, parts in optimise(
                    goal, canvas, optimizer, level.steps, progress, options
                ):
                    step = Step(
                        len(progress.history) + 1,
                        options.steps,
                        size=level.size,
                        measured={"total": total, "style": 0.0, "content": 0.0, "tv": 0.0} | parts,
                        seconds=time.perf_counter() - began,
                    )
                    progress.history.append(step)
                    progress.remarks += goal.remarks
                    goal.remarks.clear()
                    yield replace(step, look=self.result)
                del goal, canvas, optimizer
            progress.state = {}  # the best is all that is needed of it

    def take_up(self) -> Progress:
        """Where a run that was broken off stands; a new one if there is none."""
        if self.checkpoint is None:
            return Progress()
        self.digest = self._fingerprint()
        saved = self.checkpoint.load(self.digest)
        if saved is None:
            return Progress()
        progress = Progress.unpack(*saved)
        self.notes.append(f"taken up at step {len(progress.history) + 1}")
        return progress

    def _fingerprint(self) -> str:
        """Return a digest of all that the bytes of the result depend on."""
        recipe = {name: value for name, value in self.recipe().items() if name != "digests"}
        facts = [recipe, torch.__version__, self.backbone.fingerprint()]
        return fingerprint(facts, self.list_inputs())

    def save_progress(self) -> None:
        """Write the checkpoint, if there is to be one and no step is half done."""
        if self.checkpoint and self.resting:
            tensors, facts = self.progress.pack()
            self.checkpoint.save(tensors, facts | {"memory": self.options.memory}, self.digest)

    def recipe(self) -> dict[str, Any]:
        """Return all that is needed to make this picture again."""
        return write_recipe(self.operation, *describe_pictures(self.list_pictures()), self.options)
