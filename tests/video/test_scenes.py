"""A film's plan: its cuts, its shards, and by which windows each frame is painted."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from film_clips import draw_pan, write_clip

from impasto.video.decoding import open_film
from impasto.video.scenes import WINDOW, CutFinder, FilmPlan, FilmScan, read_from

SHARD = 256


def plan_of(length: int, cuts: list[int], windows: list[int] | None = None) -> FilmPlan:
    return FilmPlan(list(range(length)), cuts, windows or cuts)


def test_cuts_are_found_and_motion_is_none():
    shots = [draw_pan(12, seed=seed, step=2, size=(160, 96)) for seed in (1, 5, 9)]
    find = CutFinder()
    cuts = [number for number, frame in enumerate(chain(*shots)) if find(frame)]
    assert cuts == [0, 12, 24]


def test_light_that_changes_is_no_cut():
    frames = [np.clip(frame * (0.4 + 0.05 * n), 0, 255).astype(np.uint8)
              for n, frame in enumerate(draw_pan(12, size=(160, 96)))]  # fmt: skip
    find = CutFinder()
    assert [find(frame) for frame in frames] == [True] + [False] * 11


def test_noise_alone_is_no_cut():
    rng = np.random.default_rng(0)
    base = draw_pan(1, size=(160, 96))[0].astype(float)
    find = CutFinder()
    told = [
        find(np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8))
        for _ in range(12)
    ]
    assert told == [True] + [False] * 11


@pytest.mark.parametrize(
    ("length", "cuts"),
    [
        (10, [0]),
        (600, [0]),
        (1000, [0, 300, 310, 900]),
        (257, [0]),
        (5000, list(range(0, 5000, 7))),
    ],
)
def test_shards_cover_a_film_once(length, cuts):
    shards = plan_of(length, cuts).list_shards(SHARD, 48)
    assert shards[0].begin == 0
    assert shards[-1].end == length
    for before, after in pairwise(shards):
        assert before.end == after.begin
        assert len(before) >= SHARD // 2
    for shard in shards:
        assert len(shard) <= SHARD * 3 // 2
        assert shard.lead <= shard.begin
        assert shard.begin - shard.lead <= 48


def test_a_shard_begins_at_a_cut_or_so_many_frames_before():
    shards = plan_of(1000, [0, 300]).list_shards(SHARD, 48)
    assert (shards[0].begin, shards[0].end) == (0, 300)
    assert (shards[1].begin, shards[1].lead) == (300, 300)
    assert (shards[2].begin, shards[2].lead) == (300 + SHARD, 300 + SHARD - 48)


def test_a_frame_is_painted_by_the_windows_around_it():
    plan = plan_of(300, [0, 200], [0, 96, 192, 200, 296])
    assert plan.share_windows(0) == [(0, 1.0)]
    assert plan.share_windows(48) == [(0, 1.0), (1, 0.0)]
    (one, first), (two, second) = plan.share_windows(72)
    assert (one, two) == (0, 1)
    assert (first, second) == pytest.approx((0.75, 0.25))  # 24 of 96 frames from middle to middle
    assert plan.share_windows(199) == [(2, 1.0)]
    assert plan.share_windows(200) == [(3, 1.0)]  # another scene
    for frame in range(300):
        assert sum(share for _, share in plan.share_windows(frame)) == pytest.approx(1)


def test_a_plan_is_kept_as_plain_data():
    plan = plan_of(300, [0, 200], [0, 96, 200])
    assert FilmPlan.unpack(plan.pack()) == plan


def test_a_scan_samples_windows_and_cuts(tmp_path):
    frames = [*draw_pan(WINDOW + 30, size=(32, 32)), draw_pan(1, seed=7, size=(32, 32))[0][::-1]]
    film = open_film(write_clip(tmp_path / "film.mp4", frames))
    scan = FilmScan(film, (32, 32), 0.0, None)
    sampled = [len(some) for _, some in scan.steps() if len(some)]
    assert scan.plan.cuts == [0, WINDOW + 30]
    assert scan.plan.window_cuts == [0, WINDOW, WINDOW + 30]
    assert sampled == [4, 2, 1]  # frames 2, 18, 48, 78; 2, 18; and the only one
    assert len(scan.plan) == len(frames)


def test_a_scan_keeps_to_its_seconds_and_breaks(tmp_path):
    film = open_film(write_clip(tmp_path / "film.mp4", draw_pan(50)))  # 25 a second
    scan = FilmScan(film, (64, 48), 0.4, 1.2, [0.8])
    for _ in scan.steps():
        pass
    assert len(scan.plan) == 20
    assert scan.plan.begin == 10
    assert scan.plan.cuts == [0, 10]


@pytest.mark.parametrize("first", [0, 1, 7, 13, 29])
def test_reading_from_a_frame_gives_the_same_frames(tmp_path, first):
    film = open_film(write_clip(tmp_path / "film.mp4", draw_pan(30)))
    scan = FilmScan(film, (64, 48), 0.0, None)
    for _ in scan.steps():
        pass
    whole = list(film.read())
    some = list(read_from(film, scan.plan, (64, 48), first))
    assert [frame.number for frame in some] == list(range(first, 30))
    for frame in some:
        assert frame.time == whole[frame.number].time
        assert np.array_equal(frame.pixels, whole[frame.number].pixels)
