"""What is said of a snapshot to whoever added it, and the one command that comes first."""

from __future__ import annotations

from typing import Any

import pytest

from tracer.snapshot.node_files import IPTABLES, NFT_JSON, VIRTUAL_SERVERS
from tracer.snapshot.told import said_of

ALL = {"Service": 1, "EndpointSlice": 2, "Pod": 3, "Node": 2}


def node(name: str, *files: str, mode: str | None = None) -> dict[str, Any]:
    return {"name": name, "files": list(files), "has_object": True, "kube_proxy": mode and {"mode": mode, "source": "said"}}


def gap(what: str, *nodes: str) -> dict[str, Any]:
    return {"what": what, "nodes": list(nodes), "limits": "x", "sentence": f"No {what}: x."}


RULED = [node("a", IPTABLES.name), node("b", IPTABLES.name)]


@pytest.mark.parametrize(
    ("summary", "found", "command"),
    [
        (
            {"objects": {"Service": 1}},
            "Found 1 Service; no node's rules.",
            "kubectl get endpointslices,pods,nodes -A -o json > more.json",
        ),
        # One command for both.
        ({"objects": ALL | {"Pod": 0}, "nodes": [*RULED[:1], node("b")]}, "rules of 1 of 2 nodes", "sh collect.sh"),
        ({"objects": ALL | {"EndpointSlice": 0, "Endpoints": 1}, "nodes": RULED}, "Found 1 Service, 3 Pods, 2 Nodes", ""),
        ({"objects": ALL, "nodes": [node("a"), node("b")]}, "2 Nodes; no node's rules.", "-- iptables-save"),
        ({"objects": ALL, "nodes": [node("a"), node("b")], "modes": ["nftables"]}, "no node's rules (kube-proxy: nftables)", "-- nft -j"),
        ({"objects": ALL, "nodes": [*RULED[:1], node("b")]}, "rules of 1 of 2 nodes", "-- iptables-save"),
        # What cannot be read is not counted.
        ({"objects": ALL, "nodes": RULED, "missing": [gap(f"readable {IPTABLES.name}", "b")]}, "rules of 1 of 2 nodes", "-- iptables-save"),
        ({"objects": ALL, "nodes": RULED, "missing": [gap(f"whole {IPTABLES.name}", "b")]}, "rules of 1 of 2 nodes", "-- iptables-save"),
        (
            {"objects": ALL, "nodes": [node("a", NFT_JSON.name)], "missing": [gap(f"readable {NFT_JSON.name}", "a")]},
            "no node's rules.",
            "-- iptables-save",
        ),
        (
            {"objects": ALL, "nodes": [node("a", IPTABLES.name, NFT_JSON.name)], "missing": [gap(f"readable {NFT_JSON.name}", "a")]},
            "rules of 1 of 1 nodes",
            "",
        ),
        (
            {"objects": ALL, "nodes": [node("a", IPTABLES.name, mode="ipvs")], "missing": [gap(VIRTUAL_SERVERS.name, "a")]},
            "rules of 1 of 1 nodes",
            "-- ipvsadm",
        ),
        ({"objects": ALL, "nodes": RULED, "missing": [gap("ip-route.json", "a")]}, "rules of 2 of 2 nodes", "sh collect.sh"),
        ({"objects": ALL, "nodes": RULED}, "rules of 2 of 2 nodes", ""),
        ({"objects": {"Service": 3}, "form": "manifests"}, "These are manifests (3 Services)", "kubectl get services,"),
    ],
)
def test_the_command_that_would_add_most(summary: dict[str, Any], found: str, command: str) -> None:
    said = said_of(summary)
    assert found in said.found
    assert command in said.advice.command if said.advice and command else said.advice is None


def test_the_command_names_the_documented_file() -> None:
    said = said_of({"objects": ALL, "nodes": [node("a")], "modes": ["nftables"]})
    assert said.advice is not None
    assert NFT_JSON.name in said.advice.command
    assert "a" in said.advice.why


def test_lines_have_the_command_first_and_what_is_not_used_last() -> None:
    unplaced = [{"path": "x.txt", "what": "iptables-save of IPv4", "belongs": "nodes/NODE/iptables-save.txt"}]
    left_out = [{"path": "l", "why": "a symbolic link."}]
    gaps = [gap(name) for name in "abcde"]
    summary = {"objects": {"Service": 1}, "unplaced": unplaced, "left_out": left_out, "missing": gaps}
    lines = said_of(summary).lines()
    assert lines[0].startswith("Found")
    assert lines[1] == "Not used: x.txt is iptables-save of IPv4; it belongs to nodes/NODE/iptables-save.txt."
    assert lines[2].startswith("What would add most")
    assert "... and 2 more that limit less; the snapshot's page lists them." in lines
    assert lines[-1] == "Not read: l: a symbolic link."


def test_what_could_not_be_read_of_a_file_is_said() -> None:
    fault = {"line": 9, "message": "not YAML: x"}
    files = [{"file": f"{n}.yaml", "count": n, "faults": [fault]} for n in range(1, 6)] + [
        {"file": "nodes/a/ss.txt", "count": 1, "faults": [fault]}
    ]
    assert said_of({"objects": ALL, "nodes": RULED, "faults": files}).lines()[1:] == (
        "Cannot be read: 1.yaml, line 9: not YAML: x. The rest of it is used.",
        "Cannot be read: 2.yaml, line 9: not YAML: x (2 such parts in all). The rest of it is used.",
        "Cannot be read: 3.yaml, line 9: not YAML: x (3 such parts in all). The rest of it is used.",
        "Cannot be read: parts of 2 more files.",
    )


def test_where_kube_proxy_has_no_pods_none_is_asked() -> None:
    bare = {"objects": ALL, "nodes": [node("a")]}
    assert [_command(bare | {"has_proxy_pods": has}).startswith("sh collect.sh") for has in (True, None, False)] == [False, False, True]


def _command(summary: dict[str, Any]) -> str:
    advice = said_of(summary).advice
    assert advice is not None
    return advice.command


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            {"faults": [{"file": "pods.json", "count": 1, "faults": [{"line": 1, "message": "not JSON: the file is empty"}]}]},
            "Cannot be read: pods.json, line 1: not JSON: the file is empty.",
        ),
        ({"left_out": [{"path": n, "why": "a link."} for n in "abc"]}, "Not read: a, and 2 more: a link."),
        ({"unknown_files": [*"abcdefg"]}, "Not used, as nothing tells what they are: a, b, c, d, e, and 2 more."),
        ({"removed": ["a.json: removed 1 Secret"]}, "Left out before storage, as no trace needs it: a.json: removed 1 Secret."),
        ({"from": {"nodes/a/ss.txt": "host/sockets"}}, "Taken for nodes/a/ss.txt: host/sockets."),
        (
            {"faults": [{"file": "x", "count": 1, "faults": [{"line": 7, "message": "bad"}]}], "from": {"x": "y"}},
            "Cannot be read: x (y), line 7: bad. The rest of it is used.",
        ),
    ],
)
def test_what_is_not_used_is_said_once_for_each_kind(summary: dict[str, Any], line: str) -> None:
    assert line in said_of({"objects": ALL, "nodes": RULED, **summary}).lines()


def test_a_part_of_a_nodes_file_is_said_and_a_wrong_form_is_not_said_to_be_used() -> None:
    files = [
        {"file": "nodes/a/iptables-save.txt", "count": 1, "faults": [{"line": 9, "message": "no target"}]},
        {"file": "pods.txt", "count": 1, "faults": [{"line": None, "message": "a table"}]},
    ]
    forms = [{"path": "pods.txt", "why": "a table"}, {"path": "more.txt", "why": "a table"}]
    assert said_of({"objects": ALL, "nodes": RULED, "faults": files, "forms": forms}).lines()[1:] == (
        "Cannot be read: nodes/a/iptables-save.txt, line 9: no target. The rest of it is used.",
        "Not usable: pods.txt, and 1 more: a table.",
    )


@pytest.mark.parametrize("summary", [{"form": "manifests"}, {"masked": ["services.json"]}])
def test_of_what_cannot_be_used_nothing_is_counted_or_missed(summary: dict[str, Any]) -> None:
    """One sentence says why, one command what would help; gaps and counts would say that something can be used."""
    said = said_of({"objects": {"Service": 3}, "missing": [gap("nodes")], **summary})
    assert "Found" not in said.found
    assert (said.limits, said.more) == ((), 0)
    assert said.advice is not None
    assert said.advice.command.startswith("kubectl get services,")
