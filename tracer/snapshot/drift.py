"""Where the rules recorded on a node differ from what kube-proxy would program for the snapshot's objects.

Owns which of a node's files are compared, and what is said where they cannot be: without rules nothing differs, and nothing agrees.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.errors import ParseError, UnsupportedError
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.drift.finding import Compared, Finding
from tracer.kubeproxy.drift.iptables import compare_iptables
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_tables import save_text
from tracer.packet import Family
from tracer.snapshot.node_files import DUMPS
from tracer.snapshot.proxy_configuration import FoundConfiguration, proxy_configuration
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

_MODES = ("iptables",)
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
    dumps = {v: dump for v in found.configuration.versions if (dump := _dump(snapshot, node, v)) is not None}
    unknown = list(_why_not(snapshot, found.configuration)) if dumps else []
    compared = {} if unknown else {v: _compare(snapshot, found.configuration, dump, v) for v, dump in dumps.items()}
    if compared:
        unknown += [said for one in compared.values() for said in one.unknown]
        unknown += [f"{fault} (rules of what cannot be read seem to be stale)" for fault in snapshot.objects.faults[:_SAID]]
    times = [at for dump in dumps.values() if (at := snapshot.read_at(node, dump.name)) is not None]
    return NodeDrift(
        node=node,
        found=found,
        compared=tuple(dumps[v].path for v, one in compared.items() if not one.unknown),
        findings=tuple(finding for one in compared.values() for finding in one.findings),
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
    for version in configuration.versions:
        yield DUMPS[Family.of(version)][0].name, save_text(iptables_rules(snapshot.objects, configuration, version=version))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dump:
    """One file with a node's rules: what it is called in the documented layout, its *path*, its *text*."""

    name: str
    path: str
    text: str


def _dump(snapshot: Snapshot, node: str, version: int) -> _Dump | None:
    """Return the dump of the back end in which kube-proxy's rules are; the first one where that does not show."""
    found = []
    for file in DUMPS[Family.of(version)]:
        try:
            text = snapshot.node_file(node, file.name)
        except ParseError:
            continue
        if text is not None:
            found.append(_Dump(name=file.name, path=snapshot.path_of(node, file.name), text=text))
    return next((one for one in found if _FRONT in one.text), found[0] if found else None)


def _compare(snapshot: Snapshot, configuration: Configuration, dump: _Dump, version: int) -> Compared:
    return compare_iptables(dump.text, dump.path, snapshot.objects, configuration, version=version)


def _why_not(snapshot: Snapshot, configuration: Configuration) -> Iterator[str]:
    """Yield why nothing can be compared: no model, or no objects to make rules of."""
    if configuration.mode not in _MODES:
        yield f"rules of {configuration.mode} mode are not compared yet"
    elif not configuration.release.is_modelled:
        yield f"what kube-proxy {configuration.release} writes is not modelled"
    elif not snapshot.objects.services:
        yield "the snapshot has no Services, which every cluster has: they were not read"
    elif not snapshot.objects.slices:
        yield "the snapshot has neither EndpointSlices nor Endpoints: they were not read"
