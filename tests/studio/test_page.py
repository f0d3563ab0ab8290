"""The page in a real browser: what one does by mouse, keys and touch, and what survives."""

from __future__ import annotations

import io
import json
import os
import re

import pytest
from browsing import Visit, browsing, find_lack, find_scan, scan
from PIL import Image
from served import ServerProcess

lack = find_lack()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(lack is not None, reason=str(lack))]
VIEWS = ["", "camera", "more", "make/dream", "make/train", "history"]
# Two processes may find another layout faster on a busy machine.
QUICK = {"size": 48, "steps": 4, "layout": "planes", "precision": "float32"}


@pytest.fixture(scope="module")
def browser():
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    os.environ["OMP_NUM_THREADS"] = "1"
    served = ServerProcess(tmp_path_factory.mktemp("page") / "a store")
    yield served
    served.stop()


@pytest.fixture
def visit(browser, server):
    found = Visit(browser, server)
    yield found
    found.close()


@pytest.fixture(scope="module")
def painted(server):
    """A painting in the history."""
    order = {
        "operation": "paint",
        "inputs": {"content": [{"sample": "cat"}], "style": [{"sample": "glass"}]},
        "options": {**QUICK, "style_weight": 33.0},
    }
    return server.wait(server.ask("POST", "/jobs", order)["id"], "done", seconds=240)


def tile(page, name):
    return page.get_by_role("button", name=name, exact=True)


def set_long_side(page, size):
    page.get_by_label("Long side", exact=True).fill(str(size))
    page.keyboard.press("Tab")


def draw(width, height):
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(encoded, format="PNG")
    return encoded.getvalue()


def check_access(page):
    if find_scan().is_file():
        assert scan(page) == []


# --- painting -------------------------------------------------------------------------------------


def test_a_photograph_is_painted_and_downloaded(visit, tmp_path):
    page = visit.page
    assert page.get_by_role("button", name="Paint", exact=True).is_disabled()
    page.get_by_label("Photograph: choose a file").set_input_files(
        {"name": "my photo.png", "mimeType": "image/png", "buffer": draw(60, 40)}
    )
    tile(page, "my photo").wait_for()
    tile(page, "waves").click()
    page.get_by_text(re.compile(r"preview, \d+ ms")).wait_for()
    set_long_side(page, 48)
    page.get_by_text("All options", exact=True).click()
    page.get_by_label("Search the options").fill("optimisation steps")
    page.get_by_label("Steps", exact=True).fill("5")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text(re.compile("^done in")).wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "my photo · waves"
    page.get_by_text("Content loss says how far").wait_for()
    page.get_by_text("The numbers as a table").click()
    rows = page.get_by_role("region", name="Table of losses").get_by_role("row")
    assert rows.count() == 6
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download")).click()
    path = tmp_path / "saved.png"
    download.value.save_as(path)
    assert download.value.suggested_filename == "my photo-waves.png"
    with Image.open(path) as image:
        assert image.size == (48, 32)
        recipe = json.loads(image.text["impasto"])
    assert recipe["options"]["steps"] == 5


def test_a_painting_that_is_dropped_brings_its_settings(visit, server, painted):
    _, content = server.call("GET", painted["results"][0]["content"].removeprefix("/api/v1"))
    page = visit.page
    page.get_by_label("Photograph: choose a file").set_input_files(
        {"name": "old.png", "mimeType": "image/png", "buffer": content}
    )
    page.get_by_text("The settings of old.png are restored.", exact=True).wait_for(state="attached")
    assert tile(page, "cat").get_attribute("aria-pressed") == "true"
    assert tile(page, "glass").get_attribute("aria-pressed") == "true"
    assert page.get_by_label("Style weight as a number").input_value() == "33"
    assert page.get_by_label("Long side", exact=True).input_value() == "48"


def test_answers_that_nobody_wants_any_more_are_dropped(visit):
    """Each request is answered by a picture of another width; the first one comes last."""
    page, held, bodies = visit.page, [], []

    def answer(route):
        bodies.append(route.request.post_data_json)
        if len(bodies) == 1:
            held.append(route)
        else:
            route.fulfill(body=draw(100 + len(bodies), 50), content_type="image/png")

    page.route("**/api/v1/instant", answer)
    tile(page, "coffee").click()
    tile(page, "dots").click()
    page.get_by_text("painting a preview").wait_for()
    tile(page, "glass").click()
    page.get_by_text(re.compile(r"preview, \d+ ms")).wait_for()
    page.get_by_role("slider", name="Size of strokes").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1000)
    shown = page.locator("picture-viewer .second img").evaluate("each => each.naturalWidth")
    assert shown == 100 + len(bodies)
    assert [each["style"][0]["sample"] for each in bodies][:2] == ["dots", "glass"]
    last = float(page.get_by_label("Scale as a number").input_value())
    assert bodies[-1]["options"]["style_scale"] == last > 1
    assert len(held) == 1


def test_what_is_wrong_is_said_aloud(visit):
    page = visit.page
    page.route(
        "**/api/v1/jobs",
        lambda route: route.fulfill(status=429, json={"error": "1000 jobs wait; try again later"}),
    )
    tile(page, "cat").click()
    tile(page, "waves").click()
    page.get_by_role("button", name="Paint", exact=True).click()
    alert = page.get_by_role("alert")
    alert.get_by_text("1000 jobs wait; try again later").wait_for()
    alert.get_by_role("button", name="Close").click()
    alert.get_by_text("1000 jobs wait").wait_for(state="detached")


# --- keys, touch, small windows -------------------------------------------------------------------


def press_until(page, name, key="Tab", most=80):
    """Go through the page by one key until the focus is on what is called so."""
    for _ in range(most):
        page.keyboard.press(key)
        focused = page.locator(":focus")
        if focused.count() and re.search(name, focused.evaluate(NAME)):
            return
    raise AssertionError(f"{name!r} is not reached by {key}")


NAME = """each => each.getAttribute("aria-label") || [...(each.labels ?? [])].map(
  (one) => one.textContent).join(" ").trim() || each.textContent.trim()"""


def test_a_painting_by_keys_alone(visit, server):
    page = visit.page
    press_until(page, "^coffee$")
    page.keyboard.press("Enter")
    press_until(page, "^halftone$")
    page.keyboard.press("Enter")
    press_until(page, "^Style weight$")
    page.keyboard.press("ArrowRight")
    press_until(page, "^Long side$")
    page.keyboard.type("48")
    press_until(page, "^Recipe$")
    page.keyboard.type("draft")
    press_until(page, "^Paint$")
    page.keyboard.press("Enter")
    page.get_by_text(re.compile("^done in")).wait_for()
    job = server.ask("GET", "/jobs?most=1")["jobs"][0]
    assert job["options"]["size"] == 48
    assert job["options"]["steps"] == 40  # the recipe's
    assert job["options"]["style_weight"] > 15
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_mask_by_keys_alone(visit, server):
    page = visit.page
    tile(page, "cat").click()
    tile(page, "waves").click()
    page.get_by_role("button", name="Paint a mask").focus()
    page.keyboard.press("Enter")
    page.get_by_role("application").wait_for()
    for key in ["]", "]", "Space", "ArrowRight", "ArrowRight", "Space", "Control+z", "e", "b"]:
        page.keyboard.press(key)
    press_until(page, "^Use this mask$")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Change the mask").wait_for()
    upload = server.ask("GET", "/uploads?most=1")["uploads"][0]
    _, content = server.call("GET", f"/uploads/{upload['id']}/content")
    mask = Image.open(io.BytesIO(content)).convert("L")
    width, height = mask.size
    radius = round(width / 10) * 1.44 / 2
    assert mask.getpixel((width // 2, height // 2)) == 255
    assert mask.getpixel((round(width / 2 + 1.3 * radius), height // 2)) == 0  # undone
    assert mask.getpixel((0, 0)) == 0


def test_by_touch_on_a_narrow_phone(browser, server):
    visit = Visit(browser, server, "phone")
    page = visit.page
    tile(page, "cat").tap()
    tile(page, "waves").tap()
    for view in ["", "more", "make/dream", "history", "camera"]:
        visit.go(view)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, view
    visit.go("")
    page.get_by_role("button", name="Paint a mask").tap()
    canvas = page.get_by_role("application")
    canvas.wait_for()
    box = canvas.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_role("button", name="Undo").wait_for()
    assert page.get_by_role("button", name="Undo").is_enabled()
    page.get_by_role("button", name="Use this mask").tap()
    page.get_by_role("button", name="Change the mask").wait_for()
    set_long_side(page, 48)
    page.get_by_text("In one pass").tap()
    page.get_by_role("button", name="Paint", exact=True).tap()
    page.get_by_text(re.compile("^done in")).wait_for()
    visit.close()


@pytest.mark.skipif(not find_scan().is_file(), reason="run npm ci in tests/studio/web")
@pytest.mark.parametrize(
    ("size", "scheme"), [("desk", "light"), ("desk", "dark"), ("phone", "dark")]
)
def test_nothing_is_found_by_axe(browser, server, painted, size, scheme):
    visit = Visit(browser, server, size, color_scheme=scheme, reduced_motion="reduce")
    page = visit.page
    found = {"empty": scan(page)}
    tile(page, "cat").click()
    tile(page, "waves").click()
    page.get_by_text("All options", exact=True).click()
    for view in [*VIEWS, f"work/{painted['id']}", f"compare/{painted['id']}/{painted['id']}"]:
        visit.go(view)
        page.locator("main h1").first.wait_for(state="attached")
        page.wait_for_timeout(500)
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true })"
        )
        found[view] = scan(page)
    visit.go("")
    page.get_by_role("button", name="Paint a mask").click()
    page.get_by_role("application").wait_for()
    found["mask"] = scan(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Paint labels").click()
    page.get_by_role("application").first.wait_for()
    found["labels"] = scan(page)
    page.keyboard.press("Escape")
    visit.close()
    assert {view: faults for view, faults in found.items() if faults} == {}


# --- what survives --------------------------------------------------------------------------------


def test_a_closed_tab_and_a_killed_server_change_nothing(browser, server):
    visit = Visit(browser, server)
    page = visit.page
    tile(page, "rocket").click()
    tile(page, "strokes").click()
    set_long_side(page, 96)
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text(re.compile(r"step \d+ of 80")).wait_for()
    page.close()
    page = visit.open()
    assert tile(page, "rocket").get_attribute("aria-pressed") == "true"
    assert page.get_by_label("Long side", exact=True).input_value() == "96"
    page.get_by_role("link", name=re.compile("%|working")).click()
    server.kill()
    page.get_by_text("The server does not answer.").wait_for()
    server.start()
    page.get_by_text("The server does not answer.").wait_for(state="detached")
    page.get_by_text(re.compile("^done in")).wait_for()
    visit.close()


@pytest.mark.usefixtures("painted")
def test_the_history_is_searched_compared_and_run_again(visit):
    page = visit.page
    from playwright.sync_api import expect

    visit.go("history")
    page.get_by_role("searchbox", name="Search").fill("style_weight 33")
    cards = page.locator(".work")
    expect(cards).to_have_count(1)
    page.get_by_role("button", name="Favourite: cat · glass").click()
    page.get_by_role("button", name="Run again: cat · glass").click()
    page.locator(".work.done").nth(1).wait_for()
    page.get_by_role("checkbox", name="favourites").click()
    expect(cards).to_have_count(1)
    page.get_by_role("checkbox", name="favourites").click()
    expect(cards).to_have_count(2)
    for each in page.get_by_role("button", name="Compare: cat · glass").all():
        each.click()
    page.get_by_role("link", name="Compare the two").click()
    page.get_by_text("What differs").wait_for()
    assert page.get_by_role("cell", name="no option").count() == 1
    slider = page.get_by_role("slider", name=re.compile("How much of"))
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("picture-viewer .divider").evaluate("each => each.offsetLeft") >= 0


def test_cancelled_from_the_page(visit, server):
    order = {
        "operation": "paint",
        "inputs": {"content": [{"sample": "cat"}], "style": [{"sample": "glass"}]},
        "options": {"size": 128, "steps": 2000, "plateau": 0},
    }
    job = server.ask("POST", "/jobs", order)["id"]
    visit.go(f"work/{job}")
    visit.page.get_by_role("button", name="Cancel").click()
    visit.page.get_by_text("cancelled", exact=True).wait_for()
    assert server.ask("GET", f"/jobs/{job}")["state"] == "cancelled"


# --- the other views ------------------------------------------------------------------------------


def test_the_camera_is_painted(visit):
    page = visit.page
    visit.go("camera")
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text(re.compile(r"[1-9][\d.]* frames a second|0\.\d+ frames")).wait_for()
    canvas = page.get_by_role("img", name="The painted picture of the camera")
    assert canvas.evaluate("each => [each.width, each.height]") == [384, 288]
    before = canvas.evaluate("each => each.toDataURL()")
    tile(page, "halftone").click()
    page.wait_for_timeout(3000)
    assert canvas.evaluate("each => each.toDataURL()") != before
    with page.expect_download() as download:
        page.get_by_role("button", name="Take a snapshot").click()
    assert download.value.suggested_filename == "snapshot.png"
    with page.expect_download() as download:
        page.get_by_role("button", name="Record").click()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Stop recording").click()
    assert download.value.suggested_filename.startswith("camera.")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Start the camera").wait_for()


def test_a_sweep_through_the_general_form(visit):
    page = visit.page
    tile(page, "cat").click()
    tile(page, "waves").click()
    visit.go("make/sweep")
    page.get_by_label("Vary", exact=True).fill("style_weight=5,50")
    page.keyboard.press("Tab")
    page.get_by_label("Search the options").fill("optimisation steps")
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_label("Size", exact=True).fill("48")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text(re.compile("^done in")).wait_for()
    pictures = page.get_by_role("region", name="Pictures").get_by_role("button")
    pictures.first.wait_for()
    assert pictures.count() >= 3  # two paintings and the sheet of both
    pictures.nth(1).click()
    name = pictures.nth(1).get_attribute("title")
    page.locator(".status").get_by_text(re.compile(f"^{re.escape(name)},")).wait_for()
    page.get_by_role("columnheader", name="style_weight").first.wait_for()
    points = page.locator(".scatter .point")
    assert points.count() == 2
    for number, press in enumerate((lambda each: each.click(), lambda each: each.press("Enter"))):
        press(points.nth(number))
        weight = points.nth(number).get_attribute("aria-label").split(":")[0]
        said = page.locator(".picked dl").inner_text().split("\n")
        assert f"style weight {said[said.index('style weight') + 1]}" == weight
        assert points.nth(number).get_attribute("aria-pressed") == "true"
    check_access(page)


def test_feature_maps_point_into_the_photograph(browser, server):
    order = {
        "operation": "features",
        "inputs": {"content": [{"sample": "cat"}]},
        "options": {"size": 64, "layer": ["relu1_1", "relu3_1"], "top": 3},
    }
    job = server.ask("POST", "/jobs", order)["id"]
    server.wait(job, "done")
    visit = Visit(browser, server)
    page = visit.page
    visit.go(f"work/{job}")
    page.get_by_label("Layer", exact=True).select_option("relu3_1")
    page.get_by_text(re.compile("16 . 11 places, 3 channels")).wait_for()
    pane = page.get_by_role("group", name=re.compile("^Channel"))
    pane.locator("canvas").wait_for()
    box = pane.bounding_box()
    pane.hover(position={"x": box["width"] * 0.7, "y": box["height"] * 0.3})
    spot = page.locator(".seen .spot").first  # in the photograph: column 11 of 16, row 3 of 11
    spot.wait_for()
    place = spot.evaluate("each => [each.style.left, each.style.top, each.style.width]")
    assert [float(each[:-1]) for each in place] == pytest.approx([68.75, 27.27, 6.25], abs=0.01)
    assert page.locator(".spot:visible").count() == 5  # and in all maps
    value = page.locator(".seen figcaption b")
    assert re.fullmatch(r"\s*\d+ %", value.inner_text())
    pane.focus()
    page.keyboard.press("ArrowLeft")
    assert spot.evaluate("each => each.style.left") == "62.5%"
    page.get_by_role("img", name="Gram matrix of relu3_1").wait_for()
    check_access(page)
    visit.close()


def test_a_painting_is_saved_in_another_format(visit, painted, tmp_path):
    page = visit.page
    visit.go(f"work/{painted['id']}")
    with page.expect_download() as download:
        page.get_by_role("link", name="TIFF", exact=True).click()
    download.value.save_as(tmp_path / "saved.tif")
    assert download.value.suggested_filename == "cat-glass.tif"
    with Image.open(tmp_path / "saved.tif") as image:
        assert (image.format, max(image.size)) == ("TIFF", 48)


def test_labels_are_painted_over_both_pictures(visit, server):
    page = visit.page
    tile(page, "cat").click()
    tile(page, "waves").click()
    page.get_by_role("button", name="Paint labels").click()
    use = page.get_by_role("button", name="Use these labels")
    page.get_by_role("application", name=re.compile("^The photograph")).press("Space")
    page.get_by_text("Paint this in both: orange.").wait_for()
    assert use.is_disabled()
    page.get_by_role("application", name=re.compile("^The style")).press("Space")
    use.click()
    page.get_by_role("button", name="Change the labels").wait_for()
    maps = {each["name"]: each for each in server.ask("GET", "/uploads?most=2")["uploads"]}
    for name in ("photograph labels.png", "style labels.png"):
        _, content = server.call("GET", f"/uploads/{maps[name]['id']}/content")
        image = Image.open(io.BytesIO(content)).convert("RGB")
        middle = image.getpixel((image.width // 2, image.height // 2))
        assert (middle, image.getpixel((0, 0))) == ((230, 159, 0), (128, 128, 128))
    page.get_by_role("button", name="Change the labels").click()  # they are read again
    page.get_by_text("Paint the same colour over what belongs together").wait_for()
    assert use.is_enabled()


def test_regions_are_paired_by_clicks_and_by_numbers(visit):
    page = visit.page
    visit.go("make/relight")
    for shelf, name in (("content", "cat"), ("like", "rocket")):
        page.locator(f"[aria-labelledby=shelf-{shelf}]").get_by_role(
            "button", name=name, exact=True
        ).click()
    page.get_by_label("Regions", exact=True).fill("3")
    page.get_by_role("button", name="Pair regions").click()
    page.get_by_text("Choose a region of the photograph").wait_for()
    check_access(page)
    page.get_by_role("button", name="The photograph: region 2").press("Enter")
    page.get_by_role("button", name="The one it is to be like: region 3").press("Enter")
    page.locator(".chip", has_text="2 takes the light of").wait_for()
    page.locator("canvas[data-side='0']").click()  # in the middle there is one of the three
    found = page.locator("[aria-label^='The photograph: region'][aria-pressed=true]")
    ours = int(found.inner_text())
    theirs = ours % 3 + 1
    page.get_by_role("button", name=f"The one it is to be like: region {theirs}").click()
    page.get_by_role("button", name="Use these pairs").click()
    pairs = {2: 3, ours: theirs}
    said = page.get_by_label("Pair", exact=True).input_value().split()
    assert said == [f"{a}={b}" for a, b in pairs.items()]


def test_the_style_weight_turns_the_preview(visit):
    page = visit.page
    asked = []

    def take_weight(route):
        asked.append(json.loads(route.request.post_data)["options"].pop("style_weight", None))
        route.fulfill(body=draw(60, 40), content_type="image/png")

    page.route("**/api/v1/instant", take_weight)
    tile(page, "cat").click()
    tile(page, "waves").click()
    page.get_by_text("In one pass").click()
    slider = page.get_by_role("slider", name="Style weight")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text("Left: nearer the photograph.").wait_for()
    with page.expect_request("**/api/v1/instant"):
        page.keyboard.press("Home")
    page.wait_for_timeout(1000)
    assert (max(asked[1:]), asked[-1]) == (150, 1.5)  # what the network was taught


def test_every_operation_has_a_place(visit, server):
    page = visit.page
    visit.go("more")
    names = {each["name"] for each in server.ask("GET", "/operations")["operations"]}
    links = page.locator(".tasks a")
    links.first.wait_for()
    shown = {each.get_attribute("href").removeprefix("#/make/") for each in links.all()}
    assert shown == names - {"paint", "instant"}
    for name in sorted(shown):
        visit.go(f"make/{name}")
        page.get_by_role("button", name="Begin").wait_for()
        known = server.ask("GET", f"/operations/{name}")["options"].get("properties", {})
        page.wait_for_timeout(200)
        fields = page.locator('[id^="option-"]:is(input, select, textarea)')
        found = {each.get_attribute("id") for each in fields.all()}
        assert {f"option-{each}" for each in known} <= found
