"""Service environment variables, as the kubelet writes them."""

from __future__ import annotations

from typing import Any

from tests.tracer.dns.made_dns import pod, service
from tracer.dns.service_environment import service_environment
from tracer.kube.pod import Pod
from tracer.kube.service import Service

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def at(value: dict[str, Any], created: str) -> dict[str, Any]:
    value["metadata"]["creationTimestamp"] = created
    return value


def of(*services: dict[str, Any], **spec: Any) -> dict[str, tuple[dict[str, str], str]]:
    client = Pod.from_dict(at(pod("shop", "p", "10.244.0.5", **spec), EARLY))
    found = service_environment(client, [Service.from_dict(s) for s in services])
    return {v.service.name: (dict(v.variables), v.missing) for v in found}


def test_the_variables_of_one_service() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns-udp", "protocol": "UDP", "port": 53}]
    variables, missing = of(at(service("shop", "my-web", "10.96.0.7", ports=ports), EARLY))["my-web"]
    assert missing == ""
    assert variables == {
        "MY_WEB_SERVICE_HOST": "10.96.0.7",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_DNS_UDP": "53",
        "MY_WEB_PORT": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.7",
    }


def test_an_ipv6_service_is_bracketed_in_urls() -> None:
    assert of(at(service("shop", "six", "fd00::7"), EARLY))["six"][0]["SIX_PORT"] == "tcp://[fd00::7]:80"


def test_which_services_count() -> None:
    found = of(
        at(service("shop", "web"), EARLY),
        at(service("shop", "later", "10.96.0.8"), LATE),
        at(service("shop", "db", "None"), EARLY),
        at(service("default", "kubernetes", "10.96.0.1"), EARLY),
        at(service("default", "web", "10.96.0.9"), EARLY),
    )
    assert list(found) == ["kubernetes", "later", "web"]
    assert found["web"][0]["WEB_SERVICE_HOST"] == "10.96.0.7"
    assert "made after the pod" in found["later"][1]
    assert found["web"][1] == found["kubernetes"][1] == ""


def test_without_service_links_only_the_api_server_is_left() -> None:
    found = of(at(service("shop", "web"), EARLY), at(service("default", "kubernetes", "10.96.0.1"), EARLY), enableServiceLinks=False)
    assert {name: missing for name, (_, missing) in found.items()} == {"kubernetes": "", "web": "enableServiceLinks is false"}
