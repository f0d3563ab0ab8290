"""The regions of a photograph and of one that it is to be like, for who pairs them by hand."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from impasto.studio.messages import RegionMap, RegionsAnswer

_LONG_SIDE = 256  # of the maps


@dataclass(frozen=True)
class RegionsTask:
    """Two pictures whose regions are asked for."""

    content: str  # their paths
    like: str
    options: Mapping[str, Any]


def locate_regions(task: RegionsTask) -> RegionsAnswer:
    """Look for regions as relighting does, and return where they are."""
    import torch

    from impasto.photoreal.region_figure import list_region_maps
    from impasto.photoreal.relight import Relight

    work = Relight(task.content, [task.like], task.options)
    for _ in work.steps():
        pass
    fit = work.get_fit()
    maps = [
        RegionMap(
            width=each.shape[1],
            height=each.shape[0],
            numbers=base64.b64encode(each.to(torch.uint8).numpy().tobytes()).decode(),
        )
        for each in list_region_maps(fit, _LONG_SIDE)
    ]
    return RegionsAnswer(count=fit.count, content=maps[0], like=maps[1])
