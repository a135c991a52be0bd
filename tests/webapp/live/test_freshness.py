"""Live, stale or connecting, from how each stream is doing."""

from __future__ import annotations

from webapp.live.freshness import Freshness, State


def listed(*keys: str) -> Freshness:
    fresh = Freshness(keys)
    for key in keys:
        fresh[key].is_listed = True
    return fresh


def test_it_is_connecting_until_everything_was_listed() -> None:
    fresh = listed("pods", "services")
    fresh["pods"].is_listed = False
    fresh["pods"].count, fresh["pods"].expected = 1500, 10_000
    assert fresh.state(0.0) == (State.CONNECTING, "Reading pods: 1,500 of 10,000")
    fresh["pods"].is_listed = True
    assert fresh.state(0.0) == (State.LIVE, "")


def test_a_short_break_is_nobodys_business() -> None:
    fresh = listed("pods")
    fresh["pods"].failed("broken", 10.0, for_good=False)
    assert fresh.state(11.9)[0] is State.LIVE
    assert fresh.state(12.1) == (State.STALE, "broken")


def test_it_is_live_again_only_when_the_watch_has_run_for_a_second() -> None:
    fresh = listed("pods")
    fresh["pods"].failed("broken", 10.0, for_good=False)
    fresh["pods"].resumed(20.0)
    assert fresh.state(20.1)[0] is State.STALE
    assert fresh.state(21.0)[0] is State.LIVE


def test_watches_that_break_at_once_keep_it_stale() -> None:
    fresh = listed("pods")
    for second in range(10, 20):
        fresh["pods"].failed("broken", float(second), for_good=False)
        fresh["pods"].resumed(second + 0.5)
    assert fresh.state(20.0)[0] is State.STALE


def test_what_is_refused_is_said_and_the_rest_is_live() -> None:
    fresh = listed("pods", "networkpolicies")
    fresh["networkpolicies"].failed("not allowed", 1.0, for_good=True)
    assert fresh.state(100.0) == (State.LIVE, "Not shown: networkpolicies. not allowed")
    fresh["pods"].failed("not allowed", 1.0, for_good=True)
    assert fresh.state(100.0) == (State.STALE, "not allowed")
    fresh["pods"].resumed(101.0)
    assert fresh.state(102.5)[0] is State.LIVE
