"""Inversions of several layers in one folder: a picture for each, a sheet, how near they come."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto.figures.contact_sheet import arrange, draw_sheet, save_sheet
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import read_opaque
from impasto.images.writing import to_pil
from impasto.lab.inversion import Inversion
from impasto.lab.options import InvertOptions
from impasto.lab.run_folder import Record
from impasto.networks.weights import load_backbone
from impasto.system.checkpoints import Checkpoint
from impasto.system.files import replace_file, working_in
from impasto.work import Step

_COLUMNS = 3  # pictures of the sheet


class Inversions:
    """Inversions of several layers, in a folder: a picture for each, a sheet, and how much came
    back. What was finished stays, what was broken off goes on."""

    def __init__(
        self,
        photo: ImageSource,
        options: InvertOptions | None = None,
        *,
        folder: str | os.PathLike[str],
    ) -> None:
        options = options or InvertOptions()
        self.photo = read_opaque(photo, options.max_megapixels)
        backbone = load_backbone(options.backbone, weights=options.weights)
        firsts = [f"relu{block}_1" for block in range(1, len(backbone.architecture.channels) + 1)]
        named = [each for name in options.layer for each in (firsts if name == "all" else [name])]
        layers = list(dict.fromkeys(map(backbone.resolve, named)))
        self.options = [options.model_copy(update={"layer": (layer,)}) for layer in layers]
        self.steps_each = options.steps
        # What could not be found is said before anything is.
        deepest = layers.index(backbone.deepest(layers))
        work = Inversion(self.photo, self.options[deepest])
        self.notes = list(work.notes)
        self.record = Record.open(Path(folder), self._describe(layers))
        self.rows: list[list[Any]] = []
        self.shown = [resize_pixels(self.photo.pixels, *work.size)]

    def _describe(self, layers: list[str]) -> dict[str, Any]:
        facts = {
            "impasto": version("impasto"),
            "operation": "invert",
            "content": self.photo.name,
            "options": self.options[0].model_copy(update={"layer": tuple(layers)}).changed(),
        }
        digest = hashlib.sha256(json.dumps(facts).encode())
        digest.update(self.photo.pixels.contiguous().numpy().tobytes())
        return facts | {"digest": digest.hexdigest()}

    def steps(self) -> Iterator[Step]:
        """Find what the folder does not hold yet, yielding how far it has come after each step."""
        with working_in(self.record.folder):
            yield from self._find_all()

    def _find_all(self) -> Iterator[Step]:
        total = self.steps_each * len(self.options)
        for number, options in enumerate(self.options):
            (layer,) = options.layer
            text = f"{number + 1}/{len(self.options)} {layer}"
            path = self.record.folder / "runs" / f"{layer}.png"
            if not path.is_file():
                with closing(self._find(options, path)) as steps:
                    for step in steps:
                        yield Step(number * self.steps_each + step.number, total, text)
            self._take_in(layer, path)
            yield Step((number + 1) * self.steps_each, total, text)

    def _find(self, options: InvertOptions, path: Path) -> Generator[Step, None, None]:
        """One layer's picture, or what is left of the work."""
        work = Inversion(self.photo, options, checkpoint=path.with_suffix(".ckpt"))
        self.notes += [f"{options.layer[0]}: {n}" for n in work.notes if n not in self.notes]
        try:
            yield from work.steps()
        except GeneratorExit:
            work.save_progress()
            raise
        work.result().save(path)
        Checkpoint(path.with_suffix(".ckpt")).remove()

    def _take_in(self, layer: str, path: Path) -> None:
        """A finished picture, and what it came to; the table and the sheet so far."""
        found = read_image(path).pixels
        self.shown.append(found)
        self.rows.append([layer, f"{measure_psnr(found, self.shown[0]):.2f}"])
        lines = [",".join(map(str, row)) for row in [("layer", "psnr_db"), *self.rows]]
        replace_file(self.record.folder / "results.csv", "".join(f"{n}\n" for n in lines).encode())
        tiles = [to_pil(pixels) for pixels in self.shown]
        captions = ["the photograph", *(f"{layer}: {psnr} dB" for layer, psnr in self.rows)]
        sheet = draw_sheet(
            arrange(tiles, _COLUMNS),
            captions=arrange(captions, _COLUMNS),
            title=f"{self.photo.name} from its features",
            tile=max(tiles[0].size),
        )
        save_sheet(sheet, self.record.folder / "sheet.png")

    def result(self) -> dict[str, float]:
        """How near each layer's picture comes to the photograph, in dB."""
        return {layer: float(psnr) for layer, psnr in self.rows}


def measure_psnr(pixels: Tensor, target: Tensor) -> float:
    """Peak signal to noise in dB: 20 is a likeness, 40 can hardly be told apart."""
    return -10 * math.log10(float((pixels - target).square().mean().clamp_min(1e-10)))


def invert_layers(
    photo: ImageSource,
    folder: str | os.PathLike[str],
    options: InvertOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, float]:
    """A picture for each of several layers, and a sheet of them, in a folder; how near each comes,
    in dB."""
    if options is not None and not isinstance(options, InvertOptions):
        options = InvertOptions.read(options)
    work = Inversions(photo, options, folder=folder)
    for moment in work.steps():
        if on_step is not None:
            on_step(moment)
    return work.result()
