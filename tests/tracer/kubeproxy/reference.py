"""kube-proxy's own outputs on known objects (../shared/conformance): its objects and settings as ours, and its rules as they would be saved."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration, LocalDetector, NodePortAddresses
from tracer.kubeproxy.rule_spelling import WORDS
from tracer.kubeproxy.rule_tables import is_ordered

CONFORMANCE = Path(__file__).resolve().parents[4] / "shared" / "conformance"
_MATCH_FIRST = ("-s", "-d", "-i", "-o", "-p")


def read_reference(name: str) -> dict[str, Any]:
    """Return what a file of the reference holds."""
    return json.loads(gzip.decompress((CONFORMANCE / f"{name}.json.gz").read_bytes()))


def objects_of(record: dict[str, Any]) -> Objects:
    """Return the objects of a record."""
    items = [{"kind": kind, **one} for kind, key in (("Service", "services"), ("EndpointSlice", "endpointslices")) for one in record[key]]
    text = json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
    return Objects([ObjectFile("objects.json", lambda: text.encode())])


def version_of(record: dict[str, Any]) -> int:
    """Return the family of a record, 4 or 6."""
    return int(record["ip_family"][-1])


def configuration_of(record: dict[str, Any], mode: str = "iptables") -> Configuration:
    """Return the settings of a record as ours."""
    told, version = record["proxier_config"], version_of(record)
    detector = told["local_detector"]
    networks = [ip_network(text) for text in told["node_port_addresses"]]
    held = [ip_interface(text).ip for text in told["interface_addrs"]]
    chosen = [a for a in held if a.version == version and any(a in n for n in networks if n.version == version)]
    counters = told.get("nfacct_counters", {})
    return Configuration(
        node=told["node_name"],
        mode=mode,
        detectors={version: LocalDetector(network=ip_network(detector["if_local"][-1]))} if detector["implemented"] else {},
        node_ips={version: ip_address(told["node_ip"])} if told["node_ip"] else {},
        node_port_addresses={version: NodePortAddresses(is_all=any(n.prefixlen == 0 for n in networks), addresses=tuple(chosen))},
        masquerade_all=told["masquerade_all"],
        service_cidrs=tuple(ip_network(text) for text in [told.get("service_cidrs")] if text),
        localhost_node_ports=told.get("localhost_node_ports", True),
        is_conntrack_liberal=told.get("conntrack_tcp_liberal", False),
        counters=frozenset(counters),
        has_random_fully=told.get("has_random_fully", False),
    )


def saved(text: str, version: int) -> dict[str, dict[str, list[str]]]:
    """Return the chains of what iptables-restore is given as iptables-save would print them, by table."""
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains.setdefault(line[1:].split()[0], [])
        elif line.startswith("-A"):
            chains.setdefault(line.split()[1], []).append(saved_rule(line, version))
    return tables


def saved_rule(line: str, version: int) -> str:
    """Return a rule of iptables-restore's as iptables-save prints it; only of what kube-proxy writes."""
    words, first, rest, target, recent = shlex.split(line)[2:], {}, [], [], False
    at, negated = 0, ""
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 2
        if word == "!":
            negated, at = "! ", at - 1
        elif word == "-m":
            recent = value == "recent"
            rest += [word, value]
        elif word in _MATCH_FIRST:
            prefix = WORDS[version].prefix if word in ("-s", "-d") and "/" not in value else ""
            first[word] = f"{negated}{word} {value}{prefix}"
            negated = ""
        elif word == "-j":
            target = ["-j", value]
            at_target = words[at:]
            target += _target(value, at_target, version)
            break
        elif word == "--comment":
            rest += [word, f'"{value}"' if re.search(r"[^A-Za-z0-9_-]", value) else value]
        elif word == "--probability":
            rest += [word, f"{round(float(value) * (1 << 31)) / (1 << 31):.11f}"]
        elif word == "--nfacct-name":
            rest += [word, f" {value}"]
        elif word == "--match-set":
            rest, at = [*rest, word, value, words[at]], at + 1
        elif word == "--physdev-is-in":
            rest, at, negated = [*rest, f"{negated}{word}"], at - 1, ""
        elif recent and word in ("--set", "--rcheck", "--reap"):
            rest, at = [*rest, word], at - 1
        else:
            rest += [f"{negated}{word}", value]
            negated = ""
    text = " ".join((*(first[k] for k in _MATCH_FIRST if k in first), *rest))
    text = re.sub(r"-m recent --name (\S+) --set", r"-m recent --set --name \1", text)
    text = re.sub(r"-m recent --name (\S+) --rcheck --seconds (\d+) --reap", r"-m recent --rcheck --seconds \2 --reap --name \1", text)
    text = re.sub(r"(-m recent \S+ (?:--seconds \d+ --reap )?--name \S+)", rf"\1 --mask {WORDS[version].mask} --rsource", text)
    return " ".join(filter(None, (f"-A {line.split()[1]}", text, *target)))


def _target(name: str, options: list[str], version: int) -> list[str]:
    match name, options:
        case "REJECT", []:
            return ["--reject-with", WORDS[version].reject]
        case "MARK", ["--or-mark", mark]:
            return ["--set-xmark", f"{mark}/{mark}"]
        case "MARK", ["--xor-mark", mark]:
            return ["--set-xmark", f"{mark}/0x0"]
        case _:
            return options


def compared(tables: dict[str, dict[str, list[str]]]) -> dict[tuple[str, str], list[str]]:
    """Return chains as they are compared: without canaries and empty ones; those that follow a Go map sorted, their last rule last."""
    return {
        (table, chain): rules
        if is_ordered(chain)
        else [*sorted(r for r in rules if "must be the last" not in r), *sorted(r for r in rules if "must be the last" in r)]
        for table, chains in tables.items()
        for chain, rules in chains.items()
        if rules
    }
