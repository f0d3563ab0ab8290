"""Styles as a painting net knows them: parameters, and the statistics of their colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.color_transfer import carry_moments


@dataclass(frozen=True)
class StyleBlend:
    """One style, or a blend of several, as a net paints it."""

    numbers: Tensor  # (count,)
    mean: Tensor  # (3,) of its colours, float64
    covariance: Tensor  # (3, 3)


@dataclass(frozen=True)
class Palette:
    """The styles that a net knows, a row of each."""

    names: tuple[str, ...]
    numbers: Tensor  # (S, count)
    means: Tensor  # (S, 3), float64
    covariances: Tensor  # (S, 3, 3), float64

    def blend(self, weights: Sequence[float]) -> StyleBlend:
        """Return several in one; the weights are to sum to 1."""
        shares = torch.tensor(weights, dtype=torch.float64)
        return StyleBlend(
            shares.to(self.numbers) @ self.numbers,
            shares @ self.means,
            torch.einsum("s,sij->ij", shares, self.covariances),
        )

    def take(self, rows: Sequence[int]) -> Palette:
        """Return those rows, in that order."""
        index = torch.tensor(rows)
        names = tuple(self.names[row] for row in rows)
        parts = self.numbers[index], self.means[index], self.covariances[index]
        return Palette(names, *parts)

    def choose(self, names: Sequence[str]) -> Palette:
        """Return the rows of these names."""
        for name in names:
            if name not in self.names:
                raise OptionError(f"unknown style {name!r}{suggest(name, self.names)}")
        return self.take([self.names.index(name) for name in names])

    def recolor(self, photo: Tensor, style: int) -> Tensor:
        """Return a photograph (1, 3, H, W) in a style's colours."""
        matched = carry_moments(photo, self.means[style], self.covariances[style])
        return matched.clamp_(0, 1)

    def __len__(self) -> int:
        return len(self.names)


def name_styles(
    files: Sequence[str], names: Sequence[str] | None, known: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the names that are asked for, or else those of the styles' files: a, a-2, b.

    None may be ``known``.
    """
    if names is None:
        names = []
        for file in files:
            stem = re.sub("[,=]", "-", Path(file).stem).strip()  # both part a blend's entries
            choices = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
            names.append(next(name for name in choices if name not in names))
    if len(names) != len(files):
        raise OptionError(f"{len(names)} names for {len(files)} styles; give one for each")
    names = [name.strip() for name in names]
    for number, name in enumerate(names):
        if not name or "," in name or "=" in name:
            raise OptionError(f"{name!r} is no name of a style: it is empty or has , or = in it")
        if name in names[:number]:
            raise OptionError(f"{name!r} is the name of two styles; give them different ones")
        if name in known:
            raise OptionError(f"{name!r} is in the model already; give the picture another name")
    return tuple(names)


def join_palettes(palettes: Sequence[Palette]) -> Palette:
    """Return all of their styles, one palette's after another's."""
    return Palette(
        tuple(name for palette in palettes for name in palette.names),
        torch.cat([palette.numbers for palette in palettes]),
        torch.cat([palette.means for palette in palettes]),
        torch.cat([palette.covariances for palette in palettes]),
    )
