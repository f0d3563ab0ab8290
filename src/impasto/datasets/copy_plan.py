"""Copies of a labelled set's pictures: what is done to each, and under which name it is written.

All is drawn from the seed, the picture's path and the copy's number, so that neither the order of
the work nor what else is in the list changes it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.datasets.disturbances import NOISES
from impasto.datasets.labelled_set import Entry
from impasto.datasets.options import AugmentOptions, parse_range
from impasto.errors import OptionError
from impasto.images.writing import WRITABLE

_CHUNK = 32  # pictures of the list that are made together


@dataclass(frozen=True)
class Copy:
    """A file to be written: what is done to its picture. Number 0 is the picture as it is."""

    path: str
    number: int
    style: int | None = None
    strength: float = 0.0
    noise: str | None = None
    amount: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Chunk:
    """Pictures that are made together, with their copies."""

    number: int
    pictures: tuple[tuple[Entry, tuple[Copy, ...]], ...]

    def files(self) -> Iterator[str]:
        return (copy.path for _, copies in self.pictures for copy in copies)


def plan_chunks(entries: Sequence[Entry], options: AugmentOptions, styles: int) -> list[Chunk]:
    """Return every file that will be written, by the pictures that are made together."""
    pictures = []
    for entry, names in zip(entries, name_copies(entries, options), strict=True):
        copies = [Copy(entry.path, 0)] if options.originals else []
        copies += [draw_copy(entry, n, name, options, styles) for n, name in enumerate(names, 1)]
        pictures.append((entry, tuple(copies)))
    starts = range(0, len(pictures), _CHUNK)
    return [Chunk(i, tuple(pictures[at : at + _CHUNK])) for i, at in enumerate(starts)]


def draw_copy(entry: Entry, number: int, path: str, options: AugmentOptions, styles: int) -> Copy:
    """Draw what is done to a copy from the seed, the picture's path and the number alone."""
    said = f"{options.seed}\0{entry.path}\0{number}".encode()
    seed = int.from_bytes(hashlib.sha256(said).digest()[:8], "big") >> 1
    generator = random.Random(seed)
    # All are drawn, whether asked for or not: without noise the same styles are drawn as with it.
    style, strength, kind, amount = (generator.random() for _ in range(4))
    least, most = parse_range(options.strength)
    noise = options.noise[int(kind * len(options.noise))] if options.noise else None
    return Copy(
        path,
        number,
        style=int(style * styles) if styles else None,
        strength=round(least + (most - least) * strength, 4) if styles else 0.0,
        noise=noise,
        amount=NOISES[noise].draw(amount) if noise else 0.0,
        seed=seed,
    )


def name_copies(entries: Sequence[Entry], options: AugmentOptions) -> list[list[str]]:
    """Return ``class/stem-1.png`` …; with whole names where stems are not enough: a.jpg, a.png."""
    originals = [entry.path for entry in entries] if options.originals else []
    named = [_name_copies(entry.path, Path(entry.path).stem, options) for entry in entries]
    known = count_names(originals, named)
    named = [
        _name_copies(entry.path, Path(entry.path).name, options)
        if any(known[name.casefold()] > 1 for name in names)
        else names
        for entry, names in zip(entries, named, strict=True)
    ]
    known = count_names(originals, named)
    if clash := next((name for names in named for name in names if known[name.casefold()] > 1), ""):
        raise OptionError(f"two files would both be {clash!r}; rename one of their pictures")
    return named


def _name_copies(path: str, stem: str, options: AugmentOptions) -> list[str]:
    folder, suffix = Path(path).parent, Path(path).suffix
    if options.format != "same":
        suffix = f".{options.format}"
    elif suffix.lower() not in WRITABLE:
        suffix = ".png"
    return [(folder / f"{stem}-{n}{suffix}").as_posix() for n in range(1, options.per_image + 1)]


def count_names(originals: Sequence[str], named: Sequence[Sequence[str]]) -> Counter[str]:
    """Count how often each file would be written; some file systems take A for a."""
    names = [*originals, *(name for names in named for name in names)]
    return Counter(name.casefold() for name in names)
