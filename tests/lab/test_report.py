"""The page of a study: well formed, whole in one file, and of every run what the table says."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image

from impasto.errors import MissingFileError, OptionError
from impasto.lab import report
from impasto.lab.options import SweepOptions
from impasto.lab.report import write_report
from impasto.lab.runs import MEASURED
from impasto.lab.sweep import Sweep

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a reader of the page finds, and an error where tags do not close as they opened."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), tag
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("tr", "figcaption", "code"):
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self.open}:
            if tag in ("tr", "figcaption", "code"):
                row = f"{data}|" if data.strip() else ""
                self.text[tag][-1] += row if tag == "tr" else data
            else:
                self.text.setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def say(self) -> str:
        return " ".join("".join(self.text["main"]).split())


def make_study(
    folder: Path,
    vary: dict[str, list[str]],
    *,
    operation: str = "sweep",
    best: int | None = 2,
    side: int = 48,
    **facts: object,
) -> Path:
    """A folder as the laboratory leaves it; run n is at the distance 1 / n."""
    (folder / "runs").mkdir(parents=True)
    record = {"impasto": "9.9", "operation": operation, "subject": None, "content": "cat.png"}
    record |= {"style": ["waves.png"], "options": {"size": side}, "vary": vary, "digest": "00"}
    record["runs"] = math.prod(map(len, vary.values()))
    (folder / "record.json").write_text(json.dumps(record | facts))
    rows = []
    for number, values in enumerate(itertools.product(*vary.values()), 1):
        words = "-".join(f"{n}={v}" for n, v in zip(vary, values, strict=True))
        name = f"{number:02}-{words}"
        Image.fromarray(draw_picture(side, side, number)).save(folder / "runs" / f"{name}.png")
        measured = [0.123456, 0.2, 1 / number, 123456.7, 1e-05, 2.0, 12, 0.51]
        rows.append([name, *values, *measured, int(number == best)])
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["run", *vary, *MEASURED, "best"], *rows])
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    vary = {"style_weight": ["1", "0.1"], "content_layer": ["relu3_1", "relu3_1+relu4_1"]}
    folder = make_study(tmp_path / "a study", vary)
    for name in ("sheet.png", "losses.png", "distances.png"):
        Image.fromarray(draw_picture(90, 60, 9)).save(folder / name)
    (folder / "best.toml").write_text('about = "the best"\nstyle_weight = 1.0\n')
    return folder


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_lies_in_the_folder(study: Path):
    path = write_report(study)
    assert path == study / "report.html"
    page = Page(path)
    assert [tag for tag, _ in page.tags[:2]] == ["html", "head"]
    assert page.text["title"] == page.text["h1"] == ["Sweep over style_weight and content_layer"]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids) == 4
    assert {a["href"] for a in page.all("a")} == {f"#{each}" for each in ids}
    assert "Not finished" not in page.say()


def test_nothing_is_loaded_from_elsewhere(study: Path):
    page = Page(write_report(study))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"srcset", "style", "onclick", "onerror"} & set(attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    css = "".join(page.text["style"])
    assert "url(" not in css
    assert "@import" not in css


def test_every_run_is_there_with_its_numbers(study: Path):
    page = Page(write_report(study))
    rows = page.text["tr"]
    heads = "run|style_weight|content_layer|style distance|content distance|distance|total loss"
    assert rows[0] == f"{heads}|style loss|content loss|steps|seconds|best|"
    assert rows[1] == "01|1|relu3_1|0.1235|0.2|1|123457|1e-05|2|12|0.51|"
    assert rows[4] == "04|0.1|relu3_1+relu4_1|0.1235|0.2|0.25|123457|1e-05|2|12|0.51|"
    captions = [text for text in page.text["figcaption"] if text.startswith("Run ")]
    assert len(captions) == 5  # the best stands by itself, too
    assert captions[-1] == (
        "Run 04: style_weight 0.1, content_layer relu3_1+relu4_1. "
        "Style distance 0.1235; content distance 0.2; distance 0.25"
    )
    images = page.all("img")
    assert len(images) == 5 + 3
    assert all(image["alt"] and image["loading"] == "lazy" for image in images)


def test_numbers_stand_at_the_right_and_words_at_the_left(study: Path):
    page = Page(write_report(study))
    sides = ["number" in head.get("class", "") for head in page.all("th")][:12]
    assert sides == [True, True, False, *[True] * 8, False]


def test_the_best_is_marked_everywhere(study: Path):
    page = Page(write_report(study))
    chosen = [(tag, a.get("id")) for tag, a in page.tags if a.get("class") == "chosen"]
    assert chosen == [("li", "run-1"), ("tr", None)]
    assert [row[:2] for row in page.text["tr"] if row.endswith("best|")] == ["ru", "02"]
    assert page.text["figcaption"][0].startswith("Run 02 (best): style_weight 1,")
    assert 'about = "the best"\nstyle_weight = 1.0' in page.text["code"]
    command = "impasto paint cat.png --style waves.png --recipe best.toml"
    assert command in page.text["code"]


def test_the_recipe_at_the_knee_is_shown_where_there_is_one(study: Path):
    (study / "knee.toml").write_text("style_weight = 3.0\n")
    page = Page(write_report(study))
    assert "style_weight = 3.0" in page.text["code"]
    assert any(text.endswith("--recipe knee.toml") for text in page.text["code"])


def test_figures_have_captions_and_the_distances_are_explained(study: Path):
    page = Page(write_report(study))
    assert page.text["h3"] == ["Its recipe", "Side by side", "Distances", "Losses"]
    said = page.say()
    assert "is 0 for the style picture itself and 1 for the photograph as it is" in said
    assert "nearer is lower and further left" in said


def test_options_that_were_the_same_in_every_run_are_told(tmp_path: Path):
    options = {"size": None, "style_layer": ["relu1_1", "relu2_1"], "steps": 9, "original": True}
    folder = make_study(tmp_path / "s", {"steps": ["1", "2"]}, options=options)
    page = Page(write_report(folder))
    assert page.text["tr"][-3:] == ["size|none|", "style_layer|relu1_1, relu2_1|", "original|yes|"]
    # An option may be called as a measure is.
    assert page.text["tr"][2].startswith("02|2|0.1235|0.2|0.5|123457|1e-05|2|12|")


# --- names, sizes, bytes ------------------------------------------------------------------------


def test_names_are_text_and_never_markup(tmp_path: Path):
    evil = """<b>&amp;"it's"</b>ü 猫.png"""
    folder = make_study(
        tmp_path / "s", {"mask": ["<i>a&b", "c\"d'e"]}, content=evil, style=[evil, "x y.png"]
    )
    (folder / "best.toml").write_text(f"# {evil}</code><script>\n")
    page = Page(write_report(folder))
    assert not {"i", "script"} & {tag for tag, _ in page.tags}
    assert evil in page.text["b"]
    assert page.text["tr"][1].startswith("01|<i>a&b|")
    assert any("mask c\"d'e" in image["alt"] for image in page.all("img"))
    quoted = "'" + evil.replace("'", "'\"'\"'") + "'"
    wanted = f"impasto paint {quoted} --style {quoted} --style 'x y.png' --recipe best.toml"
    assert wanted in page.text["code"]


def test_a_name_that_is_no_text_does_not_break_the_page(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"seed": ["1"]}, best=1, content="a\udcff.png")
    assert "a?.png" in Page(write_report(folder)).text["b"]


def test_a_run_is_read_from_nowhere_else(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"seed": ["1"]}, best=1)
    Image.fromarray(draw_picture(8, 8)).save(tmp_path / "secret.png")
    text = (folder / "results.csv").read_text().replace("01-seed=1", "../../secret")
    (folder / "results.csv").write_text(text)
    assert not Page(write_report(folder)).all("img")


def test_sixty_runs_of_noise_stay_below_ten_megabytes(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"seed": [str(n) for n in range(60)]}, side=16)
    pixels = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    first, *others = sorted((folder / "runs").iterdir())
    Image.fromarray(pixels).save(first)
    for other in others:
        other.write_bytes(first.read_bytes())
    path = write_report(folder)
    assert path.stat().st_size < 10_000_000
    assert len(Page(path).all("img")) == 61


def test_pictures_are_made_smaller_and_keep_their_shape(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"seed": ["1", "2"]})
    Image.new("RGB", (1500, 1000), "red").save(folder / "runs" / "01-seed=1.png")
    Image.new("RGBA", (40, 60), (0, 0, 0, 0)).save(folder / "runs" / "02-seed=2.png")
    Image.effect_noise((2400, 1800), 90).save(folder / "sheet.png")
    images = Page(write_report(folder)).all("img")
    sizes = [(int(image["width"]), int(image["height"])) for image in images]
    assert sizes == [(40, 60), (2000, 1500), (480, 320), (40, 60)]


def test_of_many_runs_the_nearest_have_pictures_and_all_have_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_PICTURES", 3)
    folder = make_study(tmp_path / "s", {"seed": [str(n) for n in range(8)]}, best=8)
    page = Page(write_report(folder))
    assert [item["id"] for item in page.all("li") if "id" in item] == ["run-5", "run-6", "run-7"]
    assert "The 3 of 8 that are nearest to both." in page.say()
    assert len(page.text["tr"]) == 1 + 8 + 1
    assert len(page.all("a")) == 3


def test_the_same_folder_gives_the_same_bytes(study: Path, tmp_path: Path):
    before = write_report(study).read_bytes()
    assert write_report(study).read_bytes() == before
    moved = study.rename(tmp_path / "elsewhere")
    assert write_report(moved).read_bytes() == before
    assert not list(moved.glob(".*"))


# --- studies, searches, and what is not finished ------------------------------------------------


def test_a_picture_that_was_kept_at_steps_is_shown_as_it_grew(tmp_path: Path):
    folder = make_study(
        tmp_path / "s", {}, operation="study", subject="steps", best=1, about="how it grows"
    )
    (folder / "runs" / "01-.png").rename(folder / "runs" / "01.png")
    text = (folder / "results.csv").read_text().replace("01-", "01")
    (folder / "results.csv").write_text(text)
    for step in (10, 1):
        Image.new("RGB", (8, 8)).save(folder / "runs" / f"01-{step:04}.png")
    page = Page(write_report(folder))
    assert page.text["h1"] == ["Study: how it grows"]
    assert "painted after waves.png once. The study is called steps." in page.say()
    captions = page.text["figcaption"]
    assert captions[1:3] == ["Run 01 at step 1", "Run 01 at step 10"]
    assert captions[3].startswith("Run 01 (best). Style distance")


def test_a_search_names_what_it_searched_and_its_marks(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"style_weight": ["1", "2"]}, operation="tune")
    table = folder / "results.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{head},front", *(f"{row},1" for row in rows)]) + "\n")
    page = Page(write_report(folder))
    assert page.text["h1"] == ["Search over style_weight"]
    assert page.text["tr"][1].endswith("0.51|front|")
    assert page.text["tr"][2].endswith("0.51|best|front|")


def test_of_many_values_the_range_is_told(tmp_path: Path):
    folder = make_study(tmp_path / "s", {"seed": [str((7 * n) % 20 + 1) for n in range(20)]})
    assert "seed: 1 … 20 (20 values)" in Page(write_report(folder)).say()


def test_what_is_half_finished_says_so(study: Path):
    table = study / "results.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:3]))
    (study / "runs" / "03-style_weight=0.1.ckpt").write_bytes(b"")
    said = Page(write_report(study)).say()
    assert "Not finished. 2 of 4 runs are at their end." in said
    assert "Begun, and not at its end: 03-style_weight=0.1." in said
    (study / "runs" / "03-style_weight=0.1.ckpt").unlink()
    said = Page(write_report(study)).say()  # killed between two runs
    assert "Not finished. 2 of 4 runs are at their end. The same command" in said
    table.unlink()
    said = Page(write_report(study)).say()
    assert "Not finished. No run is at its end yet." in said


def test_pictures_that_are_lost_or_damaged_are_told(study: Path):
    first, second, *_ = sorted((study / "runs").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    page = Page(write_report(study))
    assert "Not finished. The pictures of 01 are missing." in page.say()
    assert page.say().count("There is no picture, or none that can be read.") == 3


def test_a_run_that_diverged_has_no_picture_and_is_no_lack(study: Path):
    table = study / "results.csv"
    lines = table.read_text().splitlines()
    name = lines[4].partition(",")[0]
    lines[4] = f"{name},0.1,relu3_1+relu4_1,,,,,,,7,0.2,0"
    table.write_text("\n".join(lines) + "\n")
    (study / "runs" / f"{name}.png").unlink()
    page = Page(write_report(study))
    assert "No picture came of 04: the loss was no longer a number." in page.say()
    assert "Not finished" not in page.say()
    assert page.text["tr"][4] == "04|0.1|relu3_1+relu4_1|-|-|-|-|-|-|7|0.2|"


def test_a_real_sweep_is_told_whole(tmp_path: Path, photo: Path, picture: Path):
    options = SweepOptions(vary=("style_weight=1,10",), size=64, steps=2)
    for _ in Sweep(photo, picture, options, tmp_path / "sweep").steps():
        pass
    page = Page(write_report(tmp_path / "sweep"))
    assert "a photo.png, painted after a picture.png 2 times" in page.say()
    assert "Not finished" not in page.say()
    assert len([text for text in page.text["figcaption"] if text.startswith("Run ")]) == 3
    assert any(row.endswith("best|") for row in page.text["tr"][1:])


# --- what is wrong ------------------------------------------------------------------------------


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path):
    with pytest.raises(MissingFileError, match=r"^no study in .*: it has no record\.json"):
        write_report(tmp_path)
    with pytest.raises(MissingFileError, match=r"^no study in .*not there"):
        write_report(tmp_path / "not there")
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("text", ["{", "[]", '{"operation": "paint"}', "{}"])
def test_a_record_of_something_else_is_refused(tmp_path: Path, text: str):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(OptionError, match=r"record\.json' is (damaged|the record of no sweep)"):
        write_report(tmp_path)


@pytest.mark.parametrize("table", ["", "run,best\n1,1\n", "\xff", "one\x00\n"])
def test_a_table_of_something_else_is_refused(study: Path, table: str):
    (study / "results.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(OptionError, match=r"results\.csv' is (damaged|no table of runs)") as caught:
        write_report(study)
    assert "\n" not in str(caught.value)


def test_a_page_that_is_there_stays_if_the_next_cannot_be_made(study: Path):
    before = write_report(study).read_bytes()
    (study / "results.csv").write_text("run\n")
    with pytest.raises(OptionError, match=re.escape("no table of runs")):
        write_report(study)
    assert (study / "report.html").read_bytes() == before
