"""Where work is done: what ``--on`` takes, and what is refused."""

from __future__ import annotations

import pytest

from impasto.cluster.places import HERE, WorkPlace, check_address, choose_place, parse_place
from impasto.cluster.ray_executor import check_token
from impasto.errors import ClusterError, OptionError


def test_what_is_understood():
    assert parse_place("local:4") == WorkPlace("local", 4)
    assert parse_place("ray") == WorkPlace("ray")
    assert parse_place("ray:10.0.0.1:6379") == WorkPlace("ray", address="10.0.0.1:6379")
    assert parse_place("dask:tls://a:8786") == WorkPlace("dask", address="tls://a:8786")
    assert parse_place("local").count >= 1
    assert parse_place("local:1").is_here
    assert choose_place(None, 3) == WorkPlace(count=3)
    assert choose_place(None) == HERE
    assert not parse_place("ray").is_here


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rai", r"on 'rai': give local:N, ray, .*; did you mean 'ray'\?"),
        ("", "on '': give local:N"),
        ("local:x", "on 'local:x': 'x' is no number of processes"),
        ("local:0", "'0' is no number of processes"),
        ("local:", "on 'local:': '' is no number of processes"),
        ("rays", r"on 'rays': give .*; did you mean 'ray'\?"),
        ("dask", "on 'dask': name its scheduler"),
        ("dask:", "on 'dask:': name its scheduler"),
        ("ray:", "on 'ray:': name its head, as in ray:10.0.0.1:6379; ray alone starts one here"),
        ("ray:head", "'head' is no address: give HOST:PORT, as in 10.0.0.1:6379"),
        ("ray:head:x", "'head:x' is no address"),
    ],
)
def test_what_is_wrong_is_one_line(text, said):
    with pytest.raises(OptionError, match=said) as caught:
        parse_place(text)
    assert "\n" not in str(caught.value)


def test_two_words_for_one_thing_are_refused():
    with pytest.raises(OptionError, match="give one of them"):
        choose_place("ray", 2)
    with pytest.raises(OptionError, match="jobs must be at least 1, not 0"):
        choose_place(None, 0)


@pytest.mark.parametrize("address", ["tls://10.0.0.1:8786", "tcp://127.0.0.1:1", "tcp://[::1]:1"])
def test_schedulers_by_tls_or_on_this_machine(address):
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["foo", "tls://", "localhost", "[::1", "tls://a:99999"])
def test_what_is_no_address_is_one_line(address):
    with pytest.raises(OptionError, match=r"is no address: give HOST:PORT, as in 10\.0\.0\.1:"):
        choose_place(f"dask:{address}")


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tcp://head:8786", "ws://127.0.0.1:1"])
def test_a_scheduler_that_anyone_may_reach_is_refused(address):
    with pytest.raises(ClusterError, match="no address of a Dask scheduler to be trusted"):
        check_address(address)


def test_a_ray_cluster_without_a_token_is_refused(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ClusterError, match="start it with RAY_AUTH_MODE=token"):
        check_token("10.0.0.1:6379")
    with pytest.raises(ClusterError, match="start it with RAY_AUTH_MODE=token"):
        choose_place("ray:10.0.0.1:6379")
