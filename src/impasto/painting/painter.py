"""Painting by optimisation: one loop over sizes from coarse to fine, and steps at each.

A picture of pixels (1, 3, H, W) is changed until a network sees in it the content of one picture
and the style of others (Gatys, Ecker and Bethge 2015). Each size starts from the result of the
one before, so that broad strokes are laid before fine ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.picture import ImageSource, InputPictures
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels, resize_tileable
from impasto.networks.autotune import choose_numbers
from impasto.networks.weights import load_backbone
from impasto.options import format_memory, parse_weights
from impasto.painting.inputs import Scene, View, check_counts
from impasto.painting.loop import Goal, Work
from impasto.painting.loss_plan import layers_of
from impasto.painting.memory_plan import Level, Plan, grant_memory, largest_side, make_plan
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.result import Painting
from impasto.painting.starts import make_periodic, start_picture
from impasto.painting.style_cache import Targets, keep_targets
from impasto.system.checkpoints import Checkpoint
from impasto.system.devices import choose_machine
from impasto.work import Step


class Painter(Work):
    """Pictures and options, checked and made ready to be painted; ``targets`` keeps what was
    measured of a style for other painters."""

    operation = "paint"
    options: PaintOptions

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: PaintOptions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        targets: Targets | None = None,
    ) -> None:
        options = options or PaintOptions()
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self.content = read_image(content, max_megapixels=options.max_megapixels)
        self.styles = [
            read_image(each, max_megapixels=options.max_megapixels) for each in list_styles(style)
        ]
        check_counts(options, len(self.styles))
        if options.tileable:
            check_tileable(options)
        pictures = (self.content, *self.styles)
        self.notes = [f"{p.name}: {n}" for p in pictures for n in p.notes]
        machine = choose_machine(options.device)
        backbone = load_backbone(options.backbone, weights=options.weights, pooling=options.pooling)
        self.machine = machine  # enough to carry colours over
        if not options.only_color:
            self.machine = choose_numbers(backbone, machine, options.precision, options.layout)
        if self.machine.is_slow():
            self.notes.append("this processor has no bfloat16 of its own: float32 is faster")
        self.backbone = backbone.place(self.machine)
        self.plan = self._plan(options)
        self.levels, self.is_roomy = self.plan.levels, self.plan.is_roomy
        self.size = self.levels[-1].size
        layers = layers_of(self.backbone, options)
        if layers and not options.only_color:
            self.backbone.check_size(*self.size, self.backbone.deepest(layers))
        chosen = {
            "precision": self.machine.describe_numbers(),
            "layout": self.machine.layout,
            # Tiles round sums otherwise: only with the same memory the same bytes come out.
            "memory": str(self.plan.grant) if self.plan.is_tight else None,
        }
        self.options = options.model_copy(update=chosen)
        self.scene = Scene(self.content, self.styles, self.options, self.size)
        self.notes += self.scene.notes
        self.targets = targets
        self.progress = self.take_up()

    @classmethod
    def many(cls, options: PaintOptions) -> Callable[[ImageSource, Sequence[ImageSource]], Painter]:
        """What begins one painting after another; a style is measured once for all of them."""
        return partial(cls, options=options, targets=keep_targets())

    def _plan(self, options: PaintOptions) -> Plan:
        """The plan for the size asked for; for the photograph's own, or what memory has room for,
        if none was."""
        own, facts = self.content.size, self.checkpoint.facts if self.checkpoint else {}
        size = own if options.size is None else fit_size(*own, options.size)
        asked = options.memory or facts.get("memory")
        # What was begun with room for all of it goes on so.
        unbound = options.only_color or (facts and not asked)
        grant = None if unbound else grant_memory(self.machine.device, asked)
        inputs = (self.backbone, self.machine, options, self.content, self.styles)
        plan = make_plan(*inputs, size, grant)
        if plan is not None:
            return plan
        assert grant is not None
        largest = largest_side(*inputs, max(size), grant)
        what = f"{size[0]} x {size[1]} needs more than the {format_memory(grant)} granted"
        if largest < 16:
            raise ImageError(f"{what}, and so does any other size; grant more with --memory")
        if options.size is not None:
            raise ImageError(f"{what}; --size {largest} would fit, or more with --memory")
        self.notes.append(f"{what}: painted at a long side of {largest} and enlarged")
        plan = make_plan(*inputs, fit_size(*own, largest), grant)
        assert plan is not None
        return replace(plan, is_tight=True)

    def steps(self) -> Iterator[Step]:
        """Paint, yielding what each step measured."""
        if self.options.only_color:
            self.progress.best = self.scene.carry_color()
            return
        yield from super().steps()

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        layers = layers_of(self.backbone, self.options)
        least = self.backbone.smallest_side(self.backbone.deepest(layers)) if layers else 1
        view = self.scene.at(level.size, least, self.machine.device)
        if self.options.tileable:
            # The photograph's jump from edge to edge would be held on to.
            view = replace(view, content=make_periodic(view.content).clamp(0, 1))
        objective = Objective(
            self.backbone, self.machine, view, self.options, self.targets, level.window
        )
        if level is self.levels[-1]:
            self.scene.forget_whole()
        return objective, choose_start(view, self.options, self.progress.best)

    def list_inputs(self) -> Iterator[Tensor | None]:
        whole = self.scene.whole
        yield from (whole.photo, whole.content, whole.mask)
        for region in whole.regions:
            yield region.mask
            for sample in region.samples:
                yield from (sample.pixels, sample.mask)

    def list_pictures(self) -> InputPictures:
        return {"content": self.content, "style": self.styles}

    def result(self) -> Painting:
        """The best picture so far, at its full size."""
        best = self.progress.best
        if best is None:
            pixels = resize_pixels(self.content.pixels, *self.size)
        else:
            pixels = self.scene.finish(best.detach().float().cpu().clamp(0, 1))
        size = self.content.size if self.options.size is None else self.size
        alpha = self.content.alpha
        if alpha is not None:
            alpha = resize_pixels(alpha, *size)
        resize = resize_tileable if self.options.tileable else resize_pixels
        return Painting(
            resize(pixels, *size),
            alpha,
            list(self.progress.history),
            self.recipe(),
            list(self.notes),
        )


def check_tileable(options: PaintOptions) -> None:
    """An error where something looks at the picture's edges as ends."""
    ends = {
        "blur": bool(options.blur),
        "canvas pyramid": options.canvas == "pyramid",
        "content_loss laplacian": "laplacian" in parse_weights(options.content_loss),
    }
    if found := next((name for name, is_so in ends.items() if is_so), None):
        raise OptionError(f"tileable does not go with {found}, which sees an end at each edge")


def choose_start(view: View, options: PaintOptions, best: Tensor | None = None) -> Tensor:
    """The picture to go on from at a size: the best of the size before, if there was one."""
    if best is None:
        style = view.regions[0].samples[0].pixels
        start = start_picture(
            options.init,
            view.content,
            style,
            seed=options.seed,
            max_megapixels=options.max_megapixels,
        )
        if options.tileable:
            start = make_periodic(start).clamp(0, 1)
    else:
        start = best.to(view.content.device)
    resize = resize_tileable if options.tileable else resize_pixels
    return resize(view.look(start), view.content.shape[-1], view.content.shape[-2])


def list_styles(style: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """One style or several; an array is a picture, a list is a list of pictures."""
    styles: list[Any] = list(style) if isinstance(style, list | tuple) else [style]
    if not styles:
        raise OptionError("no style given; at least one is needed")
    return styles


def paint(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Paint the picture ``content`` in the manner of the picture ``style``, or of several."""
    if options is not None and not isinstance(options, PaintOptions):
        options = PaintOptions.read(options)
    painter = Painter(content, style, options)
    for step in painter.steps():
        if on_step is not None:
            on_step(step)
    return painter.result()
