"""Inside a host program nothing of torch changes that the host would notice."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import torch

def describe():
    tiny = torch.full((4096,), 1e-39) * 1  # kept as they are, unless denormals are flushed
    return {
        "random state": torch.get_rng_state().sum().item(),
        "denormals": bool((tiny != 0).all()),
        "threads": torch.get_num_threads(),
        "threads between operations": torch.get_num_interop_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }

torch.set_num_threads(2)
torch.set_flush_denormal(False)
torch.manual_seed(7)
before = describe()
import impasto
from impasto.images.picture import Picture

picture = Picture(torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64))
style = Picture(picture.pixels.flip(1, 3))
if "import" in sys.argv:
    pass
elif "paint" in sys.argv:
    impasto.paint(picture, style, {"steps": 2, "start_size": 64, "precision": "float32"})
elif "instant" in sys.argv:
    impasto.Instant(style)(picture)
elif "backbone" in sys.argv:
    from impasto.networks.weights import load_backbone

    load_backbone("compact")
elif "texture" in sys.argv:
    impasto.texture(style, {"steps": 2, "size": "64", "start_size": 64, "precision": "float32"})
after = describe()
for name, value in before.items():
    if after[name] != value:
        print(f"{name}: {value} before, {after[name]} after")
"""


@pytest.mark.parametrize("what", ["import", "backbone", "instant", "paint", "texture"])
def test_nothing_of_torch_changes(what):
    command = [sys.executable, "-c", PROGRAM, what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
