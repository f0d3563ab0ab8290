"""Relighting: what is to come out is known, because the tests made the light themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw_picture
from PIL import Image

from impasto.errors import OptionError
from impasto.images.color_transfer import match_color
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.images.writing import write_image
from impasto.photoreal import relight as module
from impasto.photoreal.lut import tabulate, write_lut
from impasto.photoreal.options import RelightOptions
from impasto.photoreal.region_figure import draw_regions
from impasto.photoreal.relight import Relight, Relighting, fit_relighting
from impasto.work import finish


def relight(content, like, **options):
    return finish(Relight(content, like, options)).pixels


def darken_sky(scene: torch.Tensor, horizon: float) -> torch.Tensor:
    """The sky darker and redder, the ground warmer."""
    height = scene.shape[2]
    sky = torch.arange(height).view(1, 1, -1, 1) < horizon * (height - 1)
    evening = scene.pow(1.8) * torch.tensor([1.1, 0.9, 0.8]).view(1, 3, 1, 1)
    warm = scene * torch.tensor([1.1, 1.0, 0.7]).view(1, 3, 1, 1)
    return torch.where(sky, evening, warm).clamp(0, 1)


def test_regions_come_nearer_to_a_local_grade_than_one_map(draw_scene):
    photo, other = draw_scene(0.35), draw_scene(0.65, 1)
    like, truth = darken_sky(other, 0.65), darken_sky(photo, 0.35)

    def miss(pixels: torch.Tensor) -> float:
        return float((pixels - truth).abs().mean())

    assert miss(relight(photo, like, regions=2)) < 0.5 * miss(match_color(photo, like))
    assert miss(relight(photo, like, regions=2)) < 0.5 * miss(photo)
    assert miss(relight(photo, like, regions=4)) < miss(match_color(photo, like))


@pytest.mark.parametrize("regions", [1, 6])
def test_like_itself_it_is_itself(regions):
    photo = read_image(draw_picture(90, 70)).pixels
    assert float((relight(photo, photo, regions=regions) - photo).abs().max()) < 1 / 255


def test_strength_goes_from_nothing_to_all(draw_scene):
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    assert torch.equal(relight(photo, like, strength=0), photo)
    whole, half = relight(photo, like), relight(photo, like, strength=0.5)
    assert torch.allclose(half, (photo + whole) / 2, atol=1e-6)


def test_strips_are_the_whole(draw_scene, monkeypatch):
    photo, like = draw_scene(0.4, width=130, height=90), darken_sky(draw_scene(0.5, 1), 0.5)
    whole = relight(photo, like)
    monkeypatch.setattr(module, "_STRIP", 700)
    assert torch.allclose(relight(photo, like), whole, atol=2e-6)


def test_a_mask_keeps_what_is_black_exactly(draw_scene, tmp_path):
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    mask = np.zeros((72, 96), np.uint8)
    mask[:, 48:] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    relit = relight(photo, like, mask=str(tmp_path / "m.png"))
    assert torch.equal(relit[..., :48], photo[..., :48])
    assert float((relit[..., 48:] - photo[..., 48:]).abs().mean()) > 0.05


def test_transparency_stays_and_hides_its_colours(draw_scene):
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    alpha = torch.ones(1, 1, 72, 96)
    alpha[..., :20] = 0
    results = []
    for hidden in (0.0, 1.0):
        pixels = photo.clone()
        pixels[..., :20] = hidden
        results.append(finish(Relight(Picture(pixels, alpha), like)))
    assert torch.equal(results[0].alpha, alpha)
    assert torch.allclose(results[0].pixels[..., 20:], results[1].pixels[..., 20:], atol=1e-5)


def test_pictures_to_be_like_are_blended(draw_scene):
    photo = draw_scene(0.4)
    one, two = (
        draw_scene(0.5, 1) * 0.5,
        draw_scene(0.5, 2) * torch.tensor([1, 0.8, 0.5]).view(3, 1, 1),
    )
    first, second = (relight(photo, each, regions=1) for each in (one, two))
    options = {"regions": 1}
    only = relight(photo, [one, two], like_blend=(1, 0), **options)
    assert torch.allclose(only, first, atol=1e-5)
    half = relight(photo, [one, two], **options)
    between = torch.minimum(first, second) - 1e-4, torch.maximum(first, second) + 1e-4
    assert bool(((half >= between[0]) & (half <= between[1])).all())
    for blend, what in [((1, 1, 1), "like_blend: 3 given for 2"), ((0, 0), "needs a weight above")]:
        with pytest.raises(OptionError, match=what):
            relight(photo, [one, two], like_blend=blend)


def test_pairs_send_a_region_to_another(draw_scene):
    photo, other = draw_scene(0.5), darken_sky(draw_scene(0.5, 1), 0.5)
    fit = fit_relighting(Picture(photo), [Picture(other)], RelightOptions(regions=2))
    sky = int(fit.photo.masks[0, :, 3].mean(1).argmax()) + 1
    exchanged = relight(photo, other, regions=2, pair=(f"{sky}={3 - sky}",))
    usual = relight(photo, other, regions=2)
    ground = other[:, :, 45:].mean((0, 2, 3))
    assert float((exchanged[:, :, :27].mean((0, 2, 3)) - ground).abs().max()) < 0.12
    assert float((usual[:, :, :27].mean((0, 2, 3)) - ground).abs().max()) > 0.12
    with pytest.raises(OptionError, match="pair 3=1: there are regions 1 to 2, and no 3"):
        relight(photo, other, regions=2, pair=("3=1",))
    with pytest.raises(OptionError, match=r"pair: .* is wrong: give two numbers of regions, as in"):
        RelightOptions.read({"pair": ("2-5",)})
    with pytest.raises(OptionError, match="paired twice"):
        RelightOptions.read({"pair": ("2=5", "2=4")})


def test_labels_stand_for_regions(draw_scene, tmp_path):
    photo, other = draw_scene(0.35), draw_scene(0.65, 1)
    for name, horizon in (("a.png", 0.35), ("b.png", 0.65)):
        drawn = np.full((72, 96, 3), (200, 120, 30), np.uint8)
        drawn[: round(horizon * 72)] = (20, 90, 220)
        Image.fromarray(drawn).save(tmp_path / name)
    labels = (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    like, truth = darken_sky(other, 0.65), darken_sky(photo, 0.35)
    relit = relight(photo, like, labels=labels)
    assert float((relit - truth).abs().mean()) < 0.5 * float((photo - truth).abs().mean())
    with pytest.raises(OptionError, match="labels go with one LIKE"):
        relight(photo, [like, other], labels=labels)


def test_maps_are_held_for_a_scene(draw_scene):
    """Another frame: the ground has come up, and the masks follow; nothing is random."""
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    held: Relighting = fit_relighting(
        Picture(photo), [Picture(like)], RelightOptions(regions=3)
    ).relighting
    assert torch.allclose(held.apply(photo), relight(photo, like, regions=3), atol=1e-6)
    frame = draw_scene(0.55)
    assert torch.equal(held.apply(frame), held.apply(frame))
    truth = darken_sky(frame, 0.55)
    assert float((held.apply(frame) - truth).abs().mean()) < 0.4 * float(
        (frame - truth).abs().mean()
    )


def test_a_ramp_of_10_bits_has_no_band(tmp_path, draw_scene):
    """No level is passed over or falls behind the one before it, though eight maps take turns."""
    ramp = torch.linspace(0, 1, 1024).view(1, 1, 1, -1).expand(1, 3, 256, -1).contiguous()
    write_image(tmp_path / "ramp.png", ramp, depth=16)
    like = darken_sky(draw_scene(0.5, 1), 0.5)
    relit = finish(Relight(str(tmp_path / "ramp.png"), like))
    assert relit.depth == 16
    relit.save(tmp_path / "out.png")
    levels = read_image(tmp_path / "out.png").pixels[0, :, 128]  # (3, 1024)
    steps = levels.mean(0).diff()
    assert float(steps.min()) > -0.1 * float(steps.median())
    assert float(steps.max()) < 8 * float(steps.median())
    assert int((steps < 0.1 * steps.median()).sum()) < 30
    alone = Relight(str(tmp_path / "ramp.png"), like, {"regions": 1})
    assert float(finish(alone).pixels[0, :, 128].mean(0).diff().min()) > 0  # one map: none is lost


def test_noise_of_a_dark_sky_is_not_lifted(draw_scene):
    """The night is to be like day: its sky becomes bright, and no grainier than it was."""
    generator = torch.Generator().manual_seed(0)
    day, night = draw_scene(0.6, 1), 0.1 * draw_scene(0.6)
    night = (night + 0.008 * torch.randn(night.shape, generator=generator)).clamp(0, 1)
    relit = relight(night, day, regions=2)
    before, after = (each[0, :, 8:32, 8:-8] for each in (night, relit))
    assert float(after.mean()) > 3 * float(before.mean())
    assert float(after.diff(dim=2).std()) < 1.2 * float(before.diff(dim=2).std())


def test_one_map_is_a_table(draw_scene):
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    work = Relight(photo, like, {"regions": 1})
    relit = finish(work).pixels
    table, note = work.make_table()
    assert note == ""
    assert float((table(photo) - relit).abs().max()) < 1 / 255


def test_a_table_takes_no_options_of_regions(draw_scene, tmp_path):
    write_lut(tmp_path / "x.cube", tabulate(lambda pixels: pixels), "x")
    with pytest.raises(OptionError, match="regions goes with pictures to be like: a table has no"):
        Relight(draw_scene(0.4), (), {"regions": 3}, lut=str(tmp_path / "x.cube"))


def test_a_table_for_regions_says_what_it_misses(draw_scene):
    photo, like = draw_scene(0.4), darken_sky(draw_scene(0.5, 1), 0.5)
    work = Relight(photo, like, {"regions": 3})
    relit = finish(work).pixels
    table, note = work.make_table()
    assert "the map is by 3 regions, and a table has one for all colours alike" in note
    whole = work.get_fit().relighting.apply_whole(photo)
    assert float((table(photo) - relit).square().mean()) < float((whole - relit).square().mean())


def test_regions_are_drawn_side_by_side(draw_scene):
    photo, like = draw_scene(0.4), draw_scene(0.5, 1)
    fit = fit_relighting(Picture(photo), [Picture(like)] * 2, RelightOptions(regions=3))
    assert draw_regions(fit).shape == (1, 3, 480, 3 * 640 + 2 * 8)
