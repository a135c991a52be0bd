"""How kube-proxy is set up on a node: what says so, which of several counts, and what is assumed where nothing does."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from tracer.kubeproxy.configuration import COUNTERS, Configuration, LocalDetector, NodePortAddresses, Release, read_release
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_configuration import FoundConfiguration, proxy_configuration

NODE = {
    "kind": "Node",
    "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}},
    "spec": {"podCIDRs": ["10.244.3.0/24", "fd00:3::/64"]},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.3"}, {"type": "InternalIP", "address": "2001:db8::3"}],
        "nodeInfo": {"kubeletVersion": "v1.31.4"},
    },
}
HELD = [{"ifname": "eth0", "addr_info": [{"local": "192.0.2.3"}, {"local": "198.51.100.3"}, {"local": "2001:db8::3"}]}]


def config_map(**settings: object) -> dict[str, object]:
    text = json.dumps({"kind": "KubeProxyConfiguration", **settings})
    return {"kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "kube-proxy"}, "data": {"config.conf": text}}


def pod(*flags: str, image: str = "registry.k8s.io/kube-proxy:v1.33.2") -> dict[str, object]:
    container = {"name": "kube-proxy", "image": image, "command": ["/usr/local/bin/kube-proxy", *flags]}
    spec = {"nodeName": "n", "hostNetwork": True, "containers": [container]}
    return {"kind": "Pod", "metadata": {"namespace": "kube-system", "name": "kube-proxy-x"}, "spec": spec}


def found(*objects: dict[str, object], **files: str) -> FoundConfiguration:
    held = {f"nodes/n/{name.replace('__', '.').replace('_', '-')}": text.encode() for name, text in files.items()}
    objects = (NODE, *objects)
    return proxy_configuration(Snapshot.from_files({"objects.json": json.dumps({"kind": "List", "items": objects}).encode(), **held}), "n")


def configuration(*objects: dict[str, object], **files: str) -> Configuration:
    return found(*objects, **files).configuration


def test_without_anything_the_defaults_are_assumed_and_said() -> None:
    nothing = found()
    assert nothing.configuration == Configuration(
        node="n",
        zone="z",
        release=Release(minor=31),
        node_ips={4: ip_address("192.0.2.3"), 6: ip_address("2001:db8::3")},
        node_port_addresses={4: NodePortAddresses(), 6: NodePortAddresses()},
        counters=frozenset(),
    )
    assert len(nothing.assumed) == 2 and "mode iptables" in nothing.assumed[0] and "defaults" in nothing.assumed[1]


@pytest.mark.parametrize(
    ("objects", "files", "minor"),
    [
        ((), {}, 31),
        ((pod("--config=/f"),), {}, 33),
        ((pod("--config=/f"),), {"kube_proxy_version__txt": "Kubernetes v1.30.5\n"}, 30),
    ],
)
def test_the_release_is_what_is_nearest_to_kube_proxy(objects, files, minor: int) -> None:
    assert configuration(*objects, **files).release == Release(minor=minor)


@pytest.mark.parametrize(
    ("text", "minor"), [("v1.36.2", 36), ("Kubernetes v1.20.2", 20), ("v1.29.0-eksbuild.1", 29), ("latest", None), ("v2.1.0", None)]
)
def test_read_release(text: str, minor: int | None) -> None:
    assert read_release(text) == (None if minor is None else Release(minor=minor))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"clusterCIDR": "10.244.0.0/16,fd00::/48"},
            {4: LocalDetector(network=ip_network("10.244.0.0/16")), 6: LocalDetector(network=ip_network("fd00::/48"))},
        ),
        ({"clusterCIDR": ""}, {}),
        (
            {"detectLocalMode": "NodeCIDR"},
            {4: LocalDetector(network=ip_network("10.244.3.0/24")), 6: LocalDetector(network=ip_network("fd00:3::/64"))},
        ),
        (
            {"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"}},
            dict.fromkeys((4, 6), LocalDetector(device="cni0")),
        ),
        (
            {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}},
            dict.fromkeys((4, 6), LocalDetector(device="veth+")),
        ),
    ],
)
def test_how_local_traffic_is_told(settings, expected) -> None:
    assert configuration(config_map(**settings)).detectors == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NodePortAddresses()),
        ({"nodePortAddresses": ["0.0.0.0/0"]}, NodePortAddresses()),
        ({"nodePortAddresses": ["primary"]}, NodePortAddresses(is_all=False, addresses=(ip_address("192.0.2.3"),))),
        ({"nodePortAddresses": ["198.51.100.0/24"]}, NodePortAddresses(is_all=False, addresses=(ip_address("198.51.100.3"),))),
        ({"mode": "nftables"}, NodePortAddresses(is_all=False, addresses=(ip_address("192.0.2.3"),))),
    ],
)
def test_which_addresses_take_node_ports(settings, expected) -> None:
    assert configuration(config_map(**settings), ip_addr__json=json.dumps(HELD)).node_ports_on(4) == expected


def test_the_rest_of_a_config_map() -> None:
    settings = {"iptables": {"masqueradeAll": True, "masqueradeBit": 15, "localhostNodePorts": False}, "conntrack": {"tcpBeLiberal": True}}
    told = configuration(config_map(**settings))
    assert told.masquerade_all and told.is_conntrack_liberal and not told.localhost_node_ports and told.mark == "0x8000"
    assert not configuration(config_map(mode="nftables", **settings)).masquerade_all


def test_flags_count_where_there_is_no_configuration_file() -> None:
    flags = ("--cluster-cidr", "10.1.0.0/16", "--masquerade-all", "--iptables-masquerade-bit=13", "--nodeport-addresses=198.51.100.0/24")
    told = found(pod(*flags), config_map(clusterCIDR="10.2.0.0/16"), ip_addr__json=json.dumps(HELD))
    assert told.configuration.detectors == {4: LocalDetector(network=ip_network("10.1.0.0/16"))}
    assert told.configuration.masquerade_all and told.configuration.mark == "0x2000"
    assert told.configuration.node_ports_on(4).addresses == (ip_address("198.51.100.3"),)
    assert any("flags" in said for said in told.said)
    assert configuration(pod("--proxy-mode=ipvs"), config_map(mode="nftables")).mode == "ipvs"
    assert configuration(pod("--config=/f", "--proxy-mode=ipvs"), config_map(mode="nftables")).mode == "nftables"
    filed = configuration(pod("--config=/f", "--cluster-cidr=10.1.0.0/16"), config_map(clusterCIDR="10.2.0.0/16"))
    assert filed.detectors == {4: LocalDetector(network=ip_network("10.2.0.0/16"))}


def test_what_only_the_rules_show_is_said_to_be_assumed() -> None:
    rules = "*nat\n-A KUBE-SVC-X ! -s 10.9.0.0/16 -d 10.96.0.1/32 -p tcp -j KUBE-MARK-MASQ\n-A KUBE-POSTROUTING -j MASQUERADE\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x8000/0x8000\nCOMMIT\n"
    told = found(iptables_save__txt=rules)
    assert told.configuration.detectors == {4: LocalDetector(network=ip_network("10.9.0.0/16"))}
    assert not told.configuration.has_random_fully and told.configuration.mark == "0x8000"
    assert any("10.9.0.0/16" in said for said in told.assumed)


def test_counters_are_those_of_the_rules_where_there_are_any() -> None:
    newer = {"kube_proxy_version__txt": "v1.36.0"}
    assert configuration(**newer).counters == COUNTERS
    assert (
        configuration(iptables_save__txt="*nat\n-A KUBE-POSTROUTING -j MASQUERADE --random-fully\nCOMMIT\n", **newer).counters
        == frozenset()
    )


def test_a_liberal_conntrack_is_the_nodes_too() -> None:
    assert configuration(sysctl__txt="net.netfilter.nf_conntrack_tcp_be_liberal = 1\n").is_conntrack_liberal
    assert not configuration(sysctl__txt="net.netfilter.nf_conntrack_tcp_be_liberal = 0\n").is_conntrack_liberal


def test_an_old_release_programs_one_family() -> None:
    assert configuration(kube_proxy_version__txt="v1.20.2").versions == (4,)
    assert configuration(kube_proxy_version__txt="v1.28.0").versions == (4, 6)
