"""Reading by shape accepts exactly what reading each rule accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError
from tracer.netfilter.rule_shapes import ShapeReader
from tracer.netfilter.rule_text import parse_rule

CHAINS = {"web", "KUBE-SEP-A", "KUBE-SEP-B"}
WORDS = [
    "-d", "-s", "!", "-p", "tcp", "udp", "-m", "comment", "--comment", '"a b"', '"a -d 10.0.0.1 b"', '"!"', '"-d"', "x", '"', '"open', 'a"b',
    "10.0.0.1", "10.0.0.1/32", "10.0.0.0/8", "10.0.0.1/33", "010.0.0.1", "300.1.1.1", "fd00::1", "--dport", "--sport", "80", "080", "70000",
    "1:2", "2:1", "-j", "-g", "web", "KUBE-SEP-A", "KUBE-SEP-B", "NOSUCH", "DROP", "DNAT", "LOG", "NFQUEUE", "--to-destination",
    "10.0.0.1:80", "10.0.0.1:99999", ":80", "--random", "statistic", "--mode", "random", "--probability", "0.5", "1.5", "recent", "--set",
    "--name", "-x", "set", "--match-set", "src", "dst", "up", "--log-prefix", "u32", "--u32", "0=0", "-f", "", "\t", "=", "--dport=80",
    "-c", "1", "mark", "--mark", "0x1/0x1", "sctp", "--chunk-types", "any", "--syn", "nfacct", "--nfacct-name",
]  # fmt: skip
# Rules that read well, so that shapes become known.
GOOD = [
    "-A web -d 10.0.0.2/32 -p tcp -m comment --comment \"x y\" -m tcp --dport 81 -j KUBE-SEP-A",
    "-A web -m comment --comment x -m statistic --mode random --probability 0.25 -j KUBE-SEP-A",
    "-A web -p tcp -m comment --comment x -m tcp -j DNAT --to-destination 10.0.0.3:8080",
    "-A web -s 10.0.0.3/32 -m comment --comment x -j web",
    "-A web -m recent --set --name A --rsource -j DROP",
    "-A web -m set --match-set A src -j DROP",
    "-A web ! -s 10.0.0.0/8 -d 10.0.0.2/32 -j web",
    "[1:2] -A web -m u32 --u32 0=0 -d 10.0.0.1 -j DROP",
]  # fmt: skip


def verdict(read: object, line: str) -> object:
    try:
        read(line, 1)  # type: ignore[operator]
    except ParseError as error:
        return error.faults
    return "ok"


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A good rule with some of its words changed, or words at random."""
    if draw(st.booleans()):
        words = draw(st.sampled_from(GOOD)).split(" ")
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(words) - 1))
            words[at : at + draw(st.integers(0, 2))] = draw(st.lists(st.sampled_from(WORDS), max_size=2))
    else:
        words = ["-A", "web", *draw(st.lists(st.sampled_from(WORDS), max_size=12))]
    return " ".join(words)


@given(st.lists(lines(), max_size=25))
def test_fast_is_plain(some: list[str]) -> None:
    reader = ShapeReader(CHAINS, "f")
    for line in [*GOOD, *some, *reversed(some)]:
        assert verdict(reader.check, line) == verdict(lambda text, n: parse_rule(text, n, CHAINS, file="f"), line), line


@pytest.mark.parametrize("line", GOOD)
def test_the_second_rule_of_a_shape_is_not_read_again(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ShapeReader(CHAINS, "f")
    reader.check(line, 1)
    monkeypatch.setattr("tracer.netfilter.rule_shapes.parse_rule", lambda *args, **more: pytest.fail("read again"))
    reader.check(line.replace("10.0.0.2", "10.9.9.9").replace("KUBE-SEP-A", "KUBE-SEP-B"), 2)
