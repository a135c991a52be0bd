"""A dump in any dress is the same dump, or its tables are unknown: never another rule set."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from tracer.netfilter.dump import Dump
from tracer.netfilter.iptables_save import TABLES, check, parse_dump
from tracer.netfilter.rule_text import strip_counters

DEMO = Path(__file__).parents[3] / "demo"
DUMPS = {
    f"{folder}/{name}": (DEMO / folder / "nodes" / "shop-worker" / name).read_text()
    for folder in ("shop-iptables", "shop-ipvs", "shop-iptables-v1.20")
    for name in ("iptables-save.txt", "ip6tables-save.txt")
}

Content = Mapping[str, Mapping[str, tuple[str | None, list[str]]]]


def content(dump: Dump) -> Content:
    """What a dump says: table → chain → policy and rules."""
    return {
        table.name: {c.name: (c.policy, [strip_counters(c.text(i)).rstrip() for i in range(len(c))]) for c in table.chains.values()}
        for table in dump.tables.values()
    }


def known(dump: Dump) -> Content:
    """The same of what is known for certain."""
    assert not any(chain.unread or chain.may_continue for table in dump.tables.values() for chain in table.chains.values())
    return {} if dump.illegible else {name: chains for name, chains in content(dump).items() if name not in dump.unread}


@cache
def plain(name: str) -> Content:
    return known(parse_dump(DUMPS[name], "f"))


def each(change: Callable[[int, str], str]) -> Callable[[str], str]:
    return lambda text: "".join(f"{change(n, line)}\n" for n, line in enumerate(text.splitlines(), 1))


READ = {
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "indented": each(lambda n, line: f"    {line}"),
    "indented by tabs": each(lambda n, line: f"\t{line}"),
    "no-break spaces": each(lambda n, line: f"\xa0\xa0{line}"),
    "quoted": each(lambda n, line: f"> {line}"),
    "quoted twice": each(lambda n, line: f">> {line}"),
    "quoted and indented": each(lambda n, line: f">   {line}"),
    "numbered": each(lambda n, line: f"{n}: {line}"),
    "numbered by grep -n": each(lambda n, line: f"{n}:{line}"),
    "numbered by cat -n": each(lambda n, line: f"{n:6d}\t{line}"),
    "numbered by less -N": each(lambda n, line: f"{n:7d} {line}"),
    "grep's file": each(lambda n, line: f"nodes/n1/iptables-save.txt:{line}"),
    "grep's file and number": each(lambda n, line: f"iptables-save.txt:{n}:{line}"),
    "a host's name": each(lambda n, line: f"n1: {line}"),
    "a log of kubectl's": each(lambda n, line: f"2026-11-20T12:57:04.123456789Z {line}"),
    "a log of a container": each(lambda n, line: f"2026-11-20T12:57:04.123456789Z stdout F {line}"),
    "kubectl logs --prefix": each(lambda n, line: f"[pod/kube-proxy-x7k2p/kube-proxy] {line}"),
    "syslog": each(lambda n, line: f"Nov 20 12:57:04 n1 dump[123]: {line}"),
    "a time": each(lambda n, line: f"[12:57:04] {line}"),
    "colours": each(lambda n, line: f"\x1b[32m{line}\x1b[0m"),
    "colours within": each(lambda n, line: line.replace("KUBE", "\x1b[01;31m\x1b[KKUBE\x1b[m\x1b[K")),
    "a fence": lambda text: f"```\n{text}```\n",
    "a fence with a language": lambda text: f"Here is the dump:\n\n```console\n{text}```\nThanks!\n",
    "a prompt": lambda text: f"root@n1:~# iptables-save\n{text}root@n1:~# \n",
    "a prompt of sudo's": lambda text: f"[admin@n1 ~]$ sudo iptables-save -c\n{text}[admin@n1 ~]$ exit\n",
    "kubectl exec": lambda text: f"$ kubectl exec -n kube-system kube-proxy-x7k2p -- iptables-save\n{text}",
    "a banner": lambda text: (
        f"Welcome to Ubuntu 24.04 LTS\n\n * Documentation: https://help.ubuntu.com\nLast login: Fri Nov 20\n\n{text}\nlogout\n"
    ),
    "a remark of kubectl's": lambda text: f'Defaulted container "kube-proxy" out of: kube-proxy\n{text}',
    "blank lines": each(lambda n, line: f"{line}\n"),
    "trailing blanks": each(lambda n, line: f"{line}   "),
    "without comments": lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")),
    "a byte order mark": lambda text: f"\ufeff{text}",
}


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("way", READ)
def test_what_is_around_a_dump_is_none_of_it(name: str, way: str) -> None:
    text = READ[way](DUMPS[name])
    dump = parse_dump(text, "f")
    assert known(dump) == plain(name)
    assert dump.lists_all in (None, True)


def test_a_rule_stands_where_it_stood() -> None:
    text = READ["a fence with a language"](DUMPS["shop-iptables/iptables-save.txt"])
    chain = parse_dump(text, "f").tables["nat"].chains["KUBE-SERVICES"]
    assert text.splitlines()[chain.rule(0).line - 1].endswith(chain.rule(0).text)


UNCERTAIN = {
    "a difference": each(lambda n, line: f"+{line}"),
    "commented out": each(lambda n, line: f"#{line}"),
    "commands": each(lambda n, line: f"iptables {line}"),
    "without blanks": lambda text: text.replace(" ", ""),
    "in capitals": str.upper,
    "on one line": lambda text: text.replace("\n", " "),
    "a grep": lambda text: "".join(line for line in text.splitlines(keepends=True) if "KUBE" in line or "MASQ" in line),
    "a grep that is seen": lambda text: "root@n1:~# iptables-save | grep -v INPUT\n" + "".join(x for x in text.splitlines(keepends=True) if "INPUT" not in x),
    "the head": lambda text: "".join(text.splitlines(keepends=True)[:-4]),
    "a web page": lambda text: "<html><body>502 Bad Gateway</body></html>\n",
}  # fmt: skip


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("way", UNCERTAIN)
def test_what_is_not_certain_is_unknown(name: str, way: str) -> None:
    dump = parse_dump(UNCERTAIN[way](DUMPS[name]), "f")
    assert dump.illegible or dump.truncated or not {*dump.tables} & {*TABLES} - {*dump.unread}
    assert check(UNCERTAIN[way](DUMPS[name]), "f") or way == "commented out" or "grep" in way


# -- what -S prints -------------------------------------------------------------------------------------------------------------------


def listed(text: str, table: str, *, counted: bool = False) -> str:
    """What ``iptables -t TABLE -S`` prints of a dump."""
    found = text[text.index(f"*{table}\n") :]
    chains = re.findall(r"^:(\S+) (\S+) ", found[: found.index("COMMIT")], re.MULTILINE)
    rules = re.findall(r"^(?:\[[0-9:]+\] )?(-A (\S+).*)$", found[: found.index("COMMIT")], re.MULTILINE)
    counts = " -c 12 720" if counted else ""
    lines = [f"-P {name} {policy}{counts}" for name, policy in chains if policy != "-"]
    lines += [f"-N {name}" for name, policy in chains if policy == "-"]
    lines += [rule.replace(f"-A {chain}", f"-A {chain}{counts}", 1) for rule, chain in rules]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("table", ["nat", "filter", "mangle"])
def test_what_minus_s_prints_is_a_table(table: str, counted: bool) -> None:
    text = DUMPS["shop-iptables/iptables-save.txt"]
    dump = parse_dump(listed(text, table, counted=counted), "f")
    assert known(dump) == {table: content(parse_dump(text, "f"))[table]}
    assert (dump.lists_all, dump.truncated, dump.faults) == (False, False, [])


def test_several_tables_from_one_terminal() -> None:
    text = DUMPS["shop-iptables/iptables-save.txt"]
    typed = "".join(f"root@n1:~# iptables -t {t} -S\n{listed(text, t)}" for t in ("nat", "filter", "mangle"))
    whole = plain("shop-iptables/iptables-save.txt")
    assert known(parse_dump(typed + "root@n1:~# \n", "f")) == whole
    assert known(parse_dump("".join(listed(text, t) for t in ("nat", "filter")), "f")) == {t: whole[t] for t in ("nat", "filter")}
    short = f"$ iptables -S\n{listed(text, 'filter')}"
    assert known(parse_dump(short, "f")) == {"filter": whole["filter"]}


@pytest.mark.parametrize(
    "text",
    [
        "-N KUBE-SERVICES\n-A KUBE-SERVICES -j ACCEPT\n",  # of one chain
        "-P FORWARD DROP\n-A FORWARD -j ACCEPT\n",  # the same: any table has it
        "$ iptables -t nat -S\n-P FORWARD DROP\n",  # nat has no such chain
        "$ iptables -S FORWARD\n-P FORWARD DROP\n",
    ],
)
def test_what_minus_s_prints_of_one_chain_is_no_table(text: str) -> None:
    dump = parse_dump(text, "f")
    assert dump.illegible or {*dump.tables} <= {"", *dump.unread}


# -- damage ---------------------------------------------------------------------------------------------------------------------------


def _damaged(lines: list[str], drawn: random.Random) -> tuple[str, list[str]]:
    at = drawn.choice([n for n, line in enumerate(lines) if line and not line.startswith("#")])
    line = lines[at]
    blanks = [m.start() for m in re.finditer(" ", line)][:3] or [0]
    spot = drawn.choice(blanks)
    ways = {
        "a blank is lost": [line[:spot] + line[spot + 1 :]],
        "the first character is lost": [line[1:]],
        "the first word is lost": [line.partition(" ")[2] or "x"],
        "it is broken": [line[:spot], line[spot + 1 :]],
        "noise": ["--More--"],
        "an x before it": ["x" + line],
        "a declaration is lost" if line.startswith(":") else "it is doubled by x": [] if line.startswith(":") else [line + "x", line],
        "a header is lost" if line.startswith(("*", "COMMIT")) else "cut in its name": []
        if line.startswith(("*", "COMMIT"))
        else [line[:5]],
    }
    way = drawn.choice(sorted(ways))
    return f"line {at + 1}: {way}: {line!r}", [*lines[:at], *ways[way], *lines[at + 1 :]]


@pytest.mark.parametrize("seed", range(400))
def test_no_damage_makes_another_rule_set_that_is_certain(seed: int) -> None:
    """Whatever is certain of a damaged dump is what was certain of it: the rules before the damage, and whole chains."""
    drawn = random.Random(seed)
    name = drawn.choice(sorted(DUMPS))
    what, lines = _damaged(DUMPS[name].splitlines(), drawn)
    dump = parse_dump("\n".join(lines) + "\n", "f")
    if dump.illegible or dump.truncated:
        return
    assert {*dump.tables, *dump.unread} >= {*plain(name)}, what
    for table_name, chains in plain(name).items():
        if table_name in dump.unread:
            continue
        table = dump.tables[table_name]
        for chain, (policy, rules) in chains.items():
            if chain not in table.chains:
                # iptables-nft makes no built-in chain that nobody needs: without one packets go on, as by this policy.
                assert (policy in (None, "ACCEPT") and not rules) or any(table.chains[c].unread for c in table.chains), what
                continue
            found = table.chains[chain]
            assert found.policy == policy or found.unread, what
            for position, rule in enumerate(rules):
                if position >= len(found):
                    assert found.unread, what
                    break
                if found.rule(position).fault is not None:
                    break
                assert strip_counters(found.text(position)).rstrip() == rule.rstrip(), what
