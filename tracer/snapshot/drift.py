"""Where the rules recorded on a node differ from what kube-proxy would program for the snapshot's objects.

Owns which of a node's files are compared, and what is said where they cannot be: without rules nothing differs, and nothing agrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracer.errors import ParseError, UnsupportedError
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.drift.finding import Compared, Drift, Finding
from tracer.kubeproxy.drift.iptables import compare_iptables
from tracer.kubeproxy.drift.nftables import compare_nftables
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.nft_layout import ALPHA_MINOR, layout_of
from tracer.kubeproxy.nftables_rules import nftables_table
from tracer.kubeproxy.rule_tables import save_text
from tracer.packet import Family
from tracer.snapshot.node_files import DUMPS, NFT_JSON, NFT_TEXT, NodeFile
from tracer.snapshot.proxy_configuration import FoundConfiguration, proxy_configuration
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

_MODES = ("iptables", "nftables")
_MARKS = (("iptables", "-A KUBE-SVC-", (*DUMPS[Family.IP], *DUMPS[Family.IP6])), ("nftables", " kube-proxy {", (NFT_TEXT,)))
"""Mode → what its rules have in them, and the files that hold them."""
_SAID = 5
"""Of so many objects that cannot be read is said what is wrong."""
_FRONT = ":KUBE-SERVICES "


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDrift:
    """What comes of comparing one node. *compared* are the files that were; *unknown* says in words what could not be compared.

    *is_recorded*: the snapshot holds rules of the node. The times are those at which its files and the objects were read, in Unix seconds.
    """

    node: str
    found: FoundConfiguration
    compared: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
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
            "drift": [finding.to_dict() for finding in self.findings],
        }


def node_drift(snapshot: Snapshot, node: str) -> NodeDrift:
    """Return where the rules recorded on *node* are not what kube-proxy would program."""
    found = proxy_configuration(snapshot, node)
    configuration = found.configuration
    dumps = tuple(_dumps(snapshot, node, configuration))
    unknown = list(_why_not(snapshot, configuration)) if dumps else []
    compared = [] if unknown else [_compare(snapshot, configuration, dump) for dump in dumps]
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
        compared=tuple(dump.path for dump, one in zip(dumps, compared, strict=False) if not one.unknown),
        findings=tuple(findings),
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
    if configuration.mode == "nftables":
        if (layout := layout_of(configuration.release)) is None:
            raise UnsupportedError(f"how kube-proxy {configuration.release} lays out its table of nftables is not known")
        tables = (nftables_table(snapshot.objects, configuration, layout, version=v).to_text() for v in configuration.versions)
        yield NFT_TEXT.name, "".join(tables)
        return
    for version in configuration.versions:
        yield DUMPS[Family.of(version)][0].name, save_text(iptables_rules(snapshot.objects, configuration, version=version))


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


def _compare(snapshot: Snapshot, configuration: Configuration, dump: _Dump) -> Compared:
    if dump.version is None:
        is_json = dump.name == NFT_JSON.name
        return compare_nftables(dump.text, dump.path, snapshot.objects, configuration, is_json=is_json)
    if _FRONT not in dump.text and dump.version not in configuration.node_ips:
        return Compared()  # a family that the node does not have, and kube-proxy need not have programmed
    return compare_iptables(dump.text, dump.path, snapshot.objects, configuration, version=dump.version)


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
    elif not configuration.release.is_modelled or (configuration.mode == "nftables" and configuration.release.minor < ALPHA_MINOR):
        yield f"what kube-proxy {configuration.release} writes in {configuration.mode} mode is not modelled"
    elif not snapshot.objects.services:
        yield "the snapshot has no Services, which every cluster has: they were not read"
    elif not snapshot.objects.slices:
        yield "the snapshot has neither EndpointSlices nor Endpoints: they were not read"
