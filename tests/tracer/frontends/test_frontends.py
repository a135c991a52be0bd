"""What HNS' and Cilium's lists say. The fixtures are built from the tools' documentation and source (docs/sources.md), not from a bundle."""

from __future__ import annotations

import json
from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.made_findings import Spoiled, shop
from tracer.errors import ParseError
from tracer.frontends.cilium import parse_cilium
from tracer.frontends.hns import parse_hns
from tracer.frontends.model import FrontendTable
from tracer.packet import Packet, Protocol
from tracer.topology.mode import mode_of
from tracer.trace import Disposition, Trace

ENDPOINTS = [
    {"ID": "E1AAA", "Name": "Ethernet", "IPAddress": "10.1.1.2", "IsRemoteEndpoint": False},
    {"ID": "E2BBB", "Name": "Ethernet", "IPAddress": "10.1.2.2", "IsRemoteEndpoint": True},
]
POLICIES = [
    {
        "ID": "A1",
        "References": ["/endpoints/e1aaa", "/endpoints/E2BBB"],
        "Policies": [
            {
                "Type": "ELB",
                "Protocol": 6,
                "InternalPort": 8080,
                "ExternalPort": 80,
                "VIPs": ["10.96.0.10"],
                "SourceVIP": "10.1.1.9",
                "IsDSR": True,
            }
        ],
    },
    {
        "ID": "B2",
        "References": ["/endpoints/E1AAA", "/endpoints/GONE"],
        "Policies": [{"Type": "ELB", "Protocol": 6, "InternalPort": 8080, "ExternalPort": 30080, "ILB": True}],
    },
    {"ID": "C3", "References": [], "Policies": [{"Type": "ROUTE", "DestinationPrefix": "10.96.0.0/16"}]},
]
HNSDIAG = """
Endpoints:
{"ID":"e1aaa","IpConfigurations":[{"IpAddress":"10.1.1.2","PrefixLength":24}],"HostComputeNetwork":"N"}
Load Balancers:
{"ID":"L1","HostComputeEndpoints":["E1AAA"],"SourceVIP":"","FrontendVIPs":["10.96.0.10"],
 "PortMappings":[{"Protocol":6,"InternalPort":8080,"ExternalPort":80,"Flags":2},{"Protocol":17,"InternalPort":53,"ExternalPort":53}],
 "Flags":1}
"""
CILIUM = [
    {
        "spec": {"id": 1, "frontend-address": {"ip": "10.96.0.10", "port": 80}},
        "status": {
            "realized": {
                "id": 1,
                "frontend-address": {"ip": "10.96.0.10", "port": 80, "protocol": "TCP", "scope": "external"},
                "backend-addresses": [
                    {"ip": "10.1.1.2", "port": 8080, "state": "active", "nodeName": "n1"},
                    {"ip": "10.1.2.2", "port": 8080, "state": "active"},
                    {"ip": "10.1.2.9", "port": 8080, "state": "terminating"},
                ],
                "flags": {"type": "ClusterIP", "name": "web", "namespace": "default", "trafficPolicy": "Cluster"},
            }
        },
    },
    {"spec": {"id": 2, "frontend-address": {"ip": "0.0.0.0", "port": 30080}, "backend-addresses": [], "flags": {"type": "NodePort"}}},
]


def sent(destination: str, port: int, protocol: Protocol = Protocol.TCP) -> Packet:
    return Packet(protocol=protocol, source=ip_address("10.1.1.3"), destination=ip_address(destination), destination_port=port)


def hns() -> FrontendTable:
    return parse_hns({"hns-policies.json": json.dumps(POLICIES, indent=1), "hns-endpoints.json": json.dumps(ENDPOINTS)})


def test_policy_lists():
    table = hns()
    assert len(table.frontends) == 2
    first = table.find(sent("10.96.0.10", 80))
    assert first is not None
    assert [(str(b.address), b.port) for b in first.backends] == [("10.1.1.2", 8080), ("10.1.2.2", 8080)]
    assert first.flags == ("DSR", "SourceVIP 10.1.1.9")
    assert (first.file, first.line) == ("hns-policies.json", 3)
    assert json.loads(first.text)["Policies"][0]["VIPs"] == ["10.96.0.10"]
    assert [b.text for b in first.backends] == ['"/endpoints/e1aaa"', '"/endpoints/E2BBB"']  # as the policy list names them
    assert all(b.text in first.text for b in first.backends)


def test_a_node_port_has_no_address_and_may_name_unknown_endpoints():
    found = hns().find(sent("192.168.0.11", 30080))
    assert found is not None
    assert (found.address, found.flags, found.missing, len(found.backends)) == (None, ("ILB",), 1, 1)


def test_a_frontend_of_any_address_has_its_backends_family():
    assert hns().find(sent("fd00::11", 30080)) is None
    wild = [{"spec": {"frontend-address": {"ip": ip, "port": 30080}, "backend-addresses": []}} for ip in ("::", "0.0.0.0")]
    found = parse_cilium(json.dumps(wild), "cilium-services.json").find(sent("192.168.0.11", 30080))
    assert found is not None
    assert str(found.address) == "0.0.0.0"


def test_other_protocols_and_ports_are_not_taken():
    assert hns().find(sent("10.96.0.10", 80, Protocol.UDP)) is None
    assert hns().find(sent("10.96.0.10", 81)) is None


@pytest.mark.parametrize("shape", ["policies", "mappings", "vips"])
def test_a_small_text_cannot_list_more_than_there_is_room_for(shape: str) -> None:
    """Addresses, mappings and endpoints multiply: 3,000 of each are 350 KB, and nine million frontends or backends."""
    many = range(3_000)
    ends = [{"ID": f"E{i}", "IPAddress": f"10.9.{i // 250}.{i % 250 + 1}"} for i in many]
    refs, vips = [f"/endpoints/E{i}" for i in many], [f"10.96.{i // 250}.{i % 250 + 1}" for i in many]
    policies = [{"Type": "ELB", "VIPs": [vips[i]], "Protocol": 6, "InternalPort": i, "ExternalPort": 80} for i in many]
    mappings = [{"Protocol": 6, "InternalPort": i, "ExternalPort": i} for i in many]
    value = {
        "policies": {"ID": "B", "References": refs, "Policies": policies},
        "mappings": {"ID": "B", "HostComputeEndpoints": refs[:2], "FrontendVIPs": vips, "PortMappings": mappings},
        "vips": {"ID": "B", "References": refs, "Policies": [{**policies[0], "VIPs": vips}]},
    }[shape]
    text = json.dumps([*ends, value])
    if shape != "vips":
        with pytest.raises(ParseError, match="more than is read"):
            parse_hns({"hns-policies.json": text})
        return
    table = parse_hns({"hns-policies.json": text})
    assert len(table.frontends) == 3_000
    assert len({id(frontend.backends) for frontend in table.frontends}) == 1  # one list that all share


def test_hnsdiag_has_the_second_schema():
    table = parse_hns({"hnsdiag.txt": HNSDIAG})
    found = table.find(sent("10.96.0.10", 80))
    assert found is not None
    assert (found.flags, [str(b.address) for b in found.backends]) == (("DSR", "LocalRoutedVip"), ["10.1.1.2"])
    assert table.find(sent("10.96.0.10", 53, Protocol.UDP)) is not None


POWERSHELL = """[
    {
        "ID":  "A1",
        "References":  "/endpoints/e1aaa /endpoints/E2BBB",
        "Policies":  {"Type": "ELB", "Protocol": 6, "InternalPort": 8080, "ExternalPort": 80, "VIPs": "10.96.0.10 10.96.0.11"},
    }
]""".replace(",\n    }", "\n    }")


def test_powershell_flattens_lists_of_one_and_lists_at_its_greatest_depth():
    found = parse_hns({"p/hns-policies.json": POWERSHELL, "p/hns-endpoints.json": json.dumps(ENDPOINTS[0])}).frontends
    assert [str(f.address) for f in found] == ["10.96.0.10", "10.96.0.11"]
    assert [([str(b.address) for b in f.backends], f.missing) for f in found] == [(["10.1.1.2"], 1)] * 2


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hns-policies.json", '[{"ID": "A1", "Policies": ["@{Type=ELB; ExternalPort=80}"]}]', "ConvertTo-Json needs -Depth 20"),
        ("hns-policies.json", '[{"ID": "A1"\n', "nodes/n1/hns-policies.json:1 cannot be read (not JSON"),
        ("hnsdiag.txt", "LoadBalancer | Virtual IPs\nA1           | 10.96.0.10\n", "holds no JSON"),
    ],
)
def test_a_list_that_is_cut_off_is_not_taken_for_all(file: str, text: str, said: str):
    made = shop()
    made.node(1).texts["kube-proxy-mode.txt"] = "kernelspace\n"
    made.extra[f"nodes/n1/{file}"] = text.encode()
    assert said in made.trace("pod:default/client-1", WEB).unknowns[0].text
    assert "has no frontend" not in made.trace("pod:default/client-1", WEB).unknowns[0].text


def test_cilium_lists_what_is_realized():
    table = parse_cilium(json.dumps(CILIUM, indent=1), "cilium-services.json")
    found = table.find(sent("10.96.0.10", 80))
    assert found is not None
    assert [b.state for b in found.backends] == ["active", "active", "terminating"]
    assert "type ClusterIP" in found.flags
    wild = table.find(sent("192.168.0.11", 30080))
    assert wild is not None
    assert wild.backends == ()


def scoped(scope: str, ip: str) -> dict[str, object]:
    return {"spec": {"frontend-address": {"ip": "10.96.0.10", "port": 80, "scope": scope}, "backend-addresses": [{"ip": ip, "port": 8080}]}}


@pytest.mark.parametrize("turned", [False, True])
def test_cilium_has_entries_for_clients_inside_and_outside(turned: bool):
    listed = [scoped("external", "10.1.1.2"), scoped("internal", "10.1.2.2")]
    table = parse_cilium(json.dumps(listed[::-1] if turned else listed), "cilium-services.json")
    for inside, ip in ((True, "10.1.2.2"), (False, "10.1.1.2")):
        found = table.find(sent("10.96.0.10", 80), inside=inside)
        assert found is not None
        assert [str(b.address) for b in found.backends] == [ip]


TABLE = """\
ID   Frontend              Service Type   Backend
1    10.96.0.10:80/TCP     ClusterIP      1 => 10.1.1.2:8080/TCP (active)
                                          2 => 10.1.2.2:8080/TCP (active)
                                          3 => 10.1.2.9:8080/TCP (terminating)
2    0.0.0.0:30080/TCP     NodePort
3    0.0.0.0:30080/TCP/i   NodePort       1 => 10.1.1.2:8080/TCP (active)
4    [fd00:96::a]:53/UDP   ClusterIP      1 => [fd00:1:1::2]:53/UDP (active)
"""


@pytest.mark.parametrize(
    "around",
    ["{}", "# cilium-dbg service list\n\n```\n{}```\n", "root@n1:/home/cilium# cilium-dbg service list\n{}root@n1:/home/cilium# \n"],
)
def test_ciliums_table_says_what_its_json_says(around: str):
    text = around.format(TABLE)
    found, wanted = parse_cilium(text, "t").find(sent("10.96.0.10", 80)), parse_cilium(json.dumps(CILIUM), "t").find(sent("10.96.0.10", 80))
    assert [(b.address, b.port, b.state) for b in found.backends] == [(b.address, b.port, b.state) for b in wanted.backends]
    assert (found.protocol, found.scope, found.flags) == (wanted.protocol, wanted.scope, ("type ClusterIP",))
    assert len(parse_cilium(text, "t").frontends) == 4
    old = parse_cilium(text.replace("/TCP", "").replace("/UDP", "").replace("ID   ", ""), "t").find(sent("10.96.0.10", 80))
    assert (old.protocol, len(old.backends)) == (None, 3)
    assert [f.scope for f in parse_cilium(text, "t").frontends if f.port == 30080 and f.backends] == ["internal"]


@pytest.mark.parametrize("lost", ["1 => 10.1.1.2:8080/TCP (active)\n", "0.0.0.0:30080/TCP "])
def test_a_line_of_ciliums_table_that_is_cut_off_is_a_fault(lost: str):
    with pytest.raises(ParseError, match="no line of cilium-dbg service list"):
        parse_cilium(TABLE.replace(lost, lost[: len(lost) // 2].rstrip() + "\n", 1), "t")


def test_cilium_without_services():
    assert parse_cilium("null\n", "cilium-services.json").frontends == ()


@pytest.mark.parametrize("text", ["{", "[}", '{"a":1}', "nonsense"])
def test_damage_is_a_parse_error(text: str):
    with pytest.raises(ParseError):
        parse_cilium(text, "cilium-services.json")
    if text.strip()[0] in "{[" and text != '{"a":1}':
        with pytest.raises(ParseError):
            parse_hns({"hns-policies.json": text})


# -- in a trace -----------------------------------------------------------------------------------------------------------------------

WEB = "10.96.0.10:80"


def windows() -> Spoiled:
    made = shop()
    made.node(1).texts["kube-proxy-mode.txt"] = "kernelspace\n"
    made.extra["nodes/n1/hns-policies.json"] = json.dumps(POLICIES).encode()
    made.extra["nodes/n1/hns-endpoints.json"] = json.dumps(ENDPOINTS).encode()
    return made


def ends(answer: Trace) -> list[tuple[Fraction, Disposition, str | None, str | None]]:
    return [
        (o.probability, o.disposition, o.reason and o.reason.code, str(o.destination.ip) if o.destination else None)
        for o in answer.outcomes
    ]


def test_windows_shows_what_the_lists_say():
    answer = windows().trace("pod:default/client-1", WEB)
    half = Fraction(1, 2)
    assert ends(answer) == [
        (half, Disposition.UNKNOWN, "WINDOWS_NOT_REPLAYED", "10.1.1.2"),
        (half, Disposition.UNKNOWN, "WINDOWS_NOT_REPLAYED", "10.1.2.2"),
    ]
    step = answer.outcomes[0].hops[-1].steps[-1]
    assert (step.table, step.verdict, step.file) == ("hns", "dnat", "nodes/n1/hns-policies.json")
    assert (step.chance, step.names["element"]) == (None, '"/endpoints/e1aaa"')
    assert answer.outcomes[0].conditions  # which of the two is chosen no list tells
    assert "DSR" in str(answer.outcomes[0].reason)


def test_windows_without_lists():
    made = shop()
    made.node(1).texts["kube-proxy-mode.txt"] = "kernelspace\n"
    answer = made.trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "WINDOWS_NOT_REPLAYED", None)]
    assert "hns-policies.json" in str(answer.unknowns[0].text)


def without_kube_proxy(made: Spoiled) -> Spoiled:
    empty = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
    for name in ("iptables-save.txt", "ip6tables-save.txt"):
        made.extra[f"nodes/n1/{name}"] = empty.encode()
    return made


def test_cilium_with_its_list():
    made = without_kube_proxy(shop())
    made.extra["nodes/n1/cilium-services.json"] = json.dumps(CILIUM).encode()
    found = ends(made.trace("pod:default/client-1", WEB))
    assert [(code, ip) for _, _, code, ip in found] == [("EBPF_NOT_REPLAYED", "10.1.1.2"), ("EBPF_NOT_REPLAYED", "10.1.2.2")]


def with_agent(made: Spoiled, label: str) -> Spoiled:
    agent = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": "agent", "labels": {"k8s-app": label}},
        "spec": {"nodeName": "n1", "hostNetwork": True, "containers": []},
        "status": {"phase": "Running", "podIP": "192.168.0.11", "podIPs": [{"ip": "192.168.0.11"}]},
    }
    made.added["pods.json"] = [agent]
    return made


@pytest.mark.parametrize(("label", "shown"), [("cilium", "Cilium"), ("calico-node", "Calico")])
def test_an_agent_and_no_service_rules(label: str, shown: str):
    answer = with_agent(without_kube_proxy(shop()), label).trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "EBPF_MAPS_MISSING", None)]
    assert shown in answer.unknowns[0].text


def test_ciliums_chains_and_no_service_rules():
    made = without_kube_proxy(shop())
    made.change("nodes/n1/iptables-save.txt", "*filter\n", "*filter\n:CILIUM_FORWARD - [0:0]\n")
    answer = made.trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "EBPF_MAPS_MISSING", None)]
    found = mode_of(made.cluster(), "n1")
    assert (found.mode, "CILIUM_FORWARD" in found.evidence[0], found.leftovers) == ("eBPF", True, ())


@pytest.mark.parametrize("agent", [True, False])
@pytest.mark.parametrize(("mode", "file"), [("nftables", "nft-ruleset.txt"), ("ipvs", "ipvsadm-save.txt")])
def test_rules_of_a_configured_mode_that_were_not_recorded_are_missing_not_absent(agent: bool, mode: str, file: str):
    made = without_kube_proxy(shop())
    made = with_agent(made, "calico-node") if agent else made
    made.node(1).without.add("kube-proxy-mode.txt")
    config = {"metadata": {"namespace": "kube-system", "name": "kube-proxy"}, "data": {"config.conf": f"mode: {mode}\n"}}
    made.extra["configmaps.json"] = json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "items": [config]}).encode()
    answer = made.trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "NO_RULES", None)]
    assert f"ConfigMap kube-system/kube-proxy says {mode}" in answer.unknowns[0].text
    assert answer.unknowns[0].at["file"] == f"nodes/n1/{file}"


def test_an_unreadable_list_of_cilium_is_unknown():
    made = without_kube_proxy(shop())
    made.extra["nodes/n1/cilium-services.json"] = b'{"services": []}'
    answer = made.trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "EBPF_NOT_REPLAYED", None)]
    assert (
        "cilium-services.json:1 cannot be read (not a list of services): which frontends node n1 has is not known"
        in answer.unknowns[0].text
    )


def test_windows_says_its_mode():
    found = mode_of(windows().cluster(), "n1")
    assert found.mode == "kernelspace"
    assert found.evidence == ("kube-proxy-mode.txt says kernelspace", "nodes/n1/hns-policies.json lists 2 frontends")


def test_an_agent_where_no_rules_were_recorded_proves_nothing():
    made = with_agent(shop(), "cilium")
    made.extra |= {f"nodes/n1/{name}": None for name in ("iptables-save.txt", "ip6tables-save.txt")}
    answer = made.trace("pod:default/client-1", WEB)
    assert ends(answer) == [(Fraction(1), Disposition.UNKNOWN, "NO_RULES", None)]


def test_an_agent_beside_kube_proxy_changes_nothing():
    made = shop()
    made.extra["nodes/n1/cilium-services.json"] = json.dumps(CILIUM).encode()
    assert {code for _, _, code, _ in ends(made.trace("pod:default/client-1", WEB))} == {"DELIVERED"}
