"""Where the rules recorded on a node differ from what kube-proxy would program for the snapshot's objects.

Owns which of a node's files are compared, and what is said where they cannot be: without rules nothing differs, and nothing agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracer.errors import ParseError, UnsupportedError
from tracer.kubeproxy.configuration import NEWEST, Configuration
from tracer.kubeproxy.drift.finding import Compared, Drift, Finding
from tracer.kubeproxy.drift.iptables import compare_iptables, compare_rules
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_tables import OUT_FILTER, Chains, save_text
from tracer.limits import DIFFERENCES
from tracer.packet import Family
from tracer.snapshot.held_addresses import held_addresses
from tracer.snapshot.node_files import DUMPS, IP_ADDR, IPSET_LIST, NFT_JSON, NFT_TEXT, SETS, VIRTUAL_SERVERS, NodeFile
from tracer.snapshot.proxy_configuration import IPVS_DEVICE, FoundConfiguration, proxy_configuration
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

_MODES = ("iptables", "nftables", "ipvs")
_XTABLES = (*DUMPS[Family.IP], *DUMPS[Family.IP6])
_MARKS = (
    ("iptables", "-A KUBE-SVC-", _XTABLES),
    ("ipvs", "-A KUBE-IPVS-FILTER ", _XTABLES),
    ("nftables", " kube-proxy {", (NFT_TEXT,)),
)
"""Mode → what its rules have in them, and the files that hold them."""
_SAID = 5
"""Of so many objects that cannot be read is said what is wrong."""
_FRONT = "KUBE-SERVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDrift:
    """What comes of comparing one node. *compared* are the files that were; *unknown* says in words what could not be compared,
    *more* how many differences there are beside *findings*.

    *is_recorded*: the snapshot holds rules of the node. The times are those at which its files and the objects were read, in Unix seconds.
    """

    node: str
    found: FoundConfiguration
    compared: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    more: int = 0
    unknown: tuple[str, ...] = ()
    is_recorded: bool = True
    rules_read_at: float | None = None
    objects_read_at: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "node": self.node,
            "mode": self.found.configuration.mode,
            "kube_proxy": str(self.found.configuration.release),
            "said": list(self.found.said),
            "assumed": list(self.found.assumed),
            "recorded": self.is_recorded,
            "compared": list(self.compared),
            "unknown": list(self.unknown),
            "rules_read_at": self.rules_read_at,
            "objects_read_at": self.objects_read_at,
            "more": self.more,
            "drift": [finding.to_dict() for finding in self.findings],
        }


def node_drift(snapshot: Snapshot, node: str, *, most: int | None = None) -> NodeDrift:
    """Return where the rules recorded on *node* are not what kube-proxy would program.

    At most *most* differences are told one by one, None: ``DIFFERENCES``.
    """
    most = DIFFERENCES if most is None else most
    found = proxy_configuration(snapshot, node)
    configuration = found.configuration
    dumps = tuple(_dumps(snapshot, node, configuration))
    unknown = list(_why_not(snapshot, configuration)) if dumps else []
    if dumps and snapshot.objects.node(node) is None:
        unknown.append(f"the snapshot has no Node {node}, on whose zone and addresses its rules depend")
    compared = [] if unknown else _compare_all(snapshot, configuration, dumps)
    if compared:
        unknown += [said for one in compared for said in one.unknown]
        unknown += [f"{fault} (rules of what cannot be read seem to be stale)" for fault in snapshot.objects.faults[:_SAID]]
    findings = [finding for one in compared for finding in one.findings]
    if configuration.mode in _MODES:
        findings += _of_other_modes(snapshot, node, configuration.mode)
    times = [at for dump in dumps if (at := snapshot.read_at(node, dump.name)) is not None]
    return NodeDrift(
        node=node,
        found=found,
        compared=tuple(dump.path for dump, one in zip(dumps, compared, strict=False) if one.is_compared and not one.unknown),
        findings=tuple(findings[:most]),
        more=max(0, len(findings) - most),
        unknown=tuple(unknown),
        is_recorded=bool(dumps),
        rules_read_at=max(times, default=None),
        objects_read_at=snapshot.objects_read_at("EndpointSlice"),
    )


def expected_texts(snapshot: Snapshot, configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file that a node's tools would print of kube-proxy's rules.

    :raises UnsupportedError: what kube-proxy writes is not modelled, or there are no objects to make rules of.
    """
    if why := next(_why_not(snapshot, configuration), ""):
        raise UnsupportedError(why)
    if configuration.mode == "ipvs":
        yield from _expected_ipvs(snapshot, configuration)
        return
    if configuration.mode == "nftables":
        from tracer.kubeproxy.nft_layout import likely_layout
        from tracer.kubeproxy.nftables_rules import nftables_table

        if (layout := likely_layout(configuration.release)) is None:
            raise UnsupportedError(f"how kube-proxy {configuration.release} lays out its table of nftables is not known")
        tables = (nftables_table(snapshot.objects, configuration, layout, version=v).to_text() for v in configuration.versions)
        yield NFT_TEXT.name, "".join(tables)
        return
    for version in configuration.versions:
        yield DUMPS[Family.of(version)][0].name, save_text(iptables_rules(snapshot.objects, configuration, version=version))


def _expected_ipvs(snapshot: Snapshot, configuration: Configuration) -> Iterator[tuple[str, str]]:
    from tracer.ipvs.ipvsadm_save import to_text
    from tracer.kubeproxy.ipvs_rules import ipvs_state

    states = [ipvs_state(snapshot.objects, configuration, version=version) for version in configuration.versions]
    for state in states:
        yield DUMPS[Family.of(state.version)][0].name, save_text(state.tables)
    yield SETS.name, "".join(f"{line}\n" for state in states for line in state.save_sets())
    yield VIRTUAL_SERVERS.name, to_text(tuple(server for state in states for server in state.servers))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dump:
    """One file with a node's rules: what it is called in the documented layout, its *path*, its *text*; *version* None: both families."""

    name: str
    path: str
    text: str
    version: int | None = None


def _dumps(snapshot: Snapshot, node: str, configuration: Configuration) -> Iterator[_Dump]:
    """Yield the files that hold what kube-proxy writes in its mode."""
    if configuration.mode == "nftables":
        yield from list(_read(snapshot, node, (NFT_TEXT, NFT_JSON)))[:1]
        return
    if configuration.mode == "ipvs":
        yield from _read(snapshot, node, (VIRTUAL_SERVERS,))
        yield from list(_read(snapshot, node, (SETS, IPSET_LIST)))[:1]
    for version in configuration.versions:
        found = list(_read(snapshot, node, DUMPS[Family.of(version)], version))
        # Of both back ends the one in which kube-proxy's rules are; the first one where that does not show.
        yield from [one for one in found if _FRONT in one.text][:1] or found[:1]


def _read(snapshot: Snapshot, node: str, files: Sequence[NodeFile], version: int | None = None) -> Iterator[_Dump]:
    for file in files:
        try:
            text = snapshot.node_file(node, file.name)
        except ParseError:
            continue
        if text is not None:
            yield _Dump(name=file.name, path=snapshot.path_of(node, file.name), text=text, version=version)


def _compare_all(snapshot: Snapshot, configuration: Configuration, dumps: Sequence[_Dump]) -> list[Compared]:
    """Return what comes of comparing each of *dumps*; in IPVS mode behind them that of kube-ipvs0's addresses."""
    if configuration.mode != "ipvs":
        return [_compare(snapshot, configuration, dump) for dump in dumps]
    # A question about a node of another mode does without this one's readers; so it is with nftables.
    from tracer.kubeproxy.drift.ipvs import compare_bound, compare_servers, compare_sets
    from tracer.kubeproxy.ipvs_rules import ipvs_state

    objects = snapshot.objects
    texts = [dump.text for dump in dumps]
    shown = any("KUBE-6-" in text for text in texts)
    versions = [v for v in configuration.versions if not configuration.may_lack(v) or (v == 6 and shown)]
    states = {version: ipvs_state(objects, configuration, version=version) for version in versions}
    compared, every = list[Compared](), tuple(states.values())
    for dump in dumps:
        if (other := _not_programmed(configuration, dump)) is not None:
            compared.append(other)
        elif dump.version is not None:
            tables = _as_of_release(states[dump.version].tables, configuration, dump)
            compared.append(compare_rules(dump.text, dump.path, objects, tables))
        elif dump.name == VIRTUAL_SERVERS.name:
            compared.append(compare_servers(dump.text, dump.path, objects, every))
        else:
            compared.append(compare_sets(dump.text, dump.path, objects, every))
    held = held_addresses(snapshot, configuration.node)
    if held is not None:
        bound = [address for device, address in held if device == IPVS_DEVICE and not address.is_link_local]
        elsewhere = [address for device, address in held if device != IPVS_DEVICE]
        compared.append(compare_bound(bound, elsewhere, snapshot.path_of(configuration.node, IP_ADDR.name), objects, every))
    return compared


def _as_of_release(tables: Mapping[str, Chains], configuration: Configuration, dump: _Dump) -> Mapping[str, Chains]:
    """Return *tables* without the chain that older releases do not have, where the recorded rules do not have it either."""
    if configuration.release.minor >= NEWEST.minor or OUT_FILTER in dump.text:
        return tables
    kept = ((table, chains.items()) for table, chains in tables.items())
    return {t: {c: [r for r in rules if OUT_FILTER not in r] for c, rules in chains if c != OUT_FILTER} for t, chains in kept}


def _compare(snapshot: Snapshot, configuration: Configuration, dump: _Dump) -> Compared:
    if dump.version is None:
        from tracer.kubeproxy.drift.nftables import compare_nftables

        is_json = dump.name == NFT_JSON.name
        return compare_nftables(dump.text, dump.path, snapshot.objects, configuration, is_json=is_json)
    if (other := _not_programmed(configuration, dump)) is not None:
        return other
    return compare_iptables(dump.text, dump.path, snapshot.objects, configuration, version=dump.version)


def _not_programmed(configuration: Configuration, dump: _Dump) -> Compared | None:
    """Return what is to be said of a dump without any rule of kube-proxy's; None for any other."""
    if dump.version is None or _FRONT in dump.text:
        return None
    if configuration.may_lack(dump.version):
        return Compared(is_compared=False)
    return Compared(unknown=(f"{dump.path} has no chain {_FRONT}: kube-proxy did not program this node in this mode",))


def _of_other_modes(snapshot: Snapshot, node: str, mode: str) -> Iterator[Finding]:
    """Yield what a mode in which kube-proxy does not run left behind: the rules still hold for packets."""
    for other, mark, files in _MARKS:
        for dump in _read(snapshot, node, files) if other != mode else ():
            lines = [n for n, line in enumerate(dump.text.split("\n"), 1) if mark in line]
            if lines:
                note = f"{len(lines)} lines of {other} mode, in which kube-proxy does not run there"
                text = dump.text.split("\n")[lines[0] - 1].strip()
                yield Finding(drift=Drift.LEFTOVER, file=dump.path, place=f"{other} mode", line=lines[0], text=text, note=note)


def _why_not(snapshot: Snapshot, configuration: Configuration) -> Iterator[str]:
    """Yield why nothing can be compared: no model, or no objects to make rules of."""
    if configuration.mode not in _MODES:
        yield f"rules of {configuration.mode} mode are not compared yet"
    elif not _is_modelled(configuration):
        yield f"what kube-proxy {configuration.release} writes in {configuration.mode} mode is not modelled"
    elif not snapshot.objects.services:
        yield "the snapshot has no Services, which every cluster has: they were not read"
    elif not snapshot.objects.slices:
        yield "the snapshot has neither EndpointSlices nor Endpoints: they were not read"


def _is_modelled(configuration: Configuration) -> bool:
    """Return whether what the node's release writes in its mode is known, or can be told from what is recorded."""
    release = configuration.release
    if configuration.mode == "nftables":
        from tracer.kubeproxy.nft_layout import ALPHA_MINOR

        return release.minor >= ALPHA_MINOR
    return release.is_modelled and not (configuration.mode == "ipvs" and release.is_old)
