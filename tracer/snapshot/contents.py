"""What a file of an upload is by its content alone, in a value that is small enough to keep of every file.

Strategy: the beginning of a text is held against the marks of every command (``looks``); what has none may be API objects
(``object_glance``). Nothing of the content is kept. Refuses to place anything: where a file belongs says ``arranging``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import partial

from tracer.kube.json_text import to_utf8
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.patterns import pattern
from tracer.snapshot.looks import ROWS, Row
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.object_glance import ObjectGlance, glance_objects
from tracer.snapshot.snapshot import read_objects
from tracer.values import dataclass

_HEAD = 6_000
_FAMILY_HEAD = 262_144
_NODES_KEPT = 20_000
_SHORTEST_INSTANCE = 4
_BINARY = b"\x00"
_ADDRESS = pattern(
    r"""(?: -[sd] |\bfrom |\bvia |"dst": ?"|"src": ?"|"gateway": ?"|^)([0-9a-f]{1,4}[.:][0-9a-f.:]{1,40})""", re.ASCII | re.MULTILINE
)
_PROGRAM6 = pattern(r"ip6tables|(?:^|[\s/_-])ip (?:-[a-z]{1,8} ){0,3}-6", re.ASCII)
_NAME6 = pattern(r"ip6|ipv6|[-_]v6|_-6_", re.ASCII)
"""What collectors call files of IPv6."""
_NODE_NAME = pattern(rb"""["']?nodeName["']?[ \t]{0,4}:[ \t]{0,4}["']?([a-z0-9][a-z0-9.-]{0,252})""")
_HOST_FILES = ("hostname", "uname", "nodename")
_HOST_LONGEST = 1_000
_HOST = pattern(r"[a-z0-9][a-z0-9.-]{0,252}", re.ASCII)
_NODE_KIND = pattern(rb"""["']?kind["']?[ \t]{0,4}:[ \t]{0,4}["']?Node(?:List)?\b""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What the file *path* is: *file* the documented name of what a command printed, *objects* what API objects are in it.

    *digest* tells whether two files are the same. *is_json*: the text begins as JSON. *host* is what a file of a host says it is called.
    *node*: the node that the text says it is of, by its prompts or headings. *of*: the file that it is a piece of.
    """

    path: str
    digest: bytes
    file: str | None = None
    objects: ObjectGlance | None = None
    is_json: bool = False
    host: str | None = None
    node: str | None = None
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNode:
    """A node that the API objects know: its *name*, and what else it is called by (hostname, addresses). *is_object*: it is one itself.

    Of the pods that were asked for, those that share its network are among what it is called by; *pods* are the others on it.
    """

    name: str
    also: frozenset[str] = frozenset()
    is_object: bool = False
    pods: frozenset[str] = frozenset()

    def merged(self, other: KnownNode) -> KnownNode:
        """Return what both say of the same node."""
        is_object = self.is_object or other.is_object
        return KnownNode(name=self.name, also=self.also | other.also, is_object=is_object, pods=self.pods | other.pods)


def glance(path: str, content: bytes, typed: str = "") -> Glance:
    """Return what the file *path* is by its *content*. *typed*: the command that printed it, or a heading, if any."""
    file = objects = None
    head = content[:_HEAD]
    if _BINARY not in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = _text(head)
        row = row_of(text) or (row_of(f"{typed}\n{text}") if typed and text.strip() else None)
        file = None if row is None else _of_family(row, path, content, typed)
        objects = glance_objects(path, content) if row is None else None
    is_json = to_utf8(head).lstrip()[:1] in (b"{", b"[")
    host = _host(path, content) if file is None and objects is None else None
    return Glance(path=path, digest=hashlib.sha256(content).digest()[:16], file=file, objects=objects, is_json=is_json, host=host)


def _host(path: str, content: bytes) -> str | None:
    """What a host is called, where *path* is a file that says it: ``hostname`` (sosreport, log collectors), ``uname -a``."""
    name = path.rpartition("/")[2].lower().removesuffix(".txt")
    if not name.startswith(_HOST_FILES) or len(content) > _HOST_LONGEST:
        return None
    words = _text(content).split()
    word = (words[1] if len(words) > 2 and words[0] == "Linux" else words[0] if len(words) == 1 else "").lower()
    return word if _HOST.fullmatch(word) else None


def row_of(text: str) -> Row | None:
    """Return which command printed the beginning *text* of a file, None where it has no command's marks."""
    return next((row for row in ROWS if row.name in BY_NAME and row.look(text)), None)


def _text(content: bytes) -> str:
    return to_utf8(content[: len(content) & ~1] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else content).decode(errors="replace")


def _of_family(row: Row, path: str, content: bytes, typed: str) -> str:
    """The documented name: of IPv6 where the first address is, or, without any, the program or the file's name says so."""
    if not row.ip6:
        return row.name
    text = _text(content[:_FAMILY_HEAD])
    found = _ADDRESS.search(text)
    if found is not None:
        return row.ip6 if ":" in found[1] else row.name
    said = _PROGRAM6.search(typed) or _PROGRAM6.search(text) or "ip6" in typed or _NAME6.search(path.rpartition("/")[2])
    return row.ip6 if said else row.name


def known_nodes(content: bytes, asked: Collection[str] = ()) -> tuple[KnownNode, ...]:
    """Return the nodes that API objects in *content* know: Node objects, and where Pods and endpoints are said to be.

    *asked* are words that may be the names of Pods, whose nodes are wanted.
    """
    data = to_utf8(content)
    nodes: dict[str, KnownNode] = {}
    pods = {word for word in asked if word.encode() in data}
    if pods or _NODE_KIND.search(data):
        name = "cluster.json" if data.lstrip()[:1] in (b"{", b"[") else "cluster.yaml"
        # NB: a Snapshot would stay until somebody looks for circles, with all of the text.
        objects = Objects((ObjectFile(name, partial(read_objects, data, name)),))
        for node in objects.nodes:
            instance = (node.provider_id or "").rpartition("/")[2]  # aws:///us-east-1a/i-0abc: what EKS' collector calls its archive by
            instances = {instance} if len(instance) >= _SHORTEST_INSTANCE and not instance.isdigit() else set()
            also = frozenset({node.labels.get("kubernetes.io/hostname", node.name), *map(str, node.ips), *instances})
            nodes[node.name] = KnownNode(name=node.name, also=also, is_object=True)
        for pod in objects.pods if pods else ():
            if pod.name in pods and pod.node_name:
                own, none = frozenset({pod.name}), frozenset[str]()
                found = KnownNode(name=pod.node_name, also=own if pod.host_network else none, pods=none if pod.host_network else own)
                nodes[pod.node_name] = found.merged(nodes.get(pod.node_name, found))
    for match in _NODE_NAME.finditer(data):
        nodes.setdefault(match[1].decode(), KnownNode(name=match[1].decode()))
    return tuple(nodes.values())[:_NODES_KEPT]
