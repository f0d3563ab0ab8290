"""What travels with the package: whole, small, and good for what it is for."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest
import torch
from conftest import draw_picture

import impasto
from impasto.images.color_transfer import match_color
from impasto.images.reading import read_image
from impasto.instant.model_file import NETS
from impasto.instant.painter import open_net
from impasto.instant.training_losses import measure_content, measure_paintings, measure_styles
from impasto.losses.statistics import gram_matrix
from impasto.networks.layers import BACKBONES
from impasto.networks.weights import load_backbone, load_tensors, verify_weights
from impasto.samples.style_pictures import open_style

DATA = resources.files("impasto") / "data"


def test_the_compact_network_is_small_and_unchanged():
    content = (DATA / "compact.safetensors").read_bytes()
    assert len(content) <= 4_000_000
    assert verify_weights("compact") == hashlib.sha256(content).hexdigest()


def test_it_has_all_that_its_card_says():
    tensors = load_tensors("compact", ("",))
    for conv, shape in BACKBONES["compact"].shapes().items():
        assert tensors[f"{conv}.weight"].shape == shape
    for block, channels in enumerate((64, 128, 256, 512, 512), 1):
        map_shape = (channels, BACKBONES["compact"].channels[block - 1], 1, 1)
        assert tensors[f"to_vgg19.relu{block}_1.weight"].shape == map_shape
    classes = (DATA / "classes.txt").read_text().splitlines()
    assert tensors["head.weight"].shape == (len(classes), 128) == (200, 128)
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_its_mean_activation_is_about_one_at_every_layer(compact):
    layers = [layer for layer in compact.architecture.layers() if layer.startswith("relu")]
    pictures = [read_image(draw_picture(96, 96, seed)).pixels for seed in range(4)]
    for layer, seen in compact(torch.cat(pictures), layers).items():
        assert 0.2 < float(seen.mean()) < 5, layer


def test_most_of_its_channels_are_alive(compact):
    pictures = torch.cat([read_image(draw_picture(128, 128, seed)).pixels for seed in range(8)])
    for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        alive = compact(pictures, [layer])[layer].amax((0, 2, 3)) > 0
        assert alive.float().mean() > 0.6, layer


def test_it_tells_styles_apart():
    # Two halves of one picture are nearer to each other than to another picture, at every layer.
    network = load_backbone("compact")
    layers = [f"relu{block}_1" for block in range(1, 6)]

    def grams(style: str, left: int) -> dict[str, torch.Tensor]:
        picture = read_image(open_style(style, 256)).pixels[..., :128, left : left + 128]
        return {name: gram_matrix(f) for name, f in network(picture, layers).items()}

    one, same, other = grams("waves", 0), grams("waves", 128), grams("halftone", 0)
    for layer in layers:
        near, far = ((g[layer] - one[layer]).norm() for g in (same, other))
        assert near < 0.7 * far, layer


# --- networks that paint in one pass ------------------------------------------------------------

PAINTERS = ("van-gogh", "hokusai", "munch", "kandinsky", "monet", "picabia", "turner", "matisse")


@pytest.mark.parametrize("name", NETS)
def test_nets_are_small_and_whole(name):
    assert len((DATA / NETS[name]).read_bytes()) <= 4_000_000
    file = open_net(name)
    parts = [file.net, file.reader] if file.reader else [file.net]
    assert all(each.isfinite().all() for part in parts for each in part.parameters())
    assert (file.palette is None) == (name == "any")


def test_the_painters_are_eight():
    palette = open_net("painters").palette
    assert palette is not None
    assert palette.names == PAINTERS


def test_one_pass_comes_nearer_to_a_style_than_its_colours_do(compact):
    """By the painter's own loss, on a photograph that no net was taught."""
    photo = read_image(draw_picture(160, 128, 3)).pixels
    for name in ("strokes", "waves"):
        style = read_image(open_style(name, 160)).pixels
        painted = impasto.Instant(style, {"precision": "float32"})(photo).pixels
        styles, content = measure_styles(compact, style), measure_content(compact, photo)
        colored = match_color(photo, style)
        ours, colors = (
            float(measure_paintings(compact, each, styles, content)[0].square())
            for each in (painted, colored)
        )
        assert ours < 0.6 * colors
