"""The page as the server sends it: its own files alone, under a policy that lets nothing else run.

What it does in a browser is in ``test_page``.
"""

from __future__ import annotations

import gzip
import re

import pytest

from impasto.studio.page_files import FOLDER, list_page_files

MODULES = sorted(name for name in list_page_files() if name.endswith(".js"))
OWN = [name for name in MODULES if not name.startswith("vendor/")]


def test_the_root_is_the_page(api):
    answer = api.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    named = re.findall(r'(?:src|href)="/(studio/[^"]+)"', answer.text)
    assert len(named) == 4
    assert all(api.get(f"/{name}").status_code == 200 for name in named)


def test_nobody_without_a_token_sees_it(studio):
    stranger = studio.client(accept="*/*")
    assert stranger.get("/").status_code == 401
    assert stranger.get("/studio/app.js").status_code == 401


def test_a_file_that_is_known_is_not_sent_again(api):
    first = api.get("/studio/app.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = api.get("/studio/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "vendor", "", "LICENSE", "/app.js"],
)
def test_nothing_else_is_sent(api, name):
    assert api.get(f"/studio/{name}").status_code == 404


def test_the_page_is_small():
    size = sum(len(gzip.compress(path.read_bytes())) for path in list_page_files().values())
    assert size <= 100_000


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_files_of_the_page_alone(name):
    """No bare names, which need a build step, and no other server."""
    text = list_page_files()[name].read_text()
    found = re.findall(r'(?:from|import) ?"([^"]+)"', text)
    for each in found:
        assert each.startswith("."), each
        assert (FOLDER / name).parent.joinpath(each).resolve() in list_page_files().values()


@pytest.mark.parametrize("name", OWN)
def test_modules_hold_to_the_policy(name):
    """Neither style attributes nor handlers in markup, nor text that is run, nor raw HTML."""
    text = list_page_files()[name].read_text()
    assert not re.search(r"\sstyle=|\son\w+=[\"$]|\beval\(|new Function|innerHTML|unsafeHTML", text)
    assert len(text.splitlines()) <= 500


def test_what_is_not_ours_has_its_licence():
    folders = {path.parent for path in (FOLDER / "vendor").glob("*/*.js")}
    assert folders
    assert all("Copyright" in (folder / "LICENSE").read_text() for folder in folders)
