"""Another network's space of features: affine maps into it, in as many numbers as there are here.

A weight file may carry 1x1 maps of some layers into the true VGG-19's (``to_vgg19.relu3_1``: C
channels to C' = 4 C). Losses that compare columns only need inner products and distances of what
comes out, not its C' numbers: of W x + b these are the same as of R [x, 1] with R the symmetric
root of [W b]^T [W b], which has C + 1 rows. The ReLU that follows the map is left out: it takes at
most a sixteenth of the squares away.
"""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.networks.weights import choose_weights, load_tensors

_PREFIX = "to_vgg19."


def find_root_map(weight: Tensor, bias: Tensor) -> Tensor:
    """Return (C+1, C+1) for a map of weight (C', C) and bias (C',).

    [x, 1] times it has the inner products of W x + b, times C/C', so that features are about as
    long as before.
    """
    whole = torch.cat([weight, bias[:, None]], 1).double()  # (C', C+1)
    values, vectors = torch.linalg.eigh(whole.T @ whole * (weight.shape[1] / len(weight)))
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root.float()


def load_space(backbone: str, weights: str | None = None) -> dict[str, Tensor]:
    """Return {layer: map} into the true VGG-19's space, of the layers for which there is one."""
    tensors = load_tensors(choose_weights(backbone, weights), (_PREFIX,))
    layers = {name.removeprefix(_PREFIX).rpartition(".")[0] for name in tensors}
    return {
        name: find_root_map(
            tensors[f"{_PREFIX}{name}.weight"].float().flatten(1),
            tensors[f"{_PREFIX}{name}.bias"].float(),
        )
        for name in sorted(layers)
    }
