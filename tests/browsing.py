"""A browser for tests of the page: Chromium, driven by Playwright, alone with its server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from served import ServerProcess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
LONG = 120_000  # milliseconds: the first painting loads torch, on a machine that may be busy
SIZES = {"desk": (1280, 800), "phone": (320, 640)}


def find_lack() -> str | None:
    """Say why no browser can be driven here; None if one can."""
    if CHROMIUM is None:
        return "needs Chromium: apt-get install chromium"
    return None if find_spec("playwright") else "needs playwright: pip install playwright"


@contextmanager
def browsing() -> Iterator[object]:
    """A browser, for as long as it is used."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """Somebody's browser window on a server's page; what it should not do is written down."""

    def __init__(self, browser, server: ServerProcess, size: str = "desk", **given: object) -> None:
        self.server, self.faults = server, list[str]()
        width, height = SIZES[size]
        if size == "phone":
            given |= {"has_touch": True, "is_mobile": True}
        self.context = browser.new_context(viewport={"width": width, "height": height}, **given)
        self.context.set_default_timeout(LONG)
        self.page = self.open()

    def open(self):
        """Another tab, let in."""
        page = self.context.new_page()
        page.on("request", lambda request: self._look(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._listen)
        link = self.server.ask("POST", "/links")["link"]
        page.goto(link)
        page.wait_for_url(f"{self.server.base}/**")
        page.locator("main h1").first.wait_for(state="attached")
        return page

    def _look(self, address: str) -> None:
        if not address.startswith((self.server.base, "blob:", "data:")):
            self.faults.append(f"a foreign request: {address}")

    def _listen(self, message) -> None:
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            self.faults.append(message.text)

    def go(self, place: str) -> None:
        """Show another view."""
        self.page.evaluate(f"location.hash = '#/{place}'")

    def close(self) -> None:
        """Leave, and complain of what was written down."""
        self.context.close()
        assert not self.faults, self.faults


def find_scan() -> Path:
    """The script of axe-core, where it is installed."""
    return Path(__file__).parent / "studio" / "web" / "node_modules" / "axe-core" / "axe.min.js"


def scan(page) -> list[str]:
    """What axe-core finds on a page, by the rules of WCAG 2.2 AA and its own best practices."""
    page.evaluate(find_scan().read_text())
    found = page.evaluate(
        """() => axe.run(document, { resultTypes: ["violations"], runOnly: { type: "tag", values: [
          "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] } })"""
    )
    return [
        f"{each['id']}: {re.sub(r'[ ]+', ' ', node['html'])[:200]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
