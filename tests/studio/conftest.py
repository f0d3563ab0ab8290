"""An application without a network, and programs that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from served import HeldExecutor, Studio

from impasto.images.inspection import Inspector
from impasto.studio.limits import StudioLimits
from impasto.studio.services import serving
from impasto.video.glance import look_at_film


@pytest.fixture
def limits() -> StudioLimits:
    return StudioLimits()


@pytest.fixture
def executor() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture(scope="session")
def inspector() -> Iterator[Inspector]:
    """One process that looks into files, for all tests."""
    shared = Inspector(seconds=30, look_at_film=look_at_film)
    yield shared
    shared.close()


@pytest.fixture
def studio(
    tmp_path: Path, limits: StudioLimits, executor: HeldExecutor, inspector: Inspector
) -> Iterator[Studio]:
    with serving(tmp_path / "a store", limits, executor=executor) as services:
        own, services.inspector = services.inspector, inspector
        yield Studio(services)
        services.inspector = own


@pytest.fixture
def api(studio: Studio) -> TestClient:
    return studio.client()
