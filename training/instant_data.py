"""Photographs and style pictures for the any-style network: decoded once, cut on the device.

All pictures lie in one block of bytes on the device; squares are cut, scaled, turned and mirrored
by one sampling for a whole batch, and given their styles' colours in another, without the processor
ever waiting for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sample_styles import STYLES, draw_style
from torch import Tensor
from torch.nn import functional

from impasto.images.color_transfer import RIDGE
from impasto.instant.net import USUAL_WEIGHT
from impasto.losses.statistics import find_roots

PHOTO_SIDE = 320  # of photographs' short sides, at most
STYLE_SIDES = (448, 336, 256)  # of style pictures', each of which is kept at all
LONGEST = 2.0  # times the short side, beyond which pictures are cut off
DRAWN = 6  # of each of the project's own styles
FLAT = 0.03  # deviation of a style that is none
SUFFIXES = (".jpg", ".jpeg", ".png")


def list_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def split(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split into those to learn from, and every tenth."""
    return [p for i, p in enumerate(paths) if i % 10], paths[::10]


def read_bytes(path: Path, side: int) -> np.ndarray:
    """Read a picture (H, W, 3), its short side at most so long."""
    with Image.open(path) as file:
        file.draft("RGB", (side, side))
        image = file.convert("RGB")
    scale = min(1.0, side / min(image.size))
    if scale < 1:
        wanted = [max(side, round(scale * each)) for each in image.size]
        image = image.resize(wanted, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(image)


class Bank:
    """Pictures on a device, all of one size: smaller ones continued by their last pixels."""

    def __init__(self, pictures: Sequence[np.ndarray], device: torch.device) -> None:
        turned = [each.shape[0] > each.shape[1] for each in pictures]
        lying = [p.transpose(1, 0, 2) if t else p for p, t in zip(pictures, turned, strict=True)]
        most = max(p.shape[0] for p in lying)
        lying = [p[:, : round(LONGEST * most)] for p in lying]
        size = most, max(p.shape[1] for p in lying)
        block = np.empty((len(lying), 3, *size), np.uint8)
        for place, picture in zip(block, lying, strict=True):
            around = [(0, whole - own) for whole, own in zip(size, picture.shape[:2], strict=True)]
            place[:] = np.pad(picture, (*around, (0, 0)), mode="edge").transpose(2, 0, 1)
        self.block = torch.from_numpy(block).to(device)
        self.sizes = torch.tensor([p.shape[:2] for p in lying], dtype=torch.float32, device=device)
        self.turned = torch.tensor(turned, device=device)

    def __len__(self) -> int:
        return len(self.block)

    def cut(self, rows: Tensor, side: int, short: Tensor, luck: Tensor, *, turn: bool) -> Tensor:
        """Cut squares of that side (N, 3, side, side) from pictures (N,).

        ``short`` (N,) is how long the picture's short side is to be, in pixels of the square;
        ``luck`` (5, N), numbers in [0, 1), says where, and whether it is mirrored; and with
        ``turn`` whether it is mirrored in two more ways.
        """
        height, width = self.sizes[rows].unbind(1)
        extent = (side / short.clamp_min(side) * height).minimum(height)  # pixels of the picture
        top, left = luck[0] * (height - extent), luck[1] * (width - extent)
        mirror, overturn = 1 - 2 * (luck[2] < 0.5).float(), torch.ones_like(luck[2])
        swap = self.turned[rows]
        if turn:
            overturn = 1 - 2 * (luck[3] < 0.5).float()
            swap = swap ^ (luck[4] < 0.5)
        # Mirrored as it is seen: a picture that was laid down is so along its other side.
        across, along = torch.where(swap, overturn, mirror), torch.where(swap, mirror, overturn)
        kept, swapped = (~swap).float(), swap.float()
        tall, wide = self.block.shape[2:]
        x, y = extent / wide, extent / tall
        theta = torch.stack(
            [
                torch.stack([x * across * kept, x * across * swapped, 2 * left / wide + x - 1], 1),
                torch.stack([y * along * swapped, y * along * kept, 2 * top / tall + y - 1], 1),
            ],
            1,
        )
        grid = lay_grid(theta, side)
        pixels = self.block[rows].float()
        found = functional.grid_sample(
            pixels, grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        return (found / 255).clamp_(0, 1)


class Dice:
    """Random numbers on a device, thrown for one step and then handed out one after the other.

    They always lie at the same place, so that what uses them can be recorded and played again.
    """

    def __init__(self, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self.even = torch.empty(1 << 14, device=device)
        self.usual = torch.empty(0, device=device)
        self.taken = [0, 0]

    def make_room(self, count: int) -> None:
        """Have at least so many normal numbers."""
        if count > len(self.usual):
            self.usual = torch.empty(count, device=self.even.device)

    def throw(self, step: int) -> None:
        """Draw new numbers, from the step alone."""
        self.generator.manual_seed(step)
        self.even.uniform_(generator=self.generator)
        self.usual.normal_(generator=self.generator)

    def begin(self) -> None:
        """Hand out from the first again."""
        self.taken = [0, 0]

    def take(self, *shape: int, normal: bool = False) -> Tensor:
        """Return the next numbers: in [0, 1), or normal ones."""
        numbers, start = (self.even, self.usual)[normal], self.taken[normal]
        end = self.taken[normal] = start + math.prod(shape)
        assert end <= len(numbers), "there are fewer numbers than are asked for"
        return numbers[start:end].view(shape)


@dataclass(frozen=True)
class Batch:
    """What a step learns from."""

    photos: Tensor  # (N, 3, S, S) in their styles' colours
    styles: Tensor  # (N, 3, S, S)
    weights: Tensor  # (N,) of the style
    grain: Tensor  # (N, 1, S, S)
    shaken: Tensor  # (M, 4, S, S) of the first M: photographs, with noise, and grain, both moved
    grid: Tensor  # (M, S, S, 2), by which they were moved
    inside: Tensor  # (M, 1, S, S): 1 where what was moved is far from edges


class Data:
    """The pictures that are learnt from."""

    def __init__(self, photos: Path, paintings: Path, drawn: Path, device: torch.device) -> None:
        learnt, self.held = split(list_pictures(photos))
        styles, self.unseen = split(list_pictures(paintings))
        own = draw_own(drawn)
        jobs = [(path, PHOTO_SIDE) for path in learnt]
        jobs += [(path, side) for path in (*styles, *own) for side in STYLE_SIDES]
        with ThreadPoolExecutor(16) as pool:
            pictures = list(pool.map(lambda job: read_bytes(*job), jobs))
        self.photos = Bank(pictures[: len(learnt)], device)
        self.styles = Bank(pictures[len(learnt) :], device)
        self.painted, self.device = len(styles), device
        self.dice = Dice(device)

    def draw(self, side: int, count: int, moved: int, decades: float) -> Batch:
        """Draw a batch by the dice as they lie; ``moved`` photographs are also seen moved."""
        self.dice.begin()
        styles = self.draw_styles(side, count)
        rows = self.pick(count, len(self.photos))
        short = self.draw_short(side, count, 420)
        photos = self.photos.cut(rows, side, short, self.luck(5, count), turn=False)
        photos = match_colors(photos, styles)
        # One in each of as many parts of what is taught, so that batches are alike.
        places = (self.luck(count).argsort() + self.luck(count)) / count
        weights = USUAL_WEIGHT * 10 ** ((2 * places - 1) * decades)
        grain = self.dice.take(count, 1, side, side, normal=True)
        grid, inside = self.draw_moves(side, moved)
        both = torch.cat([photos[:moved], grain[:moved]], 1)
        shaken = move(both, grid)
        noise = self.dice.take(moved, 3, side, side, normal=True)
        shaken[:, :3] += 2 / 255 * noise
        return Batch(photos, styles, weights, grain, shaken, grid, inside)

    def luck(self, *shape: int) -> Tensor:
        return self.dice.take(*shape)

    def pick(self, count: int, among: int) -> Tensor:
        return (self.luck(count) * among).long().clamp_max_(among - 1)

    def draw_short(self, side: int, count: int, most: float) -> Tensor:
        """Draw how long pictures' short sides are: as the squares, up to so many pixels or more."""
        return side * max(1.1, most / side) ** self.luck(count)

    def draw_styles(self, side: int, count: int) -> Tensor:
        """Draw squares of paintings, of pictures of the project's own, and of photographs."""
        other = max(1, round(count / 8))
        rows = self.pick(count - other, self.painted)
        own = self.painted + self.pick(count - other, len(STYLES) * DRAWN)
        rows = torch.where(self.luck(count - other) < 0.14, own, rows)
        short = self.draw_short(side, count - other, 560)
        level = (short < 395).long() + (short < 300).long()
        painted = self.styles.cut(
            rows * len(STYLE_SIDES) + level, side, short, self.luck(5, count - other), turn=True
        )
        rows = self.pick(other, len(self.photos))
        short = self.draw_short(side, other, 420)
        seen = self.photos.cut(rows, side, short, self.luck(5, other), turn=True)
        styles = torch.cat([painted, seen])
        # Other colours: channels change places, or all is negative.
        order = self.luck(count, 3).argsort(1)
        usual = torch.arange(3, device=self.device).expand(count, 3)
        order = torch.where(self.luck(count, 1) < 0.4, order, usual)
        styles = styles.gather(1, order[:, :, None, None].expand_as(styles))
        negative = (self.luck(count, 1, 1, 1) < 0.12).float()
        styles = negative + (1 - 2 * negative) * styles
        flat = styles.std((1, 2, 3), keepdim=True) < FLAT  # a margin, a plain sky
        return torch.where(flat, styles.roll(1, 0), styles)

    def draw_moves(self, side: int, count: int) -> tuple[Tensor, Tensor]:
        """Draw how pictures are moved: half of them by whole pixels, half also turned and scaled.

        In [-1, 1] as ``grid_sample`` wants it, and 1 where nothing near an edge is seen.
        """
        edge = min(24, side // 8)
        shift = (2 * self.luck(2, count) - 1) * 8
        whole = self.luck(count) < 0.5
        shift = torch.where(whole, shift.round(), shift)
        angle = torch.where(whole, 0.0, (2 * self.luck(count) - 1) * 0.06)
        scale = torch.where(whole, 1.0, 1 + (2 * self.luck(count) - 1) * 0.04)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        theta = torch.stack(
            [
                torch.stack([cos, -sin, 2 * shift[0] / side], 1),
                torch.stack([sin, cos, 2 * shift[1] / side], 1),
            ],
            1,
        )
        grid = lay_grid(theta, side)
        most = 1 - 2 * edge / side
        inside = (grid.abs().amax(3) < most)[:, None].float()
        ring = torch.zeros(side, side, device=self.device)
        ring[edge:-edge, edge:-edge] = 1
        return grid, inside * ring


def lay_grid(theta: Tensor, side: int) -> Tensor:
    """Return where a square's pixels are looked for, by maps (N, 2, 3): ``affine_grid``, exactly.

    torch's own is a product of matrices, which may be shortened on graphics cards.
    """
    at = (2 * torch.arange(side, device=theta.device) + 1) / side - 1
    column, row = theta[:, :, 0, None, None] * at, theta[:, :, 1, None, None] * at[:, None]
    return (column + row + theta[:, :, 2, None, None]).permute(0, 2, 3, 1)


def move(pictures: Tensor, grid: Tensor) -> Tensor:
    """Return pictures as they are seen moved."""
    return functional.grid_sample(
        pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def match_colors(photos: Tensor, styles: Tensor) -> Tensor:
    """Give photographs (N, 3, H, W) their styles' means and covariances (``match_color``)."""
    own, wanted = (find_colors(each) for each in (photos, styles))
    eye = torch.eye(3, dtype=torch.float64, device=photos.device)
    root, inverse = find_roots(own[1] + RIDGE * eye)
    middle = find_roots(root @ (wanted[1] + 1e-12 * eye) @ root)[0]
    linear = (inverse @ middle @ inverse).to(photos)
    centred = photos.flatten(2) - own[0][:, :, None].to(photos)
    moved = linear @ centred + wanted[0][:, :, None].to(photos)
    return moved.view_as(photos).clamp_(0, 1)


def find_colors(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, 3) and covariances (N, 3, 3) of colours, in float64."""
    flat = pictures.flatten(2)
    mean = flat.mean(2, keepdim=True)
    centred = flat - mean
    # By elements: a product of matrices this thin, in float64, is slow on graphics cards.
    rows = [(centred * centred[:, i : i + 1]).mean(2) for i in range(3)]
    return mean[:, :, 0].double(), torch.stack(rows, 1).double()


def draw_own(folder: Path) -> list[Path]:
    """Return pictures that the project draws itself, drawn where they are not yet."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in STYLES:
        for seed in range(DRAWN):
            kept = sorted(folder.glob(f"{name}-{seed}.*"))
            path = kept[0] if kept else folder / f"{name}-{seed}.png"
            if not path.exists():
                draw_style(name, seed=seed).save(path)
            found.append(path)
    return found


def share_of(step: float) -> float:
    """Return 0 at 0 and 1 at 1, along half a cosine."""
    return (1 - math.cos(math.pi * min(1.0, max(0.0, step)))) / 2
