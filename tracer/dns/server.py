"""CoreDNS as a whole: the server block of a question, and its plugins in CoreDNS's fixed order.

Strategy: each plugin that concerns answers is a function of the question and of what follows it; the others are passed over. A plugin
that may answer from what no snapshot holds (a file, a database, an upstream, a template) answers unknown for the names it is told.
Source: core/dnsserver/{server,zdirectives}.go of CoreDNS 1.14.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property

from tracer.dns.autopath import autopath, first_in_search_path
from tracer.dns.corefile import Corefile, ServerBlock, external_options, kubernetes_options, not_known, plugin_zones
from tracer.dns.corefile_text import Line
from tracer.dns.external_zone import ExternalZone
from tracer.dns.hosts_file import Hosts
from tracer.dns.kubernetes_options import PodMode
from tracer.dns.message import Answer, Ask, Question, Rcode, servfail, unknown
from tracer.dns.names import is_below, longest_zone
from tracer.dns.rewrite import Rewrite, parse_rewrites, rewritten_back, unread_rewrites
from tracer.dns.service_import import Imports
from tracer.dns.zone import ClusterZone
from tracer.kube.objects import Objects
from tracer.packet import Address

# The plugins that concern answers, in the order of plugin.cfg; what stands between them does not.
_ORDER = (
    "local", "dns64", "acl", "any", "chaos", "cache", "rewrite", "autopath", "template", "hosts", "route53", "azure", "clouddns",
    "k8s_external", "kubernetes", "file", "auto", "secondary", "etcd", "forward", "grpc", "erratic", "whoami", "nomad", "view",
)  # fmt: skip
_SILENT = frozenset(
    (
        "root", "metadata", "geoip", "cancel", "tls", "quic", "timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug",
        "trace", "ready", "health", "pprof", "prometheus", "errors", "log", "dnstap", "loadbalance", "tsig", "header", "dnssec",
        "minimal", "transfer", "loop", "on", "sign", "grpc_server", "https", "https3", "proxyproto", "ocp_dnsnameresolver", "federation",
        "upstream", "lameduck", "import",
    )
)  # fmt: skip
_ELSEWHERE = ("route53", "azure", "clouddns", "file", "auto", "secondary", "etcd", "nomad")
_MOST_QUESTIONS = 16
_CACHE_SECONDS = {Rcode.NOERROR: 3600, Rcode.NXDOMAIN: 1800}

# How many questions a question has led to so far; one number for each thread.
_DEPTH: ContextVar[int] = ContextVar("depth", default=0)

Plugin = Callable[[Question, Address | None, Ask], Answer]


class DnsServer:
    """CoreDNS with its Corefile over the API objects. *local_addresses* are the addresses of the pod that answers."""

    def __init__(
        self, corefile: Corefile, objects: Objects, *, imports: Imports | None = None, local_addresses: tuple[Address, ...] = ()
    ) -> None:
        self.corefile = corefile
        self._objects = objects
        self._imports = imports
        self._local = local_addresses
        self._chains: dict[int, tuple[Plugin, ...]] = {}

    def ask(self, question: Question, client: Address | None = None) -> Answer:
        """Return the answer to *question* from *client*. A question that comes back to itself too often fails, as CoreDNS's do."""
        block = self.corefile.block_for(question.name)
        if block is None:
            return Answer(rcode=Rcode.REFUSED, plugin="", why="no server block of the Corefile is for this name")
        depth = _DEPTH.get()
        if depth >= _MOST_QUESTIONS:
            return servfail("", "the question comes back to itself")
        token = _DEPTH.set(depth + 1)
        try:
            return _walk(self._chain(block), 0, question, client)
        finally:
            _DEPTH.reset(token)

    def shuffles(self, name: str) -> bool:
        """Return whether the answers for *name* come in random order (plugin loadbalance)."""
        block = self.corefile.block_for(name)
        line = block.plugin("loadbalance") if block else None
        return line is not None and line.args[:1] in ((), ("round_robin",))

    @cached_property
    def primary_zone(self) -> str | None:
        """Return the cluster's domain, None when no block has the kubernetes plugin."""
        blocks = (b for b in self.corefile.blocks if b.plugin("kubernetes"))
        return next((kubernetes_options(k, b.zones).primary_zone for b in blocks if (k := b.plugin("kubernetes"))), None)

    def _chain(self, block: ServerBlock) -> tuple[Plugin, ...]:
        chain = self._chains.get(id(block))
        if chain is None:
            chain = self._chains[id(block)] = tuple(_Chain(self, block, self._objects, self._imports, self._local).plugins())
        return chain


def _walk(chain: tuple[Plugin, ...], position: int, question: Question, client: Address | None) -> Answer:
    if position == len(chain):
        return servfail("", "no plugin of the server block is for this name, and there is no forward: CoreDNS answers SERVFAIL")
    return chain[position](question, client, lambda q: _walk(chain, position + 1, q, client))


class _Chain:
    """Makes the plugins of one server block."""

    def __init__(
        self, server: DnsServer, block: ServerBlock, objects: Objects, imports: Imports | None, local: tuple[Address, ...]
    ) -> None:
        self._server = server
        self._block = block
        self._objects = objects
        self._cluster: ClusterZone | None = None
        if (line := block.plugin("kubernetes")) is not None:
            options = kubernetes_options(line, block.zones)
            self._cluster = ClusterZone(objects, options, imports=imports, local_addresses=local, lookup=server.ask)

    def plugins(self) -> list[Plugin]:
        found: list[Plugin] = []
        strange = [p for p in self._block.plugins if p.name not in _ORDER and p.name not in _SILENT]
        found += [_unknown_plugin(p) for p in strange]
        for name in _ORDER:
            lines = self._block.all_of(name)
            if lines:
                found += self._made(name, lines)
        return found

    def _made(self, name: str, lines: tuple[Line, ...]) -> list[Plugin]:
        match name:
            case "cache":
                return [self._cache(lines[0])]
            case "rewrite":
                return [_in_doubt(_rewrite(parse_rewrites(lines)), (".",), not_known(name, unread_rewrites(lines)))]
            case "autopath":
                return [self._autopath(lines[0])]
            case "hosts":
                return [_or_next(Hosts.parse(lines[0], self._block.zones).answer)]
            case "kubernetes" if self._cluster is not None:
                options = self._cluster.options
                return [_in_doubt(_or_next(self._cluster.answer), options.zones, not_known(name, options.unread))]
            case "k8s_external" if self._cluster is not None:
                said = external_options(lines[0], self._block.zones)
                zone = ExternalZone(self._cluster, said, lookup=self._server.ask)
                return [_in_doubt(_or_next(zone.answer), said.zones, not_known(name, said.unread))]
            case "forward" | "grpc":
                return [_forward(line, self._block.zones) for line in lines]
            case "any":
                return [_any]
            case "local":
                return [_local]
            case "view":
                return [lambda q, c, n: unknown("view", "the server block has a view: which clients it is for is not modelled")]
            case "acl":
                return [lambda q, c, n: replace(n(q), why="an acl may refuse this client")]
            case "dns64":
                return [_dns64]
            case "chaos":
                return []
        return [self._elsewhere(line) for line in lines]

    def _elsewhere(self, line: Line) -> Plugin:
        """A plugin whose answers come from what the snapshot does not hold, for the zones that it is told."""
        words = {"file": 1, "secondary": 0, "template": 2, "auto": 0, "etcd": 0}.get(line.name, 0)
        zones = plugin_zones(line.args[words:], self._block.zones)

        def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
            if longest_zone(question.name, zones) is None:
                return following(question)
            if line.name == "template" and line.args[1:2] not in (("ANY",), (question.rdtype,)):
                return following(question)
            return unknown(line.name, f"plugin {line.name} (Corefile line {line.line}) may answer {question}, and is not modelled")

        return plugin

    def _cache(self, line: Line) -> Plugin:
        words = line.args
        said = int(words[0]) if words and words[0].isascii() and words[0].isdigit() and len(words[0]) < 10 else None
        zones = plugin_zones(words[1:] if said is not None else words, self._block.zones)

        def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
            answer = following(question)
            seconds = said if said is not None else _CACHE_SECONDS.get(answer.rcode)
            if longest_zone(question.name, zones) is None or seconds is None or answer.least_ttl is None:
                return answer
            # NB: what goes into the cache leaves it with one TTL for all records, the smallest.
            return answer.with_ttls(min(seconds, answer.least_ttl))

        return plugin

    def _autopath(self, line: Line) -> Plugin:
        zones = plugin_zones(line.args[:-1], self._block.zones)
        target = line.args[-1] if line.args else ""

        def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
            if longest_zone(question.name, zones) is None:
                return following(question)
            if target != "@kubernetes":
                return unknown("autopath", f"autopath takes its search list from {target}, which is not in the snapshot")
            search = self._search_path(question, client)
            return autopath(question, search, following) if first_in_search_path(question.name, search) else following(question)

        return plugin

    def _search_path(self, question: Question, client: Address | None) -> tuple[str, ...]:
        """Return the search list that CoreDNS gives the pod with the client's address; none unless pods are verified."""
        if self._cluster is None or client is None or self._cluster.options.pods is not PodMode.VERIFIED:
            return ()
        zone = longest_zone(question.name, self._cluster.options.zones)
        pods = [p for p in self._objects.pods_with_ip(client) if not p.host_network and not p.terminating and p.ips[:1] == (client,)]
        if zone is None or not pods:
            return ()
        below = "" if zone == "." else zone
        return (f"{pods[0].namespace}.svc.{below}", f"svc.{below}", zone, "")


def _or_next(answering: Callable[[Question], Answer | None]) -> Plugin:
    def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
        found = answering(question)
        return found if found is not None else following(question)

    return plugin


def _rewrite(rules: tuple[Rewrite, ...]) -> Plugin:
    def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
        sent, used = question, []
        for rule in rules:
            if rule.match == "regex":
                return unknown("rewrite", f"line {rule.line} of the Corefile rewrites by a regular expression, which is not modelled")
            changed = rule.applied(sent)
            if changed is not None:
                sent = changed
                used.append(rule)
                if not rule.goes_on:
                    break
        answer = following(sent)
        return rewritten_back(answer, question, sent, tuple(used)) if used else answer

    return plugin


def _forward(line: Line, block_zones: tuple[str, ...]) -> Plugin:
    # forward FROM TO…: one zone, then the servers.
    zones = plugin_zones(line.args[:1], block_zones)
    servers = line.args[1:]
    excepted = tuple(z for option in line.block if option.name == "except" for z in plugin_zones(option.args, ()))

    def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
        if longest_zone(question.name, zones) is None or any(is_below(question.name, z) for z in excepted):
            return following(question)
        why = f"CoreDNS forwards {question.name} to {', '.join(servers)}: what that server answers is not in the snapshot"
        return unknown(line.name, why, outside=question.name, servers=servers)

    return plugin


def _any(question: Question, client: Address | None, following: Ask) -> Answer:
    return following(question) if question.rdtype != "ANY" else Answer(rcode=Rcode.NOERROR, plugin="any", authoritative=True)


def _local(question: Question, client: Address | None, following: Ask) -> Answer:
    if is_below(question.name, "localhost.") or question.name.lower().startswith("localhost."):
        return unknown("local", "plugin local answers for localhost itself")
    return following(question)


def _dns64(question: Question, client: Address | None, following: Ask) -> Answer:
    answer = following(question)
    if question.rdtype == "AAAA" and answer.is_nodata:
        return unknown("dns64", "plugin dns64 makes an IPv6 address of the IPv4 one, which is not modelled")
    return answer


def _in_doubt(plugin: Plugin, zones: tuple[str, ...], unread: tuple[str, ...]) -> Plugin:
    """The plugin with words of its own that Hopline does not know: whatever is asked of its *zones* may be answered otherwise."""
    if not unread:
        return plugin

    def doubting(question: Question, client: Address | None, following: Ask) -> Answer:
        answer = plugin(question, client, following)
        return answer if longest_zone(question.name, zones) is None else replace(answer, unread=(*answer.unread, *unread))

    return doubting


def _unknown_plugin(line: Line) -> Plugin:
    def plugin(question: Question, client: Address | None, following: Ask) -> Answer:
        why = f"Hopline does not know plugin {line.name} (Corefile line {line.line}), which may answer before any other"
        return unknown(line.name, why)

    return plugin
