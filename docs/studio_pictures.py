"""Make the pictures of docs/studio.md, and the moving one of the README, of the studio itself.

python docs/studio_pictures.py

It needs Chromium and `pip install playwright`, and paints for a few minutes.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browsing import Visit, browsing, find_lack
from served import ServerProcess

MOST_BYTES = 300_000
PICTURES = Path(__file__).parent / "pictures"


def shoot(page: object) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def keep(page: object, name: str) -> None:
    shoot(page).save(PICTURES / f"studio-{name}.jpg", quality=82, optimize=True)
    print(name, (PICTURES / f"studio-{name}.jpg").stat().st_size, flush=True)


def choose(page: object, *names: str) -> None:
    for name in names:
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_text(re.compile(r"preview, \d+ ms")).wait_for()
    page.wait_for_timeout(1500)


def film_painting(page: object) -> None:
    """Show previews, and a painting as it grows."""
    frames = [(shoot(page), 1200)]
    choose(page, "cat", "waves")
    frames.append((shoot(page), 1500))
    for name in ("dots", "strokes"):
        choose(page, name)
        frames.append((shoot(page), 1500))
    page.get_by_label("Long side", exact=True).fill("384")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("The numbers as a table").wait_for()
    seen = ""
    while page.get_by_text("Run again").count() == 0:
        page.wait_for_timeout(2000)
        now = page.locator(".stage .status").inner_text()
        if now != seen and "step" in now:
            frames.append((shoot(page), 350))
        seen = now
    page.wait_for_timeout(1500)
    frames.append((shoot(page), 600))
    page.get_by_role("button", name="Before / after").click()
    page.wait_for_timeout(800)
    frames.append((shoot(page), 3000))
    keep(page, "work")
    write_film(frames)


def write_film(frames: list[tuple[Image.Image, int]]) -> None:
    """Write at most thirty pictures, small, as one that moves."""
    while len(frames) > 30:
        del frames[6:-3:2]
    small = [frame.resize((800, 500), Image.Resampling.LANCZOS) for frame, _ in frames]
    path = PICTURES / "studio.webp"
    times = [time for _, time in frames]
    for quality in (60, 40, 25, 15, 8):
        settings = {"duration": times, "loop": 0, "quality": quality, "method": 6}
        small[0].save(path, save_all=True, append_images=small[1:], **settings)
        if path.stat().st_size < MOST_BYTES:
            break
    print("film", len(frames), path.stat().st_size, flush=True)


def paint_mask(page: object) -> None:
    page.get_by_role("button", name="Paint a mask").click()
    canvas = page.get_by_role("application")
    canvas.wait_for()
    box = canvas.bounding_box()
    for line in ([(0.3, 0.35), (0.7, 0.4)], [(0.25, 0.55), (0.75, 0.6)], [(0.35, 0.8), (0.6, 0.8)]):
        for number, (x, y) in enumerate(line):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
            if number == 0:
                page.mouse.down()
        page.mouse.up()
    page.wait_for_timeout(300)
    keep(page, "mask")
    page.keyboard.press("Escape")


def paint_labels(page: object) -> None:
    """Pair the cat's eye and the sun of the glass."""
    page.get_by_role("button", name="Paint labels").click()
    for name, place in (("The photograph", (0.39, 0.37)), ("The style", (0.5, 0.4))):
        canvas = page.get_by_role("application", name=re.compile(f"^{name}"))
        box = canvas.bounding_box()
        canvas.click(position={"x": place[0] * box["width"], "y": place[1] * box["height"]})
    page.wait_for_timeout(300)
    keep(page, "labels")
    page.keyboard.press("Escape")


def explore(visit: Visit, server: ServerProcess) -> None:
    """Point into feature maps, and pick a picture of a sweep."""
    page, content = visit.page, [{"sample": "cat"}]
    order = {"size": 384, "layer": ["relu1_1", "relu3_1"], "top": 8}
    order = {"operation": "features", "inputs": {"content": content}, "options": order}
    features = server.ask("POST", "/jobs", order)["id"]
    order = {"size": 160, "steps": 15, "vary": ["style_weight=1,5,30,200"]}
    inputs = {"content": content, "style": [{"sample": "glass"}]}
    order = {"operation": "sweep", "inputs": inputs, "options": order}
    sweep = server.ask("POST", "/jobs", order)["id"]
    server.wait(features, "done", seconds=600)
    visit.go(f"work/{features}")
    page.get_by_label("Layer", exact=True).select_option("relu3_1")
    pane = page.get_by_role("group", name=re.compile("^Channel"))
    pane.locator("canvas").wait_for()
    box = pane.bounding_box()
    pane.hover(position={"x": box["width"] * 0.39, "y": box["height"] * 0.37})
    page.wait_for_timeout(500)
    keep(page, "features")
    server.wait(sweep, "done", seconds=600)
    visit.go(f"work/{sweep}")
    point = page.locator(".scatter .point").nth(1)
    point.click()
    page.locator(".scatter").scroll_into_view_if_needed()
    page.wait_for_timeout(800)
    keep(page, "points")


def main() -> None:
    if lack := find_lack():
        sys.exit(lack)
    with tempfile.TemporaryDirectory() as folder, browsing() as browser:
        server = ServerProcess(Path(folder) / "store")
        visit = Visit(browser, server)
        page = visit.page
        page.wait_for_timeout(3000)  # small versions are made once
        film_painting(page)
        visit.go("")
        choose(page, "coffee", "glass")
        keep(page, "paint")
        paint_mask(page)
        choose(page, "cat")
        paint_labels(page)
        explore(visit, server)
        visit.close()
        visit = Visit(browser, server, color_scheme="dark")
        choose(visit.page, "rocket", "strokes")
        keep(visit.page, "dark")
        visit.close()
        server.stop()


if __name__ == "__main__":
    main()
