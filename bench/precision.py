"""What bfloat16 changes in a picture, beside what a change of the photograph by a millionth does.

The default recipe on the samples at 512 pixels. A step's rounding grows from step to step, as any
small change does: what compares is how far two float32 paintings are apart whose photographs differ
by a millionth of the range.

    python bench/precision.py
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import impasto  # first: it says how torch is to take memory

import torch  # isort: skip
from machine import describe_machine, keep  # isort: skip

from impasto.images.resizing import fit_size, resize_pixels

PAIRS = (("cat", "strokes"), ("coffee", "glass"), ("astronaut", "waves"), ("rocket", "dots"))


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


def main() -> None:
    print(describe_machine())
    print("\n| pair | photograph changed by a millionth, dB | bfloat16, dB | losses at the end |")
    print("|---" * 4 + "|")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "impasto", "samples", folder], check=True)
        files = {path.stem: path for path in Path(folder).iterdir()}
        for photo, picture in PAIRS:
            pixels = impasto.read_image(files[photo]).pixels
            content = resize_pixels(pixels, *fit_size(pixels.shape[-1], pixels.shape[-2], 512))
            style = impasto.read_image(files[picture]).pixels
            noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(0))
            changed = (content + 1e-6 * noise).clamp(0, 1)
            plain = impasto.paint(content, style, {"precision": "float32"})
            other = impasto.paint(changed, style, {"precision": "float32"})
            short = impasto.paint(content, style, {"precision": "bfloat16"})
            facts = {
                "changed": psnr(plain.pixels, other.pixels),
                "bfloat16": psnr(plain.pixels, short.pixels),
                "totals": [each.history[-1].total for each in (plain, other, short)],
            }
            keep("precision", f"{photo}, {picture}", facts)
            totals = ", ".join(f"{total:.4f}" for total in facts["totals"])
            print(
                f"| {photo}, {picture} | {facts['changed']:.1f} | {facts['bfloat16']:.1f} "
                f"| {totals} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
