"""The URL is the state: every query is written as it is read, and every error is found at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.assumptions import parse_assumptions
from tracer.errors import QueryError
from tracer.override_words import parse_overrides
from tracer.packet import Protocol
from tracer.query import FlowState, Resolver, parse_destination, parse_source
from webapp.questions.trace_query import DETAILS, GROUPS, LATER, SORTS, VIEWS, TraceQuery, from_params, parse

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
PORTS = st.integers(1, 65535)
ADDRESSES = st.ip_addresses().map(str)
SOURCES = st.one_of(
    st.builds("pod:{}/{}".format, NAMES, NAMES), st.builds("node:{}".format, NAMES), st.builds("external:{}".format, ADDRESSES)
).map(parse_source)
HOSTS = st.one_of(
    ADDRESSES.map(lambda a: f"[{a}]" if ":" in a else a),
    st.builds("svc:{}/{}".format, NAMES, NAMES),
    st.builds("{}.example.com".format, NAMES),
)
DESTINATIONS = st.builds("{}:{}".format, HOSTS, PORTS).map(parse_destination)
FOLDS = st.from_regex(r"f-[0-9a-f]{10}", fullmatch=True) | st.sampled_from(["nodes", "all"])
LOOKS = {
    "seed": st.none() | st.integers(0, 10**9),
    "follow": st.just("") | st.from_regex(r"[0-9a-f]{10}", fullmatch=True),
    "step": st.none() | st.integers(1, 99),
    "detail": st.sampled_from(DETAILS),
    "group": st.sampled_from(["", *GROUPS]),
    "expand": st.sets(FOLDS, max_size=4).map(lambda folds: tuple(sorted(folds))),
    "view": st.sampled_from(VIEWS),
    "find": st.text(max_size=60).map(str.strip),
    "sort": st.sampled_from(SORTS),
}
ASSUMED = st.lists(
    st.sampled_from(["front:kept", "network:drops-pods"]) | NAMES.map("enters:{}".format),
    max_size=3,
    unique_by=lambda word: word.partition(":")[0],
).map(parse_assumptions)
OVERRIDES = st.lists(
    st.builds("svc/{}/{}.spec.externalTrafficPolicy=Local".format, NAMES, NAMES)
    | st.builds("svc/{}/{}.metadata.annotations[a.b/c]=x=&y+%20".format, NAMES, NAMES)
    | st.builds("pod/{}/{}=deleted".format, NAMES, NAMES)
    | st.just("mode=nftables"),
    max_size=3,
).map(parse_overrides)
MANIFESTS = st.just("") | st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
QUERIES = st.builds(
    TraceQuery,
    source=SOURCES,
    destination=DESTINATIONS,
    protocol=st.sampled_from([Protocol.TCP, Protocol.UDP, Protocol.SCTP]),
    source_port=st.none() | PORTS,
    state=st.sampled_from(FlowState),
    resolver=st.sampled_from(Resolver),
    assume=ASSUMED,
    overrides=OVERRIDES,
    apply=MANIFESTS,
    **LOOKS,
) | st.builds(TraceQuery, connection=st.tuples(NAMES, st.integers(1, 10**8)), assume=ASSUMED, overrides=OVERRIDES, **LOOKS)


@given(QUERIES)
def test_a_query_reads_back_as_it_was_written(query: TraceQuery) -> None:
    again = parse(str(query))
    assert again == query, again.errors
    assert str(again) == str(query)


def test_defaults_stay_out_of_the_address() -> None:
    query = parse("from=external:203.0.113.10&to=198.51.100.10:443&protocol=TCP&paths=all&seed=7&detail=chains&view=steps&sort=probability")
    assert str(query) == "from=external:203.0.113.10&to=198.51.100.10:443"


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        (
            "from_kind=external&from_name=203.0.113.10&to=production/public-api:443",
            "from=external:203.0.113.10&to=svc:production/public-api:443",
        ),
        ("from_kind=pod&from_name=default/client&to=10.96.0.10:53&protocol=udp", "from=pod:default/client&to=10.96.0.10:53&protocol=udp"),
        ("from_kind=external&from_name=node:a&to=[fd00::1]:80", "from=node:a&to=[fd00::1]:80"),
        ("from=node:a&to=10.0.0.1:80&state=new&resolver=glibc", "from=node:a&to=10.0.0.1:80"),
        ("from=node:a&to=web.shop:80&state=returning&resolver=musl", "from=node:a&to=web.shop:80&state=returning&resolver=musl"),
        # A connection says who sends what to whom: the rest of the question is left out.
        ("from_kind=pod&from_name=a/b&to=c&source_port=9&connection=node-a:12&step=2", "connection=node-a:12&step=2"),
        (
            "from=node:a&to=10.0.0.1:80&assume=network:drops-pods&assume=&assume=front:kept&assume=front:kept",
            "from=node:a&to=10.0.0.1:80&assume=front:kept&assume=network:drops-pods",
        ),
        (
            "from=node:a&to=10.0.0.1:80&set=mode=nftables&set=+&set=mode%3Dnftables&set=svc/shop/web.spec.ports[0].port=81",
            "from=node:a&to=10.0.0.1:80&set=mode=nftables&set=svc/shop/web.spec.ports[0].port=81",
        ),
        ("from=node:a&to=10.0.0.1:80&paths=one", "from=node:a&to=10.0.0.1:80&paths=one&seed=0"),
        ("from=node:a&to=10.0.0.1:80&step=3&expand=nodes,all,nodes", "from=node:a&to=10.0.0.1:80&step=3&expand=all,nodes"),
    ],
)
def test_a_form_becomes_the_canonical_address(typed: str, canonical: str) -> None:
    query = parse(typed)
    assert not query.errors
    assert str(query) == canonical


def test_every_error_is_found_at_once() -> None:
    query = parse(
        "from=pod:x&to=a b&protocol=gre&source_port=70000&state=old&resolver=bind&assume=front:x&step=0&detail=all&group=rack&expand=x&follow=zz&paths=some&view=3d&sort=age"
    )
    assert sorted(error.field for error in query.errors) == sorted(
        [
            "from",
            "to",
            "protocol",
            "source_port",
            "state",
            "resolver",
            "assume",
            "step",
            "detail",
            "group",
            "expand",
            "follow",
            "paths",
            "view",
            "sort",
        ]
    )


def test_each_word_that_cannot_be_read_is_an_error_of_its_own() -> None:
    query = parse("from=node:a&to=10.0.0.1:80&set=mode=ebpf&set=pod/shop/web-1=deleted&set=svc/shop=deleted&apply=x")
    assert [error.field for error in query.errors] == ["set", "set", "apply"]
    assert "ebpf is no mode" in query.errors[0].message
    assert query.errors[1].message.startswith("svc/shop=deleted: ")


def test_words_that_contradict_each_other_are_refused_together() -> None:
    query = parse("from=node:a&to=10.0.0.1:80&set=mode=ipvs&set=mode=nftables")
    assert [(error.field, "contradicts" in error.message) for error in query.errors] == [("set", True)]


def test_what_is_changed_is_part_of_the_question_and_not_of_how_it_is_looked_at() -> None:
    query = parse("from=node:a&to=10.0.0.1:80&set=mode=ipvs&apply=" + "a" * 32 + "&follow=0123456789&step=4&detail=rules")
    assert str(query.question()) == "from=node:a&to=10.0.0.1:80&set=mode=ipvs&apply=" + "a" * 32
    assert str(query.look()) == "follow=0123456789&step=4&detail=rules"
    assert query.is_what_if
    assert str(query.plain()) == "from=node:a&to=10.0.0.1:80&detail=rules"
    assert query.plain().plain() == query.plain()


def test_the_engine_is_asked_with_the_words_and_the_manifest() -> None:
    query = parse("from=node:a&to=10.0.0.1:80&set=mode=ipvs&apply=" + "a" * 32)
    with pytest.raises(QueryError, match="manifest"):
        query.to_query()
    asked = query.but(manifest='[{"kind":"Service"}]').to_query()
    assert (asked.overrides, asked.apply) == (("mode=ipvs",), '[{"kind":"Service"}]')
    assert parse("connection=node-a:3&set=mode=ipvs").to_query().overrides == ("mode=ipvs",)


@pytest.mark.parametrize("name", sorted(LATER))
def test_what_comes_later_is_refused_with_a_word(name: str) -> None:
    query = parse(f"from=node:a&to=10.0.0.1:80&{name}=x")
    assert [(error.field, "not built yet" in error.message) for error in query.errors] == [(name, True)]


@pytest.mark.parametrize("text", ["node-a", "node-a:0", "node-a:x", ":3", "a b:3", "node-a:1234567890"])
def test_a_connection_is_a_node_and_a_line(text: str) -> None:
    assert [error.field for error in parse(f"connection={text}").errors] == ["connection"]


def test_a_frozen_address_keeps_only_how_it_is_looked_at() -> None:
    asked = "from=node:a&to=10.0.0.1:80&protocol=udp&source_port=9&state=returning&resolver=musl&assume=front:pod&step=4&detail=rules"
    assert str(parse(asked).look()) == "step=4&detail=rules"
    assert str(parse("connection=a:3&step=4").look()) == "step=4"


def test_half_a_question_says_what_is_missing() -> None:
    assert [error.field for error in parse("from=node:a").errors] == ["to"]
    assert [error.field for error in parse("to=10.0.0.1:80").errors] == ["from"]
    assert parse("").is_empty


def test_a_frozen_page_reads_only_how_it_is_looked_at() -> None:
    query = parse("from=node:a&to=nonsense nonsense&step=4&set=x", frozen=True)
    assert not query.errors
    assert str(query) == "step=4"


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "from",
                "to",
                "protocol",
                "source_port",
                "paths",
                "seed",
                "follow",
                "step",
                "expand",
                "find",
                "from_kind",
                "from_name",
                "connection",
                "state",
            ]
        ),
        st.lists(st.text(max_size=30), max_size=2),
    )
)
def test_reading_never_raises(params: dict[str, list[str]]) -> None:
    str(from_params(params))
