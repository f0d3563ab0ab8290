"""What the any-style network is looked at by while it learns: held-out pairs, and the painter's.

The folder of pairs holds `defaults.json`, a list with, for each pair, the names of its photograph
and style and what the judge of `bench/teacher.py` says of the painter's default (`content`,
`sliced`) and of the photograph in the style's colours (`recoloured`); and these pictures.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from teacher import Teacher, read_at  # isort: skip

from impasto.figures.contact_sheet import draw_sheet
from impasto.images.color_transfer import match_color
from impasto.images.writing import to_pil
from impasto.instant.net import DialReader, PaintingNet, encode_style
from impasto.networks.vgg import Backbone

SIDE, SHOWN = 512, 320


class Judge:
    def __init__(
        self, folder: Path, teacher: Path | None, backbone: Backbone, device: torch.device
    ) -> None:
        rows = json.loads((folder / "defaults.json").read_text())
        self.rows = [row for row in rows if row["weight"] == 15.0]
        self.folder, self.backbone, self.device = folder, backbone, device
        self.teacher = None
        if teacher is not None:
            self.teacher = Teacher(teacher)
            self.teacher.backbone.to(device)
            self.teacher.tensors = {n: t.to(device) for n, t in self.teacher.tensors.items()}

    def read(self, name: str, side: int = SIDE) -> Tensor:
        return read_at(self.folder / name, side).to(self.device)

    @torch.no_grad()
    def paint(
        self, net: PaintingNet, reader: DialReader, photo: Tensor, style: Tensor, weight: float
    ) -> Tensor:
        known = reader.read(encode_style(self.backbone, style).float())
        numbers = reader.dial(known, torch.tensor([weight], device=self.device))
        coloured = match_color(photo.cpu(), style.cpu()).to(self.device)
        return net(coloured, numbers).clamp(0, 1)

    def compare(self, net: PaintingNet, reader: DialReader) -> dict[str, object]:
        """Return medians over the pairs: content and style, ours over the default's, and gains."""
        assert self.teacher is not None
        found: dict[str, list[float]] = {"content": [], "gain": [], "style": []}
        other: dict[float, list[float]] = {3.0: [], 5.0: [], 45.0: [], 75.0: []}
        for number, row in enumerate(self.rows):
            photo, style = self.read(row["photo"]), self.read(row["style"])
            verdict = self.teacher.judge(self.paint(net, reader, photo, style, 15.0), photo, style)
            begin = row["recoloured"]
            found["content"].append(verdict.content / row["content"])
            found["style"].append(verdict.sliced)
            gain = (begin["sliced"] - verdict.sliced) / (begin["sliced"] - row["sliced"])
            found["gain"].append(gain)
            if number % 4 == 0:
                for weight, values in other.items():
                    painted = self.paint(net, reader, photo, style, weight)
                    verdict = self.teacher.judge(painted, photo, style)
                    values += [verdict.content / row["content"], verdict.sliced]
        gains = sorted(found["gain"])
        return {
            "content over default's": [round(x, 3) for x in spread(found["content"])],
            "gain over default's": [round(x, 3) for x in spread(found["gain"])],
            "style": round(statistics.median(found["style"]), 4),
            "least gain": round(gains[0], 3),
            "dial": {
                w: [round(statistics.median(v[::2]), 3), round(statistics.median(v[1::2]), 4)]
                for w, v in other.items()
                if v
            },
        }

    def compare_content(self, net: PaintingNet, reader: DialReader) -> float:
        """Return the content distance over that of the painter's default, in the median."""
        assert self.teacher is not None
        found = []
        for row in self.rows:
            photo, style = self.read(row["photo"]), self.read(row["style"])
            painted = self.paint(net, reader, photo, style, 15.0)
            found.append(self.teacher.judge(painted, photo, style).content / row["content"])
        return statistics.median(found)

    def show(self, net: PaintingNet, reader: DialReader, weight: float, sheet: Path) -> None:
        """Paint photographs in rows after styles in columns."""
        photos = list(dict.fromkeys(row["photo"] for row in self.rows))
        photos = photos[:: max(1, len(photos) // 6)][:6]
        styles = list(dict.fromkeys(row["style"] for row in self.rows))[:7]
        shown = [self.read(name, SHOWN) for name in styles]
        rows: list[list[object]] = [[None, *(to_pil(style.cpu()) for style in shown)]]
        for name in photos:
            photo = self.read(name, SHOWN)
            painted = [self.paint(net, reader, photo, style, weight).cpu() for style in shown]
            rows.append([to_pil(photo.cpu()), *map(to_pil, painted)])
        draw_sheet(rows, tile=SHOWN).convert("RGB").save(sheet, quality=90)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the least, the median and the largest."""
    return min(values), statistics.median(values), max(values)
