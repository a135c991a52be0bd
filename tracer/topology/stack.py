"""One node's network stack: its rule sets, sets, routing and listening sockets, each read when first needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from tracer.kept import Kept
from tracer.kube.pod import Pod
from tracer.limits import KEPT_LOOKS
from tracer.netfilter.base_chain import BaseChain, XtablesChain
from tracer.netfilter.dump import Chain, Dump, Table
from tracer.netfilter.evaluate import Annotator, no_names
from tracer.netfilter.hook_order import CHAINS_OF_TABLE, HOOKS
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.model import Hook, Priority
from tracer.netfilter.recorded_tables import unrecorded_tables
from tracer.packet import Address, Family, Packet, Protocol, an_address_of
from tracer.patterns import pattern
from tracer.routing import POD_SIDE, UPLINK, PlacedRouting, Placement, RouteResult, Routing
from tracer.routing.model import Forwarding
from tracer.routing.parse import parse_forwarding
from tracer.snapshot import Snapshot
from tracer.snapshot import node_files as files
from tracer.snapshot.node_files import NodeFile
from tracer.snapshot.unreadable import why_unread
from tracer.topology.virtual_names import VirtualAnnotator, no_virtual_names
from tracer.trace import Unknown

# What reads a format is imported where a file of it is read: few nodes have them all.
if TYPE_CHECKING:
    from tracer.conntrack_list import RecordedConnections
    from tracer.ipvs.ipvsadm_list import RecordedConnection
    from tracer.ipvs.model import VirtualServers
    from tracer.netfilter.hook_listing import HookListing
    from tracer.netfilter.ipset_save import IpSet
    from tracer.netfilter.nft_evaluate import NftAnnotator
    from tracer.netfilter.nft_rules import NftRules
    from tracer.overrides.node_change import NodeChange
    from tracer.routing.wireguard import Peers
    from tracer.topology.programmed import Programmed
    from tracer.topology.sockets import Sockets

_RULE_FILES = {family: files.names(dumps) for family, dumps in files.DUMPS.items()}
_NFT_FILES = frozenset(files.names(files.NFT_LISTINGS))
_READ_FROM = {
    "forwarding": frozenset({files.BRIDGE_FDB.name}),
    "wireguard": frozenset({files.WG_ENDPOINTS.name, files.WG_ALLOWED.name}),
    "routing": frozenset(files.names((*files.ROUTING, *files.BESIDE_ROUTES))),
    "nft": _NFT_FILES,
    "sets": frozenset({files.SETS.name}),
    "virtual_servers": frozenset({files.VIRTUAL_SERVERS.name, files.VIRTUAL_COUNTERS.name}),
    "remembered_clients": frozenset({files.VIRTUAL_CLIENTS.name}),
    "mode": frozenset({files.PROXY_MODE.name}),
    "conntrack": frozenset({files.CONNTRACK.name}),
    "sockets": frozenset({files.SOCKETS.name, *files.names(files.SOCKET_TABLES)}),
    "hook_listing": frozenset({files.REGISTERED.name}),
}
_SOCKET_TABLES = dict(zip(product((Protocol.TCP, Protocol.UDP), (4, 6)), files.SOCKET_TABLES, strict=True))
PROXY_TABLE = "kube-proxy"
"""What kube-proxy calls its tables in nftables mode. Source: pkg/proxy/nftables/proxier.go."""
_RESTED_ON = (*files.ROUTING, files.PROXY_MODE, files.SETS, files.VIRTUAL_CLIENTS, files.VIRTUAL_COUNTERS)
"""What a walk goes on without, most often on an assumption."""
_INSTEAD = {
    files.Holds.POLICY_ROUTING: "the kernel's own routing rules are assumed",
    files.Holds.PROXY: "kube-proxy's mode is told by its ConfigMap, or by the look of the rules",
}
"""What is gone by where such a file cannot be read, where the table of files does not say it."""
_IN_EVERY_TABLE = (files.IPTABLES.mode, files.VIRTUAL_SERVERS.mode)
_MATCHED_SET = pattern(r" --match-set (KUBE-\S+) ", re.ASCII)


class NodeStack:
    """The network stack of one node, as far as its files tell."""

    def __init__(
        self,
        name: str,
        snapshot: Snapshot,
        *,
        indexed: bool = True,
        annotate: Annotator = no_names,
        annotate_nft: NftAnnotator | None = None,
        annotate_virtual: VirtualAnnotator = no_virtual_names,
        kernel: str | None = None,
        place: Callable[[NodeStack], Placement | None] | None = None,
        program: Callable[[str], Programmed | None] | None = None,
        pod: Pod | None = None,
        change: NodeChange | None = None,
    ) -> None:
        self.name = name
        self.pod = pod
        self._change = change
        self._place = place
        self._program = program
        self.kernel = kernel
        self._annotate = annotate
        self._annotate_nft = annotate_nft
        self.virtual_names = annotate_virtual
        self._snapshot = snapshot
        self._indexed = indexed
        self._dumps: dict[Family, tuple[Dump, ...]] = {}
        self._chains: dict[tuple[Hook, Family], tuple[BaseChain, ...]] = {}
        self._unread: dict[str, str | None] = {}
        self._mentioned: dict[tuple[str, re.Pattern[str]], bool] = {}
        self._redirects: dict[tuple[str, int], Address | None] = {}
        self._rests_on: dict[int, tuple[str, ...]] = {}
        self._said_unread: dict[int, tuple[str, ...]] = {}
        self._said_of_ways: Kept[tuple[int, int], tuple[RouteResult, tuple[str, ...]]] = Kept(KEPT_LOOKS)
        self._has_own = False

    def renewed(self, names: Collection[str]) -> NodeStack:
        """Return the stack after the node's files *names* changed: what was read from its other files is taken over."""
        stack = NodeStack(
            self.name,
            self._snapshot,
            indexed=self._indexed,
            annotate=self._annotate,
            annotate_nft=self._annotate_nft,
            annotate_virtual=self.virtual_names,
            kernel=self.kernel,
            place=self._place,
            program=self._program,
            pod=self.pod,
            change=self._change,
        )
        for derived, read_from in _READ_FROM.items():
            if derived == "routing" and self.is_placed and files.VIRTUAL_SERVERS.name in names:
                continue
            if derived in self.__dict__ and read_from.isdisjoint(names):
                stack.__dict__[derived] = self.__dict__[derived]
        stack._dumps = {f: dumps for f, dumps in self._dumps.items() if not {*_RULE_FILES[f]} & {*names}}
        if not _NFT_FILES & {*names}:
            stack._chains = {key: chains for key, chains in self._chains.items() if key[1] in stack._dumps}
        return stack

    @property
    def called(self) -> str:
        """Return whose stack it is, as a sentence says it: ``node n1``, ``pod shop/web-1``."""
        return f"node {self.name}" if self.pod is None else f"pod {self.pod.namespace}/{self.pod.name}"

    @property
    def begins(self) -> str:
        """Return whose stack it is, as a sentence begins."""
        return self.called[:1].upper() + self.called[1:]

    @property
    def is_placed(self) -> bool:
        """Return whether the stack's routing has been asked for, and was inferred from objects, or the addresses in it were."""
        return "routing" in self.__dict__ and (self._has_own or bool(self.routing.inferred_from))

    @cached_property
    def programmed(self) -> Programmed | None:
        """Return the rules that the node is taken to hold, as kube-proxy would program them; None where any of its own were recorded."""
        return self._program(self.name) if self._program is not None and self.pod is None else None

    @property
    def is_programmed(self) -> bool:
        """Return whether the stack's rules were asked for, and are modelled, or could be."""
        return self.__dict__.get("programmed") is not None

    def _file(self, file: NodeFile) -> str | None:
        return self._snapshot.node_file(self.name, file.name)

    def _path(self, file: NodeFile) -> str:
        return self._snapshot.path_of(self.name, file.name)

    def path_of(self, file: NodeFile) -> str:
        """Return where the snapshot has *file* of the node, or where it would be."""
        return self._path(file)

    def why_unread(self, file: NodeFile) -> str | None:
        """Return why *file* of this node is there and nothing of it counts, as what follows its name; None where it is absent or counts."""
        if file.name not in self._unread:
            self._unread[file.name] = why_unread(self._snapshot, self.name, file)
        return self._unread[file.name]

    def mentions(self, name: str, pattern: re.Pattern[str]) -> bool:
        """Return whether *pattern* is found in the node's file *name*; False where there is none. :raises ParseError: it is not text."""
        if (name, pattern) not in self._mentioned:
            there = self._snapshot.has_node_file(self.name, name)
            self._mentioned[name, pattern] = there and self._snapshot.mentions(self._snapshot.path_of(self.name, name), pattern)
        return self._mentioned[name, pattern]

    def _counting(self, file: NodeFile) -> str | None:
        """The text of a file of which anything counts."""
        return None if self.why_unread(file) else self._file(file)

    def lacking(self, file: NodeFile) -> str:
        """Return what is said of a file that would tell: that it is missing, empty, or cannot be read."""
        return f"{self._path(file)} {self.why_unread(file) or 'is missing'}"

    def rests_on(self, version: int) -> tuple[str, ...]:
        """Return what is to be said of every packet of IP *version* that the stack routes: what is assumed of it, and what is not read."""
        if version not in self._rests_on:
            family = Family.of(version)
            assumed = (self.assumed_rules(version), self.assumed_routes(version), self.assumed_legacy(family), self.assumed_tables(family))
            self._rests_on[version] = (*filter(None, assumed), *self.unread(version))
        return self._rests_on[version]

    def said_of(self, way: RouteResult, version: int, worked_out: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Return what is said of a packet of IP *version* that goes by *way*, as it was *worked_out* before."""
        kept = self._said_of_ways.get((id(way), version))
        if kept is None:
            kept = self._said_of_ways.put((id(way), version), (way, worked_out()))  # the way is held so that its id stays its own
        return kept[1]

    def unread(self, version: int) -> tuple[str, ...]:
        """Return what is to be said of each file that is there and cannot be read, of those that a walk of IP *version* rests on."""
        if version not in self._said_unread:
            self._said_unread[version] = tuple(self._unread_of(version))
        return self._said_unread[version]

    def _unread_of(self, version: int) -> Iterator[str]:
        for file in _RESTED_ON:
            if file.family in (None, Family.of(version)) and (why := self.why_unread(file)):
                instead = _INSTEAD.get(file.holds, file.limits if not file.ends_walks else "")
                yield f"{self._path(file)} {why}" + (f": {instead}" if instead else "")

    @cached_property
    def routing(self) -> Routing:
        """Return the stack's routes, rules, addresses and links; what is missing it says itself.

        Where none of them was recorded, they are inferred from what the objects say of the node, if they do.
        """
        has_none = not any(self._snapshot.has_node_file(self.name, name) for name in files.names(files.WAYS))
        placement = self._place(self) if self._place is not None and has_none else None
        if placement is not None:
            return self._inferred(placement)
        texts = {file.word: self._counting(file) for file in (*files.ROUTING, *files.BESIDE_ROUTES)}
        found = Routing.from_texts(self.name, **texts, kernel=self.kernel, folder=f"nodes/{self.name}/", own=self._own_addresses)
        found.keeps_looks = self._indexed
        return found if self._change is None else self._change.routing(found)

    def _own_addresses(self) -> tuple[Address, ...]:
        placement = self._place(self) if self._place is not None else None
        self._has_own = True
        return () if placement is None else placement.addresses

    def some_address(self, version: int, device: str | None) -> Address | None:
        """Return what stands for the node's address on *device* that no file tells; None where its addresses were recorded, or it has none.

        On the device towards its own pods it is the one that is assumed (``assumed_plugin``).
        """
        if self._place is None or not (self.routing.inferred_from or not self.routing.lists_addresses(version)):
            return None
        placement = self._place(self)
        if placement is not None and device == POD_SIDE and version in placement.towards_pods:
            return placement.towards_pods[version]
        if placement is not None and device == UPLINK and placement.own(version) is not None and version in placement.through_tunnel:
            return placement.through_tunnel[version]
        own = next((a for a in placement.addresses if a.version == version), None) if placement is not None else None
        return None if own is None else an_address_of(self.name, own)

    def assumed_plugin(self, address: Address, device: str | None) -> tuple[str, str] | None:
        """Return the setting of ``cni`` by which *address* is the node's on *device*, and what speaks for it; None without."""
        placement = self._place(self) if self._place is not None and self.pod is None and self.routing.inferred_from else None
        if placement is None or address in placement.told:
            return None
        held = {POD_SIDE: placement.towards_pods, UPLINK: placement.through_tunnel}.get(device or "", {})
        return placement.plugin if held.get(address.version) == address else None

    def _inferred(self, placement: Placement) -> Routing:
        texts = {file.word: self._counting(file) for file in files.ROUTING if file not in files.WAYS}
        return PlacedRouting(self.name, placement, texts=texts, kernel=self.kernel, folder=f"nodes/{self.name}/")

    @staticmethod
    def rule_files(family: Family) -> tuple[str, ...]:
        """Return the documented names of a family's xtables dumps: the nft back end's, then the legacy one's."""
        return _RULE_FILES[family]

    def dumps(self, family: Family) -> tuple[Dump, ...]:
        """Return the stack's xtables dumps of one family: the nft back end's first, then the legacy one's."""
        if family not in self._dumps:
            found = []
            for file in files.DUMPS[family]:
                text = self._file(file)
                if text is not None:
                    found.append(parse_dump(text, self._path(file), indexed=self._indexed))
            recorded = tuple(found)
            if self._change is not None and self.programmed is None:
                recorded = self._change.dumps(family, recorded, indexed=self._indexed)
            self._dumps[family] = recorded or self._modelled(family)
        return self._dumps[family]

    def _modelled(self, family: Family) -> tuple[Dump, ...]:
        """The dump that the node would print, where none of its rules were recorded and kube-proxy's are modelled."""
        made = self.programmed
        if made is None or family not in made.texts:
            return ()
        from tracer.topology.programming import MAKERS

        dump = parse_dump(made.texts[family], f"modelled/{self.name}/{_RULE_FILES[family][0]}", indexed=self._indexed)
        dump.made_as, dump.makers = made.by, MAKERS
        return (dump,)

    def chains(self, hook: Hook, family: Family) -> tuple[BaseChain, ...]:
        """Return the base chains of *hook* in the order the kernel calls them.

        Of those of equal priority nobody knows it but by ``hook_listing``: here tables of nft's stand as if their chains had been made
        with them, the latest first, and behind them the legacy ones.
        """
        key = (hook, family)
        if key not in self._chains:
            found: list[tuple[int, int, BaseChain]] = []
            for dump in self.dumps(family):
                for priority, table in HOOKS[hook]:
                    base = self._built_in(dump, table, hook, family)
                    if base is not None:
                        chain = XtablesChain(base, family.value, _priority(dump, priority), self._annotate)
                        found.append((chain.priority, 1 if dump.is_legacy else -self._position(family, table), chain))
            if self.nft is not None:
                listed = {
                    (family.value, table)
                    for dump in self.dumps(family)
                    if not dump.is_legacy
                    for table in dump.tables
                    if table not in dump.unread
                }
                found += [(c.priority, -position, c) for position, c in self.nft.chains(hook, family, listed)]
            self._chains[key] = tuple(chain for _, _, chain in sorted(found, key=lambda x: x[:2]))
        return self._chains[key]

    def _built_in(self, dump: Dump, table: str, hook: Hook, family: Family) -> Chain | None:
        """The chain of *table* at *hook*; of a table that could not be read one that says so, unless an nft listing has its rules."""
        unread = dump.unread.get(table)
        if unread is not None:
            is_listed = self._is_in_nft(family) and not dump.is_legacy
            return None if is_listed else Chain(hook.name, "ACCEPT", Table(table, dump, unread.line or 1), None, unread=unread)
        return dump.tables[table].chains.get(hook.name) if table in dump.tables else None

    def _position(self, family: Family, table: str) -> int:
        """Where an iptables table stands among the native ones, in the order of making: of equals, the kernel asks the latest first."""
        return -1 if self.nft is None else self.nft.position(family.value, table)

    @cached_property
    def nft(self) -> NftRules | None:
        """Return the node's native nftables rules, None when the snapshot has no listing of them."""
        found = self._listed_nft()
        if self._change is not None and self.programmed is None:
            return self._change.nft(found, self._annotate_nft)
        return found or self._modelled_nft()

    def _listed_nft(self) -> NftRules | None:
        for file in files.NFT_LISTINGS:
            text = self._file(file)
            if text is not None:
                from tracer.netfilter.nft_rules import NftRules

                return NftRules.from_listing(text, self._path(file), self._annotate_nft)
        return None

    def _modelled_nft(self) -> NftRules | None:
        """The listing that the node would print, where none of its rules were recorded and kube-proxy's of nftables mode are modelled."""
        made = self.programmed
        if made is None or not made.nft:
            return None
        from tracer.netfilter.nft_rules import NftRules

        found = NftRules.from_listing(made.nft, f"modelled/{self.name}/{files.NFT_TEXT.name}", self._annotate_nft)
        for table in found.ruleset.tables:
            table.made_as = made.by
        return found

    @cached_property
    def hook_listing(self) -> HookListing | None:
        """Return what the kernel calls at each hook, in its order; None where that was not recorded, or the kernel cannot list it."""
        text = self._counting(files.REGISTERED)
        if not text:
            return None
        from tracer.netfilter.hook_listing import parse_hooks

        listing = parse_hooks(text, self._path(files.REGISTERED))
        return listing if listing.places else None

    def untold_order(self) -> str:
        """Return why it is not known which of two chains of equal priority is asked first."""
        if self.hook_listing is None:
            is_empty = self._file(files.REGISTERED) is not None and not self.why_unread(files.REGISTERED)
            return f"{self._path(files.REGISTERED)} lists nothing" if is_empty else self.lacking(files.REGISTERED)
        return f"{self._path(files.REGISTERED)} does not list both of them"

    @cached_property
    def sets(self) -> Mapping[str, IpSet] | None:
        """Return the node's ipsets by name, None when the snapshot has none of its readings."""
        found = self._listed_sets()
        if self._change is not None and self.programmed is None:
            return self._change.sets(None if found is None else dict(found))
        return found

    def _listed_sets(self) -> Mapping[str, IpSet] | None:
        text, path = self._counting(files.SETS), self._path(files.SETS)
        if text is None and (made := self.programmed) is not None and made.sets:
            text, path = made.sets, f"modelled/{self.name}/{files.SETS.name}"
        if text is None:
            return None
        from tracer.netfilter.ipset_save import parse_sets

        return parse_sets(text, path)[0]

    @cached_property
    def virtual_servers(self) -> VirtualServers | None:
        """Return the node's IPVS servers, with the connections that were counted for them; None when the snapshot has no listing."""
        found = self._listed_servers()
        if self._change is not None and self.programmed is None:
            return self._change.virtual_servers(found)
        return found or self._modelled_servers()

    def _listed_servers(self) -> VirtualServers | None:
        text = self._file(files.VIRTUAL_SERVERS)
        if text is None:
            return None
        from tracer.ipvs.ipvsadm_list import parse_counters, with_counters
        from tracer.ipvs.ipvsadm_save import parse_virtual_servers
        from tracer.ipvs.model import VirtualServers

        file = self._path(files.VIRTUAL_SERVERS)
        servers, faults = parse_virtual_servers(text, file)
        counted = with_counters(servers, parse_counters(self._file(files.VIRTUAL_COUNTERS) or ""))
        if self._snapshot.is_renamed:
            counted = tuple(replace(server, is_renamed=True, in_kernel_order=False) for server in counted)
        return VirtualServers(counted, file, faults) if counted or faults else None

    def _modelled_servers(self) -> VirtualServers | None:
        """The servers of kube-proxy's IPVS mode, where none of the node's rules were recorded and they are modelled."""
        made = self.programmed
        if made is None or not made.virtual:
            return None
        from tracer.ipvs.ipvsadm_save import parse_virtual_servers
        from tracer.ipvs.model import VirtualServers

        file = f"modelled/{self.name}/{files.VIRTUAL_SERVERS.name}"
        servers, faults = parse_virtual_servers(made.virtual, file)
        return VirtualServers(servers, file, faults, made_as=made.by)

    @cached_property
    def remembered_clients(self) -> tuple[RecordedConnection, ...]:
        """Return the templates by which IPVS remembers persistent clients, as ipvsadm-conn.txt lists them."""
        text = self._counting(files.VIRTUAL_CLIENTS)
        if not text:
            return ()
        from tracer.ipvs.ipvsadm_list import parse_connections

        return tuple(c for c in parse_connections(text) if c.is_template)

    @cached_property
    def conntrack(self) -> RecordedConnections | None:
        """Return what the node's conntrack.txt holds, None when nothing of it counts."""
        text = self._counting(files.CONNTRACK)
        if text is None:
            return None
        from tracer.conntrack_list import RecordedConnections

        return RecordedConnections(text, self._path(files.CONNTRACK))

    @cached_property
    def forwarding(self) -> tuple[Forwarding, ...]:
        """Return where the node's tunnels and bridges send frames; empty where that was not recorded."""
        text = self._counting(files.BRIDGE_FDB)
        return () if text is None else parse_forwarding(text, self._path(files.BRIDGE_FDB))

    @cached_property
    def wireguard(self) -> Peers | None:
        """Return the peers of the node's WireGuard devices; None where one of both files does not count."""
        endpoints, allowed = self._counting(files.WG_ENDPOINTS), self._counting(files.WG_ALLOWED)
        if endpoints is None or allowed is None:
            return None
        from tracer.routing.wireguard import Peers, parse_allowed, parse_endpoints

        return Peers(
            endpoints=parse_endpoints(endpoints, self._path(files.WG_ENDPOINTS)),
            allowed=parse_allowed(allowed, self._path(files.WG_ALLOWED)),
        )

    @cached_property
    def mode(self) -> str | None:
        """Return what kube-proxy-mode.txt says in small letters, None when it is absent or says something else."""
        if (asked := self._snapshot.asked_mode(self.name)) is not None:
            return asked
        text = self._counting(files.PROXY_MODE)
        return text.strip().lower() if text else None

    def gap(self, family: Family) -> Unknown | None:
        """Return what keeps this stack from being replayed for *family*, or None when its rules are all there and modelled."""
        dumps = self.dumps(family)
        if self.pod is not None and not dumps and self.nft is None:
            return None  # a pod is taken to have no rules of its own, unless some were recorded
        if self._change is not None and self.programmed is None and (why := self._change.why_unknown):
            text = f"what the rules of {self.called} would be after the change is not known: {why}"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name})
        file = files.NFT_TEXT.name if self.mode == files.NFT_TEXT.mode else _RULE_FILES[family][0]
        if dumps and dumps[0].made_as:
            return None
        if (not dumps or self.mode == files.NFT_TEXT.mode) and self.nft is None:
            why = self.programmed.why_not if self.programmed is not None else ""
            text = f"No rules recorded for {self.called}: {file} is missing{why and f'; {why}'}"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": file})
        if found := self._virtual_gap():
            return found
        if found := next((u for d in dumps if (u := self._unlisted(d, family)) is not None), None):
            return found
        if found := self._not_recorded(family):
            return found
        if found := self._unlisted_by_nft():
            return found
        if cut := next((d for d in dumps if d.truncated), None):
            seen = {t for d in dumps for t in d.tables}
            if missing := [t for t in ("raw", "mangle", "nat", "filter") if t not in seen]:
                text = f"{cut.file} is cut off: its tables {', '.join(missing)} may be missing"
                return Unknown(code="TRUNCATED_DUMP", text=text, at={"node": self.name, "file": cut.file})
        return None

    def _not_recorded(self, family: Family) -> Unknown | None:
        """What the family's dumps do not say, and no nft listing has: files that are no dumps, or empty ones; tables that they lack."""
        is_covered = self._is_in_nft(family)
        dumps = [d for d in self.dumps(family) if d.is_legacy or not is_covered]
        for dump in dumps:
            if dump.family not in (None, family.value):
                text = f"{dump.file} is what {'ip6tables' if dump.family == 'ip6' else 'iptables'}-save printed; {_typed(dump, family)}"
                return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": dump.file})
            if dump.illegible is not None:
                text = f"{dump.file} cannot be read as iptables-save: {dump.illegible.why}; {_typed(dump, family)}"
                return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": dump.file, "line": dump.illegible.line})
        if is_covered or not dumps or any(d.truncated for d in dumps):
            return None
        other = Family.IP6 if family is Family.IP else Family.IP
        if all(d.is_empty for d in dumps):
            return self._empty(dumps[0], family, other)
        if (missing := self._unrecorded(dumps, other)) and self.pod is None:
            held = _tables([t for d in dumps for t in d.tables])
            text = f"{dumps[0].file} has only {held} of {self.called}; {_tables(missing)} not recorded: {_typed(dumps[0], family)}"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": dumps[0].file})
        return None

    def _unrecorded(self, dumps: Sequence[Dump], other: Family) -> tuple[str, ...]:
        """The tables that *dumps* lack, unless the dump of the other family shows that all were listed."""
        return unrecorded_tables(dumps, lambda: any(len(d.tables) > 1 and d.lists_all is not False for d in self.dumps(other)))

    def assumed_tables(self, family: Family) -> str | None:
        """Return what is assumed of the tables that a pod's own dump lacks: a table that nobody used in a namespace is not listed."""
        dumps = self.dumps(family) if self.pod is not None else ()
        if not dumps or self._is_in_nft(family):
            return None
        if all(d.is_empty for d in dumps):
            return None if self._listings_work() else f"assumed: {self.called} has no rules ({dumps[0].file} is empty)"
        if not (missing := self._unrecorded(dumps, family)):
            return None
        return f"assumed: {self.called} has no rules in {_tables(missing)} ({dumps[0].file} lists none)"

    def _is_in_nft(self, family: Family) -> bool:
        """Whether a listing of nft's has all rules of the nft back end: it has some of iptables-nft's tables, or kube-proxy's own."""
        if self.nft is None:
            return False
        names = {t.name for t in self.nft.ruleset.tables if t.family == family.value}
        return self.mode == files.NFT_TEXT.mode or not names.isdisjoint((PROXY_TABLE, *CHAINS_OF_TABLE))

    def _listings_work(self) -> bool:
        """Whether another listing of the stack shows that an empty dump was read: nft's, which was whole, or the other family's."""
        return (self.nft is not None and self.nft.ruleset.incomplete is None) or any(d.tables for f in Family for d in self.dumps(f))

    def _empty(self, dump: Dump, family: Family, other: Family) -> Unknown | None:
        """An empty dump says that there are no rules only where the node's other dump says that dumps could be taken.

        Of a pod's own stack it is what a namespace without rules gives: nobody used a table there.
        """
        if self.mode in _IN_EVERY_TABLE:
            why = f", and {self._path(files.PROXY_MODE)} says {self.mode}: a node in that mode has rules"
        elif dump.speaks_of_legacy is not None:
            why = " but for its remark that tables of the legacy back end exist (iptables-legacy-save prints them)"
        elif self.pod is not None or any(d.tables for d in self.dumps(other)):
            return None
        else:
            why = ": whether the node has no rules, or they could not be read, is not known"
        text = f"{dump.file} is empty{why}; {_typed(dump, family)}"
        return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": dump.file})

    def _unlisted(self, dump: Dump, family: Family) -> Unknown | None:
        """A table that iptables-save could not list, and no nft listing has."""
        for table, line in dump.unlisted.items():
            if self.nft is None or self.nft.position(family.value, table) < 0:
                file = self._path(files.NFT_TEXT)
                text = (
                    f"{dump.file}:{line}: iptables-save could not list table {table} of {self.called}, which rules of nft are in: "
                    f"{file} is missing"
                )
                return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": file})
        return None

    def _unlisted_by_nft(self) -> Unknown | None:
        """What the listing of nft's lacks, or hides."""
        if self.nft is None:
            return None
        ruleset, in_mode = self.nft.ruleset, self.mode == files.NFT_TEXT.mode
        lost = ruleset.incomplete or (ruleset.terse if in_mode else None)
        if lost is not None:
            text = f"{lost.file}{f':{lost.line}' if lost.line else ''}: {lost.message}; rules may be missing"
            return Unknown(code="TRUNCATED_DUMP", text=text, at={"node": self.name, "file": lost.file, "line": lost.line})
        if in_mode and not any(table.name == PROXY_TABLE for table in ruleset.tables):
            held = "holds no table kube-proxy" if ruleset.tables else "is empty"
            text = f"{ruleset.file} {held}, which a kube-proxy in {self.mode} mode has on every node: its rules were not recorded"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": ruleset.file})
        return None

    def _virtual_gap(self) -> Unknown | None:
        file = self._path(files.VIRTUAL_SERVERS)
        if self.mode == files.VIRTUAL_SERVERS.mode and self.virtual_servers is None:
            why = "is empty" if self._snapshot.has_node_file(self.name, files.VIRTUAL_SERVERS.name) else "is missing"
            text = f"node {self.name} runs kube-proxy in ipvs mode, and its virtual servers are not recorded: {file} {why}"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": file})
        if self.virtual_servers is not None and self.virtual_servers.faults:
            fault = self.virtual_servers.faults[0]
            text = f"{file}:{fault.line} could not be read ({fault.message}): which virtual servers the node has is not known"
            return Unknown(code="BAD_RULE", text=text, at={"node": self.name, "file": file, "line": fault.line})
        if self.virtual_servers is not None and (lost := self._lost_set()):
            sets = self._path(files.SETS)
            why = self.lacking(files.SETS) if self.sets is None else f"{sets} lacks {lost}: it is cut off"
            text = f"kube-proxy's rules on node {self.name} ask ipsets at every turn, whose members are not recorded: {why}"
            return Unknown(code="NO_RULES", text=text, at={"node": self.name, "file": sets})
        return None

    def _lost_set(self) -> str | None:
        """Return an ipset that kube-proxy's own rules ask in IPVS mode and that is not recorded: each such rule may match or not."""
        known = self.sets or {}
        chains = (d.tables["nat"].chains.get("KUBE-SERVICES") for f in Family for d in self.dumps(f) if "nat" in d.tables)
        asked = (name for c in chains if c is not None for i in range(len(c)) for name in _MATCHED_SET.findall(c.text(i)))
        return next((name for name in asked if name not in known), None)

    def unknown_way(self, destination: Address, reason: str | None) -> Unknown:
        """Return what nobody can say of the way to *destination*, with the file that would tell; *reason* is routing's own."""
        routes = files.IP_ROUTE if destination.version == 4 else files.IP6_ROUTE
        asked = f"where {self.called} routes {destination}"
        if routes.word not in self.routing.missing:
            return Unknown(code="DATA_MISSING", text=f"{asked}: {reason}" if reason else asked, at={"node": self.name})
        file, text = self._path(routes), f"{asked}: {self.lacking(routes)}"
        return Unknown(code="NO_ROUTES", text=text, at={"node": self.name, "file": file})

    def assumed_rules(self, version: int) -> str | None:
        """Return what is assumed of the routing rules where they were not recorded; None where a file is there: see ``unread``."""
        rules = files.IP_RULE if version == 4 else files.IP6_RULE
        if rules.word not in self.routing.missing or self.why_unread(rules):
            return None
        return f"assumed: no routing rules but the kernel's own ({self._path(rules)} is missing)"

    def assumed_routes(self, version: int) -> str | None:
        """Return what is assumed of the routes where the kernel's own text stands in for them; None where ``ip`` printed them."""
        unshown = self.routing.unshown(version)
        return None if unshown is None else f"assumed: {unshown}"

    def assumed_legacy(self, family: Family) -> str | None:
        """Return what is assumed of the legacy back end's tables where iptables-save only says that there are some."""
        told = next((d for d in self.dumps(family) if d.speaks_of_legacy is not None), None)
        if told is None or any(d.is_legacy for d in self.dumps(family)):
            return None
        missing = self._path(files.DUMPS[family][1])
        return f"assumed: the tables of the legacy back end ({told.file}:{told.speaks_of_legacy}) have no rules ({missing} is missing)"

    def redirect_address(self, device: str, version: int) -> Address | None:
        """Return the address REDIRECT gives a packet that came in by *device*: the device's first address.

        Source: nf_nat_redirect_ipv4 in nf_nat_redirect.c.
        """
        for found in self.routing.addresses:
            if found.device == device and found.address.version == version and not found.address.is_link_local:
                return found.address
        return None

    @cached_property
    def sockets(self) -> Sockets | None:
        """Return the node's listening sockets, None when they were not recorded: a list without an entry is none."""
        text = self._file(files.SOCKETS)
        if text is None:
            found = self._kernels_sockets()
        else:
            from tracer.topology.sockets import parse_sockets

            found = parse_sockets(text)
        if found is not None and self._change is not None:
            found = found.changed(*self._change.ports())
        return found if found is not None and found.asked else None

    def _kernels_sockets(self) -> Sockets | None:
        held = {key: text for key, file in _SOCKET_TABLES.items() if (text := self._file(file)) is not None}
        if not held:
            return None
        from tracer.topology.proc_sockets import parse_proc_sockets

        return parse_proc_sockets(held)

    def listens(self, packet: Packet, device: str | None = None) -> bool | None:
        """Return whether a socket of the node takes *packet*, which came in by *device*; None when that is not known."""
        return None if self.sockets is None else self.sockets.hears(packet, device)

    def unheard(self, packet: Packet) -> str:
        """Return why it is not known whether a socket takes *packet*."""
        path, sockets = self._path(files.SOCKETS), self.sockets
        if sockets is None:
            said = "is missing" if self._file(files.SOCKETS) is None else "lists nothing that can be read"
        elif sockets.unread is not None:
            said = f"has a line that cannot be read, line {sockets.unread}"
        else:
            said = f"does not tell for {packet.protocol.value} port {packet.destination_port} of {packet.destination}"
        return f"whether a process listens there is not recorded ({path} {said})"


def _typed(dump: Dump, family: Family) -> str:
    """What to type instead of what was typed for a dump."""
    file = next((f for f in files.DUMPS[family] if dump.file.endswith(f.name)), files.DUMPS[family][0])
    return f"{' '.join(file.argv)} -c, as root, prints all tables"


def _tables(names: Sequence[str]) -> str:
    """Return *names* as words of a sentence."""
    *first, last = names
    return f"tables {', '.join(first)} and {last}" if first else f"table {last}"


def _priority(dump: Dump, priority: Priority) -> Priority:
    return Priority.SECURITY_OF_NFT if priority is Priority.SECURITY and not dump.is_legacy else priority
