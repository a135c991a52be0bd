"""What people hand in instead of API objects: tables, descriptions, refusals, pages, archives, masked addresses; each with what to type.

Owns one sentence a file, for the page or the refusal. Reads nothing of it and decides nothing: what counts as objects is said elsewhere.
Looks at the beginning of a file only, and for masked addresses at the first of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice

from tracer.kube.between import REFUSALS
from tracer.kube.json_text import to_utf8
from tracer.patterns import pattern
from tracer.snapshot.layout import KINDS, looks_like_objects
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.yaml_stream import TEMPLATE_SAID, is_template
from tracer.values import dataclass

_LOOKED_AT = 65_536
_ADDRESSES_ASKED = 2_000
_QUOTED = 300
WANTED = "kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json"
"""What gives one file with all that a snapshot needs first."""
_TABLE = pattern(
    r"^(?:NAMESPACE[ \t]+)?NAME[ \t]+(?:[A-Z][A-Z0-9()-]*(?:[ \t]+|$))*(?:AGE|STATUS|READY|TYPE|ROLES|PORTS?(?:\(S\))?|ENDPOINTS|LABELS)\b",
    re.ASCII | re.MULTILINE,
)
_DESCRIBED = pattern(r"^Name:[ \t]+\S", re.ASCII | re.MULTILINE)
_DESCRIBED_TOO = pattern(r"^(?:Namespace|Labels|Annotations|Selector|IP Family Policy|Roles|Priority):", re.ASCII | re.MULTILINE)
_SAID_BY_KUBECTL = pattern(
    rf"^(?:(?:{'|'.join(REFUSALS)})[^\n]{{0,400}}|(?:bash|sh|zsh): [^\n]{{0,200}}not found[^\n]{{0,40}})",
    re.ASCII | re.MULTILINE,
)
_LISTED_RULES = pattern(r"^Chain [\w.:-]{1,60} \((?:policy|[0-9]{1,6} references)", re.ASCII | re.MULTILINE)
_BRIEF = pattern(
    r"^(?:lo[ \t]{1,40}UNKNOWN|[\w.@:-]{1,40}[ \t]{1,40}(?:UP|DOWN))[ \t]{1,40}[0-9a-f]{1,4}[.:][0-9a-f.:]{1,40}", re.ASCII | re.MULTILINE
)
_PAGE = pattern(r"^[ \t\r\n]{0,100}<(?:!doctype html|html)", re.ASCII | re.IGNORECASE)
_STATUS = pattern(r"""["']?kind["']?[ \t]*:[ \t]*["']?Status["']?(?=[\s,}]|$)""", re.ASCII)
_ITEMS = pattern(r"""["']?items["']?[ \t]*:""", re.ASCII)
_OF_STATUS = pattern(r"""["']?(message|reason|code)["']?[ \t]*:[ \t]*("(?:[^"\\\n]|\\.){0,600}"|[^\n,}]{1,600})""", re.ASCII)
_ADDRESS = pattern(rb"""IP(?:(?<=(clusterIP))|(?<=(podIP))|(?<=(hostIP)))["']?[ \t]*:[ \t]*["']?([^"'\s,{}\[\]$\\]{1,80})""")
"""Begins with what all keys end with: megabytes without one are passed over at once."""
_NO_ADDRESS = frozenset({"None", "null", "~", "<none>"})
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"BZh")
_TAR_AT = 257
_EXTENSIONS = (".json", ".jsonl", ".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongForm:
    """What a file is instead of objects. *sentence* begins with what it is; *is_object_file*: its place or name promises objects.

    *is_masked*: they are objects, with something else for their addresses.
    """

    path: str
    sentence: str
    is_object_file: bool
    is_masked: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}"

    def to_dict(self) -> dict[str, str]:
        """Return it as the summary stores it."""
        return {"path": self.path, "why": self.sentence}


def wrong_form(path: str, raw: bytes) -> WrongForm | None:
    """Return what the file *path* is instead of API objects that can be used, None where nothing of the kind is known of it."""
    name = path.rpartition("/")[2]
    if name in BY_NAME:
        return None  # a file of a node: its own check says what is wrong with it
    plural = name.partition(".")[0].strip().lower()
    promises = plural in KINDS or (name.endswith(_EXTENSIONS) and "/" not in path)
    said = _archived(name, raw) or _said(name, raw)
    if said is not None:
        return WrongForm(path=path, sentence=said, is_object_file=promises)
    masked = _masked(raw) if name.endswith(_EXTENSIONS) else None
    return WrongForm(path=path, sentence=masked, is_object_file=True, is_masked=True) if masked is not None else None


def _archived(name: str, raw: bytes) -> str | None:
    if raw.startswith(_ARCHIVES) or raw[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return f"an archive that is not opened, as it lies in more than one other. Take {name} out and upload it by itself"
    return None


def _said(name: str, raw: bytes) -> str | None:
    text = to_utf8(raw[:_LOOKED_AT]).decode(errors="replace")
    if _STATUS.search(text) and not _ITEMS.search(text):
        return _refused(text)
    if _PAGE.match(text):
        return f"a web page, and no API objects. Wanted is: {WANTED}"
    if found := _SAID_BY_KUBECTL.search(text[:_LOOKED_AT]):
        if not looks_like_objects(raw):
            return f"what the command said instead of objects: “{found[0][:_QUOTED].strip()}”. Wanted is: {WANTED}"
        return None
    if is_template(text):
        return TEMPLATE_SAID
    if looks_like_objects(raw):
        return None
    if _LISTED_RULES.search(text):
        return "rules as iptables -L lists them, which leaves out a part of every rule. Wanted is all that iptables-save prints, as root"
    if _BRIEF.search(text):
        return "addresses as ip -br prints them, which leaves out too much. Wanted is what ip addr, or ip -d link, prints without -br"
    if _TABLE.search(text):
        return f"a table as kubectl get (-o wide) prints it, whose columns hold too little. Wanted is -o json or -o yaml: {WANTED}"
    if _DESCRIBED.search(text) and _DESCRIBED_TOO.search(text):
        return f"a description as kubectl describe prints it, which is for people. Wanted is -o json or -o yaml: {WANTED}"
    return None


def _refused(text: str) -> str:
    """What the API server said. NB: its message may hold quotation marks, as JSON escapes them."""
    held = {key: _plain(value) for key, value in islice(_OF_STATUS.findall(text), 20)}
    why = ", ".join(filter(None, (held.get("reason"), held.get("code"))))
    said = f": “{held['message'][:_QUOTED]}”" if held.get("message") else ""
    return f"the API server's refusal{f' ({why})' if why else ''} instead of objects{said}. Ask with rights to list them: {WANTED}"


def _plain(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value.strip('"')
    return value.strip().strip("'")


def _masked(raw: bytes) -> str | None:
    key, value = next(_hidden(raw), (None, ""))
    if key is None:
        return None
    return (
        f"its addresses were masked before ({key} is {value!r}), and without them nothing can be traced. Collect without redaction, "
        "or let manage.py redact replace them, which keeps equal addresses equal"
    )


def _hidden(raw: bytes) -> Iterator[tuple[str, str]]:
    for found in islice(_ADDRESS.finditer(raw), _ADDRESSES_ASKED):
        key, value = (found[1] or found[2] or found[3]).decode(), found[4].decode(errors="replace")
        if value in _NO_ADDRESS:
            continue
        try:
            ip_address(value)
        except ValueError:
            yield key, value
