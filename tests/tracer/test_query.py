"""Questions in both spellings, and what is refused."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import QueryError
from tracer.packet import Protocol
from tracer.query import Query, SourceKind, parse_destination, parse_port, parse_protocol, parse_source, query_from_dict

SOURCES = ["pod:default/client-1", "node:shop-worker", "external:203.0.113.10", "external:2001:db8::1"]
DESTINATIONS = [
    # text, host, port, text again
    ("10.96.0.1:80", "10.96.0.1", 80, "10.96.0.1:80"),
    ("10.96.0.1", "10.96.0.1", None, "10.96.0.1"),
    ("[fd00:0::1]:80", "fd00::1", 80, "[fd00::1]:80"),
    ("[fd00::1]", "fd00::1", None, "[fd00::1]"),
    ("fd00::1", "fd00::1", None, "[fd00::1]"),
    ("api.default.svc:80", "api.default.svc", 80, "api.default.svc:80"),
    ("svc:default/api", "api.default.svc", None, "svc:default/api"),
    ("svc:default/api:80", "api.default.svc", 80, "svc:default/api:80"),
]


@pytest.mark.parametrize("text", SOURCES)
def test_source(text: str) -> None:
    source = parse_source(text)
    assert str(source) == text
    assert query_from_dict({"from": source.to_dict(), "to": "10.0.0.1:1"}).source == source


def test_a_bracketed_source_address_is_read() -> None:
    assert parse_source("external:[fd00::1]").ip == ip_address("fd00::1")


@pytest.mark.parametrize(("text", "host", "port", "again"), DESTINATIONS)
def test_destination(text: str, host: str, port: int | None, again: str) -> None:
    found = parse_destination(text)
    assert (found.host, found.port, str(found)) == (host, port, again)


BAD = [
    (parse_source, "pod:default", "BAD_SOURCE"),
    (parse_source, "pod:a/b/c", "BAD_SOURCE"),
    (parse_source, "node:", "BAD_SOURCE"),
    (parse_source, "external:nowhere", "BAD_SOURCE"),
    (parse_source, "external:fe80::1%eth0", "BAD_SOURCE"),
    (parse_source, "robot:x", "BAD_SOURCE"),
    (parse_source, "", "BAD_SOURCE"),
    (parse_destination, "", "BAD_DESTINATION"),
    (parse_destination, "svc:api", "BAD_DESTINATION"),
    (parse_destination, "a b:80", "BAD_DESTINATION"),
    (parse_destination, "[10.0.0.1]:80", "BAD_DESTINATION"),
    (parse_destination, "http://x/", "BAD_DESTINATION"),
    (parse_destination, "10.0.0.1:0", "BAD_PORT"),
    (parse_destination, "10.0.0.1:65536", "BAD_PORT"),
    (parse_destination, "svc:default/api:99999", "BAD_PORT"),
    (parse_protocol, "icmpv6", "BAD_PROTOCOL"),
    (parse_protocol, None, "BAD_PROTOCOL"),
]


@pytest.mark.parametrize(("parse", "text", "code"), BAD)
def test_refused(parse: object, text: object, code: str) -> None:
    with pytest.raises(QueryError) as error:
        parse(text)  # type: ignore[operator]
    assert error.value.code == code
    assert error.value.field


@pytest.mark.parametrize("value", [0, 65536, -1, True, 1.5, "x", "", "٨٠", None, "123456"])
def test_refused_port(value: object) -> None:
    with pytest.raises(QueryError, match="not a port"):
        parse_port(value, "to")


POD = {"kind": "pod", "namespace": "default", "name": "a"}
TO = {"host": "10.96.0.1", "port": 80}
JSON = [
    # what is wrong, code, field
    ([], "BAD_QUERY", ""),
    ({"to": TO}, "BAD_SOURCE", "from"),
    ({"from": POD}, "BAD_DESTINATION", "to"),
    ({"from": {"kind": "robot"}, "to": TO}, "BAD_SOURCE", "from"),
    ({"from": POD, "to": {"port": 80}}, "BAD_DESTINATION", "to"),
    ({"from": POD, "to": {"host": "a b"}}, "BAD_DESTINATION", "to"),
    ({"from": POD, "to": {"host": "10.0.0.1", "port": "x"}}, "BAD_PORT", "to"),
    ({"from": POD, "to": TO, "protocol": "gre"}, "BAD_PROTOCOL", "protocol"),
    ({"from": POD, "to": TO, "source_port": 0}, "BAD_PORT", "source_port"),
    ({"from": POD, "to": TO, "seed": "x"}, "BAD_QUERY", "seed"),
    ({"from": POD, "to": TO, "state": "old"}, "BAD_QUERY", "state"),
    ({"from": POD, "to": TO, "connection": {"node": "n", "line": 0}}, "BAD_QUERY", "connection"),
    ({"from": POD, "to": TO, "nonsense": 1}, "BAD_QUERY", "nonsense"),
]


@pytest.mark.parametrize(("value", "code", "field"), JSON)
def test_refused_json(value: object, code: str, field: str) -> None:
    with pytest.raises(QueryError) as error:
        query_from_dict(value)
    assert (error.value.code, error.value.field) == (code, field)


def test_json_there_and_back() -> None:
    value = {"id": "7", "from": POD, "to": TO, "protocol": "UDP", "source_port": 4000, "state": "returning", "seed": 5}
    query = query_from_dict(value)
    assert (query.id, query.protocol, query.source_port, query.seed) == ("7", Protocol.UDP, 4000, 5)
    assert query_from_dict(query.to_dict()) == query


def test_a_connection_there_and_back() -> None:
    query = query_from_dict({"from": POD, "to": TO, "connection": {"node": "n1", "line": 3}})
    assert query.connection == ("n1", 3)
    assert query_from_dict(query.to_dict()) == query


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=20).filter(lambda n: n.strip(".-") == n)


@given(NAMES, NAMES, st.ip_addresses() | NAMES, st.integers(1, 65535), st.sampled_from(["tcp", "udp", "sctp"]))
def test_any_query_there_and_back(namespace: str, name: str, host: object, port: int, protocol: str) -> None:
    source = parse_source(f"pod:{namespace}/{name}")
    destination = parse_destination(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}")
    query = Query(source=source, destination=destination, protocol=parse_protocol(protocol))
    assert query_from_dict(query.to_dict()) == query
    assert parse_destination(str(destination)) == destination
    assert source.kind is SourceKind.POD


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda x: st.lists(x) | st.dictionaries(st.text(max_size=8), x),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "from", "to", "protocol", "source_port", "state", "seed", "connection", "x"]), JSONS))
def test_any_json_is_a_query_or_a_query_error(value: dict[str, object]) -> None:
    try:
        query_from_dict(value)
    except QueryError as error:
        assert error.code
