"""Both forms of every listing to one model, and the model back to text that the kernel takes and lists the same."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.oracle.netns import CommandFailed, Namespace, why_not
from tests.oracle.nft_rulesets import NftGenerator
from tests.sizes import every
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_print import to_text
from tracer.netfilter.nft_rules import is_xtables
from tracer.netfilter.nft_text import parse_text


def _native(ruleset: n.NftRuleset) -> list[n.NftTable]:
    """The tables but those of iptables-nft: what iptables' own extensions match, the two listings print each in its own way."""
    return [table for table in ruleset.tables if not is_xtables(table)]


def _recordings() -> list[Path]:
    return sorted(SHARED.glob("recordings/*/nodes/*/nft-ruleset.txt"))


@cache
def _flows() -> list[tuple[str, str]]:
    path = SHARED / "conformance/nftables_flows.json.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt") as file:
        found = json.load(file)
    syncs = SHARED / "conformance/nftables_syncs.json.gz"
    with gzip.open(syncs, "rt") as file:
        more = json.load(file)["syncs"]
    dumps = [(str(x["id"]), x["nft_dump"]) for x in (*found["flows"], *found["rule_goldens"])]
    return dumps + [(f"sync {at}", x["nft_dump"]) for at, x in enumerate(more)]


@pytest.fixture(scope="module")
def space() -> Iterator[Namespace]:
    """A network namespace of its own."""
    reason = why_not() or (None if shutil.which("nft") else "nft is not installed")
    if reason:
        pytest.skip(reason)
    with Namespace() as made:
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "pod1a")
        made.run("ip", "link", "add", "cni0", "type", "bridge")
        yield made


def _load(space: Namespace, text: str) -> None:
    space.run("nft", "-f", "/dev/stdin", text="flush ruleset\n")
    space.run("nft", "-c", "-f", "/dev/stdin", text=text)
    space.run("nft", "-f", "/dev/stdin", text=text)


def _listed(space: Namespace) -> tuple[n.NftRuleset, n.NftRuleset]:
    """What the kernel lists, from the text and from the JSON; without faults."""
    listing = space.run("nft", "list", "ruleset")
    text, from_json = parse_text(listing, "f"), parse_json(space.run("nft", "-j", "list", "ruleset"), "f")
    assert not text.check(), "\n".join(map(str, text.faults))
    assert not from_json.check(), "\n".join(map(str, from_json.faults))
    return text, from_json


def _shown_flags(found: n.NftSet, table: n.NftTable) -> tuple[str, ...]:
    """NB: the JSON listing of nft 1.0.6 leaves ``dynamic`` out; where a rule updates the set it is put back."""
    updated = {s.set for chain in table.chains.values() for rule in chain.rules for s in rule.statements if isinstance(s, n.SetUpdate)}
    return tuple(f for f in found.flags if f != "dynamic" or found.name in updated)


def _assert_same(left: n.NftRuleset, right: n.NftRuleset) -> None:
    for one, other in zip(_native(left), _native(right), strict=True):
        assert list(one.sets) == list(other.sets)
        for name, found in one.sets.items():
            assert replace(found, flags=_shown_flags(found, one)) == replace(other.sets[name], flags=_shown_flags(other.sets[name], other))
        assert list(one.chains) == list(other.chains)
        for name, chain in one.chains.items():
            for rule, same in zip(chain.rules, other.chains[name].rules, strict=True):
                assert rule == same
            assert chain == other.chains[name]
        assert (one.family, one.name, one.flags) == (other.family, other.name, other.flags)


@pytest.mark.needs_shared
@pytest.mark.parametrize("path", _recordings(), ids=lambda p: f"{p.parts[-4]}/{p.parts[-2]}")
def test_text_and_json_of_a_recording_are_one_model(path: Path) -> None:
    text, from_json = parse_text(path.read_text(), "f"), parse_json(path.with_suffix(".json").read_text(), "f")
    assert not text.check()
    assert not from_json.check()
    assert any(table.name == "kube-proxy" for table in _native(text))
    assert len(_native(text)) == len(_native(from_json))
    _assert_same(text, from_json)


@pytest.mark.needs_root
@pytest.mark.needs_shared
@pytest.mark.parametrize("path", _recordings(), ids=lambda p: f"{p.parts[-4]}/{p.parts[-2]}")
def test_text_of_a_recording_loads_and_lists_the_same(path: Path, space: Namespace) -> None:
    model = parse_text(path.read_text(), "f")
    model.tables = _native(model)
    _load(space, to_text(model))
    text, from_json = _listed(space)
    _assert_same(model, text)
    _assert_same(text, from_json)


@pytest.mark.needs_root
@pytest.mark.needs_shared
@pytest.mark.parametrize(("name", "dump"), every(_flows(), 3), ids=lambda x: x if len(x) < 60 else "")
def test_scripts_of_conformance_list_as_their_models_do(name: str, dump: str, space: Namespace) -> None:
    """NB: nft shortens what a script says (a set of one element is that element), so models of script and listing may differ."""
    script = parse_text(dump, name)
    assert not script.check(), "\n".join(map(str, script.faults))
    _load(space, dump)
    text, from_json = _listed(space)
    _assert_same(text, from_json)
    assert [{c: len(ch.rules) for c, ch in t.chains.items()} for t in script.tables] == [
        {c: len(ch.rules) for c, ch in t.chains.items()} for t in text.tables
    ]
    _load(space, to_text(script))
    _assert_same(text, _listed(space)[0])


@pytest.mark.needs_root
@pytest.mark.parametrize("seed", every(range(30), 3))
@pytest.mark.parametrize("version", [4, 6])
def test_random_rule_sets_list_as_one_model(seed: int, version: int, space: Namespace) -> None:
    """What nft prints of a random rule set, both forms; and our text of it loads as nft's own listing does."""
    made = NftGenerator(seed, version=version).rule_set()
    while True:
        try:
            _load(space, made.text())
            break
        except CommandFailed as error:
            made.drop(str(error))
    listing = space.run("nft", "list", "ruleset")
    text, from_json = _listed(space)
    _assert_same(text, from_json)
    assert _relisted(space, to_text(text)) == _relisted(space, listing)


def _relisted(space: Namespace, text: str) -> object:
    """What the kernel lists after loading *text*: elements without their order, which is the kernel's own; None where nft refuses it.

    NB: nft does not always take what it prints (``meta l4proto udp meta l4proto { tcp, udp }``), and prints some rules in another way then.
    """
    try:
        _load(space, text)
    except CommandFailed:
        return None
    listed, _ = _listed(space)
    return [
        (t.family, t.name, {s.name: sorted(map(str, s.elements)) for s in t.sets.values()}, {c.name: _shape(c) for c in t.chains.values()})
        for t in listed.tables
    ]


def _shape(chain: n.NftChain) -> object:
    rules = [re.sub(r"\{ ([^{}]*) \}", lambda found: str(sorted(found[1].split(", "))), rule.text) for rule in chain.rules]
    return chain.hook, chain.type, chain.priority, chain.policy, rules
