"""What paintings and textures share: losses of style, minimised over a scene at each size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.resizing import fit_size, resize_pixels, resize_tileable
from impasto.networks.vgg import Backbone
from impasto.options import format_memory
from impasto.painting.canvas import CANVASES
from impasto.painting.loop import Goal, PictureWork
from impasto.painting.loss_plan import LossPlan
from impasto.painting.memory_plan import Costs, Level, Plan, grant_memory, largest_side, make_plan
from impasto.painting.objective import Objective
from impasto.painting.options import StyleOptions
from impasto.painting.scene import Scene, View
from impasto.painting.starts import check_start, find_details, make_periodic, start_picture
from impasto.painting.style_cache import Targets
from impasto.system.checkpoints import Checkpoint


class StyleWork(PictureWork):
    """A picture that is found by what it has of styles, in a scene."""

    def __init__(
        self,
        costs: Costs,
        plan: Plan,
        scene: Scene,
        *,
        init: str,
        notes: Iterable[str],
        checkpoint: Checkpoint | None,
        targets: Targets | None,
    ) -> None:
        """Begin, or take up what the checkpoint holds."""
        options, machine = costs.options, costs.machine
        self.losses, self.plan, self.scene = costs.losses, plan, scene
        self.init, self.targets = init, targets
        chosen = {
            "precision": machine.describe_precision(),
            "layout": machine.layout,
            # Tiles round sums otherwise: only with the same memory the same bytes come out.
            "memory": str(plan.grant) if plan.is_tight else None,
        }
        super().__init__(
            options.model_copy(update=chosen),
            costs.backbone,
            machine,
            plan.levels,
            notes=[*notes, *scene.notes],
            checkpoint=checkpoint,
            is_roomy=plan.is_roomy,
        )
        if self.run.best is None:
            check_start(init, max_megapixels=options.max_megapixels)

    def describe(self) -> list[str]:
        """Return what is painted, on what, and what it takes of memory."""
        return [*super().describe(), f"memory: {self.plan.describe()}"]

    @property
    def memory_needed(self) -> int:
        """The bytes that it takes at most, by estimate."""
        return self.plan.needed

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """Return what is minimised at a size, and the picture to start from."""
        view = self.scene.at(level.size, self.losses.least, self.machine.device)
        if self.losses.tileable:
            # The content losses must not hold on to the photograph's jump from edge to edge.
            view = replace(view, content=make_periodic(view.content).clamp(0, 1))
        is_last = level == self.levels[-1]
        losses = self.losses.at_size(max(level.size))
        objective = Objective(self.backbone, self.machine, view, losses, self.targets, level.window)
        if is_last:
            self.scene.forget_whole()
        start = self._choose_start(view)
        if self.init == "details" and self.run.level > 0 and not is_last:
            start = (start + find_details(view.content)).clamp(0, 1)
        return objective, start

    def _choose_start(self, view: View) -> Tensor:
        """Return the best of the size before or, at the first, what ``init`` names."""
        tileable = self.losses.tileable
        if self.run.best is not None:
            start = self.run.best.to(view.content.device)
        else:
            start = start_picture(
                self.init,
                view.content,
                view.regions[0].samples[0].pixels,
                seed=self.options.seed,
                max_megapixels=self.options.max_megapixels,
            )
            if tileable:
                start = make_periodic(start).clamp(0, 1)
        resize = resize_tileable if tileable else resize_pixels
        return resize(view.look(start), view.content.shape[-1], view.content.shape[-2])

    def list_inputs(self) -> Iterator[Tensor | None]:
        """Yield every tensor that the result depends on."""
        whole = self.scene.whole
        yield from (whole.photo, whole.content, whole.mask)
        for region in whole.regions:
            yield region.mask
            for sample in region.samples:
                yield from (sample.pixels, sample.mask)


def check_tileable(options: StyleOptions, losses: LossPlan) -> None:
    """Raise where something sees the picture's edges as ends, and copies are to fit."""
    ends = ["blur"] if options.blur else []
    if CANVASES[options.canvas].sees_edges:
        ends.append(f"canvas {options.canvas}")
    ends += losses.list_edge_losses()
    if options.tileable and ends:
        raise OptionError(f"tileable does not go with {ends[0]}, which sees an end at each edge")


def plan_within(
    costs: Costs,
    size: tuple[int, int],
    start_size: int,
    grant: int | None,
    *,
    may_shrink: bool,
) -> tuple[Plan, list[str]]:
    """Return a plan that keeps to the grant, and notes.

    Where there is none for the size, a smaller picture is planned if it ``may_shrink``.
    """
    plan = make_plan(costs, size, start_size, grant)
    if plan is not None:
        return plan, []
    assert grant is not None
    own = size if costs.content is None else costs.content.size
    largest = largest_side(costs, own, start_size, max(size), grant)
    what = f"{size[0]} x {size[1]} needs more than the {format_memory(grant)} granted"
    if largest < 16:
        raise ImageError(f"{what}, and so does any other size; grant more with --memory")
    if not may_shrink:
        raise ImageError(f"{what}; --size {largest} would fit, or more with --memory")
    plan = make_plan(costs, fit_size(*own, largest), start_size, grant)
    assert plan is not None
    note = f"{what}: painted at a long side of {largest} and enlarged"
    return replace(plan, is_tight=True), [note]


def choose_grant(
    costs: Costs, checkpoint: Checkpoint | None, *, unbound: bool = False
) -> int | None:
    """Return the bytes that work may take; None where it is not bound.

    Work that is taken up keeps to what it was begun with.
    """
    facts: Mapping[str, Any] = checkpoint.facts if checkpoint else {}
    asked = costs.options.memory or facts.get("memory")
    if unbound or (facts and not asked):
        return None
    return grant_memory(costs.machine.device, asked)


def check_size(backbone: Backbone, losses: LossPlan, size: tuple[int, int]) -> None:
    """Raise where a picture is too small for a layer that the losses look at."""
    if losses.deepest:
        backbone.check_size(*size, losses.deepest)
