"""Libraries that may be missing."""

from __future__ import annotations

import json
import sys

import pytest

from impasto.errors import DependencyError
from impasto.system.optional import find_library, require


def test_a_library_that_is_there_is_imported():
    assert require("json", "this needs json", extra="none") is json


def test_one_that_is_not_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    text = r"^films need PyAV, which is not installed; pip install 'impasto\[video\]', or none$"
    with pytest.raises(DependencyError, match=text):
        require("av", "films need PyAV", extra="video", instead=", or none")


def test_libraries_are_found_without_an_import():
    folder = find_library("xml")
    assert folder is not None
    assert (folder / "__init__.py").is_file()
    assert find_library("no_such_library") is None
