"""The words of a what-if question: every form of trace-json.md, what has none of them, and what contradicts each other."""

import pytest

from tracer.errors import QueryError
from tracer.limits import OVERRIDE_TEXT, OVERRIDES
from tracer.override_words import Named, On, parse_overrides, parse_word

FORMS = {
    "svc/shop/web.spec.externalTrafficPolicy=Local": (On.SERVICE, "shop", "web", ("spec", "externalTrafficPolicy"), "Local", ""),
    "svc/shop/web.spec.ports[0].port=8088": (On.SERVICE, "shop", "web", ("spec", "ports", 0, "port"), 8088, ""),
    "svc/shop/web.spec.ports[name=http].port=8088": (On.SERVICE, "shop", "web", ("spec", "ports", Named("name", "http"), "port"), 8088, ""),
    'svc/shop/web.spec.externalIPs=["172.29.0.12"]': (On.SERVICE, "shop", "web", ("spec", "externalIPs"), ["172.29.0.12"], ""),
    "svc/shop/web.spec.selector=null": (On.SERVICE, "shop", "web", ("spec", "selector"), None, ""),
    "svc/shop/web.metadata.annotations[a.b/c]=x=y": (On.SERVICE, "shop", "web", ("metadata", "annotations", "a.b/c"), "x=y", ""),
    "svc/shop/web=deleted": (On.SERVICE, "shop", "web", (), None, "deleted"),
    "networkpolicy/shop/deny.all=deleted": (On.POLICY, "shop", "deny.all", (), None, "deleted"),
    "networkpolicy/shop/deny.all.spec.ingress=[]": (On.POLICY, "shop", "deny.all", ("spec", "ingress"), [], ""),
    "endpoint/ops/legacy/10.88.3.3.ready=false": (On.ENDPOINT, "ops", "legacy", ("ready",), False, ""),
    "endpoint/ops/legacy/fd00::3.serving=true": (On.ENDPOINT, "ops", "legacy", ("serving",), True, ""),
    "pod/shop/web-1.ready=false": (On.POD, "shop", "web-1", ("ready",), False, ""),
    "pod/shop/web-1=terminating": (On.POD, "shop", "web-1", (), None, "terminating"),
    'pod/shop/web-1.metadata.labels={"app":"web"}': (On.POD, "shop", "web-1", ("metadata", "labels"), {"app": "web"}, ""),
    "pod/shop/new=added:like=web-1,node=wf-a,ips=10.88.1.9+fd00::9": (On.POD, "shop", "new", (), None, "added"),
    "node/ip-10-0-1-2.ec2.internal=removed": (On.NODE, "", "ip-10-0-1-2.ec2.internal", (), None, "removed"),
    "node/ip-10-0-1-2.ec2.internal.mode=ipvs": (On.NODE, "", "ip-10-0-1-2.ec2.internal", (), None, "ipvs"),
    "node/wf-b.metadata.labels[node.kubernetes.io/exclude-from-external-load-balancers]=": (
        On.NODE,
        "",
        "wf-b",
        ("metadata", "labels", "node.kubernetes.io/exclude-from-external-load-balancers"),
        "",
        "",
    ),
    "mode=nftables": (On.MODE, "", "", (), None, "nftables"),
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form(text: str) -> None:
    word = parse_word(text)
    assert (word.on, word.namespace, word.name, word.path, word.value, word.state) == FORMS[text]
    assert word.text == text


def test_options_of_an_added_pod() -> None:
    word = parse_word("pod/shop/new=added:like=web-1,node=wf-a,ips=10.88.1.9+fd00::9")
    assert word.options == {"like": "web-1", "node": "wf-a", "ips": "10.88.1.9+fd00::9"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "svc/shop/web",
        "svc/shop=deleted",
        "svc/shop/web=gone",
        "svc/shop/web.spec..type=NodePort",
        "svc/shop/web.spec.ports[=80",
        "svc/shop/web.ready=false",
        "service/shop/web=deleted",
        "endpoint/shop/web/10.0.0.1.up=true",
        "endpoint/shop/web/10.0.0.1.ready=yes",
        "pod/shop/web-1.ready=maybe",
        "pod/shop/new=added:like=web-1",
        "pod/shop/new=added:like=web-1,node=a,zone=b",
        "node/a/b=removed",
        "node/a=drained",
        "node/a.mode=userspace",
        "mode=",
        "mode=ebpf",
        "x" * (OVERRIDE_TEXT + 1),
    ],
)
def test_what_is_no_word(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_word(text)
    assert caught.value.code == "BAD_OVERRIDE"
    assert caught.value.field == "overrides"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mode=nftables", "mode=ipvs"),
        ("mode=nftables", "node/a.mode=ipvs"),
        ("node/a.mode=nftables", "node/a.mode=ipvs"),
        ("node/a=removed", "node/a=cordoned"),
        ("svc/a/b=deleted", "svc/a/b.spec.type=NodePort"),
        ("svc/a/b.spec.type=ClusterIP", "svc/a/b.spec.type=NodePort"),
        ("svc/a/b.spec.ports=[]", "svc/a/b.spec.ports[0].port=1"),
        ("pod/a/b=deleted", "pod/a/b.ready=false"),
        ("pod/a/b=terminating", "pod/a/b.ready=true"),
        ("pod/a/b=added:like=c,node=d", "pod/a/b=deleted"),
        ("endpoint/a/b/10.0.0.1.ready=true", "endpoint/a/b/10.0.0.1.ready=false"),
    ],
)
def test_what_contradicts_each_other_in_both_orders(one: str, other: str) -> None:
    for words in ((one, other), (other, one)):
        with pytest.raises(QueryError, match="contradicts"):
            parse_overrides(words)


@pytest.mark.parametrize(
    "words",
    [
        ("node/a=cordoned", "node/a.mode=ipvs"),
        ("mode=nftables", "node/a.mode=nftables"),
        ("svc/a/b.spec.type=NodePort", "svc/a/b.spec.ports[0].nodePort=31000"),
        ("svc/a/b.spec.ports[0].port=1", "svc/a/b.spec.ports[1].port=1"),
        ("pod/a/b=terminating", "pod/a/b.ready=false"),
        ("pod/a/b=added:like=c,node=d", "pod/a/b.ready=false"),
        ("endpoint/a/b/10.0.0.1.ready=false", "endpoint/a/b/10.0.0.2.ready=true"),
    ],
)
def test_what_goes_together_in_one_order(words: tuple[str, str]) -> None:
    assert parse_overrides(words) == parse_overrides((*reversed(words), words[0])) == tuple(sorted(words))


def test_too_many() -> None:
    with pytest.raises(QueryError, match="OVERRIDES"):
        parse_overrides(f"pod/a/b{number}=deleted" for number in range(OVERRIDES + 1))
