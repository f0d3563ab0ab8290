"""Measure the studio's page in Chromium: first paint, slider to preview, and a camera.

python bench/studio.py

It needs what the tests of the page need: Chromium, and `pip install playwright`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browsing import Visit, browsing, find_lack
from served import ServerProcess

MOVES, EVERY = 60, 300  # of the slider, and the milliseconds from one to the next
CAMERA_SECONDS = 15
LISTEN = """() => {
  window.moves = []; window.shown = []; window.frames = [];
  document.addEventListener("input", () => moves.push(performance.now()), true);
  document.addEventListener("impasto-preview", (event) => {
    const now = performance.now();
    shown.push([now - event.detail.milliseconds, now]);
  });
  document.addEventListener("impasto-frame", (event) =>
    frames.push([performance.now(), event.detail.milliseconds]));
}"""


def say(name: str, values: list[float], unit: str = "ms") -> None:
    middle, late = np.percentile(values, [50, 95])
    print(f"| {name} | {middle:.0f} | {late:.0f} | {unit}, of {len(values)} |", flush=True)


def time_first_paint(browser: object, server: ServerProcess) -> None:
    """Open the page with nothing kept in the browser, again and again."""
    found = []
    for _ in range(8):
        visit = Visit(browser, server)
        entry = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        found.append(visit.page.evaluate(entry))
        visit.close()
    say("first paint", found)


def time_slider(browser: object, server: ServerProcess, every: int) -> None:
    """Move a slider; a move is answered by the first picture that was asked for after it."""
    visit = Visit(browser, server)
    page = visit.page
    for name in ("cat", "glass"):
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_text(re.compile(r"preview, \d+ ms")).wait_for()
    page.get_by_text("In one pass").click()
    page.get_by_role("slider", name="Strength").focus()
    page.keyboard.press("Home")
    for key in ("ArrowRight", "ArrowRight"):  # styles are read, engines warm
        page.keyboard.press(key)
        page.wait_for_timeout(1000)
    page.evaluate(LISTEN)
    for number in range(MOVES):
        page.keyboard.press("ArrowRight" if number % 30 < 15 else "ArrowLeft")
        page.wait_for_timeout(every)
    page.wait_for_timeout(2000)
    moves, shown = page.evaluate("[moves, shown]")
    waits = [
        min((end - move for begun, end in shown if begun >= move - 1), default=np.nan)
        for move in moves
    ]
    say(f"slider to preview, a move each {every} ms", [each for each in waits if each == each])
    visit.close()


def time_camera(browser: object, server: ServerProcess) -> None:
    """Let the browser's own moving picture be painted, 384 x 288."""
    visit = Visit(browser, server)
    page = visit.page
    visit.go("camera")
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("frames a second").wait_for()
    page.wait_for_timeout(5000)
    page.evaluate(LISTEN)
    page.wait_for_timeout(1000 * CAMERA_SECONDS)
    frames = page.evaluate("frames")
    say("camera, taken to shown", [waited for _, waited in frames])
    seconds = (frames[-1][0] - frames[0][0]) / 1000
    print(f"| camera | {(len(frames) - 1) / seconds:.1f} | | frames a second |", flush=True)
    visit.close()


def main() -> None:
    if lack := find_lack():
        sys.exit(lack)
    print(describe_machine())
    print("| | median | 95 of 100 | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, browsing() as browser:
        server = ServerProcess(Path(folder) / "store")
        time_first_paint(browser, server)
        time_slider(browser, server, EVERY)
        time_slider(browser, server, 30)
        time_camera(browser, server)
        server.stop()


if __name__ == "__main__":
    main()
