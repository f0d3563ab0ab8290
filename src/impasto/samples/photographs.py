"""Pictures to begin with: free photographs of a dependency, and styles that the project draws.

The photographs come with scikit-image and are found without importing it.
"""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from impasto.errors import DependencyError, MissingFileError, OptionError, suggest
from impasto.samples.style_pictures import STYLES
from impasto.system.files import replace_file

SMALLEST_SIDE, LARGEST_SIDE = 16, 4096


@dataclass(frozen=True)
class Photograph:
    """A photograph that scikit-image ships; the credit and licence are those it states."""

    file: str
    credit: str
    licence: str


PHOTOGRAPHS: dict[str, Photograph] = {
    "astronaut": Photograph("astronaut.png", "Eileen Collins, by NASA", "public domain"),
    "cat": Photograph("chelsea.png", "Chelsea the cat, by Stefan van der Walt", "CC0"),
    "coffee": Photograph("coffee.png", "A cup of coffee, by Rachel Michetti", "CC0"),
    "rocket": Photograph("rocket.jpg", "DSCOVR on Falcon 9, by SpaceX", "public domain"),
}


def draw_style(name: str, *, size: tuple[int, int] = (512, 512), seed: int = 0) -> Image.Image:
    """One of `STYLES` at a (width, height) in pixels; the same seed draws the same picture."""
    if name not in STYLES:
        raise OptionError(f"unknown style {name!r}{suggest(name, STYLES)}")
    if min(size) < SMALLEST_SIDE or max(size) > LARGEST_SIDE:
        raise OptionError(
            f"a style of {size[0]} x {size[1]} pixels cannot be drawn; "
            f"each side must be from {SMALLEST_SIDE} to {LARGEST_SIDE}"
        )
    return STYLES[name](*size, seed).resize(size, Image.Resampling.BOX)


def find_photograph(name: str) -> Path:
    """Where scikit-image keeps one of `PHOTOGRAPHS`, found without importing it."""
    if name not in PHOTOGRAPHS:
        raise OptionError(f"unknown photograph {name!r}{suggest(name, PHOTOGRAPHS)}")
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise DependencyError(
            "the sample photographs come with scikit-image, which is not installed; "
            "pip install 'impasto[samples]'"
        )
    path = Path(found.submodule_search_locations[0]) / "data" / PHOTOGRAPHS[name].file
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; this scikit-image ships without {name!r}")
    return path


def write_samples(folder: Path, *, size: int = 512, seed: int = 0) -> list[Path]:
    """Write every photograph as it is, and every style as a square PNG, into a folder."""
    sources = [(name, find_photograph(name)) for name in PHOTOGRAPHS]
    styles = [draw_style(name, size=(size, size), seed=seed) for name in STYLES]
    folder.mkdir(parents=True, exist_ok=True)
    contents = {f"{name}{source.suffix}": source.read_bytes() for name, source in sources}
    for name, style in zip(STYLES, styles, strict=True):
        encoded = io.BytesIO()
        style.save(encoded, format="PNG")
        contents[f"{name}.png"] = encoded.getvalue()
    for name, content in contents.items():
        replace_file(folder / name, content)
    return [folder / name for name in contents]
