"""The API is what its description says: the checked-in one, and for whatever is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from served import API, HOST, Studio, write_snapshot

from impasto.studio.limits import StudioLimits
from impasto.studio.services import serving

SNAPSHOT = Path(__file__).parent / "openapi.json"
EXCLUDED = [positive_data_acceptance]  # no schema says what a picture is, or which jobs there are
SHARE, ALL = 2, 150  # cases for each of some forty routes


def test_the_description_is_the_one_that_is_checked_in(studio):
    """Run with IMPASTO_WRITE_SNAPSHOT=1 to check in another: an old client must still do."""
    text = write_snapshot({**studio.app.openapi(), "info": {"title": "Impasto"}})
    if os.environ.get("IMPASTO_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(text)
    assert SNAPSHOT.read_text() == text


def test_every_answer_has_a_description(studio):
    schema = studio.app.openapi()
    for path, methods in schema["paths"].items():
        assert path.startswith(API)
        for facts in methods.values():
            assert facts["description"].endswith(".")
            assert facts["tags"]


@pytest.fixture(scope="module")
def served(tmp_path_factory, inspector):
    from served import HeldExecutor

    folder = tmp_path_factory.mktemp("contract")
    limits = StudioLimits(queue=50, idle_seconds=5)
    with serving(folder, limits, executor=HeldExecutor()) as services:
        own, services.inspector = services.inspector, inspector
        yield Studio(services)
        services.inspector = own


def send_cases(served: Studio, each: int) -> dict[int, int]:
    """Send generated requests to every route; return how many answers had which status."""
    headers = {"Authorization": f"Bearer {served.access.token}", "Host": HOST}
    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", served.app, headers=headers)
    statuses: dict[int, int] = {}

    def send(case):
        answer = case.call(headers=headers)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        # Parameters that are not known are passed over, as everywhere.
        known = {each.name for each in case.operation.query}
        more = [negative_data_rejection] if set(case.query or ()) - known else []
        case.validate_response(answer, excluded_checks=[*EXCLUDED, *more])

    with served.client():  # the loop that events are told in
        for found in schema.exclude(path=f"{API}/events").get_all_operations():
            generate(found.ok(), each)(send)()
    return statuses


def generate(operation, each: int):
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    def wrap(function):
        return settings(
            max_examples=each,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(cases)(function))

    return wrap


def test_a_share_of_generated_requests_is_answered_as_described(served):
    statuses = send_cases(served, SHARE)
    assert not [status for status in statuses if status >= 500]
    assert {200, 404, 422} <= set(statuses)


@pytest.mark.slow
def test_five_thousand_generated_requests_are_answered_as_described(served):
    statuses = send_cases(served, ALL)
    assert sum(statuses.values()) > 5000
    assert not [status for status in statuses if status >= 500]
