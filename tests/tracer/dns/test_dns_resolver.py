"""resolv.conf, what the kubelet writes, and what glibc and musl ask."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracer.dns.made_dns import USUAL, asked, endpoints, made, pod, service
from tracer.dns.address_order import equals_of_first, in_order
from tracer.dns.message import Answer, Question, Rcode, Record
from tracer.dns.resolv_conf import ResolvConf, parse_resolv_conf
from tracer.dns.resolver import Resolution, Result, candidates, resolve
from tracer.query import Resolver, parse_address

POD = ResolvConf(servers=("10.96.0.10",), search=("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"), options=("ndots:5",))
KNOWN = {"web.shop.svc.cluster.local.": "A", "six.shop.svc.cluster.local.": "AAAA", "example.com.": "A"}


def serve(question: Question) -> Answer:
    """A small server: some names exist with one type, names with nodata or fail in them behave so, the rest does not exist."""
    if "fail" in question.name:
        return Answer(rcode=Rcode.SERVFAIL)
    if "nodata" in question.name or (question.name in KNOWN and KNOWN[question.name] != question.rdtype):
        return Answer(rcode=Rcode.NOERROR)
    if question.name in KNOWN:
        rdata = "10.96.0.7" if question.rdtype == "A" else "fd00::7"
        return Answer(rcode=Rcode.NOERROR, answer=(Record(name=question.name, ttl=30, rdtype=question.rdtype, rdata=rdata),))
    return Answer(rcode=Rcode.NXDOMAIN)


def names(resolution: Resolution) -> list[str]:
    return list(dict.fromkeys(a.question.name for a in resolution.asked))


@pytest.mark.parametrize(
    ("name", "resolver", "asks", "result"),
    [
        ("web", "glibc", ["web.shop.svc.cluster.local."], Result.FOUND),
        ("web.shop", "glibc", ["web.shop.shop.svc.cluster.local.", "web.shop.svc.cluster.local."], Result.FOUND),
        ("six", "glibc", ["six.shop.svc.cluster.local."], Result.FOUND),
        ("example.com.", "glibc", ["example.com."], Result.FOUND),
        ("example.com", "musl", [f"example.com.{s}." for s in POD.search] + ["example.com."], Result.FOUND),
        ("a.b.c.d.e.f", "glibc", ["a.b.c.d.e.f.", *(f"a.b.c.d.e.f.{s}." for s in POD.search)], Result.NO_SUCH_NAME),
        ("a.b.c.d.e.f", "musl", ["a.b.c.d.e.f."], Result.NO_SUCH_NAME),
        ("nodata", "glibc", [*(f"nodata.{s}." for s in POD.search), "nodata."], Result.NO_ADDRESS),
        ("nodata", "musl", ["nodata.shop.svc.cluster.local."], Result.NO_ADDRESS),
        ("fail", "glibc", [*(f"fail.{s}." for s in POD.search), "fail."], Result.FAILED),
        ("fail", "musl", ["fail.shop.svc.cluster.local."], Result.FAILED),
        ("x" * 64, "glibc", [], Result.NO_SUCH_NAME),
    ],
)
def test_what_is_asked(name: str, resolver: str, asks: list[str], result: Result) -> None:
    found = resolve(name, POD, serve, resolver=Resolver(resolver))
    assert names(found) == asks
    assert found.result is result


def test_a_and_aaaa_go_side_by_side_unless_told_otherwise() -> None:
    assert [(a.question.rdtype, a.side_by_side) for a in resolve("web", POD, serve).asked] == [("A", True), ("AAAA", True)]
    single = ResolvConf(servers=POD.servers, search=POD.search, options=("ndots:5", "single-request", "use-vc"))
    assert all(not a.side_by_side and a.over_tcp for a in resolve("web", single, serve).asked)
    assert all(a.side_by_side and not a.over_tcp for a in resolve("web", single, serve, resolver=Resolver.MUSL).asked)


def test_why_each_name_is_asked() -> None:
    assert [c.why for c in candidates("example.com", POD)] == [
        "search domain 1 of 3: shop.svc.cluster.local",
        "search domain 2 of 3: svc.cluster.local",
        "search domain 3 of 3: cluster.local",
        "the name as it stands",
    ]


def test_the_root_in_the_search_list_is_the_name_as_it_stands() -> None:
    conf = ResolvConf(search=("a.example", "."), options=("ndots:2",))
    assert [c.name for c in candidates("b.c", conf)] == ["b.c.a.example.", "b.c."]


def test_records_of_another_name_do_not_count() -> None:
    """A suffix rewritten without an answer rule gives records of a name that nobody asked for: resolvers leave them out."""
    other = Record(name="other.example.", ttl=30, rdtype="A", rdata="192.0.2.1")
    found = resolve("x.", POD, lambda q: Answer(rcode=Rcode.NOERROR, answer=(other,)))
    assert found.result is Result.NO_ADDRESS


@pytest.mark.parametrize(
    ("text", "conf"),
    [
        (
            "nameserver 10.0.0.1\nsearch a b\noptions ndots:2 rotate\n",
            ResolvConf(servers=("10.0.0.1",), search=("a", "b"), options=("ndots:2", "rotate")),
        ),
        ("search a\ndomain b\n# search c\n;x\nnameserver\nnonsense 7\n", ResolvConf(search=("b",))),
        ("nameserver fe80::1%eth0\noptions a\noptions b\n", ResolvConf(servers=("fe80::1%eth0",), options=("a", "b"))),
    ],
)
def test_parsing(text: str, conf: ResolvConf) -> None:
    assert parse_resolv_conf(text) == conf


@pytest.mark.parametrize(
    ("options", "name", "glibc", "musl"),
    [
        ((), "ndots", 1, 1),
        (("ndots:99",), "ndots", 15, 15),
        (("timeout:0",), "timeout", 0, 1),
        (("attempts:9",), "attempts", 5, 9),
        (("ndots:x",), "ndots", 1, 1),
    ],
)
def test_numbers_are_clamped(options: tuple[str, ...], name: str, glibc: int, musl: int) -> None:
    conf = ResolvConf(options=options)
    assert (conf.number(name, Resolver.GLIBC), conf.number(name, Resolver.MUSL)) == (glibc, musl)


texts = st.from_regex(r"[a-z0-9.:-]{1,12}", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(
    servers=st.lists(st.ip_addresses(v=4).map(str), max_size=4),
    search=st.lists(texts, max_size=4),
    options=st.lists(texts, max_size=4),
)
def test_text_of_a_conf_is_that_conf(servers: list[str], search: list[str], options: list[str]) -> None:
    conf = ResolvConf(servers=tuple(servers), search=tuple(search), options=tuple(options))
    assert parse_resolv_conf(conf.to_text()) == conf


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.sampled_from(Resolver))
def test_any_text_gives_a_resolver_that_ends(text: str, resolver: Resolver) -> None:
    conf = parse_resolv_conf("search a.example\n" + text)
    assert conf.addresses()
    found = resolve("name", conf, serve, resolver=resolver)
    assert len(found.asked) == 2 * len(names(found))


# --- the kubelet -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "text", "unknown"),
    [
        ({}, "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n", False),
        ({"hostNetwork": True}, "", True),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
            False,
        ),
        ({"dnsPolicy": "Default"}, "", True),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.53"]}}, "nameserver 192.0.2.53\n", False),
        (
            {
                "dnsConfig": {
                    "nameservers": ["192.0.2.53", "10.96.0.10"],
                    "searches": ["corp.example"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
                }
            },
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\nnameserver 192.0.2.53\noptions ndots:2 rotate\n",
            False,
        ),
    ],
)
def test_what_the_kubelet_writes(spec: dict[str, object], text: str, unknown: bool) -> None:
    dns = made(pod("shop", "p", "10.244.0.8", **spec))
    found = dns._objects.pod("shop", "p")
    assert found is not None
    conf = dns.pod_conf(found)
    assert conf.conf.to_text() == text
    assert bool(conf.unknown) is unknown


def test_the_nodes_own_search_domains_follow() -> None:
    dns = made(pod("shop", "p", "10.244.0.8"))
    dns._node_text = lambda node: "search lan.example\nnameserver 192.0.2.1\noptions edns0\n" if node == "n1" else None
    found = dns._objects.pod("shop", "p")
    assert found is not None
    conf = dns.pod_conf(found).conf
    assert conf.search[3:] == ("lan.example",)
    assert conf.servers == ("10.96.0.10",)
    assert conf.options == ("ndots:5",)


# --- which address ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "resolver", "first"),
    [
        (("10.244.0.5", "fd00::5"), "glibc", "fd00:10::1"),
        (("10.244.0.5", "fd00::5"), "musl", "10.96.0.1"),
        (("10.244.0.5",), "glibc", "10.96.0.1"),
        (("fd00::5",), "musl", "fd00:10::1"),
    ],
)
def test_which_family_is_dialled(sources: tuple[str, ...], resolver: str, first: str) -> None:
    found = tuple(a for a in map(parse_address, ("10.96.0.1", "fd00:10::1")) if a)
    own = tuple(a for a in map(parse_address, sources) if a)
    assert str(in_order(found, own, Resolver(resolver))[0]) == first


def test_equal_addresses_stay_in_the_order_of_the_answer() -> None:
    found = tuple(a for a in map(parse_address, ("10.0.0.9", "10.0.0.1", "fd00::1")) if a)
    own = tuple(a for a in [parse_address("10.244.0.5")] if a)
    assert [str(a) for a in equals_of_first(found, own)] == ["10.0.0.9", "10.0.0.1"]


# --- one look-up costs the same in a large cluster ------------------------------------------------------------------------------


def test_a_look_up_decodes_only_what_it_needs() -> None:
    """The zone is an index: one question among 2,000 Services decodes as many objects as among two."""
    many = [service("shop", f"s{i}", f"10.97.{i // 250}.{i % 250}") for i in range(2000)]
    read = []
    for extra in ([], many):
        dns = made(*extra, endpoints("shop", "web", "10.244.0.9"), usual=USUAL)
        for name, rdtype in (
            ("web.shop.svc.cluster.local.", "A"),
            ("7.0.96.10.in-addr.arpa.", "PTR"),
            ("nosuch.shop.svc.cluster.local.", "AAAA"),
        ):
            asked(dns, name, rdtype)
        read.append(sum(map(len, dns._objects._read.values())))
    assert read[0] == read[1]
