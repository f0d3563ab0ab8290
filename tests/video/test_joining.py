"""What goes into which container: transparency, ten bits, sound that must be mended."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from film_clips import draw_pan, write_clip
from PIL import Image

from impasto.errors import OptionError
from impasto.video.decoding import open_film
from impasto.video.encoding import Encoding, PieceWriter, choose_encoding, read_piece
from impasto.video.joining import Joining, Track, read_film_recipe

SIZE = 64, 48


def write_piece(path: Path, encoding: Encoding, frames, alpha=None) -> Path:
    writer = PieceWriter(path, encoding)
    for frame in frames:
        writer.add(frame, alpha)
    writer.close()
    return path


def join(film: Path, output: Path, frames, *, pieces: int = 1, recipe: str | None = None, **how):
    facts = open_film(film).facts
    encoding, _ = choose_encoding(output, SIZE, facts.rate, **how)
    step = round(1 / (facts.rate * facts.time_base))
    cut = len(frames) // pieces
    paths = [
        write_piece(film.with_name(f"{n}.nut"), encoding, frames[n * cut : (n + 1) * cut])
        for n in range(pieces)
    ]
    joining = Joining(paths, [n * step for n in range(cut * pieces + 1)], facts, recipe)
    joining.write(output)
    return joining.notes


def test_pieces_without_loss_come_back(tmp_path):
    frames = draw_pan(3)
    encoding, _ = choose_encoding(tmp_path / "a.gif", SIZE, Fraction(25))
    found = list(read_piece(write_piece(tmp_path / "a.nut", encoding, frames)))
    assert all(np.array_equal(a, b) for a, b in zip(found, frames, strict=True))


def test_transparency_without_loss_comes_back(tmp_path):
    frames, alpha = draw_pan(2), np.arange(48 * 64, dtype=np.uint32).reshape(48, 64) % 256
    encoding, _ = choose_encoding(tmp_path / "a.webp", SIZE, Fraction(25), alpha=True)
    path = write_piece(tmp_path / "a.nut", encoding, frames, alpha.astype(np.uint8))
    assert np.array_equal(next(iter(read_piece(path)))[..., 3], alpha)


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_pieces_follow_each_other_in_time(tmp_path, codec):
    """Each begins anew with frames that are coded before they are shown."""
    frames = draw_pan(24)
    film = write_clip(tmp_path / "a.mp4", frames)
    join(film, tmp_path / "b.mp4", frames, pieces=3, codec=codec)
    with av.open(str(tmp_path / "b.mp4")) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert times == [Fraction(n, 25) for n in range(24)]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mkv", "hevc")])
def test_ten_bits_stay_ten(tmp_path, suffix, codec):
    """A slope of 1024 levels keeps more of them than 8 bits could."""
    slope = np.linspace(20000, 40000, 64).astype(np.uint16)
    frame = np.broadcast_to(slope[None, :, None], (48, 64, 3)).copy()
    output = tmp_path / f"a{suffix}"
    film = write_clip(tmp_path / "film.mp4", draw_pan(2))
    join(film, output, [frame, frame], codec=codec, deep=True, crf=1)
    assert open_film(output, deep=True).facts.depth == 10
    read = next(iter(open_film(output, deep=True).read())).pixels
    assert read.dtype == np.uint16
    assert np.abs(read.astype(int) - frame).mean() < 150
    assert next(iter(open_film(output).read())).pixels.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".mkv"])
def test_transparency_goes_into_containers_that_have_it(tmp_path, suffix):
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    film = write_clip(tmp_path / "film.mp4", draw_pan(2))
    facts = open_film(film).facts
    output = tmp_path / f"a{suffix}"
    encoding, notes = choose_encoding(output, SIZE, facts.rate, alpha=True)
    piece = write_piece(tmp_path / "a.nut", encoding, draw_pan(2), alpha)
    Joining([piece], [0, 512, 1024], facts, None).write(output)
    assert not notes
    read = next(iter(open_film(output).read()))
    assert read.alpha is not None
    assert read.alpha[:, :28].max() < 20
    assert read.alpha[:, 36:].min() > 235


def test_transparency_that_does_not_go_in_is_told(tmp_path):
    _, notes = choose_encoding(tmp_path / "a.mp4", SIZE, Fraction(25), alpha=True)
    assert notes == [".mp4 keeps no transparency by h264: laid on black"]


def test_what_a_container_lacks_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r".gif has no codec to choose"):
        choose_encoding(tmp_path / "a.gif", SIZE, Fraction(25), crf=3)
    with pytest.raises(OptionError, match="codec prores has no --crf"):
        choose_encoding(tmp_path / "a.mov", SIZE, Fraction(25), codec="prores", crf=3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_recipes_are_carried(tmp_path, suffix):
    frames = draw_pan(2)
    film = write_clip(tmp_path / "film.mp4", frames)
    join(film, tmp_path / f"a{suffix}", frames, recipe='{"options": {"é": 1}}')
    assert read_film_recipe(tmp_path / f"a{suffix}") == '{"options": {"é": 1}}'
    join(film, tmp_path / f"b{suffix}", frames)
    assert read_film_recipe(tmp_path / f"b{suffix}") is None


def test_a_gif_carries_its_recipe(tmp_path):
    frames = draw_pan(2)
    film = write_clip(tmp_path / "film.mp4", frames)
    join(film, tmp_path / "a.gif", frames, recipe='{"options": {}}')
    assert read_film_recipe(tmp_path / "a.gif") == '{"options": {}}'
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 2


def test_times_that_repeat_or_go_back_are_mended():
    track = Track(None)
    packets = [SimpleNamespace(dts=dts, pts=dts) for dts in (0, 10, 10, 7, 20)]
    assert [track.order(packet).dts for packet in packets] == [0, 10, 11, 12, 20]
    assert [packet.pts for packet in packets] == [0, 10, 11, 12, 20]
    assert track.mended == 2


# --- subtitles ------------------------------------------------------------------------------------

LINES = (
    "1\n00:00:00,040 --> 00:00:00,120\nA first line\n\n2\n00:00:00,160 --> 00:00:00,280\nA second\n"
)


def write_titled(path: Path) -> Path:
    """Write a film whose subtitles are those lines."""
    titles = path.with_suffix(".srt")
    titles.write_text(LINES)
    with av.open(str(titles)) as said, av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        source = said.streams.subtitles[0]
        own = out.add_stream_from_template(source)
        for pixels in draw_pan(8):
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(video.encode())
        for packet in said.demux(source):
            if packet.dts is not None:
                packet.stream = own
                out.mux(packet)
    return path


def read_titles(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return [(round(float(p.pts * p.time_base), 3), bytes(p)) for p in packets]


def test_subtitles_are_copied_with_their_times(tmp_path):
    film = write_titled(tmp_path / "film.mkv")
    assert [text for _, text in read_titles(film)] == [b"A first line", b"A second"]
    notes = join(film, tmp_path / "out.mkv", draw_pan(8))
    assert read_titles(tmp_path / "out.mkv") == read_titles(film)
    assert notes == []


def test_subtitles_that_a_container_cannot_take_are_left_out_and_said(tmp_path):
    film = write_titled(tmp_path / "film.mkv")
    notes = join(film, tmp_path / "out.mp4", draw_pan(8))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.subtitles
    assert any("subtitles" in note for note in notes)
