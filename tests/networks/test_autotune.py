"""Trials: what is tried, what is kept of it, and what it leaves as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
import torch
from conftest import draw_picture, random_tensors

import impasto
from impasto.networks import autotune as trials
from impasto.networks.layers import BACKBONES
from impasto.networks.vgg import Backbone
from impasto.networks.weights import cache_folder
from impasto.system.devices import Machine

CPU = Machine(torch.device("cpu"))
QUICK = {"steps": 1, "start_size": 48, "style_layer": ["relu1_1"], "content_layer": ["relu1_1"]}
EVERY = [
    f"{number} {order}"
    for number in ("bfloat16", "float32")
    for order in ("channels_last", "planes")
]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has tried nothing yet."""
    monkeypatch.setattr(trials, "_KNOWN", {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Trials that take the seconds said; what was tried is listed."""

    def set_clock(**seconds: float) -> list[str]:
        """bfloat16_planes=0.5, and the others 1."""
        tried: list[str] = []

        def time_choice(_backbone: Backbone, _machine: Machine, choice: str) -> float:
            tried.append(choice)
            return seconds.get(choice.replace(" ", "_"), 1.0)

        monkeypatch.setattr(trials, "time_choice", time_choice)
        monkeypatch.setattr(trials, "ROUNDS", 1)
        return tried

    return set_clock


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_KNOWN", {})


def say_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(trials, "has_fast_bfloat16", lambda _: fast)


def choose(backbone: Backbone, precision: str = "auto", layout: str = "auto") -> str:
    machine = trials.choose_precision(backbone, CPU, precision, layout)
    assert machine.device == CPU.device
    return f"{machine.describe_precision()} {machine.layout}"


# --- what is chosen -----------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("asked", EVERY)
def test_what_was_asked_for_is_not_tried(compact, clock, monkeypatch, asked, fast):
    """Not even where it is slow: it was asked for."""
    say_fast(monkeypatch, fast)
    tried = clock()
    assert choose(compact, *asked.split()) == asked
    assert tried == []
    assert not (cache_folder() / "trials.json").exists()


def test_all_that_was_left_open_is_tried(compact, clock, monkeypatch):
    say_fast(monkeypatch, True)
    tried = clock(float32_planes=0.1)
    assert choose(compact) == "float32 planes"
    assert sorted(tried) == sorted(EVERY)


@pytest.mark.parametrize(
    ("precision", "layout", "tried"),
    [
        ("bfloat16", "auto", ["bfloat16 channels_last", "bfloat16 planes"]),
        ("float32", "auto", ["float32 channels_last", "float32 planes"]),
        ("auto", "planes", ["bfloat16 planes", "float32 planes"]),
        ("auto", "channels_last", ["bfloat16 channels_last", "float32 channels_last"]),
    ],
)
def test_half_of_it_may_be_asked_for(compact, clock, monkeypatch, precision, layout, tried):
    say_fast(monkeypatch, True)
    for fastest in tried:
        forget(monkeypatch)
        (cache_folder() / "trials.json").unlink(missing_ok=True)
        found = clock(**{fastest.replace(" ", "_"): 0.1})
        assert choose(compact, precision, layout) == fastest
        assert found == tried


def test_emulated_numbers_are_not_offered(compact, clock, monkeypatch):
    """However fast the clock says they are."""
    say_fast(monkeypatch, False)
    tried = clock(bfloat16_planes=0.01, bfloat16_channels_last=0.01)
    assert choose(compact) == "float32 channels_last"
    assert tried == ["float32 channels_last", "float32 planes"]
    assert choose(compact, layout="planes") == "float32 planes"


def test_only_what_is_clearly_faster_replaces_the_usual_choice(compact, clock, monkeypatch):
    say_fast(monkeypatch, False)
    for seconds, chosen in (
        (1.5, "channels_last"),
        (1.0, "channels_last"),
        (trials.WORTH + 0.01, "channels_last"),
        (trials.WORTH - 0.01, "planes"),
        (0.1, "planes"),
    ):
        forget(monkeypatch)
        (cache_folder() / "trials.json").unlink(missing_ok=True)
        clock(float32_planes=seconds)
        assert choose(compact) == f"float32 {chosen}"


# --- what is kept -------------------------------------------------------------------------------


def test_a_verdict_is_kept_for_this_process_and_others(compact, clock, monkeypatch):
    say_fast(monkeypatch, True)
    clock(float32_planes=0.1)
    choose(compact)
    tried = clock(bfloat16_planes=0.1)
    assert choose(compact) == "float32 planes"
    (cache_folder() / "trials.json").unlink()  # in memory
    assert choose(compact) == "float32 planes"
    forget(monkeypatch)
    assert choose(compact) == "bfloat16 planes"  # neither: tried again
    assert sorted(tried) == sorted(EVERY)
    forget(monkeypatch)
    tried.clear()
    assert choose(compact) == "bfloat16 planes"  # in the file
    assert tried == []


def test_a_verdict_is_of_one_network_and_one_question(compact, clock, monkeypatch):
    say_fast(monkeypatch, True)
    vgg = Backbone.from_tensors(
        {n: t for n, t in random_tensors("vgg16").items() if n[:6] in ("prepro", "conv1_")},
        BACKBONES["vgg16"],
    )
    clock(float32_planes=0.1)
    assert choose(compact) == "float32 planes"
    tried = clock(bfloat16_planes=0.1, bfloat16_channels_last=0.2)
    assert choose(vgg) == "bfloat16 planes"
    assert choose(compact, precision="bfloat16") == "bfloat16 planes"
    assert len(tried) == 4 + 2
    forget(monkeypatch)
    tried.clear()
    assert choose(compact) == "float32 planes"  # all three lie in the file
    assert choose(vgg) == "bfloat16 planes"
    assert choose(compact, precision="bfloat16") == "bfloat16 planes"
    assert tried == []


def test_a_verdict_is_of_so_many_threads(compact, clock, monkeypatch):
    say_fast(monkeypatch, True)
    tried = clock()
    choose(compact)
    monkeypatch.setattr(trials, "granted_cores", lambda: 64)
    choose(compact)
    assert len(tried) == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": ',
        "\x00\x01",
        "[]",
        "null",
        "3",
        '"float32 planes"',
        '["float32 planes"]',
    ],
)
def test_a_damaged_file_is_measured_anew_and_replaced(compact, clock, monkeypatch, text):
    say_fast(monkeypatch, True)
    path = cache_folder() / "trials.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    tried = clock(float32_planes=0.1)
    assert choose(compact) == "float32 planes"
    assert len(tried) == 4
    assert list(json.loads(path.read_text()).values()) == ["float32 planes"]
    assert [each.name for each in path.parent.iterdir()] == ["trials.json"]


def test_bytes_that_are_no_text_are_replaced(compact, clock):
    path = cache_folder() / "trials.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x80")
    clock()
    choose(compact)
    assert json.loads(path.read_text())


@pytest.mark.parametrize("verdict", ["float16 planes", "bfloat16", "", 3, None, ["planes"], {}])
def test_a_verdict_that_is_no_choice_is_measured_anew(compact, clock, monkeypatch, verdict):
    say_fast(monkeypatch, True)
    clock(float32_planes=0.1)
    choose(compact)
    path = cache_folder() / "trials.json"
    (name,) = json.loads(path.read_text())
    path.write_text(json.dumps({name: verdict, "another": "float32 planes"}))
    forget(monkeypatch)
    tried = clock(bfloat16_planes=0.1)
    assert choose(compact) == "bfloat16 planes"
    assert len(tried) == 4
    assert json.loads(path.read_text()) == {name: "bfloat16 planes", "another": "float32 planes"}


def test_without_a_cache_folder_trials_go_on(compact, clock, monkeypatch, tmp_path):
    (tmp_path / "a file").write_bytes(b"keep me")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "a file" / "beneath"))
    say_fast(monkeypatch, True)
    clock(float32_planes=0.1)
    assert choose(compact) == "float32 planes"
    assert (tmp_path / "a file").read_bytes() == b"keep me"


# --- the trial itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("choice", EVERY)
def test_a_trial_leaves_all_as_it_was(monkeypatch, choice):
    monkeypatch.setattr(trials, "SIDE", 32)
    backbone = Backbone.from_tensors(
        random_tensors("compact"), BACKBONES["compact"], padding="reflect"
    )
    before = copy.deepcopy(backbone)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert trials.time_choice(backbone, CPU, choice) > 0
    assert torch.equal(torch.rand(3), expected)  # nobody's generator was touched
    assert backbone.layout == before.layout
    assert backbone.state_dict().keys() == before.state_dict().keys()
    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    known = [*before.named_parameters(), *before.named_buffers()]
    for (name, tensor), (_, old) in zip(tensors, known, strict=True):
        assert tensor.dtype == torch.float32, name
        assert tensor.stride() == old.stride()
        assert torch.equal(tensor, old)
        assert tensor.grad is None


def test_weights_that_end_early_are_tried_as_far_as_they_go(monkeypatch):
    monkeypatch.setattr(trials, "SIDE", 32)
    tensors = {
        k: v for k, v in random_tensors("compact").items() if k[:5] not in ("conv4", "conv5")
    }
    backbone = Backbone.from_tensors(tensors, BACKBONES["compact"])
    assert trials.time_choice(backbone, CPU, "float32 planes") > 0


def test_a_true_trial_finds_one_of_its_choices(compact, monkeypatch):
    monkeypatch.setattr(trials, "SIDE", 32)
    say_fast(monkeypatch, False)
    assert choose(compact) in ("float32 channels_last", "float32 planes")
    kept = json.loads((cache_folder() / "trials.json").read_text())
    assert list(kept.values()) == list(trials._KNOWN.values())


# --- in a painting ------------------------------------------------------------------------------


@pytest.mark.parametrize("fastest", ["bfloat16 planes", "float32 channels_last"])
def test_a_painting_says_what_was_chosen(clock, monkeypatch, fastest):
    say_fast(monkeypatch, True)
    clock(**{fastest.replace(" ", "_"): 0.1})
    photo, style = draw_picture(48, 40, 1), draw_picture(40, 32, 2)
    painting = impasto.paint(photo, style, QUICK)
    options = painting.recipe["options"]
    assert f"{options['precision']} {options['layout']}" == fastest
    # Where something else is the fastest, the recipe paints the same.
    forget(monkeypatch)
    tried = clock(bfloat16_channels_last=0.1)
    again = impasto.paint(photo, style, options)
    assert tried == []
    assert torch.equal(again.pixels, painting.pixels)
    assert again.recipe == painting.recipe


@pytest.mark.parametrize("asked", EVERY)
def test_a_painting_keeps_to_what_was_asked_for(asked):
    precision, layout = asked.split()
    values = {**QUICK, "precision": precision, "layout": layout}
    painting = impasto.paint(draw_picture(48, 40, 1), draw_picture(40, 32, 2), values)
    options = painting.recipe["options"]
    assert (options["precision"], options["layout"]) == (precision, layout)


def test_a_choice_is_tried_in_turn_with_the_others_and_by_its_least_time(compact, monkeypatch):
    """What else a machine does falls on all of them, and slows what is fast only at times."""
    forget(monkeypatch)
    say_fast(monkeypatch, False)
    times = {
        "float32 channels_last": iter([9.0, 1.0, 9.0]),
        "float32 planes": iter([2.0, 2.0, 2.0]),
    }
    tried: list[str] = []

    def time_choice(_backbone: Backbone, _machine: Machine, choice: str) -> float:
        tried.append(choice)
        return next(times[choice])

    monkeypatch.setattr(trials, "time_choice", time_choice)
    monkeypatch.setattr(trials, "ROUNDS", 3)
    assert choose(compact) == "float32 channels_last"
    assert tried == ["float32 channels_last", "float32 planes"] * 3
