"""Free numbers are chosen by name, each once."""

from __future__ import annotations

import pytest

from tracer.sketch.plan import NODES, PODS, NoneLeft, Numbers, node_address, pod_network, rotated


def test_a_name_has_its_number_whatever_others_take() -> None:
    alone, after = Numbers(range(1_000)), Numbers(range(1_000))
    number = alone.take("web")
    others = [after.take(f"other-{n}") for n in range(100)]
    assert number not in others
    assert after.take("web") == number


def test_each_number_is_given_once_and_then_none_is_left() -> None:
    numbers = Numbers(range(5, 10), taken=(7,))
    assert sorted(numbers.take("web") for _ in range(4)) == [5, 6, 8, 9]
    with pytest.raises(NoneLeft):
        numbers.take("web")


def test_a_number_is_kept_once() -> None:
    numbers = Numbers(range(5, 10))
    assert numbers.keep(2)
    assert not numbers.keep(2)


def test_each_of_all_nodes_has_networks_of_its_own() -> None:
    for version in (4, 6):
        networks = [pod_network(node, version) for node in range(1, 101)]
        assert len(set(networks)) == 100
        assert all(network.network_address in PODS[version] and network.broadcast_address in PODS[version] for network in networks)
        assert len({node_address(node, version) for node in range(1, 101)}) == 100
        assert all(node_address(node, version) in NODES[version] for node in range(1, 101))


def test_turns_go_round() -> None:
    turn_at = rotated(3, "web")
    assert sorted(turn_at(turn) for turn in range(3)) == [0, 1, 2]
    assert turn_at(3) == turn_at(0)
