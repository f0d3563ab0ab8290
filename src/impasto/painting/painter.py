"""Painting by optimisation: one loop over sizes from coarse to fine, and steps at each.

A picture of pixels (1, 3, H, W) is changed until a network sees in it the content of one picture
and the style of others (Gatys, Ecker and Bethge 2015). Each size starts from the result of the
one before, so that broad strokes are laid before fine ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from impasto.errors import OptionError
from impasto.images.picture import ImageSource, InputPictures
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels, resize_tileable
from impasto.networks.autotune import load_tuned_backbone
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.memory_plan import Costs
from impasto.painting.options import PaintOptions
from impasto.painting.result import Painting
from impasto.painting.scene import Scene
from impasto.painting.style_cache import Targets, keep_targets
from impasto.painting.style_work import (
    StyleWork,
    check_size,
    check_tileable,
    choose_grant,
    plan_within,
)
from impasto.system.checkpoints import Checkpoint
from impasto.work import Request, Step, finish


class Painter(StyleWork):
    """A photograph that is painted after styles.

    ``targets`` keeps what was measured of a style for other painters.
    """

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
        options, most = options or PaintOptions(), (options or PaintOptions()).max_megapixels
        kept = None if checkpoint is None else Checkpoint(checkpoint)
        self.content = read_image(content, max_megapixels=most)
        self.styles = [read_image(each, max_megapixels=most) for each in list_styles(style)]
        asked = SceneOptions.of(options)
        asked.check_counts(len(self.styles))
        notes = [f"{p.name}: {n}" for p in (self.content, *self.styles) for n in p.notes]
        backbone, machine = load_tuned_backbone(options, tries=not options.only_color)
        if machine.is_slow():
            notes.append("this processor has no bfloat16 of its own: float32 is faster")
        losses = plan_painting_losses(backbone, options)
        check_tileable(options, losses)
        costs = Costs(backbone, machine, losses, options, asked, self.content, self.styles)
        own, wanted = self.content.size, options.size
        plan, shrunk = plan_within(
            costs,
            own if wanted is None else fit_size(*own, wanted),
            options.start_size,
            choose_grant(costs, kept, unbound=options.only_color),
            may_shrink=wanted is None,
        )
        size = plan.levels[-1].size
        if not options.only_color:
            check_size(backbone, losses, size)
        super().__init__(
            costs,
            plan,
            Scene(self.content, self.styles, asked, size),
            init=options.init,
            notes=[*notes, *shrunk],
            checkpoint=kept,
            targets=targets,
        )

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        return cls(
            request.one("content"),
            request.many("style"),
            PaintOptions.parse(request.options),
            checkpoint=request.checkpoint,
            targets=keep_targets(),
        )

    @classmethod
    def many(cls, options: PaintOptions) -> Callable[[Request], Painter]:
        """Return what begins one painting after another; a style is measured once for all."""
        targets = keep_targets()
        return lambda request: cls(
            request.one("content"), request.many("style"), options, targets=targets
        )

    @classmethod
    def settle_many(
        cls,
        options: PaintOptions,
        styles: Sequence[str],  # noqa: ARG003
    ) -> tuple[PaintOptions, list[str]]:
        """Check the options of many paintings, and return them, with no notes."""
        if options.init == "last":
            raise OptionError("--init last goes with one painting, not with several")
        return options, []

    def describe(self) -> list[str]:
        """Return what is painted, on what and, if a network is used, what memory it takes."""
        return super().describe()[: 1 if self.options.only_color else None]

    def list_pictures(self) -> InputPictures:
        """Return the photograph and its styles."""
        return {"content": self.content, "style": self.styles}

    def steps(self) -> Iterator[Step]:
        """Paint, yielding what each step measured."""
        if self.options.only_color:
            self.run.best = self.scene.carry_color()
            return
        yield from super().steps()

    def result(self) -> Painting:
        """Return the best picture so far, at its full size."""
        best = self.run.best
        if best is None:
            pixels = resize_pixels(self.content.pixels, *self.size)
        else:
            pixels = self.scene.finish(best.detach().float().cpu().clamp(0, 1))
        size = self.content.size if self.options.size is None else self.size
        alpha = self.content.alpha
        if alpha is not None:
            alpha = resize_pixels(alpha, *size)
        resize = resize_tileable if self.options.tileable else resize_pixels
        return self.make_painting(resize(pixels, *size), alpha)


def list_styles(style: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """Return one style or several as a list; an array is a picture, not a list of pictures."""
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
    return finish(Painter(content, style, PaintOptions.parse(options)), on_step)
