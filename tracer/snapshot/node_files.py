"""The one table of the files that a node has in a snapshot: what each is called and holds, who checks it, how and how often it is read.

Every list of node files is drawn from it: layouts, what an upload checks, what live readings, ``manage.py collect`` and the recorded API
run, what a stack reads, what redacting does with the text, what is said where one is missing, and the order in which pages list them.
Shell and the node reader have their own copies, and tests compare them. No command writes anything, and none needs a shell.
Docs: docs/snapshot-format.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum, auto

from tracer import pasted
from tracer.errors import Fault, ParseError
from tracer.frontends.kinds import CILIUM, HNS
from tracer.netfilter import iptables_save
from tracer.packet import Family
from tracer.routing.parse import (
    never_empty,
    parse_addresses,
    parse_forwarding,
    parse_links,
    parse_neighbours,
    parse_routes,
    parse_rules,
    parse_sysctl,
)
from tracer.routing.proc_text import parse_inet6, parse_trie
from tracer.values import dataclass

Check = Callable[[str, str], tuple[Fault, ...]]
"""Given a file's text and path, returns its faults."""


class Holds(StrEnum):
    """What is in a file; whoever handles all files of a kind alike asks for this and not for names."""

    XTABLES = "rules, as iptables-save prints them"
    NFT = "rules, as nft lists them"
    VIRTUAL_SERVERS = "virtual servers"
    SETS = "ipsets"
    CLIENTS = "connections and counters of virtual servers"
    WAYS = "addresses, devices and routes"
    POLICY_ROUTING = "policy routing rules"
    NEIGHBOURS = "neighbours"
    FORWARDING = "where tunnels and bridges send frames"
    SETTINGS = "kernel settings"
    CONNECTIONS = "recorded connections"
    PROXY = "what kube-proxy says of itself"
    RESOLVER = "the resolver's configuration"
    SOCKETS = "sockets"
    HOOKS = "the functions at each hook of the kernel"
    FRONTENDS = "what a data path without rules lists"


class Reading(Enum):
    """How often Hopline reads a file from a node that it follows."""

    WITH_EVENTS = auto()
    """Soon after Services or pods change, and every so often: it changes with them."""
    SLOWLY = auto()
    """Every few minutes."""
    ON_DEMAND = auto()
    """Only when somebody asks for it."""
    BY_READER = auto()
    """Whenever our node reader runs; kube-proxy's own container cannot print it."""
    NEVER = auto()
    """Only where somebody adds it."""


class Listed(Enum):
    """Where a page lists a file among those that nodes have."""

    ALWAYS = auto()
    """First, in the table's order, where no node has it too: every node has one."""
    FIRST = auto()
    """First, in the table's order."""
    BY_NAME = auto()
    """After those, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """One file of a node. *family*: the only one it speaks of, if any. *mode*: kube-proxy's, whose Service rules it holds.

    *argv* prints it. *check* finds its faults when it is stored; without, *unchecked* says why there is none.
    *limits* says what cannot be known without it; *ends_walks*: a walk ends there, where others go on with an assumption.
    *may_be_empty*: its command prints nothing where there is nothing; an empty file of another command was not taken.
    *is_preferred*: of two files that say the same it is asked. *data_path*: whose list it is. *bugtool*: cilium-bugtool's names for it.
    *stands_in_for*: the file whose place it takes where that is missing: the same in another form, which the same reader reads.
    *is_read_itself*: it is read under its own name as well.
    """

    name: str
    holds: Holds
    reading: Reading = Reading.NEVER
    argv: tuple[str, ...] = ()
    family: Family | None = None
    mode: str | None = None
    data_path: str | None = None
    check: Check | None = None
    unchecked: str = ""
    limits: str = ""
    ends_walks: bool = False
    may_be_empty: bool = False
    is_preferred: bool = False
    listed: Listed = Listed.BY_NAME
    bugtool: tuple[str, ...] = ()
    stands_in_for: str = ""
    is_read_itself: bool = False

    @property
    def follows_events(self) -> bool:
        """Return whether it changes with Services and pods, and is read when they do."""
        return self.reading is Reading.WITH_EVENTS

    @property
    def prints_rules(self) -> bool:
        """Return whether it is read for kube-proxy's own work: rules, sets, virtual servers."""
        return self.follows_events and self.holds is not Holds.WAYS

    @property
    def word(self) -> str:
        """Return its name as an identifier, which ``tracer.routing`` calls its text by: ``ip6_route``."""
        return self.name.partition(".")[0].replace("-", "_")


# --- who checks -----------------------------------------------------------------------------------------------------------------------


def _by_parsing(parse: Callable[[str, str], object]) -> Check:
    def check(text: str, path: str) -> tuple[Fault, ...]:
        try:
            parse(text, path)
        except ParseError as error:
            return error.faults
        return ()

    return check


# What reads a format is imported where a file of it is checked: few snapshots have them all.


def _check_nft(text: str, path: str) -> tuple[Fault, ...]:
    from tracer.netfilter.nft_rules import NftRules

    return NftRules.from_listing(text, path).ruleset.check()


def _check_virtual_servers(text: str, path: str) -> tuple[Fault, ...]:
    from tracer.ipvs.ipvsadm_save import parse_virtual_servers

    return parse_virtual_servers(text, path)[1]


def _check_sets(text: str, path: str) -> tuple[Fault, ...]:
    from tracer.netfilter.ipset_save import parse_sets

    return parse_sets(text, path)[1]


def _check_connections(text: str, path: str) -> tuple[Fault, ...]:
    from tracer.conntrack_list import parse_conntrack

    return parse_conntrack(text, path)[1]


@_by_parsing
def _check_endpoints(text: str, path: str) -> object:
    from tracer.routing.wireguard import parse_endpoints

    return parse_endpoints(text, path)


@_by_parsing
def _check_allowed(text: str, path: str) -> object:
    from tracer.routing.wireguard import parse_allowed

    return parse_allowed(text, path)


@_by_parsing
def _check_hooks(text: str, path: str) -> object:
    from tracer.netfilter.hook_listing import parse_hooks

    return parse_hooks(text, path)


@_by_parsing
def _check_cilium(text: str, path: str) -> object:
    from tracer.frontends.cilium import parse_cilium

    return parse_cilium(text, path)


def _wants(has: Callable[[str], bool], what: str) -> Check:
    """The check of a file that is read line by line, whatever else is in it: one line at least has to be of its command's."""

    def check(text: str, path: str) -> tuple[Fault, ...]:
        line, shown = next(((n, x) for n, x in enumerate(text.splitlines(), 1) if x.strip()), (1, ""))
        found = not shown or has(pasted.without_margin(text))
        return () if found else (Fault(file=path, line=line, column=0, message=what, text=shown[:_SHOWN]),)

    return check


def _has_word(*first: str) -> Callable[[str], bool]:
    def has(text: str) -> bool:
        return any(line.lstrip().startswith(("#", ";", *first)) for line in text.splitlines())

    return has


_SHOWN = 200
"""How much of a line that is not of a file's command is shown."""
MODES = ("iptables", "nftables", "ipvs", "userspace", "kernelspace")
"""What a kube-proxy may say of itself."""


@_by_parsing
def _check_hns(text: str, path: str) -> None:
    from tracer.frontends.hns import parse_hns

    lost = parse_hns({path: text}).incomplete
    if lost is not None:
        raise ParseError(Fault(file=path, line=None, column=None, message=lost.removeprefix(f"{path} ")))


_NOTHING_READ = "nothing is read of it"
_INSTEAD = "it counts where the file that it stands in for is missing, and is checked as that one"
_OF_HEADINGS = "a list with headings: what is no entry is passed over"

# --- the table ------------------------------------------------------------------------------------------------------------------------

IPTABLES = NodeFile(
    name="iptables-save.txt",
    may_be_empty=True,
    holds=Holds.XTABLES,
    family=Family.IP,
    mode="iptables",
    reading=Reading.WITH_EVENTS,
    argv=("iptables-save",),
    check=iptables_save.check,
    limits="IPv4 packets end in unknown there",
    ends_walks=True,
    listed=Listed.ALWAYS,
    bugtool=("iptables-save--c", "iptables-nft-save--c"),
)
IP6TABLES = NodeFile(
    name="ip6tables-save.txt",
    may_be_empty=True,
    holds=Holds.XTABLES,
    family=Family.IP6,
    mode="iptables",
    reading=Reading.WITH_EVENTS,
    argv=("ip6tables-save",),
    check=iptables_save.check,
    limits="IPv6 packets end in unknown there",
    ends_walks=True,
    listed=Listed.ALWAYS,
    bugtool=("ip6tables-save--c", "ip6tables-nft-save--c"),
)
NFT_JSON = NodeFile(
    name="nft-ruleset.json",
    holds=Holds.NFT,
    mode="nftables",
    reading=Reading.WITH_EVENTS,
    argv=("nft", "-j", "list", "ruleset"),
    check=_check_nft,
    listed=Listed.FIRST,
)
NFT_TEXT = NodeFile(
    name="nft-ruleset.txt",
    argv=("nft", "list", "ruleset"),
    holds=Holds.NFT,
    mode="nftables",
    check=_check_nft,
    is_preferred=True,
    may_be_empty=True,
    listed=Listed.FIRST,
)
VIRTUAL_SERVERS = NodeFile(
    name="ipvsadm-save.txt",
    may_be_empty=True,
    holds=Holds.VIRTUAL_SERVERS,
    mode="ipvs",
    reading=Reading.WITH_EVENTS,
    argv=("ipvsadm", "-S", "-n"),
    check=_check_virtual_servers,
    limits="kube-proxy runs in IPVS mode there, and where that sends a packet is not in the rules",
    ends_walks=True,
    listed=Listed.FIRST,
)
SETS = NodeFile(
    name="ipset-save.txt",
    may_be_empty=True,
    holds=Holds.SETS,
    reading=Reading.WITH_EVENTS,
    argv=("ipset", "save"),
    check=_check_sets,
    listed=Listed.FIRST,
)
IP_ADDR = NodeFile(
    name="ip-addr.json",
    holds=Holds.WAYS,
    reading=Reading.WITH_EVENTS,
    argv=("ip", "-j", "addr"),
    check=_by_parsing(never_empty(parse_addresses)),
    limits="the node's own addresses are those of its Node object only",
    listed=Listed.ALWAYS,
    bugtool=("ip--j-a",),
)
IP_LINK = NodeFile(
    name="ip-link.json",
    holds=Holds.WAYS,
    reading=Reading.WITH_EVENTS,
    argv=("ip", "-d", "-j", "link"),
    check=_by_parsing(never_empty(parse_links)),
    limits="whether a pod can reach itself through its bridge, and which devices a packet passes, is unknown",
    listed=Listed.ALWAYS,
    bugtool=("ip--j--d--s-l",),
)
IP_RULE = NodeFile(
    name="ip-rule.json",
    holds=Holds.POLICY_ROUTING,
    family=Family.IP,
    reading=Reading.SLOWLY,
    argv=("ip", "-j", "rule"),
    check=_by_parsing(never_empty(parse_rules)),
    limits="the kernel's own three routing rules are assumed",
    listed=Listed.ALWAYS,
    bugtool=("ip---json-rule",),
)
IP6_RULE = NodeFile(
    name="ip6-rule.json",
    holds=Holds.POLICY_ROUTING,
    family=Family.IP6,
    reading=Reading.SLOWLY,
    argv=("ip", "-6", "-j", "rule"),
    check=_by_parsing(parse_rules),
)
IP_ROUTE = NodeFile(
    name="ip-route.json",
    holds=Holds.WAYS,
    reading=Reading.WITH_EVENTS,
    argv=("ip", "-j", "route", "show", "table", "all"),
    check=_by_parsing(never_empty(parse_routes)),
    limits="a packet that leaves the node for another network ends in unknown there",
    ends_walks=True,
    listed=Listed.ALWAYS,
)
IP6_ROUTE = NodeFile(
    name="ip6-route.json",
    holds=Holds.WAYS,
    family=Family.IP6,
    reading=Reading.WITH_EVENTS,
    argv=("ip", "-6", "-j", "route", "show", "table", "all"),
    check=_by_parsing(parse_routes),
    listed=Listed.FIRST,
)
SYSCTL = NodeFile(
    name="sysctl.txt",
    holds=Holds.SETTINGS,
    reading=Reading.SLOWLY,
    argv=("sysctl", "-a"),
    check=_by_parsing(parse_sysctl),
    limits="kernel settings count as the kernel's defaults; where rp_filter or route_localnet decides, both ways are told",
    listed=Listed.ALWAYS,
    bugtool=("sysctl--a",),
)
IP_NEIGH = NodeFile(
    name="ip-neigh.json",
    holds=Holds.NEIGHBOURS,
    argv=("ip", "-j", "neigh"),
    check=_by_parsing(parse_neighbours),
)
BRIDGE_FDB = NodeFile(
    name="bridge-fdb.json",
    holds=Holds.FORWARDING,
    argv=("bridge", "-j", "fdb"),
    check=_by_parsing(parse_forwarding),
)
WG_ENDPOINTS = NodeFile(
    name="wg-endpoints.txt",
    may_be_empty=True,
    holds=Holds.FORWARDING,
    argv=("wg", "show", "all", "endpoints"),
    check=_check_endpoints,
)
WG_ALLOWED = NodeFile(
    name="wg-allowed-ips.txt",
    may_be_empty=True,
    holds=Holds.FORWARDING,
    argv=("wg", "show", "all", "allowed-ips"),
    check=_check_allowed,
)
"""NB: of a peer these print its public key and addresses; ``wg show all dump`` would print private keys, and is never asked for."""
CONNTRACK = NodeFile(
    name="conntrack.txt",
    may_be_empty=True,
    holds=Holds.CONNECTIONS,
    reading=Reading.ON_DEMAND,
    argv=("conntrack", "-L", "-o", "extended"),
    check=_check_connections,
    limits="connections that exist already cannot be followed",
    listed=Listed.FIRST,
)
"""Read only when somebody asks for it: it is large, and it says who talks to whom."""
PROXY_MODE = NodeFile(
    name="kube-proxy-mode.txt",
    holds=Holds.PROXY,
    reading=Reading.BY_READER,
    check=_wants(lambda text: text.strip().lower() in MODES, f"not one of {', '.join(MODES)}"),
    listed=Listed.FIRST,
)
RESOLVER = NodeFile(
    name="resolv.conf",
    holds=Holds.RESOLVER,
    reading=Reading.SLOWLY,
    argv=("cat", "/etc/resolv.conf"),
    check=_wants(_has_word("nameserver", "search", "domain", "options", "sortlist"), "no line of a resolv.conf"),
)
PROXY_VERSION = NodeFile(
    name="kube-proxy-version.txt",
    holds=Holds.PROXY,
    reading=Reading.SLOWLY,
    argv=("kube-proxy", "--version"),
    unchecked=_NOTHING_READ,
)
SOCKETS = NodeFile(
    name="ss.txt",
    holds=Holds.SOCKETS,
    reading=Reading.BY_READER,
    argv=("ss", "-ltnu"),
    check=_wants(_has_word("Netid", "State", "tcp", "udp", "sctp", "LISTEN", "UNCONN", "Active", "Proto"), "no line of ss"),
)
LEGACY_IPTABLES = NodeFile(
    name="iptables-legacy-save.txt",
    may_be_empty=True,
    holds=Holds.XTABLES,
    family=Family.IP,
    mode="iptables",
    reading=Reading.BY_READER,
    argv=("iptables-legacy-save",),
    check=iptables_save.check,
    bugtool=("iptables-legacy-save--c",),
)
LEGACY_IP6TABLES = NodeFile(
    name="ip6tables-legacy-save.txt",
    may_be_empty=True,
    holds=Holds.XTABLES,
    family=Family.IP6,
    mode="iptables",
    reading=Reading.BY_READER,
    argv=("ip6tables-legacy-save",),
    check=iptables_save.check,
    bugtool=("ip6tables-legacy-save--c",),
)
VIRTUAL_COUNTERS = NodeFile(
    name="ipvsadm-list.txt",
    holds=Holds.CLIENTS,
    may_be_empty=True,
    argv=("ipvsadm", "-L", "-n"),
    unchecked=_OF_HEADINGS,
    stands_in_for=VIRTUAL_SERVERS.name,
    is_read_itself=True,
)
VIRTUAL_CLIENTS = NodeFile(
    name="ipvsadm-conn.txt", holds=Holds.CLIENTS, may_be_empty=True, argv=("ipvsadm", "-L", "-c", "-n"), unchecked=_OF_HEADINGS
)
CILIUM_SERVICES = NodeFile(
    name=CILIUM.files[0],
    holds=Holds.FRONTENDS,
    data_path=CILIUM.name,
    argv=("cilium-dbg", "service", "list", "-o", "json"),
    check=_check_cilium,
    bugtool=("cilium-dbg-service-list--o-json", "cilium-service-list--o-json"),
)
HNS_POLICIES, HNS_ENDPOINTS, HNS_LIST = (
    NodeFile(name=name, holds=Holds.FRONTENDS, data_path=HNS.name, check=_check_hns) for name in HNS.files
)
IPSET_LIST = NodeFile(
    name="ipset-list.txt",
    holds=Holds.SETS,
    may_be_empty=True,
    argv=("ipset", "list"),
    unchecked=_INSTEAD,
    bugtool=("ipset-list",),
    stands_in_for=SETS.name,
)


def _printed(name: str, argv: tuple[str, ...], holds: Holds, of: NodeFile | None = None, bugtool: tuple[str, ...] = ()) -> NodeFile:
    """The row of a file that says in another form what *of* says; nothing is read yet where there is none."""
    return NodeFile(
        name=name,
        holds=holds,
        bugtool=bugtool,
        family=of.family if of else None,
        argv=argv,
        unchecked=_INSTEAD if of else _NOTHING_READ,
        stands_in_for=of.name if of else "",
    )


def _beside(name: str, path: str, family: Family, parse: Callable[[str, str], object]) -> NodeFile:
    """The row of a file of the kernel's that says a part of what a program would, and is read by itself."""
    return NodeFile(name=name, holds=Holds.WAYS, family=family, argv=("cat", path), check=_by_parsing(parse))


def _table_of_sockets(of: str) -> NodeFile:
    has_heading = _wants(lambda text: "local_address" in text, f"no line of /proc/net/{of}")
    return NodeFile(name=f"proc-net-{of}.txt", holds=Holds.SOCKETS, argv=("cat", f"/proc/net/{of}"), check=has_heading)


TEXTS = (
    _printed("ip-addr.txt", ("ip", "addr"), Holds.WAYS, IP_ADDR, ("ip-a",)),
    _printed("ip-link.txt", ("ip", "-d", "link"), Holds.WAYS, IP_LINK, ("ip--d--s-l",)),
    _printed("ip-route.txt", ("ip", "route", "show", "table", "all"), Holds.WAYS, IP_ROUTE, ("ip--4-r",)),
    _printed("ip6-route.txt", ("ip", "-6", "route", "show", "table", "all"), Holds.WAYS, IP6_ROUTE, ("ip--6-r",)),
    _printed("ip-rule.txt", ("ip", "rule"), Holds.POLICY_ROUTING, IP_RULE, ("ip-rule",)),
    _printed("ip6-rule.txt", ("ip", "-6", "rule"), Holds.POLICY_ROUTING, IP6_RULE),
    _printed("ip-neigh.txt", ("ip", "neigh"), Holds.NEIGHBOURS, IP_NEIGH, ("ip--4-n",)),
    NodeFile(
        name="cilium-services.txt",
        holds=Holds.FRONTENDS,
        data_path=CILIUM.name,
        argv=("cilium-dbg", "service", "list"),
        unchecked=_INSTEAD,
        bugtool=("cilium-dbg-service-list", "cilium-service-list"),
        stands_in_for=CILIUM_SERVICES.name,
    ),
    _printed("bridge-fdb.txt", ("bridge", "fdb"), Holds.FORWARDING, BRIDGE_FDB),
)
"""What programs print for people."""
REGISTERED = NodeFile(
    name="nft-hooks.txt",
    may_be_empty=True,
    holds=Holds.HOOKS,
    argv=("nft", "list", "hooks"),
    check=_check_hooks,
)
"""NB: not every kernel can list its hooks; where it cannot, nothing is printed, and an empty file says nothing."""
KERNEL_TEXTS = (
    _printed("proc-net-route.txt", ("cat", "/proc/net/route"), Holds.WAYS, IP_ROUTE),
    _beside("proc-net-fib-trie.txt", "/proc/net/fib_trie", Family.IP, parse_trie),
    _beside("proc-net-if-inet6.txt", "/proc/net/if_inet6", Family.IP6, parse_inet6),
    _printed("proc-net-ipv6-route.txt", ("cat", "/proc/net/ipv6_route"), Holds.WAYS, IP6_ROUTE),
    _printed("proc-net-dev.txt", ("cat", "/proc/net/dev"), Holds.WAYS),
    _printed("proc-net-arp.txt", ("cat", "/proc/net/arp"), Holds.NEIGHBOURS, IP_NEIGH),
    _table_of_sockets("tcp"),
    _table_of_sockets("tcp6"),
    _table_of_sockets("udp"),
    _table_of_sockets("udp6"),
    _printed("proc-net-ip-vs.txt", ("cat", "/proc/net/ip_vs"), Holds.VIRTUAL_SERVERS, VIRTUAL_SERVERS),
    _printed("proc-net-ip-vs-conn.txt", ("cat", "/proc/net/ip_vs_conn"), Holds.CLIENTS, VIRTUAL_CLIENTS),
    _printed("proc-net-nf-conntrack.txt", ("cat", "/proc/net/nf_conntrack"), Holds.CONNECTIONS, CONNTRACK),
    _printed("proc-sys.txt", ("grep", "-r", "", "/proc/sys/net"), Holds.SETTINGS, SYSCTL),
)
"""What the kernel prints where a node's programs are missing."""
NODE_FILES = (
    IPTABLES,
    IP6TABLES,
    NFT_JSON,
    NFT_TEXT,
    VIRTUAL_SERVERS,
    SETS,
    IP_ADDR,
    IP_LINK,
    IP_RULE,
    IP6_RULE,
    IP_ROUTE,
    IP6_ROUTE,
    SYSCTL,
    CONNTRACK,
    PROXY_MODE,
    RESOLVER,
    PROXY_VERSION,
    SOCKETS,
    LEGACY_IPTABLES,
    LEGACY_IP6TABLES,
    VIRTUAL_COUNTERS,
    VIRTUAL_CLIENTS,
    NodeFile(
        name="ipvsadm-stats.txt", holds=Holds.CLIENTS, may_be_empty=True, argv=("ipvsadm", "-L", "-n", "--stats"), unchecked=_NOTHING_READ
    ),
    NodeFile(
        name="ipvsadm-persistent.txt",
        holds=Holds.CLIENTS,
        may_be_empty=True,
        argv=("ipvsadm", "-L", "-n", "--persistent-conn"),
        unchecked=_NOTHING_READ,
    ),
    IPSET_LIST,
    IP_NEIGH,
    BRIDGE_FDB,
    WG_ENDPOINTS,
    WG_ALLOWED,
    REGISTERED,
    *TEXTS,
    *KERNEL_TEXTS,
    CILIUM_SERVICES,
    HNS_POLICIES,
    HNS_ENDPOINTS,
    HNS_LIST,
)
"""All files, in the order in which they are read and listed."""

STAND_INS: Mapping[str, tuple[NodeFile, ...]] = {
    name: tuple(file for file in NODE_FILES if file.stands_in_for == name)
    for name in dict.fromkeys(f.stands_in_for for f in NODE_FILES if f.stands_in_for)
}
"""A file → those that take its place where it is missing, the first that is there."""

# --- what is drawn from it ------------------------------------------------------------------------------------------------------------

BY_NAME: Mapping[str, NodeFile] = {file.name: file for file in NODE_FILES}


def holding(*what: Holds) -> tuple[NodeFile, ...]:
    """Return the files that hold one of *what*, those that are asked first in front."""
    return tuple(sorted((file for file in NODE_FILES if file.holds in what), key=lambda file: not file.is_preferred))


def names(files: tuple[NodeFile, ...]) -> tuple[str, ...]:
    """Return the names of *files*."""
    return tuple(file.name for file in files)


DUMPS = {family: tuple(file for file in holding(Holds.XTABLES) if file.family is family) for family in Family}
"""A family's xtables dumps: the nft back end's, then the legacy one's."""
NFT_LISTINGS = holding(Holds.NFT)


def _main(*what: Holds) -> tuple[NodeFile, ...]:
    """The files that hold one of *what* and say it in the form that others stand in for."""
    return tuple(file for file in holding(*what) if file not in (*TEXTS, *KERNEL_TEXTS))


WAYS = _main(Holds.WAYS)
"""Without any of them a node's routing is inferred."""
_OF_ANY_STACK = (
    Holds.XTABLES, Holds.NFT, Holds.HOOKS, Holds.SETS, Holds.WAYS, Holds.POLICY_ROUTING, Holds.SETTINGS, Holds.NEIGHBOURS, Holds.SOCKETS,
)  # fmt: skip
OF_A_POD = frozenset(names(holding(*_OF_ANY_STACK)))
"""What may be recorded of a pod's own stack, below nodes/NODE/pods/NAMESPACE_NAME/."""
HELD_ADDRESSES = (IP_ADDR, IP_LINK)
"""They say which addresses a node holds, and at which device."""
ROUTING = _main(Holds.WAYS, Holds.POLICY_ROUTING, Holds.SETTINGS, Holds.NEIGHBOURS)
"""What a node's routing is read from."""
BESIDE_ROUTES = (BY_NAME["proc-net-fib-trie.txt"], BY_NAME["proc-net-if-inet6.txt"])
"""What says the rest where the kernel's own text stands in for a node's routes."""
SOCKET_TABLES = tuple(BY_NAME[f"proc-net-{of}.txt"] for of in ("tcp", "tcp6", "udp", "udp6"))
"""What is read where no program listed the sockets."""
FILES_OF_MODE = {
    mode: tuple(file for file in (*DUMPS[Family.IP], *NFT_LISTINGS, VIRTUAL_SERVERS) if file.mode == mode)
    for mode in ("nftables", "ipvs", "iptables")
}
"""The files that hold the IPv4 Service rules of a mode of kube-proxy's; the first is the one to ask for where all are missing."""
READ = tuple(sorted((f for f in NODE_FILES if f.reading in (Reading.WITH_EVENTS, Reading.SLOWLY)), key=lambda f: not f.follows_events))
"""What is read from a node without being asked for, what follows events first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Also:
    """What a collector asks a node for on top: *argv* prints *file*, and only where none of *without* was taken.

    *warned*: only where that file was taken and warns of tables of iptables-legacy. Running the legacy program elsewhere would make some.
    """

    file: NodeFile
    argv: tuple[str, ...]
    without: tuple[str, ...] = ()
    warned: str = ""


def _also(name: str, *without: NodeFile | str) -> Also:
    file = BY_NAME[name]
    return Also(file=file, argv=file.argv, without=tuple(one if isinstance(one, str) else one.name for one in without))


LEGACY_WARNING = "-legacy tables present"
"""What iptables-nft-save says where the other back end holds tables. Source: iptables 1.8, xtables-save.c."""
SETTINGS_SCRIPT = (
    "cd /proc/sys/net && for f in ipv4/*_* ipv4/vs/* bridge/* netfilter/* ipv4/conf/*/accept_local ipv4/conf/*/arp_announce "
    "ipv4/conf/*/arp_filter ipv4/conf/*/arp_ignore ipv4/conf/*/forwarding ipv4/conf/*/proxy_arp ipv4/conf/*/route_localnet "
    "ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark ipv6/conf/*/forwarding ipv6/conf/*/proxy_ndp; do "
    '[ -f "$f" ] && v=$(cat "$f") && echo "/proc/sys/net/$f:$v"; done 2>/dev/null; :'
)
"""Prints settings as grep would, with nothing but a shell and cat: its text is fixed, and it only reads.

NB: not by the shell's own ``read``: it asks for a byte at a time, and the kernel gives a setting to the first question only."""
ALSO = (
    _also("nft-ruleset.txt", NFT_JSON),
    Also(file=LEGACY_IPTABLES, argv=LEGACY_IPTABLES.argv, warned=IPTABLES.name),
    Also(file=LEGACY_IP6TABLES, argv=LEGACY_IP6TABLES.argv, warned=IP6TABLES.name),
    _also("nft-hooks.txt"),
    _also("ip-neigh.json"),
    _also("bridge-fdb.json"),
    _also("wg-endpoints.txt"),
    _also("wg-allowed-ips.txt"),
    _also("ss.txt"),
    _also("ip-addr.txt", IP_ADDR),
    _also("ip-link.txt", IP_LINK),
    _also("ip-route.txt", IP_ROUTE),
    _also("ip6-route.txt", IP6_ROUTE),
    _also("ip-rule.txt", IP_RULE),
    _also("ip6-rule.txt", IP6_RULE),
    _also("ip-neigh.txt", IP_NEIGH),
    _also("bridge-fdb.txt", "bridge-fdb.json"),
    _also("proc-net-route.txt", IP_ROUTE, "ip-route.txt"),
    _also("proc-net-fib-trie.txt", IP_ROUTE, "ip-route.txt"),
    _also("proc-net-if-inet6.txt", IP_ADDR, "ip-addr.txt"),
    _also("proc-net-ipv6-route.txt", IP6_ROUTE, "ip6-route.txt"),
    _also("proc-net-dev.txt", IP_LINK, "ip-link.txt"),
    _also("proc-net-arp.txt", IP_NEIGH, "ip-neigh.txt"),
    _also("proc-net-tcp.txt", SOCKETS),
    _also("proc-net-tcp6.txt", SOCKETS),
    _also("proc-net-udp.txt", SOCKETS),
    _also("proc-net-udp6.txt", SOCKETS),
    _also("proc-net-ip-vs.txt", VIRTUAL_SERVERS),
    Also(file=BY_NAME["proc-sys.txt"], argv=("sh", "-c", SETTINGS_SCRIPT), without=(SYSCTL.name,)),
)
"""What ``collect.sh`` and ``manage.py collect`` read behind ``READ``, in this order: no program of these has to be there."""
ALSO_CONNECTIONS = (_also("proc-net-nf-conntrack.txt", CONNTRACK), _also("proc-net-ip-vs-conn.txt"))
"""The same where connections were asked for."""
