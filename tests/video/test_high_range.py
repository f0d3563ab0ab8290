"""High dynamic range comes to standard range by numbers that the standards print."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from impasto.video.decoding import open_film
from impasto.video.high_range import HLG, PQ, decode_light, to_standard_range

WHITE_SHOWN = 0.7515  # (1 + (203 / 1000)^2) / 2 = 0.5206, as sRGB has it


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, 0.5807), (HLG, 0.75)])
def test_white_is_where_bt2408_has_it(transfer, signal):
    assert decode_light(transfer)[round(signal * 65535)] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, 0.5807), (HLG, 0.75)])
def test_white_comes_to_three_quarters(transfer, signal):
    pixels = np.full((2, 2, 3), round(signal * 65535), np.uint16)
    shown = to_standard_range(pixels, transfer, wide_gamut=True) / 65535
    assert np.allclose(shown, WHITE_SHOWN, atol=0.004)


def test_brighter_stays_brighter_up_to_the_peak():
    """1000 cd/m2 is PQ's 0.7518, and comes to 1; what is brighter is cut."""
    levels = np.round(np.linspace(0, 1, 201) * 65535).astype(np.uint16)
    pixels = np.repeat(levels[None, :, None], 3, 2)
    shown = to_standard_range(pixels, PQ, wide_gamut=False)[0, :, 0] / 65535
    assert (np.diff(shown[:150]) >= 0).all()
    assert shown[0] == 0
    assert np.interp(0.7518, levels / 65535, shown) == pytest.approx(1, abs=0.004)
    assert (shown[152:] > 0.999).all()


def write_grey(path: Path, transfer: int, signal: float) -> Path:
    """Write a film of one grey, in ten bits of limited range with BT.2020's colours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        planes = np.full((72, 64), 512, np.uint16)
        planes[:48] = round(64 + 876 * signal)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p10le")
            frame.color_trc, frame.color_primaries, frame.colorspace = transfer, 9, 9
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, 0.5807), (HLG, 0.75)])
def test_a_film_of_high_range_is_read_by_that_rule_and_said(tmp_path, transfer, signal):
    film = open_film(write_grey(tmp_path / "film.mkv", transfer, signal))
    assert any("high dynamic range" in note for note in film.facts.notes)
    shown = next(iter(film.read())).pixels
    assert np.abs(shown / 255 - WHITE_SHOWN).max() < 0.012
