"""A node's rules as kube-proxy would program them for the objects, where none of the node's own were recorded.

Owns when that is done, and what is said and assumed of it. A node of which any file of rules is there is left as it was recorded, partial
or not: what such a file lacks is unknown, not modelled. What the rules are is ``tracer.kubeproxy``'s business. Beside them stands what the
network plugin does to packets that leave the pods' network: no object says it, so it is an assumption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_network

from tracer.assumptions import MASQUERADE, MODE, NON_POD, PROXY
from tracer.frontends.kinds import IN_KERNEL_MAPS
from tracer.ipvs.ipvsadm_save import to_text
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.fields import Network
from tracer.kube.objects import Objects
from tracer.kube.selected import selected_slices
from tracer.kube.service import Service
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.ipvs_rules import ipvs_state
from tracer.kubeproxy.nft_layout import NftLayout, likely_layout
from tracer.kubeproxy.nftables_rules import nftables_table
from tracer.kubeproxy.rule_tables import LARGE, Chains, save_text
from tracer.kubeproxy.userspace_rules import MOST_PORTS, userspace_rules
from tracer.kubeproxy.windows_balancers import WindowsBalancers
from tracer.limits import WRITTEN
from tracer.packet import Family, Packet, endpoint_text
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_configuration import FoundConfiguration, proxy_configuration
from tracer.topology.programmed import Keys, Programmed, has_rules, services_for

MODELLED = ("iptables", "nftables", "ipvs")
"""The modes whose rules are modelled."""
_USERSPACE = "userspace"
_HAVE_USERSPACE = range(20, 26)
"""The releases whose userspace mode is taken to be 1.20's; 1.26 has none. Source: CHANGELOG-1.26."""
_OWN_PORTS = "the ports of kube-proxy's own process are numbered here: it draws them when it begins"
_MASQUERADE_CHAIN = "PLUGIN-MASQUERADE"
_HOST_PORTS, _HOST_PORT_MASQ, _HOST_PORT_MARK = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"
MAKERS = {_MASQUERADE_CHAIN: "network plugin (assumed)", "CNI-HOSTPORT-": "CNI portmap", "-A CNI-DN-": "CNI portmap"}
"""Whose rules those are that kube-proxy does not write, by a word in each of them. The first chain is of no program's own."""
Tables = dict[int, dict[str, Chains]]
"""Chains by IP version and table."""
_SELECTED = "endpoints are the ready pods that each Service selects: no EndpointSlices were recorded"
_AROUND = {4: 24, 6: 64}
_NETWORKS = "the pods' networks are those around their addresses (/24, IPv6 /64): neither kube-proxy's settings nor the Nodes name them"
_ANNOTATED = ("network.cilium.io/", "io.cilium.network.")
"""What agents that may serve Services write on their nodes. Source: cilium pkg/annotation."""
_OTHER_PROXIES = ("kube-router",)
"""Labels ``k8s-app`` of programs that may serve Services by rules of their own."""


def programmed(snapshot: Snapshot, node: str, settings: Mapping[str, str], only: Keys | None = None) -> Programmed | None:
    """Return the rules of *node* as kube-proxy would program them; None where any of its own were recorded, in whatever form.

    *settings* are those of a question's assumptions that nothing recorded speaks against. *only*: the rules of these Services, and what
    stands there whatever the Services are; ``lacks`` then tells which others a packet would need.
    """
    if has_rules(snapshot, node):
        return None
    why = next(_why_not(snapshot, node), "")
    if why:
        return Programmed(texts={}, assumed={}, why_not=why)
    found = proxy_configuration(snapshot, node, settings)
    configuration, assumed = found.configuration, _assumed(found, node)
    if configuration.mode not in (*MODELLED, _USERSPACE):
        return Programmed(texts={}, assumed=assumed, why_not=f"what kube-proxy programs in {configuration.mode} mode is not modelled yet")
    if configuration.mode == _USERSPACE and configuration.release.minor not in _HAVE_USERSPACE:
        return Programmed(
            texts={}, assumed=assumed, why_not=f"kube-proxy {configuration.release} has no mode {_USERSPACE}, or none that is known"
        )
    if not configuration.release.is_modelled and configuration.mode != _USERSPACE:
        return Programmed(texts={}, assumed=assumed, why_not=f"what kube-proxy {configuration.release} programs is not modelled")
    layout = likely_layout(configuration.release)
    if configuration.mode == "nftables" and layout is None:
        why = f"how kube-proxy {configuration.release} lays out its table of nftables is not known"
        return Programmed(texts={}, assumed=assumed, why_not=why)
    pods, networks_taken = _pod_networks(snapshot, configuration)
    masquerades = settings.get(MASQUERADE, NON_POD) == NON_POD
    objects = _told(snapshot.objects, only)
    if why := _too_much(objects, snapshot, configuration, pods):
        return Programmed(texts={}, assumed=assumed, why_not=why)
    tables, more = _tables(objects, configuration, layout, has_comments=None if only is None else not _is_large(snapshot.objects))
    for version, held in tables.items():
        _add_host_ports(held["nat"], snapshot, node, version)
        _add_masquerading(held["nat"], [network for network in pods if masquerades and network.version == version])
    return Programmed(
        by=f"kube-proxy {configuration.release} {configuration.mode}",
        texts={family: save_text(tables[4 if family is Family.IP else 6]) for family in Family},
        assumed=assumed,
        taken=(
            *found.taken,
            *((_OWN_PORTS,) if configuration.mode == _USERSPACE else ()),
            *(() if snapshot.objects.has_endpoints else (_SELECTED,)),
            *networks_taken,
        ),
        pods=pods,
        modes=tuple(mode for mode in MODELLED if mode != "nftables" or layout is not None),
        lacks=partial(_lacked, snapshot.objects, only) if only is not None else lambda packet: frozenset(),
        **more,
    )


def windows_balancers(snapshot: Snapshot, node: str) -> WindowsBalancers | None:
    """Return the load balancers that kube-proxy would make on a Windows node of which none were recorded; None: the objects do not tell."""
    if next(_why_not(snapshot, node), ""):
        return None
    objects, found = snapshot.objects, proxy_configuration(snapshot, node)

    def slices_of(services: Sequence[Service]) -> list[EndpointSlice]:
        if not objects.has_endpoints:
            return list(selected_slices(services, objects.pods))
        return [one for service in services for one in objects.slices_of(*service.key)]

    notes = (*found.assumed, *(() if objects.has_endpoints else (_SELECTED,)))
    return WindowsBalancers(objects, found.configuration, slices_of, is_dsr=found.is_dsr, notes=notes)


def _told(objects: Objects, only: Keys | None) -> Objects:
    """What rules are made of: the Services, and their endpoints as they were recorded, or as selectors and ready pods make them."""
    services = objects.services if only is None else [s for key in sorted(only) if (s := objects.service(*key)) is not None]
    if not objects.has_endpoints:
        return Objects.of(services, selected_slices(services, objects.pods))
    if only is None:
        return objects
    return Objects.of(services, [one for service in services for one in objects.slices_of(*service.key)])


def _lacked(objects: Objects, only: Keys, packet: Packet) -> Keys:
    return services_for(objects, packet.destination, packet.destination_port, packet.protocol) - only


def _is_large(objects: Objects) -> bool:
    """Whether kube-proxy leaves comments out. NB: by the number of slices, of which most have at least one endpoint."""
    return objects.number_of("EndpointSlice") > LARGE


def _tables(
    objects: Objects, configuration: Configuration, layout: NftLayout | None, *, has_comments: bool | None
) -> tuple[Tables, dict[str, str]]:
    """What kube-proxy writes in its mode: the iptables tables of both families, and the texts of everything else by their names here."""
    versions = configuration.versions
    tables: Tables = {4: {}, 6: {}}
    more: dict[str, str] = {}
    if configuration.mode == "nftables" and layout is not None:
        more["nft"] = "".join(nftables_table(objects, configuration, layout, version=version).to_text() for version in versions)
    elif configuration.mode == "ipvs":
        states = [ipvs_state(objects, configuration, version=version) for version in versions]
        tables |= {state.version: state.tables for state in states}
        more["sets"] = "".join(f"{line}\n" for state in states for line in state.save_sets())
        more["virtual"] = to_text(tuple(server for state in states for server in state.servers))
    elif configuration.mode == _USERSPACE:
        # One proxier, of the family of the node's first address, in every release that has the mode.
        primary: int = next(reversed(list(configuration.node_ips)), 4)
        tables |= {primary: userspace_rules(objects, configuration, version=primary)}
    else:
        tables |= {version: iptables_rules(objects, configuration, version=version, has_comments=has_comments) for version in versions}
    for held in tables.values():
        for name in ("mangle", "filter", "nat"):
            held.setdefault(name, {})
    return tables, more


def _why_not(snapshot: Snapshot, node: str) -> Iterator[str]:
    """Yield why the objects do not tell what is programmed on *node*."""
    objects = snapshot.objects
    if not objects.number_of("Service"):
        yield "kube-proxy's rules follow from Services, and the snapshot has none"
    if not objects.has_endpoints and not objects.number_of("Pod"):
        yield "kube-proxy's rules follow from EndpointSlices, and the snapshot has neither these nor pods"
    here = [pod for pod in objects.host_network_pods if pod.node_name == node]
    if any(pod.kube_proxy is not None for pod in here):
        return
    agent = next((p for p in here if p.labels.get("k8s-app") in _OTHER_PROXIES or any(k.is_agent(p.labels) for k in IN_KERNEL_MAPS)), None)
    if agent is not None:
        yield f"pod {agent.namespace}/{agent.name} may serve Services there itself, and no kube-proxy is seen to run"
    config = objects.config_map("kube-system", "cilium-config")
    said = config.texts.get("kube-proxy-replacement", "").strip() if config is not None else ""
    if said not in ("", "false", "disabled"):
        yield f"ConfigMap kube-system/cilium-config says kube-proxy-replacement: {said}"
    listed = objects.node(node)
    marks = listed.annotations if listed is not None else {}
    if (key := next((name for name in marks if name.startswith(_ANNOTATED)), None)) is not None:
        yield f"node {node} has the annotation {key}, whose agent may serve Services itself, and no kube-proxy is seen to run"


def _too_much(objects: Objects, snapshot: Snapshot, configuration: Configuration, pods: Sequence[Network]) -> str:
    """Why so much would be written that nothing is modelled; "" where it is not."""
    addresses = sum(len(service.external_ips) + len(service.load_balancer_ingress) for service in objects.services)
    ports = sum(port.host_port is not None for pod in snapshot.objects.pods if pod.node_name == configuration.node for port in pod.ports)
    counts = {"external addresses of Services": addresses, "published ports of pods": ports, "networks of pods": len(pods)}
    if configuration.mode == _USERSPACE and sum(len(service.ports) for service in objects.services) > MOST_PORTS:
        return f"there are more than {MOST_PORTS:,} ports of Services, as many as kube-proxy's process has of its own"
    return next((f"there are more than {WRITTEN:,} {what} (limit WRITTEN)" for what, count in counts.items() if count > WRITTEN), "")


def _assumed(found: FoundConfiguration, node: str) -> dict[str, tuple[str, str]]:
    """The assumptions that a configuration rests on: name → (setting, the sentence)."""
    mode, release = found.configuration.mode, str(found.configuration.release)
    said = {
        MODE: (mode, f"nothing says in which mode kube-proxy runs on node {node}: {mode} is taken"),
        PROXY: (release, f"nothing says which kube-proxy runs on node {node}: {release} is taken"),
    }
    return {name: held for name, held in said.items() if name in found.assumes}


def _pod_networks(snapshot: Snapshot, configuration: Configuration) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """The networks of pods: those that kube-proxy is told, else those of the nodes, else those around pods; and what is taken so."""
    told = [detector.network for detector in configuration.detectors.values() if detector.network is not None]
    listed = [network for node in snapshot.objects.nodes for network in node.pod_cidrs]
    if told or listed:
        return tuple(dict.fromkeys(told or listed)), ()
    around = dict.fromkeys(
        ip_network(f"{address}/{_AROUND[address.version]}", strict=False) for pod in snapshot.objects.pods for address in pod.owned_ips
    )
    return tuple(around), (_NETWORKS,) if around else ()


def _add_masquerading(nat: Chains, networks: Sequence[Network]) -> None:
    """Add what the network plugin is assumed to do for pods of *networks*."""
    if not networks:
        return
    comment = '-m comment --comment "what leaves the pods\' networks (assumed)"'
    nat.setdefault("POSTROUTING", []).append(f"-A POSTROUTING -m addrtype ! --dst-type LOCAL {comment} -j {_MASQUERADE_CHAIN}")
    returns = [f"-A {_MASQUERADE_CHAIN} -d {network} -j RETURN" for network in networks]
    nat[_MASQUERADE_CHAIN] = [*returns, *(f"-A {_MASQUERADE_CHAIN} -s {network} -j MASQUERADE" for network in networks)]


def _add_host_ports(nat: Chains, snapshot: Snapshot, node: str, version: int) -> None:
    """Add what publishes pods' ports on *node* (hostPort), behind kube-proxy's jumps: without it they would be said to be closed.

    Source: containernetworking/plugins plugins/meta/portmap/portmap_iptables.go.
    """
    pods = [p for p in snapshot.objects.pods if p.node_name == node and not p.host_network and not p.has_ended]
    found = [(p, a, port) for p in pods for a in p.owned_ips if a.version == version for port in p.ports if port.host_port is not None]
    # Each is put in front of those before it.
    published = [one for one in reversed(found) if one[2].host_ip is None or one[2].host_ip.version == version]
    if not published:
        return
    bits, loopback = (32, ("127.0.0.1/32",)) if version == 4 else (128, ())
    for name in ("PREROUTING", "OUTPUT"):
        nat.setdefault(name, []).append(f"-A {name} -m addrtype --dst-type LOCAL -j {_HOST_PORTS}")
    comment = '-m comment --comment "CNI portfwd requiring masquerade"'
    nat.setdefault("POSTROUTING", []).append(f"-A POSTROUTING {comment} -j {_HOST_PORT_MASQ}")
    nat[_HOST_PORT_MASQ] = [f"-A {_HOST_PORT_MASQ} -m mark --mark 0x2000/0x2000 -j MASQUERADE"]
    nat[_HOST_PORT_MARK] = [f"-A {_HOST_PORT_MARK} -j MARK --set-xmark 0x2000/0x2000"]
    leading = nat[_HOST_PORTS] = list[str]()
    listed = snapshot.objects.node(node)
    own = next((n for n in listed.pod_cidrs if n.version == version), None) if listed is not None else None
    for number, (pod, address, port) in enumerate(published, 1):
        chain, protocol = f"CNI-DN-{number}", port.protocol.value
        asked = f"-p {protocol} -m {protocol} --dport {port.host_port}"
        host = f"-d {port.host_ip}/{bits} " if port.host_ip is not None and not port.host_ip.is_unspecified else ""
        network = own if own is not None and address in own else f"{address}/{bits}"
        marked = [f"-A {chain} -s {source} {asked} -j {_HOST_PORT_MARK}" for source in (network, *loopback)]
        target = endpoint_text(address, port.container_port)
        named = f'-m comment --comment "{pod.namespace}/{pod.name}"'
        leading.append(f"-A {_HOST_PORTS} {host}{asked} {named} -j {chain}")
        nat[chain] = [*marked, f"-A {chain} {asked} -j DNAT --to-destination {target}"]
