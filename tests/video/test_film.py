"""Films hold every frame or an even choice of them, in order and in time, and are whole."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import DependencyError, ImageError, MissingFileError
from impasto.video import film as clips
from impasto.video.film import FILM_SUFFIXES, Film, check_film


def frame(number: int, *, of: int = 20, height: int = 30, width: int = 40) -> torch.Tensor:
    """A dark picture with a bright stripe, further right in every frame."""
    pixels = torch.full((1, 3, height, width), 0.2)
    left = round((width - 4) * number / max(1, of - 1))
    pixels[..., left : left + 4] = torch.tensor([1.0, 0.7, 0.1])[:, None, None]
    return pixels


def stripe(shown: np.ndarray) -> float:
    """Where the middle of a frame's stripe is, as a share of the width."""
    columns = np.flatnonzero(shown.mean(0)[:, 0] > 140)
    return float((columns.mean() + 0.5) / shown.shape[1])


PLACES = [(round(36 * number / 19) + 2) / 40 for number in range(20)]


def read_animation(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Frames and how many milliseconds each is shown."""
    frames, durations = [], []
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            frames.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
    return frames, durations


def write_film(path: Path, count: int, **options: float) -> Film:
    film = Film(path, long_side=40, **options)
    for number in range(count):
        film.add(frame(number, of=count))
    assert film.write() == ()
    return film


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_frames_in_order_and_in_time(tmp_path, suffix):
    write_film(tmp_path / f"film{suffix}", 20)
    frames, durations = read_animation(tmp_path / f"film{suffix}")
    assert [shown.shape for shown in frames] == [(30, 40, 3)] * 20
    assert [stripe(shown) for shown in frames] == pytest.approx(PLACES, abs=0.01)
    assert durations == [80] * 19 + [1500]
    assert [path.name for path in tmp_path.iterdir()] == [f"film{suffix}"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_colours_are_kept(tmp_path, suffix):
    y, x = torch.meshgrid(torch.linspace(0, 1, 60), torch.linspace(0, 1, 80), indexing="ij")
    film = Film(tmp_path / f"film{suffix}", long_side=80)
    pictures = [torch.stack([x, y, (1 - x) * k / 9])[None] for k in range(10)]
    for pixels in pictures:
        film.add(pixels)
    film.write()
    frames, _ = read_animation(film.path)
    for shown, pixels in zip(frames, pictures, strict=True):
        true = pixels[0].permute(1, 2, 0).numpy() * 255
        blocks = [part.reshape(6, 10, 8, 10, 3).mean((1, 3)) for part in (shown, true)]
        error = abs(blocks[0] - blocks[1])  # dithering is right in the mean, but at the rim
        assert error.mean() < 2
        assert error.max() < 16


def test_a_gif_has_one_palette(tmp_path):
    film = Film(tmp_path / "film.gif", long_side=60)
    for seed in range(8):
        film.add(torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(seed)))
    film.write()
    frames, _ = read_animation(film.path)
    colors = [{tuple(color) for color in shown.reshape(-1, 3).tolist()} for shown in frames]
    assert 200 < len(colors[0]) <= len(set.union(*colors)) <= 255


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_times_of_ones_own(tmp_path, suffix):
    write_film(tmp_path / f"film{suffix}", 3, seconds_per_frame=0.25, hold=3)
    assert read_animation(tmp_path / f"film{suffix}")[1] == [250, 250, 3000]


@pytest.mark.parametrize("suffix", FILM_SUFFIXES)
def test_a_film_of_one_frame(tmp_path, suffix):
    if suffix not in (".gif", ".webp"):
        pytest.importorskip("av")
    film = Film(tmp_path / f"film{suffix}")
    film.add(frame(0))
    film.write()
    assert film.path.stat().st_size > 0


@pytest.mark.parametrize(
    ("suffix", "shape", "long_side", "expected"),
    [
        (".gif", (667, 1000), 480, (480, 320)),
        (".gif", (83, 125), 480, (480, 319)),  # a coarse first frame is enlarged
        (".webp", (5, 500), 101, (101, 1)),
        (".mp4", (83, 125), 480, (480, 318)),
        (".mp4", (5, 500), 101, (100, 2)),
    ],
)
def test_sizes(tmp_path, monkeypatch, suffix, shape, long_side, expected):
    monkeypatch.setattr(clips, "require", lambda *_, **__: None)
    film = Film(tmp_path / f"film{suffix}", long_side=long_side)
    film.add(torch.rand(1, 3, *shape))
    film.add(torch.rand(1, 3, *(2 * side for side in shape)))  # painted at the next size
    assert film.size == expected
    assert [shown.shape for shown in film.frames()] == [(*expected[::-1], 3)] * 2
    assert {shown.dtype for shown in film.frames()} == {np.dtype(np.uint8)}


def test_pixels_outside_the_range_and_with_gradients(tmp_path):
    film = Film(tmp_path / "film.gif", long_side=4)
    film.add(torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1).expand(1, 3, 4, 4).requires_grad_())
    assert film.frames()[0][0, 0].tolist() == [0, 128, 255]


# Bounded memory


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 20, 21, 57, 300])
def test_frames_are_bounded_evenly_spaced_and_end_with_the_latest(tmp_path, monkeypatch, count):
    monkeypatch.setattr(clips, "MOST_FRAMES", 10)
    film = Film(tmp_path / "film.gif", long_side=2)
    for number in range(count):
        film.add(torch.full((1, 3, 2, 2), number / 255 % 1))
        kept = [int(shown[0, 0, 0]) for shown in film.frames()]
        assert len(kept) <= 10
        assert kept[-1] == number % 255
    stride = 2 ** max(0, int(np.ceil(np.log2(count / 9))))
    expected = sorted({*range(0, count, stride), count - 1})
    assert kept == [number % 255 for number in expected]


def test_at_most_240(tmp_path):
    film = Film(tmp_path / "film.webp", long_side=2)
    longest = 0
    for _ in range(1000):
        film.add(torch.rand(1, 3, 2, 2))
        longest = max(longest, len(film.frames()))
    assert longest == clips.MOST_FRAMES == 240


# Whole or absent


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_stopped_in_the_middle(tmp_path, monkeypatch, suffix, error):
    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"the film before")
    film = Film(path)
    film.add(frame(0))

    def write_half(beside: Path, *_: object) -> None:
        beside.write_bytes(b"half")
        raise error

    monkeypatch.setattr(clips, "write_animation", write_half)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            film.write()
    else:
        with pytest.raises(ImageError, match=rf"^cannot write 'film{suffix}': no space left on d"):
            film.write()
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"the film before"]


def test_no_frames(tmp_path):
    film = Film(tmp_path / "film.gif")
    assert film.frames() == []
    with pytest.raises(ImageError, match=r"^cannot write 'film.gif': a film of no frames$"):
        film.write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FILM_SUFFIXES)
def test_the_same_frames_are_the_same_bytes(tmp_path, suffix):
    if suffix not in (".gif", ".webp"):
        pytest.importorskip("av")
    films = [write_film(tmp_path / f"{name}{suffix}", 5) for name in "ab"]
    assert films[0].path.read_bytes() == films[1].path.read_bytes()


# What is asked before


ALL = ".mp4, .mov, .mkv, .webm, .gif, .webp"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "film.avi",
            rf"cannot write a film 'film.avi' with suffix '.avi'; choose from {ALL}",
        ),
        ("film", rf"cannot write a film 'film' with no suffix; choose from {ALL}"),
    ],
)
def test_unknown_suffixes(tmp_path, name, message):
    with pytest.raises(ImageError, match=f"^{message}$"):
        check_film(tmp_path / name)


def test_folders(tmp_path, monkeypatch):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(
        ImageError, match=r"^cannot write a film to '.*folder.gif': it is a folder$"
    ):
        Film(tmp_path / "folder.gif")
    with pytest.raises(
        MissingFileError, match=r"^no such folder: '.*none' \(to write 'a.gif' in\)$"
    ):
        check_film(tmp_path / "none" / "a.gif")

    def refuse(*_, **__):  # root may write anywhere
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(ImageError, match=r"^cannot write 'a.gif': no permission to write in '"):
        check_film(tmp_path / "a.gif")


def test_a_video_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert check_film(str(tmp_path / "film.gif")) == tmp_path / "film.gif"
    message = (
        r"^an \.mp4 needs PyAV, which is not installed; "
        r"pip install 'impasto\[video\]', or write a \.gif or \.webp$"
    )
    with pytest.raises(DependencyError, match=message):
        check_film(tmp_path / "film.mp4")


# Videos


def read_video(path: Path) -> tuple[list[np.ndarray], list[float], str]:
    """Frames, when each is shown (the last entry: the end), and the codec."""
    av = pytest.importorskip("av")
    with av.open(path) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        decoded = list(film.decode(video=0))
        times = [*(shown.time for shown in decoded), float(stream.duration * stream.time_base)]
        return [shown.to_ndarray(format="rgb24") for shown in decoded], times, stream.codec.name


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_a_video(tmp_path, monkeypatch, codec):
    av = pytest.importorskip("av")
    if codec == "mpeg4":
        monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    film = Film(tmp_path / "film.mp4", long_side=240, hold=1.2)
    for number in range(20):
        film.add(frame(number))
    notes = film.write()
    frames, times, name = read_video(film.path)
    assert name == codec
    fallback = ("no H.264 encoder here: the film is in MPEG-4 part 2",)
    assert notes == (() if codec == "h264" else fallback)
    assert {shown.shape for shown in frames} == {(180, 240, 3)}
    assert times == pytest.approx([*np.arange(20) * 0.08, 19 * 0.08 + 1.2])
    assert [stripe(shown) for shown in frames] == pytest.approx(PLACES, abs=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_video_keeps_colours(tmp_path):
    pytest.importorskip("av")
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [30, 90, 160], [200, 180, 40]])
    pixels = colors.T.repeat_interleave(16, 1)[None, :, None].expand(1, 3, 64, 64) / 255
    film = Film(tmp_path / "film.mp4", long_side=64)
    film.add(pixels)
    film.write()
    frames, _, _ = read_video(film.path)
    assert abs(frames[0][32, 8::16].astype(int) - colors.numpy()).max() <= 3
    content = film.path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is all there
