"""Where the same rules stand after a file changed around them: of iptables, nftables and IPVS alike."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tests.made_cluster import MadeCluster
from tracer.changes import FileChange, ObjectChange
from tracer.explain.dependencies import Dependencies, dependencies_of
from tracer.explain.dependencies.lines import moved, placed, relined, surroundings_differ
from tracer.explain.findings import diagnose
from tracer.trace import Trace, Unknown

DUMP = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -s 10.0.0.1/32 -j DROP
-A FORWARD -s 10.0.0.1/32 -j DROP
-A FORWARD -s 10.0.0.2/32 -j DROP
[3:180] -A FORWARD -s 10.0.0.1/32 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -s 10.0.0.1/32 -j RETURN
COMMIT
"""
NFT = """\
table ip a {
	chain c {
		ip saddr 10.0.0.1 drop
		ip saddr 10.0.0.2 drop
		ip saddr 10.0.0.1 drop
	}
	chain d {
		ip saddr 10.0.0.1 drop
	}
}
table ip6 a {
	chain c {
		ip6 saddr fd00::1 drop
	}
}
"""
SERVERS = """\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1
-a -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 1
-A -t 10.0.0.2:80 -s rr
"""
IPTABLES_FILES = ("iptables-save.txt", "ip6tables-save.txt", "iptables-legacy-save.txt", "ip6tables-legacy-save.txt")
FILES = [*((name, DUMP) for name in IPTABLES_FILES), ("nft-ruleset.txt", NFT), ("ipvsadm-save.txt", SERVERS)]


def is_rule(line: str) -> bool:
    return line.startswith((":", "-A", "-a", "[")) or "chain" in line or " drop" in line


@pytest.mark.parametrize(("name", "text"), FILES)
def test_every_rule_is_found_again_below_what_came_in_front(name: str, text: str) -> None:
    lines = text.split("\n")
    named = [number for number, line in enumerate(lines, 1) if is_rule(line)]
    assert moved(text.encode(), text.encode(), name, named) == {n: n for n in named}
    head = {"nft-ruleset.txt": "table ip z {\n}\n", "ipvsadm-save.txt": "-A -t 10.0.0.9:80 -s rr\n"}.get(
        name, "# a date\n*raw\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    )
    further = head.count("\n")
    assert moved(text.encode(), (head + text).encode(), name, named) == {n: n + further for n in named}
    assert moved((head + text).encode(), text.encode(), name, [n + further for n in named]) == {n + further: n for n in named}


@pytest.mark.parametrize(("name", "text"), FILES)
def test_what_is_gone_has_no_line_and_what_follows_moves_up(name: str, text: str) -> None:
    """Each rule in turn; of several alike the last one counts as gone, which one it was nobody can tell."""
    lines = text.split("\n")
    for gone, line in enumerate(lines, 1):
        if not is_rule(line) or "chain" in line or line.startswith((":", "-A -t")):
            continue
        after = "\n".join(lines[: gone - 1] + lines[gone:])
        expected = {n: n - (n > gone) for n, other in enumerate(lines, 1) if is_rule(other) and n != gone}
        found = moved(text.encode(), after.encode(), name, [*expected, gone])
        alike = [
            n
            for n, other in enumerate(lines, 1)
            if other.split("] ")[-1] == line.split("] ")[-1] and _chain(lines, n) == _chain(lines, gone)
        ]
        assert found[alike[-1]] is None
        assert {n: at for n, at in found.items() if n not in alike} == {n: at for n, at in expected.items() if n not in alike}
        assert [found[n] for n in alike[:-1]] == sorted(expected[n] for n in alike if n != gone)


def _chain(lines: list[str], number: int) -> str:
    return (
        next((line for line in reversed(lines[:number]) if "chain" in line or line.startswith("*")), "")
        + lines[number - 1].split("] ")[-1].partition(" -s")[0]
    )


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("iptables-save.txt", DUMP, (0, 1, 8, 9, 99)),
        ("nft-ruleset.txt", NFT, (0, 1, 6, 9, 10, 99)),
        ("ipvsadm-save.txt", SERVERS, (0, 5, 99)),
        ("ss.txt", "a\nb\n", (1, 2)),
    ],
)
def test_a_line_that_is_no_rule_stands_nowhere(name: str, text: str, lines: tuple[int, ...]) -> None:
    assert moved(text.encode(), text.encode(), name, lines) == dict.fromkeys(lines)


def test_a_rule_is_found_in_its_own_table_family_and_chain_only() -> None:
    other_table = DUMP.replace("*nat\n:PREROUTING", "*raw\n:PREROUTING")
    assert moved(DUMP.encode(), other_table.encode(), "iptables-save.txt", [11]) == {11: None}
    other_chain = DUMP.replace("-A INPUT", "-A FORWARD")
    assert moved(DUMP.encode(), other_chain.encode(), "iptables-save.txt", [4]) == {4: None}
    other_family = NFT.replace("table ip6 a", "table inet a")
    assert moved(NFT.encode(), other_family.encode(), "nft-ruleset.txt", [13]) == {13: None}
    no_chain = NFT.replace("chain d", "chain e")
    assert moved(NFT.encode(), no_chain.encode(), "nft-ruleset.txt", [7, 8]) == {7: None, 8: None}


def test_surroundings_are_three_lines_on_each_side_without_counters_and_dates() -> None:
    lines = [f"rule {number}" for number in range(1, 21)]

    def with_line(number: int, text: str) -> bytes:
        return "\n".join([*lines[: number - 1], text, *lines[number:]]).encode()

    before = "\n".join(lines).encode()
    differing = [n for n in range(1, 21) if surroundings_differ(before, with_line(n, "another"), [10])]
    assert differing == [7, 8, 9, 10, 11, 12, 13]
    assert [n for n in range(1, 21) if surroundings_differ(before, with_line(n, "another"), [1])] == [1, 2, 3, 4]
    assert [n for n in range(1, 21) if surroundings_differ(before, with_line(n, "another"), [20])] == [17, 18, 19, 20]
    for counted in (" [5:60]", " packets 5 bytes 60", "packets 5 bytes 60"):
        assert not surroundings_differ(before, with_line(9, f"rule 9{counted}"), [10])
    assert not surroundings_differ(with_line(9, "# Monday"), with_line(9, "# Tuesday"), [10])
    assert surroundings_differ(before, "\n".join(lines[:11]).encode(), [10])
    assert not surroundings_differ(before, with_line(10, "another"), [])
    assert not surroundings_differ(None, before, [10])
    assert not surroundings_differ(before, None, [10])


def made_trace() -> Trace:
    made = MadeCluster()
    made.service("web", [made.pod("web-1", 1), made.pod("web-2", 2)], type="NodePort", node_port=30080)
    made.pod("client", 2)
    cluster = made.cluster()
    return diagnose(cluster, made.trace("pod:default/client", "svc:default/web:80"))


def test_what_a_trace_names_is_where_its_steps_stand() -> None:
    trace = made_trace()
    steps = {
        (s.file, s.line)
        for o in trace.outcomes
        for h in (*o.hops, *(o.reply.hops if o.reply else ()))
        for s in h.steps
        if s.file and s.line
    }
    assert len(steps) > 10
    assert placed(trace) >= steps


def test_a_place_is_found_in_sentences_lists_and_facts() -> None:
    unknown = Unknown(
        code="X", text="see (nodes/n1/iptables-save.txt:12) and nodes/n2/a.txt:3.", at={"node": "n1", "file": "nodes/n1/b.txt", "line": 7}
    )
    assert placed(unknown) == {("nodes/n1/iptables-save.txt", 12), ("nodes/n2/a.txt", 3), ("nodes/n1/b.txt", 7)}  # type: ignore[arg-type]
    assert placed(("a/b:1", ["a/b:2", {"x": ("a/b:3",)}])) == {("a/b", 1), ("a/b", 2), ("a/b", 3)}  # type: ignore[arg-type]
    assert placed(({"file": "a/b", "line": None}, {"line": 4}, Unknown)) == frozenset()  # type: ignore[arg-type]


def test_lines_are_renewed_in_steps_sentences_and_facts_of_that_file_only() -> None:
    unknown = Unknown(code="X", text="see a/b:12, a/b:13, a/c:12", at={"file": "a/b", "line": 12})
    found = relined(unknown, "a/b", {12: 20, 13: None})
    assert (found.text, found.at) == ("see a/b:20, a/b:13, a/c:12", {"file": "a/b", "line": 20})
    assert relined(unknown, "a/b", {13: None}).at == {"file": "a/b", "line": 12}
    assert relined(unknown, "a/c", {12: 5}).at == {"file": "a/b", "line": 12}
    assert relined(unknown, "a/d", {12: 5}) == unknown
    values = ("a/b:12", 5, None)
    assert relined(values, "a/b", {12: 20}) == ("a/b:20", 5, None)
    assert relined(values, "a/c", {12: 20}) is values
    assert relined(MappingProxyType({"file": "a/b", "line": "12"}), "a/b", {12: 20}) == {"file": "a/b", "line": "12"}


def test_every_step_of_a_trace_is_on_its_new_line() -> None:
    trace = made_trace()
    file = next(file for file, _ in placed(trace) if file.endswith("iptables-save.txt"))
    further = {line: line + 100 for at, line in placed(trace) if at == file}
    found = relined(trace, file, further)
    assert found != trace
    assert placed(found) == {(at, further[line] if at == file else line) for at, line in placed(trace)}
    assert relined(found, file, {new: old for old, new in further.items()}) == trace
    assert relined(trace, file, dict.fromkeys(further)) == trace
    # Where no line moves, nothing is copied: of an answer that is shown, most is as it was.
    assert relined(trace, file, {line: line for _, line in placed(trace)}) is trace


# -- what an answer's dependencies make of them ----------------------------------------------------------------------------------------


def answer() -> tuple[Trace, Dependencies, str, bytes]:
    made = MadeCluster()
    made.service("web", [made.pod("web-1", 1), made.pod("web-2", 2)], type="NodePort", node_port=30080)
    made.pod("client", 2)
    cluster = made.cluster()
    trace = diagnose(cluster, made.trace("pod:default/client", "svc:default/web:80"))
    return trace, dependencies_of(cluster, trace), "nodes/n2/iptables-save.txt", made.files()["nodes/n2/iptables-save.txt"]


def test_rules_that_moved_touch_the_lines_of_an_answer_only() -> None:
    trace, found, file, content = answer()
    moved_down = b"# one\n# two\n# three\n# four\n" + content
    change = FileChange(node="n2", name="iptables-save.txt", before=content, after=moved_down)
    assert found.touched_by(change)
    assert not found.touched_by(change, lines=False)
    assert placed(found.relined(trace, change)) == {(at, line + 4 if at == file else line) for at, line in placed(trace)}
    assert found.after(change).places == {(at, line + 4 if at == file else line) for at, line in found.places}
    other = FileChange(node="n9", name="iptables-save.txt", before=content, after=moved_down)
    assert found.relined(trace, other) is trace
    assert found.after(other).places == found.places


def test_a_rule_of_the_answer_that_is_gone_touches_it_whatever_is_asked() -> None:
    _, found, file, content = answer()
    line = max(line for at, line in found.places if at == file)
    lines = content.split(b"\n")
    without = b"\n".join(lines[: line - 1] + lines[line:])
    change = FileChange(node="n2", name="iptables-save.txt", before=content, after=without)
    assert found.touched_by(change, lines=False)
    only_places = Dependencies(refs=frozenset(), nodes=frozenset({"n2"}), places=found.places)
    assert only_places.touched_by(change, lines=False)
    assert only_places.touched_by(FileChange(node="n2", name="iptables-save.txt", before=content, after=None), lines=False)
    assert not only_places.touched_by(FileChange(node="n1", name="iptables-save.txt", before=None, after=None), lines=False)


def test_a_neighbouring_line_touches_the_lines_of_an_answer() -> None:
    _, found, file, content = answer()
    line = max(line for at, line in found.places if at == file)
    lines = content.split(b"\n")
    beside = b"\n".join([*lines[:line], *lines[line + 1 :]])
    change = FileChange(node="n2", name="iptables-save.txt", before=content, after=beside)
    only_places = Dependencies(refs=frozenset(), nodes=frozenset({"n2"}), places=frozenset({(file, line)}))
    assert only_places.touched_by(change)
    assert not only_places.touched_by(change, lines=False)


def test_an_object_moves_no_line() -> None:
    trace, found, _, _ = answer()
    change = ObjectChange(kind="Pod", namespace="default", name="web-1", before=None, after=None)
    assert found.relined(trace, change) is trace
    assert found.after(change) is found


def test_an_answer_refers_to_what_it_names() -> None:
    _, found, _, _ = answer()
    assert {"svc/default/web", "pod/default/client", "pod/default/web-1", "pod/default/web-2", "node/n1", "node/n2"} <= found.refs
    assert {ref.partition("/")[0] for ref in found.refs} <= {"svc", "pod", "node"}
    made = MadeCluster(nodes=1)
    made.pod("client", 1)
    cluster = made.cluster()
    bare = dependencies_of(cluster, diagnose(cluster, made.trace("pod:default/client", "198.51.100.7:80")))
    assert bare.refs == {"pod/default/client", "node/n1"}
