"""What differs between two answers: each kind once, as a sentence, and nothing where packets end alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tests.made_traces import dropped_trace, lb_trace, unknown_trace
from tracer.compare import Difference, Kind, differences, is_same, told
from tracer.packet import Address
from tracer.query import parse_address
from tracer.trace import Disposition, Listener, Outcome, Reason, Reply, Sees, Trace


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


def shop(pods: int = 2, *, local: bool = False, drop: str = "", allow: str = "") -> Trace:
    """From outside to the node port of a Service at node 1, with a pod on each node in turn."""
    made = MadeCluster(2)
    chosen = [made.pod(f"web-{number}", 1 + number % 2) for number in range(pods)]
    made.service("web", chosen, type="NodePort", node_port=30080, local=local)
    made.node(1).rules += [("filter", f"-A FORWARD {drop} -j DROP")] if drop else []
    made.node(1).rules += [("filter", f"-A FORWARD {allow} -j ACCEPT")] if allow else []
    return made.trace("external:203.0.113.9", "192.168.0.11:30080")


def kinds(found: tuple[Difference, ...]) -> list[Kind]:
    return list(dict.fromkeys(one.kind for one in found))


def texts(found: tuple[Difference, ...]) -> list[str]:
    return [one.text for one in found if not one.kind.is_of_the_way]


def test_an_answer_does_not_differ_from_itself() -> None:
    for answer in (shop(), lb_trace(), dropped_trace(), unknown_trace()):
        assert differences(answer, answer) == ()
        assert is_same(answer, answer)


def test_an_endpoint_that_goes() -> None:
    found = differences(shop(3), shop(2))
    assert kinds(found) == [Kind.DESTINATION, Kind.ODDS, Kind.STEPS]
    assert texts(found) == [
        "Reached no more (≈1/3 before): pod default/web-2.",
        "Odds of pod default/web-0, pod default/web-1: 1/2, before ≈1/3.",
    ]
    assert found[1].where == ("pod default/web-0", "pod default/web-1")
    assert (found[1].before, found[1].after) == (("≈1/3",), ("1/2",))


def test_local_keeps_the_clients_address() -> None:
    found = differences(shop(2), shop(2, local=True))
    assert texts(found) == [
        "Reached no more (1/2 before): pod default/web-1.",
        "Odds of pod default/web-0: 1, before 1/2.",
        "Source that pod default/web-0 sees: 203.0.113.9, before 10.1.1.1.",
    ]
    assert Kind.STEPS in kinds(found)
    assert not is_same(shop(2), shop(2, local=True))


def test_what_is_dropped_now() -> None:
    found = differences(shop(2), shop(2, drop="-d 10.1.2.2"))
    assert texts(found) == [
        "Dropped at node n1: now (1/2).",
        "Reached no more (1/2 before): pod default/web-1.",
        "What the client meets: connected or timeout, before connected.",
    ]
    back = differences(shop(2, drop="-d 10.1.2.2"), shop(2))
    assert [one.before for one in back if one.kind is Kind.DISPOSITION] == [("1/2",)]
    assert texts(back)[0] == "Dropped at node n1: no more (1/2 before)."


def test_another_way_to_the_same_ends() -> None:
    before, after = shop(2), shop(2, allow="-s 203.0.113.9")
    assert is_same(before, after)
    found = differences(before, after)
    assert kinds(found) == [Kind.STEPS]
    [one] = found
    assert one.where == ("node n1",)
    assert one.after == ("filter FORWARD: -A FORWARD -s 203.0.113.9 -j ACCEPT",)
    assert told(found) == "Nothing changes for these packets: they take another way, and end in the same places with the same odds."
    assert told(()).startswith("Nothing changes for these packets: they meet the same rules")
    assert told(differences(shop(3), shop(2))) == "Packets end otherwise."
    assert differences(before, after, ways=False) == ()


def test_odds_that_nobody_measured_are_no_difference() -> None:
    """Of what a condition splits, the shares say only into how many."""
    one = shop(2, drop="-m u32 --u32 0=0")
    assert any(outcome.conditions for outcome in one.outcomes)
    other = replace(one, outcomes=tuple(replace(o, probability=o.probability / 2 if o.conditions else o.probability) for o in one.outcomes))
    assert is_same(one, other)
    found = differences(shop(2), one)
    assert Kind.CONDITIONS in kinds(found)
    assert next(f for f in found if f.kind is Kind.DISPOSITION).after == ("depends on what is not known",)


WHOLE = lb_trace(nodes=2, endpoints=2)
SEEN = address("203.0.113.10")
CHANGES: dict[Kind, Callable[[Outcome], Outcome]] = {
    Kind.DISPOSITION: lambda o: replace(o, reason=Reason(code="NEW", text="")),
    Kind.SOURCE_SEEN: lambda o: replace(o, source_seen=(SEEN, None)),
    Kind.REPLY: lambda o: replace(o, reply=Reply(disposition=Disposition.LOST)),
    Kind.CLIENT_SEES: lambda o: replace(o, client_sees=Sees.HANGS),
    Kind.LISTENER: lambda o: replace(o, listener=Listener.ABSENT),
    Kind.DESTINATION: lambda o: replace(o, destination=o.destination and replace(o.destination, port=9)),
    Kind.CONDITIONS: lambda o: replace(o, conditions=("something holds",)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_thing_that_an_end_tells(kind: Kind) -> None:
    """It is found where all outcomes have it, where the first has it, and either way round; what all goals share is said once."""
    every = replace(WHOLE, outcomes=tuple(map(CHANGES[kind], WHOLE.outcomes)))
    first = replace(WHOLE, outcomes=(CHANGES[kind](WHOLE.outcomes[0]), *WHOLE.outcomes[1:]))
    assert kinds(differences(WHOLE, every)) == [kind]
    assert kinds(differences(every, WHOLE)) == [kind]
    assert kind in kinds(differences(WHOLE, first))
    assert not is_same(WHOLE, first) and not is_same(WHOLE, every)


def test_where_nobody_is_reached_in_both_the_sources_are_compared() -> None:
    other = tuple(replace(o, destination=o.destination and replace(o.destination, name="other")) for o in WHOLE.outcomes)
    found = differences(WHOLE, replace(WHOLE, outcomes=tuple(replace(o, source_seen=(SEEN, None)) for o in other)))
    assert kinds(found) == [Kind.DESTINATION, Kind.SOURCE_SEEN]
    assert found[-1].text == "Source that the destination sees: 203.0.113.10, before 172.18.0.2 or 172.18.0.3."


def test_the_same_in_other_proportions() -> None:
    """Both nodes are entered through in both, for the same pods with the same odds; only the nodes' shares moved between them."""
    shares = [Fraction(1, 8), Fraction(3, 8), Fraction(3, 8), Fraction(1, 8)]
    moved = tuple(replace(o, probability=share) for o, share in zip(WHOLE.outcomes, shares, strict=True))
    found = differences(WHOLE, replace(WHOLE, outcomes=moved))
    assert kinds(found) == [Kind.ODDS]
    assert "in other proportions" in found[0].text


def test_near_odds_are_the_same() -> None:
    near = Fraction(1, 1 << 31)
    outcomes = list(WHOLE.outcomes)
    outcomes[0] = replace(outcomes[0], probability=outcomes[0].probability + near)
    outcomes[1] = replace(outcomes[1], probability=outcomes[1].probability - near)
    assert is_same(WHOLE, replace(WHOLE, outcomes=tuple(outcomes)))


def test_many_are_said_together() -> None:
    found = differences(lb_trace(nodes=1, endpoints=40), lb_trace(nodes=1, endpoints=41), ways=False)
    odds = next(one for one in found if one.kind is Kind.ODDS)
    assert len(odds.where) == 40
    assert " and 37 others: 1/41, before 1/40." in odds.text
    assert len(found) == 2


def _drawn(random_one: random.Random) -> Trace:
    outcomes = list(WHOLE.outcomes)
    for _ in range(random_one.randrange(4)):
        place = random_one.randrange(len(outcomes))
        outcomes[place] = CHANGES[random_one.choice(list(CHANGES))](outcomes[place])
    shares = [random_one.randrange(1, 4) for _ in outcomes]
    outcomes = [replace(o, probability=Fraction(s, sum(shares))) for o, s in zip(outcomes, shares, strict=True)]
    return replace(WHOLE, outcomes=tuple(outcomes))


def test_what_is_not_the_same_is_told_and_the_other_way_round() -> None:
    random_one = random.Random(17)
    same = 0
    for _ in range(400):
        one, other = _drawn(random_one), _drawn(random_one)
        found = [d for d in differences(one, other) if not d.kind.is_of_the_way]
        assert is_same(one, other) == (not found)
        assert sorted(kinds(tuple(found))) == sorted(kinds(differences(other, one, ways=False)))
        same += not found
    assert 0 < same < 400


def test_it_is_written_for_programs() -> None:
    one = next(d for d in differences(shop(3), shop(2)) if d.kind is Kind.ODDS)
    assert one.to_dict() == {
        "kind": "odds",
        "text": "Odds of pod default/web-0, pod default/web-1: 1/2, before ≈1/3.",
        "where": ["pod default/web-0", "pod default/web-1"],
        "before": ["≈1/3"],
        "after": ["1/2"],
    }
