"""Films are read whatever holds them: in order, in time, upright, and only what is meant."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from conftest import draw_picture
from film_clips import SIZE, draw_pan, write_clip
from PIL import Image

from impasto.errors import ImageError, MissingFileError
from impasto.video.decoding import choose_size, open_film


def levels_apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_come_in_order_and_in_time(tmp_path, suffix):
    frames = draw_pan(10)
    path = write_clip(tmp_path / f"a film{suffix}", frames, rate=Fraction(30000, 1001))
    film = open_film(path)
    assert film.facts.size == SIZE
    assert film.facts.rate == Fraction(30000, 1001)
    read = list(film.read())
    assert [frame.number for frame in read] == list(range(10))
    seconds = [frame.time * film.facts.time_base for frame in read]
    expected = [n * Fraction(1001, 30000) for n in range(10)]
    assert [float(s) for s in seconds] == pytest.approx([float(s) for s in expected], abs=6e-4)
    assert max(levels_apart(a.pixels, b) for a, b in zip(read, frames, strict=True)) < 6


def test_uneven_times_are_kept(tmp_path):
    times = [0, 40, 90, 100, 300, 310]
    path = write_clip(tmp_path / "film.mp4", draw_pan(6), times=times, time_base=Fraction(1, 1000))
    film = open_film(path)
    assert [float(f.time * film.facts.time_base) for f in film.read()] == pytest.approx(
        [time / 1000 for time in times]
    )


def test_reading_may_begin_at_a_time(tmp_path):
    film = open_film(write_clip(tmp_path / "film.mp4", draw_pan(30)))
    whole = list(film.read())
    late = list(film.read(start=whole[20].time))
    assert late[0].time <= whole[20].time
    assert late[0].time > whole[0].time
    known = {frame.time: frame.pixels for frame in whole}
    assert all(np.array_equal(frame.pixels, known[frame.time]) for frame in late)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_films_are_upright(tmp_path, degrees):
    frame = draw_picture(64, 48, 3)
    path = write_clip(tmp_path / "film.mp4", [frame] * 3, rotation=degrees)
    film = open_film(path)
    shown = next(iter(film.read())).pixels
    turned = [np.rot90(frame, turns) for turns in (1, 3)] if degrees != 180 else [frame[::-1, ::-1]]
    assert film.facts.size == (shown.shape[1], shown.shape[0])
    assert film.facts.size == ((48, 64) if degrees != 180 else (64, 48))
    assert min(levels_apart(shown, each) for each in turned) < 6


def test_opposite_turns_differ(tmp_path):
    frame = draw_picture(64, 48, 3)
    one, two = (
        next(iter(open_film(write_clip(tmp_path / f"{d}.mp4", [frame] * 2, rotation=d)).read()))
        for d in (90, 270)
    )
    assert levels_apart(one.pixels, two.pixels[::-1, ::-1]) < 1


def test_a_size_is_made_while_reading(tmp_path):
    film = open_film(write_clip(tmp_path / "film.mp4", draw_pan(3)))
    assert next(iter(film.read((32, 24)))).pixels.shape == (24, 32, 3)
    assert choose_size(film.facts, 33, even=False) == (33, 25)
    assert choose_size(film.facts, 33, even=True) == (32, 24)


def test_an_animation_has_times_of_its_own(tmp_path):
    images = [Image.fromarray(frame) for frame in draw_pan(4)]
    images[0].save(
        tmp_path / "film.gif", save_all=True, append_images=images[1:], duration=[50, 200, 50, 50]
    )
    film = open_film(tmp_path / "film.gif")
    assert [frame.time for frame in film.read()] == [0, 50, 250, 300]
    assert film.facts.frames == 4


def test_a_folder_is_read_by_its_numbers(tmp_path):
    folder = tmp_path / "my frames"
    folder.mkdir()
    frames = draw_pan(11)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"shot{number}.png")
    (folder / "notes.txt").write_text("not a picture")
    film = open_film(folder, rate=Fraction(12))
    read = list(film.read())
    assert all(np.array_equal(a.pixels, b) for a, b in zip(read, frames, strict=True))
    assert film.facts.rate == 12
    assert [frame.time for frame in film.read(start=9)] == [9, 10]
    Image.fromarray(draw_picture(20, 20)).save(folder / "shot5.png")
    with pytest.raises(ImageError, match=r"'shot5.png' is 20 x 20, and the first picture 64 x 48"):
        list(film.read())


def test_a_still_needs_a_length(photo):
    with pytest.raises(ImageError, match="say how long it is to be shown: --seconds 5"):
        open_film(photo)
    frames = list(open_film(photo, seconds=0.2).read())
    assert len(frames) == 5
    assert all(np.array_equal(frame.pixels, frames[0].pixels) for frame in frames)


def test_transparency_comes_along(tmp_path):
    values = np.dstack([draw_picture(64, 48), np.full((48, 64), 128, np.uint8)])
    images = [Image.fromarray(values), Image.fromarray(values[::-1].copy())]
    images[0].save(tmp_path / "film.webp", save_all=True, append_images=images[1:], lossless=True)
    first = next(iter(open_film(tmp_path / "film.webp").read()))
    assert first.alpha is not None
    assert abs(first.alpha.astype(int) - 128).max() <= 1


# --- bad input ------------------------------------------------------------------------------------


def test_a_playlist_is_not_opened(tmp_path):
    write_clip(tmp_path / "secret.mp4", draw_pan(3))
    path = tmp_path / "film.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(ImageError, match=r"'film.mp4' is damaged or no film"):
        open_film(path)
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(ImageError, match=r"'film.mp4' is damaged or no film"):
        open_film(path)


def test_a_name_like_an_address_is_a_file_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="there is no film"):
        open_film("http://127.0.0.1:1/film.mp4")
    write_clip(tmp_path / "film.mp4", draw_pan(3)).rename(tmp_path / "concat:film.mp4")
    assert open_film("concat:film.mp4").facts.size == SIZE


def test_sound_alone_is_no_film(tmp_path):
    import av
    from film_clips import draw_tone

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(draw_tone(1024).astype(np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(track.encode(frame))
        container.mux(track.encode())
    with pytest.raises(ImageError, match=r"there is no video in 'sound.mp4'"):
        open_film(path)


def test_what_is_damaged_is_left_out(tmp_path):
    path = write_clip(tmp_path / "film.mp4", draw_pan(48))
    whole = {frame.time: frame.pixels for frame in open_film(path).read()}
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + 4 + len(content) // 3
    content[middle : middle + 300] = bytes(300)
    path.write_bytes(content)
    read = list(open_film(path).read())
    assert 24 <= len(read) <= 48
    assert all(a.time < b.time for a, b in pairwise(read))
    assert np.array_equal(read[-1].pixels, whole[read[-1].time])


def test_what_is_cut_short_ends_there(tmp_path):
    path = write_clip(tmp_path / "film.mkv", draw_pan(48))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert 10 <= len(list(open_film(path).read())) < 48


def write_parts(path, *parts: range) -> None:
    """A transport stream of parts, put together as they are: frames at 25 a second, by number."""
    frames, content = draw_pan(max(part.stop for part in parts)), b""
    for part in parts:
        own = path.with_name("part.ts")
        base = Fraction(1, 25)
        options = {"bf": "0"}  # else the muxer moves each part's times
        write_clip(
            own, [frames[n] for n in part], times=list(part), time_base=base, options=options
        )
        content += own.read_bytes()
    path.write_bytes(content)


def count_steps(reader) -> list[int]:
    """How many frames' time lies between each frame and the next."""
    times = [frame.time for frame in reader.read()]
    return [round((b - a) * reader.facts.time_base * 25) for a, b in pairwise(times)]


def test_a_clock_that_begins_anew_goes_on_from_where_it_was(tmp_path):
    write_parts(tmp_path / "film.ts", range(20), range(12))
    reader = open_film(tmp_path / "film.ts")
    assert count_steps(reader) == [1] * 31
    assert reader.begins_anew
    write_parts(tmp_path / "film.ts", range(20), range(20, 32))
    reader = open_film(tmp_path / "film.ts")
    assert count_steps(reader) == [1] * 31
    assert not reader.begins_anew


def test_a_single_frame_that_comes_late_is_left_out(tmp_path):
    write_parts(tmp_path / "film.ts", range(20), range(3, 4), range(20, 32))
    reader = open_film(tmp_path / "film.ts")
    assert count_steps(reader) == [1] * 31
    assert reader.damaged
    assert not reader.begins_anew


def test_an_empty_file_is_one_line(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(ImageError, match=r"'film.mp4' is damaged or no film"):
        open_film(tmp_path / "film.mp4")
    with pytest.raises(MissingFileError, match="there is no film"):
        open_film(tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="no pictures in"):
        open_film(tmp_path / "empty")
