"""When a table that a dump does not have is empty, and when nobody knows."""

from __future__ import annotations

import pytest

from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.recorded_tables import unrecorded_tables


def dump_of(*tables: str, chains: str = "") -> str:
    return "".join(f"*{table}\n{f':{chains} - [0:0]' if chains else ''}\nCOMMIT\n" for table in tables)


ROWS = [
    # dumps, the other family's has several, tables that nobody knows
    ([dump_of("nat")], False, ("filter", "mangle", "raw")),
    ([dump_of("nat")], True, ()),
    ([dump_of("filter")], False, ("nat", "mangle", "raw")),
    ([dump_of("mangle")], False, ("nat", "filter", "raw")),
    ([dump_of("nat", "filter")], False, ()),
    ([dump_of("raw", "filter")], False, ()),
    ([dump_of("nat", "mangle", chains="KUBE-SERVICES")], True, ("filter", "raw")),
    ([dump_of("filter", chains="KUBE-FORWARD")], True, ("nat", "mangle", "raw")),
    ([dump_of("nat", "filter", chains="KUBE-SERVICES")], False, ()),
    ([dump_of("nat", "filter", chains="KUBE-KUBELET-CANARY")], False, ("mangle", "raw")),
    ([dump_of("nat"), dump_of("filter")], False, ()),  # both back ends
    ([f"root@n1:~# iptables-save -t nat\n{dump_of('nat')}"], True, ("filter", "mangle", "raw")),
    (
        [f"root@n1:~# iptables-save -t nat\n{dump_of('nat')}root@n1:~# iptables-save -t filter\n{dump_of('filter')}"],
        True,
        ("mangle", "raw"),
    ),
    ([f"root@n1:~# iptables-save\n{dump_of('nat')}"], False, ()),
    (["-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n-P POSTROUTING ACCEPT\n"], True, ("filter", "mangle", "raw")),
    ([""], False, ()),  # an empty one is said by itself
    (["command not found\n"], False, ()),
]


@pytest.mark.parametrize(("texts", "several", "expected"), ROWS)
def test_unrecorded_tables(texts: list[str], several: bool, expected: tuple[str, ...]) -> None:
    assert unrecorded_tables([parse_dump(text, "f") for text in texts], lambda: several) == expected
