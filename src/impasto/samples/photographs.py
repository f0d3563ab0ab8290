"""Free photographs to begin with, which come with scikit-image, and the folder of all samples.

The photographs are found without importing scikit-image, whose own dependencies are not needed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import MissingFileError, OptionError, suggest
from impasto.samples.style_pictures import STYLE_PICTURES, open_style
from impasto.system.files import replace_file
from impasto.system.optional import describe_missing, find_library


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


def find_photograph(name: str) -> Path:
    """Find the file of one of `PHOTOGRAPHS` in scikit-image, without importing it."""
    if name not in PHOTOGRAPHS:
        raise OptionError(f"unknown photograph {name!r}{suggest(name, PHOTOGRAPHS)}")
    folder = find_library("skimage")
    if folder is None:
        need = "the sample photographs come with scikit-image"
        raise describe_missing(need, extra="samples")
    path = folder / "data" / PHOTOGRAPHS[name].file
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; this scikit-image ships without {name!r}")
    return path


def write_samples(folder: Path, *, size: int = 512) -> list[Path]:
    """Write every photograph as it is, and every style picture as a square PNG, into a folder."""
    sources = [(name, find_photograph(name)) for name in PHOTOGRAPHS]
    contents = {f"{name}{source.suffix}": source.read_bytes() for name, source in sources}
    for name in STYLE_PICTURES:
        encoded = io.BytesIO()
        open_style(name, size).save(encoded, format="PNG")
        contents[f"{name}.png"] = encoded.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        replace_file(folder / name, content)
    return [folder / name for name in contents]
