"""What travels back without a SYN-ACK, on the page and in a terminal: a route that says no, an echo request and what answers it."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client

from tests.frozen_links import made_document
from tests.made_cluster import MadeCluster
from tracer.trace import Trace
from webapp.exports.trace_text import trace_text
from webapp.models import TraceLink


def refused(*rules: str) -> Trace:
    """A pod asks for what the other node's route forbids."""
    made = MadeCluster(2)
    made.pod("client", 1)
    made.node(1).routes.append({"dst": "198.51.100.7", "gateway": "192.168.0.12", "dev": "eth0", "flags": []})
    made.node(2).routes.append({"type": "prohibit", "dst": "198.51.100.7", "flags": []})
    made.node(1).rules += [("filter", rule) for rule in rules]
    return made.trace("pod:default/client", "198.51.100.7:80")


def pinged(to: str) -> Trace:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)])
    return made.trace("pod:default/client", to, protocol="icmp")


def page(client: Client, trace: Trace) -> str:
    link = TraceLink(owner="someone", query={"text": "", "query": {}}, snapshot_digest="0", engine_version="made")
    link.document = made_document(trace)
    link.save(force_insert=True)
    response = client.get(f"/t/{link.token}")
    assert response.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


@pytest.mark.django_db
def test_a_routes_no_is_a_way_back(client: Client) -> None:
    text = page(client, refused())
    assert "no route to host" in text
    assert "Node replies" in text
    assert "198.51.100.7:None" not in text


@pytest.mark.django_db
def test_a_no_that_is_lost_is_said(client: Client) -> None:
    text = page(client, refused("-A FORWARD -p icmp -j DROP"))
    assert "The refusal does not reach it: Dropped by" in text
    assert "runs into a timeout" in text


@pytest.mark.django_db
@pytest.mark.parametrize("to", ["10.1.2.2", "[fd00:1:2::2]"])
def test_an_echo_has_no_ports_on_the_page(client: Client, to: str) -> None:
    text = page(client, pinged(to))
    assert "Delivered" in text
    assert not re.search(r"(None|any|random|–)\b", " ".join(re.findall(r"10\.1\.2\.2:\S+|fd00:1:2::2\]:\S+|port \S+", text)))


@pytest.mark.parametrize("to", ["10.1.2.2", "[fd00:1:2::2]"])
def test_nor_in_a_terminal(to: str) -> None:
    text = trace_text(pinged(to), with_steps=True)
    assert "client sees: connected. The client gets an answer." in text
    assert "None" not in text
    assert ":any" not in text
