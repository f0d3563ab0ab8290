"""Finished pictures: how their losses fell, and the recipe that makes them again."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from impasto.images.writing import check_writable, encode_image, to_pil, write_encoded
from impasto.system.files import replace_file
from impasto.work import Step

if TYPE_CHECKING:
    from PIL import Image

HISTORY_COLUMNS = (
    "style_weight",
    "epoch",
    "total_loss",
    "style_loss",
    "content_loss",
    "tv_loss",
    "width",
    "height",
    "seconds",
)


@dataclass(frozen=True)
class Painting:
    """A finished picture, how its losses fell, and the recipe that paints it again."""

    pixels: Tensor
    alpha: Tensor | None
    history: list[Step]
    recipe: dict[str, Any]
    notes: list[str]
    depth: int = 8  # bits of a value that are written, where the format can hold 16

    def to_pil(self) -> Image.Image:
        """Return the picture as Pillow has it."""
        return to_pil(self.pixels, self.alpha)

    def save(self, path: str | os.PathLike[str], *, metadata: bool = True) -> tuple[str, ...]:
        """Write the picture with its recipe inside; return notes on what the format cannot keep."""
        path = check_writable(path)
        content, notes = self.encode(path.name, metadata=metadata)
        write_encoded(path, content)
        return notes

    def encode(self, name: str, *, metadata: bool = True) -> tuple[bytes, tuple[str, ...]]:
        """Return the picture as a file that is called so, and notes as ``save`` does."""
        recipe = json.dumps(self.recipe, ensure_ascii=False) if metadata else None
        return encode_image(name, self.pixels, alpha=self.alpha, recipe=recipe, depth=self.depth)


def write_history(painting: Painting, path: str | os.PathLike[str]) -> None:
    """Write the losses of every step as CSV."""
    replace_file(Path(path), format_history(painting))


def format_history(painting: Painting) -> bytes:
    """Return the losses of every step as CSV; other measurements have columns of their own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = list(painting.history[0].more) if painting.history else []
    writer.writerow([*HISTORY_COLUMNS, *more])
    weight = painting.recipe["options"].get("style_weight", "")
    for step in painting.history:
        losses = (step.total, step.style, step.content, step.tv)
        others = [step.more[name] for name in more]
        writer.writerow([weight, step.number, *losses, *step.size, f"{step.seconds:.3f}", *others])
    return text.getvalue().encode()
