"""High dynamic range in, standard range out: by one rule, said where it is used.

Light is decoded (PQ: SMPTE ST 2084; HLG: BT.2100) as a multiple of white, which is 203 cd/m2
(BT.2408), BT.2020's primaries become BT.709's, and all up to 1000 cd/m2 is bent below 1 (Reinhard
et al. 2002, equation 4). White comes to three quarters of the signal, as with HLG. Pixel by pixel,
so that nothing of it flickers.
"""

from __future__ import annotations

import numpy as np

BT2020, PQ, HLG = 9, 16, 18  # libav's numbers of primaries and transfers
_WHITE = 203.0  # cd/m2
_PEAK = 1000.0  # cd/m2: of what is brighter nothing is left
_LEVELS = 65536
_TO_BT709 = np.array(  # BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)


def decode_light(transfer: int) -> np.ndarray:
    """Return the light of each of 65536 levels, 1 for white."""
    level = np.linspace(0, 1, _LEVELS)
    if transfer == PQ:
        m, n = 2610 / 16384, 2523 / 4096 * 128
        a, b, c = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        root = level ** (1 / n)
        light = 10000 * (np.maximum(root - a, 0) / (b - c * root)) ** (1 / m)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
        light = _PEAK * scene**1.2  # the usual system gamma, channel by channel
    return np.asarray(light / _WHITE, np.float32)


def to_standard_range(pixels: np.ndarray, transfer: int, *, wide_gamut: bool) -> np.ndarray:
    """Return a frame (H, W, 3) of uint16 as sRGB has it, uint16."""
    light = decode_light(transfer)[pixels]
    if wide_gamut:
        light = np.maximum(light @ _TO_BT709.T, 0)
    brightest = _PEAK / _WHITE
    # By the brightest colour of each pixel, which keeps hues.
    peak = light.max(2, keepdims=True)
    light = light * (1 + peak / brightest**2) / (1 + peak)
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray((encoded * (_LEVELS - 1)).round(), np.uint16)
