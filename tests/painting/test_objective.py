"""The objective: totals, targets and gradients against numbers worked by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from conftest import draw_picture, random_tensors
from PIL import Image
from torch import Tensor

import impasto
from impasto.errors import OptionError
from impasto.images.picture import Picture
from impasto.images.reading import read_image
from impasto.losses.content import CONTENT_LOSSES
from impasto.losses.style import STYLE_LOSSES
from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weights import load_tensors
from impasto.painting import loss_plan, terms
from impasto.painting.canvas import CANVASES
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import plan_painting_losses, resolve_layers, weigh_layers
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.scene import Scene
from impasto.painting.style_cache import Targets
from impasto.system.devices import choose_machine

pytestmark = pytest.mark.arithmetic

QUICK = {"steps": 6, "start_size": 64, "precision": "float32"}
SAMPLED = [name for name, loss in STYLE_LOSSES.items() if loss.samples]
every_style_loss = pytest.mark.parametrize("loss", STYLE_LOSSES)
every_content_loss = pytest.mark.parametrize("loss", CONTENT_LOSSES)
every_canvas = pytest.mark.parametrize("canvas", CANVASES)


def pixels_of(width: int, height: int, seed: int) -> Tensor:
    return read_image(draw_picture(width, height, seed)).pixels


def see(
    compact: Backbone,
    content: Tensor,
    styles: list[Tensor],
    *,
    targets: Targets | None = None,
    **values: object,
) -> Objective:
    """What is minimised at the photograph's own size, the styles at their own."""
    sides = [max(style.shape[-2:]) for style in styles]
    plain = {"recolor": "none", "style_loss": ["gram"], "layer_weights": "given"}
    options = PaintOptions.read({**plain, "style_size": sides, **values})
    size = (content.shape[-1], content.shape[-2])
    asked = SceneOptions.of(options)
    scene = Scene(Picture(content), [Picture(style) for style in styles], asked, size)
    machine = choose_machine("cpu")
    view = scene.at(size, 1, machine.device)
    return Objective(compact, machine, view, plan_painting_losses(compact, options), targets)


def style_terms(objective: Objective) -> list[terms.StyleTerm]:
    return [t for t in objective.criterion.terms if isinstance(t, terms.StyleTerm)]


def content_terms(objective: Objective) -> list[terms.ContentTerm]:
    return [t for t in objective.criterion.terms if isinstance(t, terms.ContentTerm)]


def make_objective(compact: Backbone, **values: object) -> Objective:
    return see(compact, pixels_of(48, 40, 1), [pixels_of(40, 56, 2)], **values)


def measure(objective: Objective, step: int = 0) -> tuple[float, dict[str, float]]:
    total, parts = objective(pixels_of(48, 40, 3), step)
    return float(total), {name: float(part) for name, part in parts.items()}


def look(compact: Backbone, picture: Tensor, layer: str) -> np.ndarray:
    return compact(picture, [layer])[layer][0].double().numpy()


def mean_gram(features: np.ndarray) -> np.ndarray:
    return np.einsum("ihw,jhw->ij", features, features) / features[0].size


def same(ours: Any, theirs: Any) -> bool:
    """Whether nests of tensors are the same, bit for bit."""
    if isinstance(ours, Tensor):
        return torch.equal(ours, theirs)
    return len(ours) == len(theirs) and all(map(same, ours, theirs))


# --- totals -------------------------------------------------------------------------------------


def test_the_total_is_its_weighted_parts(compact):
    objective = make_objective(compact, style_weight=7, content_weight=3, tv_weight=2)
    total, parts = measure(objective)
    expected = 7 * parts["style"] + 3 * parts["content"] + 2 * parts["tv"]  # none is out of range
    assert total == pytest.approx(expected, rel=1e-6)


def test_what_leaves_the_range_costs(compact):
    objective = make_objective(compact, style_weight=0, content_weight=0, tv_weight=0)
    pixels = torch.full((1, 3, 40, 48), 0.5)
    pixels[0, 0, 0, 0], pixels[0, 1, 1, 1] = 1.5, -0.25
    expected = 100 * (0.5**2 + 0.25**2) / pixels.numel()
    assert float(objective(pixels, 0)[0]) == pytest.approx(expected, rel=1e-5)


def test_the_content_itself_has_no_content_loss(compact):
    _, parts = make_objective(compact)(pixels_of(48, 40, 1), 0)
    assert float(parts["content"]) < 1e-6
    assert float(parts["style"]) > 1e-3


def test_the_style_itself_has_no_style_loss(compact):
    style = pixels_of(48, 40, 5)
    losses = [name for name in STYLE_LOSSES if name not in SAMPLED]
    objective = see(compact, pixels_of(48, 40, 1), [style], style_loss=losses)
    assert float(objective(style, 0)[1]["style"]) < 1e-5
    assert float(objective(pixels_of(48, 40, 1), 0)[1]["style"]) > 1e-2


def test_columns_in_another_space_are_those_of_the_whole_map(compact, monkeypatch):
    layers = {"style_layer": ["relu1_1", "relu2_2", "relu3_1"], "content_layer": ["relu3_1"]}
    asked = {"style_loss": ["neighbour-columns"], "content_loss": ["self-similarity"], "guide": 0.3}
    own = measure(make_objective(compact, **layers, **asked))[1]
    near = measure(make_objective(compact, **layers, **asked, columns="vgg19"))[1]
    maps = load_tensors("compact", ("to_vgg19.",))
    whole = {}
    for name in ("relu1_1", "relu3_1"):  # there is none for relu2_2
        weight, bias = (maps[f"to_vgg19.{name}.{part}"].float() for part in ("weight", "bias"))
        whole[name] = torch.cat([weight.flatten(1).T, bias[None]]) / 2  # four times the channels
    monkeypatch.setattr(loss_plan, "load_space", lambda *_: whole)
    plain = measure(make_objective(compact, **layers, **asked, columns="vgg19"))[1]
    for part in ("style", "content"):
        assert near[part] == pytest.approx(plain[part], rel=1e-4)
        assert near[part] != pytest.approx(own[part], rel=1e-2)


def test_layer_weights_are_shares(compact):
    def style(*layers: str) -> float:
        return measure(make_objective(compact, style_layer=layers))[1]["style"]

    expected = 0.75 * style("relu1_1") + 0.25 * style("relu3_1")
    assert style("relu1_1=3", "relu3_1=1") == pytest.approx(expected, rel=1e-5)
    assert style("relu1_1=300", "relu3_1=100") == pytest.approx(expected, rel=1e-5)


def test_the_paper_s_losses_by_hand(compact):
    content, style, pixels = (pixels_of(40, 56, seed) for seed in (1, 2, 3))  # M is the same
    layers = {"style_layer": ["conv1_2"], "content_layer": ["relu2_1"]}
    objective = see(compact, content, [style], normalization="paper", **layers)
    _, parts = objective(pixels, 0)
    f, a = look(compact, pixels, "conv1_2"), look(compact, style, "conv1_2")
    grams = [np.einsum("ihw,jhw->ij", x, x) for x in (f, a)]
    expected = ((grams[0] - grams[1]) ** 2).sum() / (4 * f.shape[0] ** 2 * (40 * 56) ** 2)
    assert float(parts["style"]) == pytest.approx(expected, rel=1e-3)
    difference = look(compact, pixels, "relu2_1") - look(compact, content, "relu2_1")
    assert float(parts["content"]) == pytest.approx((difference**2).sum() / 2, rel=1e-3)


def test_mixed_losses_add_up(compact):
    summed = [name for name in STYLE_LOSSES if name not in SAMPLED]
    weights = {name: 1.5 + i for i, name in enumerate(summed)}
    alone = {
        name: measure(make_objective(compact, style_loss=[name]))[1]["style"] for name in summed
    }
    mixed = make_objective(compact, style_loss=[f"{n}={w}" for n, w in weights.items()])
    expected = sum(weight * alone[name] for name, weight in weights.items())
    assert measure(mixed)[1]["style"] == pytest.approx(expected, rel=1e-5)
    contents = ("features=2", "laplacian=0.5")
    alone = {
        name: measure(make_objective(compact, content_loss=[name]))[1]["content"]
        for name in ("features", "laplacian")
    }
    mixed = make_objective(compact, content_loss=contents)
    expected = 2 * alone["features"] + 0.5 * alone["laplacian"]
    assert measure(mixed)[1]["content"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 2.5])
def test_the_power_of_total_variation(compact, power):
    objective = make_objective(compact, tv_power=power, normalization="paper")
    expected = oracles.powered_variation_by_loops(pixels_of(48, 40, 3)[0].numpy(), power)
    assert measure(objective)[1]["tv"] == pytest.approx(expected, rel=2e-3)


# --- the improved algorithm ---------------------------------------------------------------------


def test_geometric_weights_by_hand(compact):
    layers = ["relu1_1", "relu2_1", "relu3_1=3"]  # D - d: 2, 1, 0
    plain = make_objective(
        compact, style_layer=layers, content_layer=["relu1_2", "relu3_2"], layer_weights="geometric"
    )
    weights = {term.group: term.weight for term in style_terms(plain)}
    whole = 4 + 2 + 3
    assert weights == pytest.approx(
        {("relu1_1",): 4 / whole, ("relu2_1",): 2 / whole, ("relu3_1",): 3 / whole}
    )
    held = {term.group: term.weight for term in content_terms(plain)}
    assert held == pytest.approx({("relu1_2",): 2 / 6, ("relu3_2",): 4 / 6})


def test_weights_follow_the_layers_depth_and_not_their_order(compact):
    weights = weigh_layers(compact, ("relu3_1", "relu1_1"), "geometric", 0.5)
    assert weights == {"relu1_1": 0.5, "relu3_1": 0.25}
    assert list(weights) == ["relu1_1", "relu3_1"]


@pytest.mark.parametrize(("name", "count"), [("vgg19", 16), ("compact", 16), ("vgg16", 13)])
def test_all_layers(name, count):
    backbone = Backbone(BACKBONES[name])
    layers = resolve_layers(backbone, ("all",))
    assert len(layers) == count
    assert list(layers)[:3] == ["relu1_1", "relu1_2", "relu2_1"]
    assert set(layers.values()) == {1.0}
    assert resolve_layers(backbone, ("all", "relu2_1=5"))["relu2_1"] == 5


def test_all_of_the_improved_algorithm_together(compact):
    options = {"style_layer": ["all"], "layer_weights": "geometric", "activation_shift": -1}
    objective = make_objective(compact, style_loss=["chained"], **options)
    assert len(style_terms(objective)) == 15  # pairs of 16 layers
    assert style_terms(objective)[3].group == ("relu2_2", "relu3_1")
    assert sum(term.weight for term in style_terms(objective)) == pytest.approx(1)
    ratios = [
        a.weight / b.weight
        for a, b in zip(style_terms(objective), style_terms(objective)[1:], strict=False)
    ]
    assert ratios == pytest.approx([2] * 14)
    assert math.isfinite(measure(objective)[0])


def test_the_activation_shift_by_hand(compact):
    objective = make_objective(compact, style_layer=["relu2_1"], activation_shift=-1)
    ours, theirs = (
        mean_gram(look(compact, picture, "relu2_1") - 1)
        for picture in (pixels_of(48, 40, 3), pixels_of(40, 56, 2))
    )
    target = style_terms(objective)[0].target[0].double().numpy()
    np.testing.assert_allclose(target, theirs, rtol=1e-4, atol=1e-5)
    expected = ((ours - theirs) ** 2).sum() / (theirs**2).sum()
    assert measure(objective)[1]["style"] == pytest.approx(expected, rel=1e-3)
    plain = make_objective(compact, style_layer=["relu2_1"])
    assert measure(plain)[1]["content"] == measure(objective)[1]["content"]  # style's alone


def test_pixels_are_not_shifted(compact):
    values = {"style_loss": ["histogram-pixels"]}
    first, second = (make_objective(compact, **values, activation_shift=shift) for shift in (0, -1))
    assert measure(first) == measure(second)


# --- several styles -----------------------------------------------------------------------------


def test_the_target_is_the_styles_weighted_mean(compact):
    styles = [pixels_of(40, 56, 2), pixels_of(50, 40, 4), pixels_of(40, 40, 5)]
    objective = see(
        compact, pixels_of(48, 40, 1), styles, style_blend=[3, 0, 1], style_layer=["relu2_1"]
    )
    grams = [mean_gram(look(compact, style, "relu2_1")) for style in styles]
    expected = 0.75 * grams[0] + 0.25 * grams[2]
    target = style_terms(objective)[0].target[0].double().numpy()
    np.testing.assert_allclose(target, expected, rtol=1e-4)
    equal = see(compact, pixels_of(48, 40, 1), styles, style_layer=["relu2_1"])
    target = style_terms(equal)[0].target[0].double().numpy()
    np.testing.assert_allclose(target, sum(grams) / 3, rtol=1e-4)


@every_style_loss
def test_a_style_of_no_weight_changes_no_target(compact, loss):
    content, styles = pixels_of(48, 40, 1), [pixels_of(40, 56, 2), pixels_of(50, 40, 4)]
    values = {"style_loss": [loss], "style_layer": ["relu1_1", "relu2_1"]}
    alone = see(compact, content, styles[:1], **values)
    blended = see(compact, content, styles, style_blend=[1, 0], **values)
    assert measure(alone) == measure(blended)
    half = see(compact, content, styles, style_blend=[1, 1], **values)
    assert measure(half) != measure(alone)


# --- masks --------------------------------------------------------------------------------------


def save_columns(path: Path, first: int, last: int, size: tuple[int, int]) -> str:
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, first:last] = 255
    Image.fromarray(mask).save(path)
    return str(path)


@every_style_loss
def test_outside_the_teach_mask_nothing_teaches(compact, tmp_path, loss):
    style = pixels_of(64, 40, 2)
    other, inside = style.clone(), style.clone()
    other[..., 40:] = pixels_of(64, 40, 9)[..., 40:]
    inside[..., :20] = pixels_of(64, 40, 9)[..., :20]
    layers = ["relu1_1", "relu2_1", "relu3_1"]
    options = {
        "teach_mask": [save_columns(tmp_path / "teach.png", 0, 40, (64, 40))],
        "style_loss": [loss],
        "style_layer": layers,
    }
    first, same_one, changed = (
        [t.target for t in style_terms(see(compact, pixels_of(48, 40, 1), [s], **options))]
        for s in (style, other, inside)
    )
    assert same(first, same_one)
    assert not same(first, changed)


def test_layers_looked_at_together_have_the_deepest_s_mask():
    deep = torch.tensor([[1.0, 3.0], [0.0, 4.0]])[None, None] / 8
    masks = {"shallow": torch.ones(1, 1, 3, 4) / 12, "deep": deep}
    joined = terms.join_masks(masks, ("shallow", "deep"))
    expected = torch.tensor([[1.0, 1, 3, 3], [1, 1, 3, 3], [0, 0, 4, 4]]) / 24
    torch.testing.assert_close(joined[0][0, 0], expected)
    assert joined[1] is deep
    assert terms.join_masks(masks, ("shallow",))[0] is masks["shallow"]


def test_a_region_s_gram_is_its_own(compact, tmp_path):
    content, style = pixels_of(64, 48, 1), pixels_of(40, 56, 2)
    mask = save_columns(tmp_path / "mask.png", 0, 40, (64, 48))
    objective = see(compact, content, [style], mask=mask, style_layer=["relu1_2"])
    pixels = pixels_of(64, 48, 3)
    inside = look(compact, pixels, "relu1_2")[:, :, :38]  # two 3x3 convolutions see two further
    ours, theirs = mean_gram(inside), mean_gram(look(compact, style, "relu1_2"))
    alone = ((ours - theirs) ** 2).sum() / (theirs**2).sum()
    expected = 40 / 64 * alone  # by what is painted of the whole
    assert float(objective(pixels, 0)[1]["style"]) == pytest.approx(expected, rel=1e-3)


def test_a_mask_does_not_tip_the_scales(compact, tmp_path):
    """Twice the same picture side by side, one of them painted: its pull stays what it was."""
    half, painted = pixels_of(64, 64, 1), pixels_of(64, 64, 3)
    content, pixels = (torch.cat([each, each], 3) for each in (half, painted))
    mask = save_columns(tmp_path / "mask.png", 0, 64, (128, 64))
    layers = {"style_layer": ["relu1_1", "relu2_1"], "content_layer": ["relu2_2"]}
    pulls = []
    for values in ({}, {"mask": mask}):
        objective = see(compact, content, [pixels_of(40, 56, 2)], **layers, **values)
        leaf = pixels.clone().requires_grad_()
        parts = objective(leaf, 0)[1]
        pulls.append(
            [
                torch.autograd.grad(parts[name], leaf, retain_graph=True)[0][..., 8:56].norm()
                for name in ("style", "content")
            ]
        )
    (style, content_pull), (masked_style, masked_content) = pulls
    torch.testing.assert_close(masked_content, content_pull, rtol=1e-4, atol=0)
    assert float(masked_style / style) == pytest.approx(1, rel=0.15)  # edges count for a little


def test_regions_share_by_their_area_and_blend(compact, tmp_path):
    masks = [
        save_columns(tmp_path / f"{i}.png", *c, (64, 48)) for i, c in enumerate([(0, 48), (48, 64)])
    ]
    styles = [pixels_of(40, 56, 2), pixels_of(50, 40, 4)]
    values = {"style_mask": masks, "style_layer": ["relu1_1"]}
    objective = see(compact, pixels_of(64, 48, 1), styles, **values)
    assert [term.weight for term in style_terms(objective)] == pytest.approx([0.75, 0.25])
    objective = see(compact, pixels_of(64, 48, 1), styles, style_blend=[1, 3], **values)
    assert [term.weight for term in style_terms(objective)] == pytest.approx([0.5, 0.5])


# --- normalised gradients -----------------------------------------------------------------------


def pull_of(objective: Objective, monkeypatch) -> dict[str, Tensor]:
    """The gradients that arrive at each layer's features, by the pixels' own side if ``pixels``."""
    leaves: dict[str, Tensor] = {}
    extractor = objective.criterion.extractor
    plain = extractor.look

    def leaf_features(pixels: Tensor, layers: Any) -> dict[str, Tensor]:
        seen = plain(pixels, layers)
        leaves.update({n: f.detach().clone().requires_grad_() for n, f in seen.items()})
        return leaves

    monkeypatch.setattr(extractor, "look", leaf_features)
    pixels = pixels_of(48, 40, 3).requires_grad_()  # which total variation has by itself
    objective(pixels, 0)[0].backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


@every_style_loss
@pytest.mark.parametrize("weight", [1.0, 50.0])
def test_a_style_loss_pulls_with_its_weight(compact, monkeypatch, loss, weight):
    values = {"style_loss": [loss], "style_layer": ["relu1_1", "relu2_1"]}
    objective = make_objective(
        compact, **values, normalize_gradients="l1", style_weight=weight, content_weight=0
    )
    pulls = pull_of(objective, monkeypatch)
    for term in style_terms(objective):
        for layer in term.group:
            norm = float(pulls.pop(layer).abs().sum())
            assert norm == pytest.approx(weight * term.weight / len(term.group), rel=1e-4)
    assert not any(bool(pull.any()) for pull in pulls.values())  # content pulls with nothing


@every_content_loss
def test_a_content_loss_pulls_with_its_weight(compact, monkeypatch, loss):
    objective = make_objective(
        compact, content_loss=[loss], normalize_gradients="l1", style_weight=0, content_weight=7
    )
    pulls = pull_of(objective, monkeypatch)
    layer = content_terms(objective)[0].group[0]
    assert float(pulls[layer].abs().sum()) == pytest.approx(7, rel=1e-4)


def test_per_pixel_every_position_pulls_alike(compact, monkeypatch):
    objective = make_objective(
        compact,
        style_layer=["relu2_1"],
        content_weight=0,
        style_weight=12,
        normalize_gradients="pixel",
    )
    pull = pull_of(objective, monkeypatch)["relu2_1"]
    lengths = pull.norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 12 / lengths.numel()))


def test_losses_on_one_layer_are_normalised_each(compact, monkeypatch):
    def pull(how: str, *losses: str) -> Tensor:
        objective = make_objective(
            compact,
            style_loss=losses,
            style_layer=["relu2_1"],
            style_weight=10,
            content_weight=0,
            normalize_gradients=how,
        )
        return pull_of(objective, monkeypatch)["relu2_1"]

    gram, moments = pull("none", "gram"), pull("none", "moments")
    expected = 10 * (gram / gram.abs().sum() + 3 * moments / moments.abs().sum())
    both = pull("l1", "gram", "moments=3")
    torch.testing.assert_close(both, expected, rtol=1e-3, atol=1e-6 * float(both.abs().max()))
    of_the_sum = gram + 3 * moments
    assert not torch.allclose(both, 40 * of_the_sum / of_the_sum.abs().sum(), rtol=0.1)


def test_normalised_gradients_leave_the_losses_alone(compact):
    plain, l1, pixel = (
        measure(make_objective(compact, style_loss=["gram", "emd"], normalize_gradients=how))
        for how in ("none", "l1", "pixel")
    )
    assert plain == l1 == pixel


def test_no_pull_stays_none(compact, tmp_path, monkeypatch):
    mask = save_columns(tmp_path / "mask.png", 0, 24, (48, 40))
    for how in ("l1", "pixel"):
        objective = make_objective(
            compact, mask=mask, style_layer=["relu1_1"], content_weight=0, normalize_gradients=how
        )
        pull = pull_of(objective, monkeypatch)["relu1_1"]
        assert not pull[..., 24:].any()
        assert pull[..., :23].any()
        assert bool(pull.isfinite().all())


# --- targets ------------------------------------------------------------------------------------


class Counted(Targets):
    """Counts what had to be measured."""

    measured = 0

    def put(self, key, measured) -> None:
        self.measured += 1
        super().put(key, measured)


@every_style_loss
def test_a_style_is_measured_once(compact, loss):
    targets, style = Counted(), pixels_of(40, 56, 2)
    values = {"style_loss": [loss], "style_layer": ["relu1_1", "relu2_1"]}
    first = see(compact, pixels_of(48, 40, 1), [style], targets=targets, **values)
    again = see(compact, pixels_of(48, 40, 7), [style.clone()], targets=targets, **values)
    assert targets.measured == 1
    assert same([t.target for t in style_terms(first)], [t.target for t in style_terms(again)])
    fresh = see(compact, pixels_of(48, 40, 7), [style], **values)
    assert measure(again) == measure(fresh)


def test_from_the_cache_the_network_is_not_asked(compact, monkeypatch):
    targets = Targets()
    make_objective(compact, targets=targets)

    def refuse(*_: object) -> None:
        pytest.fail("measured again")

    monkeypatch.setattr(terms, "gather_style", refuse)
    make_objective(compact, targets=targets, content_weight=5, steps=3)


@pytest.mark.parametrize(
    "changed",
    [
        {"style_loss": ["gram", "moments"]},
        {"style_loss": ["sliced"]},
        {"style_layer": ["relu2_1"]},
        {"activation_shift": -1},
        {"seed": 1},
        {"style_scale": [0.5]},
        {"color": "histogram"},
        {"teach_mask": True},
    ],
    ids=str,
)
def test_what_a_measurement_depends_on_is_measured_again(compact, tmp_path, changed):
    if "teach_mask" in changed:
        changed = {"teach_mask": [save_columns(tmp_path / "teach.png", 0, 20, (40, 56))]}
    targets = Counted()
    base: dict[str, object] = {"style_layer": ["relu1_1"]}
    make_objective(compact, targets=targets, **base)
    make_objective(compact, targets=targets, **{**base, **changed})
    assert targets.measured == 2
    make_objective(compact, targets=targets, **{**base, **changed})
    assert targets.measured == 2


def test_weights_are_no_part_of_a_measurement(compact):
    targets = Counted()
    make_objective(compact, targets=targets, style_layer=["relu1_1"])
    for values in ({"style_layer": ["relu1_1=2"]}, {"style_loss": ["gram=3"]}):
        make_objective(compact, targets=targets, **{"style_layer": ["relu1_1"], **values})
    assert targets.measured == 1


def test_what_weighs_nothing_is_not_measured_for_what_weighs_something(compact):
    targets, values = Counted(), {"style_layer": ["relu1_1"]}
    nothing = make_objective(compact, targets=targets, style_weight=0, **values)
    assert style_terms(nothing) == []
    assert targets.measured == 0
    something = make_objective(compact, targets=targets, style_weight=10, **values)
    assert len(style_terms(something)) == 1


def test_another_network_measures_again(compact):
    """By its weights and its pooling, whatever its name."""
    targets = Counted()
    other = Backbone.from_tensors(random_tensors("compact"), BACKBONES["compact"])
    mean = impasto.load_backbone("compact", pooling="avg")
    for network in (compact, other, mean, compact, other, mean):
        make_objective(network, targets=targets, style_layer=["relu1_1"])
    assert targets.measured == 3


def test_the_oldest_targets_go_first():
    targets = Targets(most=3)
    for i in range(5):
        targets.put(str(i), [])
    assert list(targets.known) == ["2", "3", "4"]
    assert targets.get("0") is None
    assert targets.get("4") == []


# --- painted ------------------------------------------------------------------------------------


def paint(**options: object) -> impasto.Painting:
    photo, style = draw_picture(64, 48, 1), draw_picture(56, 72, 2)
    return impasto.paint(photo, style, {**QUICK, **options})


@every_style_loss
@every_canvas
def test_painting_lowers_every_style_loss(loss, canvas):
    layers = {"style_layer": ["relu1_1", "relu2_1", "relu3_1"]}
    weights = {"content_weight": 0, "tv_weight": 0, "recolor": "none"}
    history = paint(style_loss=[loss], canvas=canvas, **layers, **weights).history
    assert min(step.style for step in history) < 0.8 * history[0].style


@every_content_loss
@every_canvas
def test_painting_lowers_every_content_loss(loss, canvas):
    weights = {"style_weight": 0, "tv_weight": 0, "init": "noise", "steps": 24}
    layers = {"style_layer": ["relu1_1"], "content_layer": ["relu2_1"]}
    history = paint(content_loss=[loss], canvas=canvas, **layers, **weights).history
    assert min(step.content for step in history) < 0.8 * history[0].content


@pytest.mark.parametrize("how", ["l1", "pixel"])
def test_painting_with_normalised_gradients(how):
    options = {"normalize_gradients": how, "optimizer": "adam", "tv_weight": 0, "steps": 12}
    history = paint(style_layer=["relu1_1", "relu2_1"], **options).history
    assert history[-1].style < 0.8 * history[0].style


def test_losses_of_pixels_alone_need_no_network():
    painting = paint(style_loss=["histogram-pixels"], content_loss=["laplacian"], steps=12)
    assert painting.history[-1].style < 0.5 * painting.history[0].style


@pytest.mark.parametrize("loss", [*SAMPLED, "gram"])
def test_the_same_seed_paints_the_same(loss):
    # 96 x 72 cells: more than any loss looks at
    sizes = {"size": 96, "start_size": 96, "steps": 2}
    options = {"style_loss": [loss], "style_layer": ["relu1_1"], **sizes}
    first, again, other = (paint(**options, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.pixels, again.pixels)
    totals = [[step.total for step in each.history] for each in (first, again, other)]
    assert totals[0] == totals[1]
    assert (totals[0] == totals[2]) == (loss == "gram")


@pytest.mark.parametrize("values", [{"style_loss": ["sliced"]}, {"style_loss": ["emd"]}], ids=str)
def test_what_is_drawn_is_drawn_anew_at_each_step(compact, values):
    objective = make_objective(compact, style_layer=["relu1_1"], **values)
    assert measure(objective, 0) == measure(objective, 0)
    first, second = (measure(objective, step)[1]["style"] for step in (0, 1))
    assert first != second
    assert first == pytest.approx(second, rel=0.3)


@every_style_loss
def test_a_black_style_is_painted(loss):
    black = np.zeros((40, 40, 3), np.uint8)
    options = {**QUICK, "style_loss": [loss], "recolor": "none"}
    painting = impasto.paint(draw_picture(64, 48, 1), black, options)
    assert all(math.isfinite(step.total) for step in painting.history)
    assert bool(painting.pixels.isfinite().all())


# --- what goes wrong ----------------------------------------------------------------------------


def test_unknown_losses_and_layers(compact):
    with pytest.raises(OptionError, match="unknown loss 'grams'; did you mean 'gram'"):
        make_objective(compact, style_loss=["grams"])
    with pytest.raises(OptionError, match="unknown loss 'feature'; did you mean 'features'"):
        make_objective(compact, content_loss=["feature"])
    with pytest.raises(OptionError, match="chained needs more layers than relu1_1"):
        make_objective(compact, style_loss=["chained"], style_layer=["relu1_1"])
    with pytest.raises(OptionError, match="unknown layer 'relu9_1' for compact"):
        make_objective(compact, content_layer=["relu9_1"])


# --- tileable pictures --------------------------------------------------------------------------


def see_mosaic(compact: Backbone, pixels: Tensor, layer: str) -> Tensor:
    """Features (C, h, w) of the middle one of nine copies side by side."""
    features = compact(pixels.repeat(1, 1, 3, 3), [layer])[layer][0]
    tall, wide = features.shape[1] // 3, features.shape[2] // 3
    return features[:, tall : 2 * tall, wide : 2 * wide]


def test_a_tileable_picture_is_one_of_nine_copies(compact):
    """Total and gradient, against the network on a mosaic, of which the middle counts."""
    content, style, pixels = pixels_of(96, 80, 1), pixels_of(64, 72, 2), pixels_of(96, 80, 3)
    layers = ("relu1_1", "relu3_1", "relu5_1")  # the last sees 70 pixels beyond its own
    weights = {"style_weight": 3, "content_weight": 2, "tv_weight": 0.5}
    objective = see(compact, content, [style], tileable=True, style_layer=layers, **weights)
    leaf = pixels.clone().requires_grad_()
    total, parts = objective(objective.show(leaf), 0)
    (slope,) = torch.autograd.grad(total, leaf)

    own = pixels.clone().requires_grad_()
    apart = []
    for layer in layers:
        ours = see_mosaic(compact, own, layer).flatten(1)
        theirs = compact(style, [layer])[layer][0].flatten(1)  # of the style there is one
        grams = [f @ f.T / f.shape[1] for f in (ours, theirs)]
        apart.append((grams[0] - grams[1]).square().sum() / grams[1].square().sum())
    target = see_mosaic(compact, content, "relu4_1")
    difference = (see_mosaic(compact, own, "relu4_1") - target).square().mean()
    around = [torch.roll(own, -1, dim) - own for dim in (2, 3)]
    expected = {
        "style": torch.stack(apart).mean(),
        "content": difference / target.var(correction=0),
        "tv": sum(each.square().sum() for each in around) / pixels.numel(),
    }
    whole = 3 * expected["style"] + 2 * expected["content"] + 0.5 * expected["tv"]
    (wanted,) = torch.autograd.grad(whole, own)
    for name, part in expected.items():
        assert float(parts[name].detach()) == pytest.approx(float(part.detach()), rel=1e-4), name
    assert float(total.detach()) == pytest.approx(float(whole.detach()), rel=1e-4)
    assert (slope - wanted).norm() < 1e-3 * wanted.norm()


def test_what_is_shown_of_a_tileable_picture(compact):
    pixels = pixels_of(48, 40, 3)
    plain = make_objective(compact)
    assert torch.equal(plain.show(pixels), pixels)
    objective = make_objective(compact, tileable=True)
    margin = objective.tiles[0].margin
    assert margin == 80  # five cells of relu5_1, which sees 70 pixels
    shown = objective.show(pixels)
    assert shown.shape == (1, 3, 40 + 160, 48 + 160)
    assert torch.equal(shown[..., 80:120, 80:128], pixels)
    assert torch.equal(shown[..., 0:40, 80:128], pixels)
    assert torch.equal(shown[..., 120:160, 32:80], pixels)


def test_where_a_photograph_is_kept_its_copies_are_too(compact, tmp_path):
    mask = np.zeros((40, 48), np.uint8)
    mask[:, 24:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    objective = make_objective(compact, tileable=True, mask=str(tmp_path / "mask.png"))
    shown = objective.show(torch.full((1, 3, 40, 48), 0.5))
    middle = shown[..., 80:120, 80:128]
    assert torch.equal(middle[..., :24], pixels_of(48, 40, 1)[..., :24])
    assert torch.equal(middle[..., 24:], torch.full((1, 3, 40, 24), 0.5))
    assert torch.equal(shown[..., 40:80, 32:80], middle)


def test_a_style_is_measured_as_before(compact):
    """It is no tile: beyond its edges lies what lies beyond a photograph's."""
    plain, tileable = (make_objective(compact, tileable=each) for each in (False, True))
    assert same(
        [term.target for term in style_terms(tileable)],
        [term.target for term in style_terms(plain)],
    )
    targets = Targets()
    for each in (False, True):
        see(compact, pixels_of(48, 40, 1), [pixels_of(40, 56, 2)], targets=targets, tileable=each)
    assert len(targets.known) == 1


def test_total_variation_of_a_tileable_picture_counts_over_the_edge(compact):
    stripes = torch.zeros(1, 3, 40, 48)
    stripes[..., :12] = 1  # two edges: inside, and from the last column to the first
    values = {"style_weight": 0, "content_weight": 0, "tv_weight": 1, "style_layer": ["relu1_1"]}
    for tileable, edges in ((False, 1), (True, 2)):
        objective = make_objective(compact, tileable=tileable, **values)
        total, parts = objective(objective.show(stripes), 0)
        assert float(parts["tv"]) == pytest.approx(edges * 40 * 3 / stripes.numel(), rel=1e-5)
        assert float(total) == pytest.approx(float(parts["tv"]), rel=1e-6)


# --- guides and turned styles -------------------------------------------------------------------


def test_a_whole_guide_finds_what_the_photograph_is_nearest_to(compact):
    # The photograph itself is the style: guided wholly by it, every place is drawn to its own.
    content = pixels_of(48, 40, 1)
    values: dict[str, Any] = {"content_weight": 0.0, "tv_weight": 0.0}
    values["style_loss"] = ["neighbour-columns"]
    guided = see(compact, content, [content], guide=1.0, **values)
    _, parts = guided(content, 0)
    assert float(parts["style"]) == pytest.approx(0, abs=1e-6)
    (first, *_) = style_terms(guided)
    assert first.share == 1.0
    free = see(compact, content, [content], **values)
    other = pixels_of(48, 40, 3)
    assert float(guided(other, 0)[1]["style"]) > float(free(other, 0)[1]["style"])


def test_a_turned_style_is_four_in_equal_shares(compact):
    content, style = pixels_of(48, 40, 1), pixels_of(40, 40, 2)
    turns = [style.rot90(turn, (2, 3)) for turn in range(4)]
    turned = see(compact, content, [style], turn_style=True)
    four = see(compact, content, turns)
    assert measure(turned)[0] == pytest.approx(measure(four)[0], rel=1e-5)
    assert measure(turned)[0] != pytest.approx(measure(see(compact, content, [style]))[0], rel=1e-4)
