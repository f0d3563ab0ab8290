"""Inversions of several layers in one folder: a picture for each, a sheet, how near they come."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from impasto.figures.contact_sheet import arrange, draw_sheet, save_sheet
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import read_opaque
from impasto.images.writing import to_pil
from impasto.lab.inversion import Inversion
from impasto.lab.options import InvertOptions
from impasto.lab.run_folder import RunFolder, add_digest
from impasto.lab.run_series import Part, RunSeries, folder_of
from impasto.networks.weights import load_backbone
from impasto.system.checkpoints import Checkpoint
from impasto.work import Request, Step, finish

_COLUMNS = 3  # of the sheet


class Inversions(RunSeries):
    """Inversions of several layers: a picture for each, a sheet, and how near they come."""

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
        # What could not be found is said before anything is.
        deepest = layers.index(backbone.deepest(layers))
        work = Inversion(self.photo, self.options[deepest])
        facts = {
            "impasto": version("impasto"),
            "operation": "invert",
            "content": self.photo.name,
            "options": options.model_copy(update={"layer": tuple(layers)}).changed(),
        }
        super().__init__(RunFolder.open(Path(folder), add_digest(facts, [self.photo])))
        self.folder.note(work.notes)
        self.found: dict[str, Tensor] = {}  # pictures by their layer
        self.target = resize_pixels(self.photo.pixels, *work.size)

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work from plain data."""
        options = InvertOptions.parse(request.options)
        return cls(request.one("content"), options, folder=folder_of(request))

    def result(self) -> dict[str, float]:
        """Return how near each layer's picture comes to the photograph, in dB."""
        return {
            layer: round(measure_psnr(found, self.target), 2) for layer, found in self.found.items()
        }

    def _count(self) -> tuple[int, int]:
        return len(self.options), sum(each.steps for each in self.options)

    def _list_parts(self) -> Iterator[Part]:
        for options in self.options:
            (layer,) = options.layer
            yield Part(layer, options.steps, self._find(layer, options))
            lines = [(name, f"{psnr:.2f}") for name, psnr in self.result().items()]
            self.folder.write_table("results.csv", ("layer", "psnr_db"), lines)

    def _find(self, layer: str, options: InvertOptions) -> Generator[Step, None, None]:
        """Find a layer's picture, if it is not there."""
        path, checkpoint = self.folder.picture(layer), self.folder.checkpoint(layer)
        if not path.is_file():
            work = Inversion(self.photo, options, checkpoint=checkpoint)
            known = self.folder.notes
            self.folder.note(f"{layer}: {note}" for note in work.notes if note not in known)
            try:
                yield from work.steps()
            except GeneratorExit:
                work.save_progress()
                raise
            work.result().save(path)
            Checkpoint(checkpoint).remove()
        self.found[layer] = read_image(path).pixels

    def _tell(self) -> None:
        if not self.found:
            return
        tiles = [to_pil(pixels) for pixels in (self.target, *self.found.values())]
        measured = (f"{layer}: {psnr:.2f} dB" for layer, psnr in self.result().items())
        sheet = draw_sheet(
            arrange(tiles, _COLUMNS),
            captions=arrange(["the photograph", *measured], _COLUMNS),
            title=f"{self.photo.name} from its features",
            tile=max(tiles[0].size),
        )
        save_sheet(sheet, self.folder.path / "sheet.png")


def measure_psnr(pixels: Tensor, target: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB: at 40, two pictures can hardly be told apart."""
    return -10 * math.log10(float((pixels - target).square().mean().clamp_min(1e-10)))


def invert_layers(
    photo: ImageSource,
    folder: str | os.PathLike[str],
    options: InvertOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, float]:
    """Find a picture for each of several layers, and write them and a sheet of them to a folder.

    Return how near each comes to the photograph, in dB.
    """
    return finish(Inversions(photo, InvertOptions.parse(options), folder=folder), on_step)
