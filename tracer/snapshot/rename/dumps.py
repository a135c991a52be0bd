"""What nodes' programs printed, under other names: line by line the same text, with other addresses, and other words where names may stand.

Names stand in comments and log prefixes, and in the names of chains, sets and maps that kube-proxy or somebody else made; nowhere else is a
word replaced, so that a Service called ``filter`` does not turn the table of that name into another.
"""

from __future__ import annotations

import base64
import re

from tracer.patterns import pattern
from tracer.snapshot.node_files import BY_NAME, NODE_FILES, Holds
from tracer.snapshot.rename.addresses import Addresses
from tracer.snapshot.rename.keyed import drawn
from tracer.snapshot.rename.words import Words

HEXADECIMAL = frozenset(
    f"proc-net-{name}.txt" for name in ("route", "ipv6-route", "if-inet6", "tcp", "tcp6", "udp", "udp6", "ip-vs", "ip-vs-conn")
)
"""Files of /proc in which the kernel writes addresses as hexadecimal digits, where no address is recognised and so none replaced."""
TAKEN = frozenset(file.name for file in NODE_FILES if file.data_path is None) - HEXADECIMAL
"""The node files that are taken over. Lists of other data paths (Windows, Cilium) hold names in too many places."""
_WITHOUT_NAMES = (Holds.WAYS, Holds.POLICY_ROUTING, Holds.NEIGHBOURS)

_COMMENTS = (
    "a accept accepted active address addresses all allow and are as at balancing be before block by chain check cidr "
    "clientip cluster clusterip clusterips config connections conntrack control destinations destined do drop dst dummy "
    "egress endpoints ensure established except existing exposed external externalip externally externaltrafficpolicy filter "
    "firewall flow for forward forwarding from hairpin handle has health healthcheck if in incoming input invalid ip ip:port "
    "ips is last lb leaves link-local load loadbalancer loadbalancersourceranges local localnet loopback manage map mark masq "
    "masquerade masqueraded match must network new no node nodeport nodeports non-local not note of on or other out outgoing "
    "outside packet packets pod pods policy port portal portals ports prevent proxy purpose reach redirect redirected reject "
    "related requiring return route rule rules service services set short-circuit solving source sourceranges src subject tcp "
    "that the this to traffic trying udp unallocated unless unsolicited via vip visible vmap was what when where with within "
    "without "
)
_WORDS_OF_COMMENTS = frozenset(_COMMENTS.split())
_HASHED = pattern(r"\b(KUBE-(?:SVC|SVL|SEP|EXT|FW|XLB|SVCGROUP)-)([A-Z2-7]{16})\b", re.ASCII)
_NFT_NAME = pattern(
    r"(?P<what>[a-z][a-z-]{0,40})-(?P<hash>[A-Z2-7]{8})-(?P<namespace>[a-z0-9-]{1,63})/(?P<name>[a-z0-9-]{1,63})/(?P<protocol>tcp|udp|sctp)/"
    r"(?P<port>[a-z0-9-]{0,63})"
    r"(?:__(?P<address>[0-9a-f.:]{1,45})/(?P<number>[0-9]{1,5}))?",
    re.ASCII,
)
_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_SAID = pattern(
    rf"""(?P<before>--(?:comment|log-prefix|nflog-prefix|string)[ \t]+|\b(?:comment|prefix)[ \t]+(?=")|"(?:comment|prefix)":[ \t]*(?="))"""
    rf"""(?P<said>{_QUOTED}|[^\s"]\S*)""",
    re.ASCII,
)
# In a comment: a Service (its names are no words of kube-proxy's), an IPv6 address (which is nobody's name), any word.
_IN_COMMENT = pattern(
    r"(?P<service>[a-z0-9-]{1,63}/[a-z0-9-]{1,63}(?::[a-z0-9-]+)?)|(?P<address>[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f.]*){2,})"
    r"|(?P<word>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)",
    re.ASCII,
)
_CHAIN = pattern(r"^:(\S+) - ", re.ASCII | re.MULTILINE)
_CHAIN_AT = r"(?:(?<=^:)|(?<= -A )|(?<=^-A )|(?<= -j )|(?<= -g )){}(?=[ \n]|$)"
_EVERYBODYS_CHAIN = pattern(r"(?:KUBE|CNI|cali|FLANNEL|DOCKER|CILIUM|IP-MASQ|LIBVIRT|WEAVE|f2b|ufw)[-_A-Za-z0-9.:]*", re.ASCII)
_SEARCH = pattern(r"^([ \t]*(?:search|domain)[ \t]+)(.*)$", re.ASCII | re.MULTILINE)
_PROCESS = pattern(r'(?<=\(\(")[^"]*(?=")|(?<=,\(")[^"]*(?=")', re.ASCII)
_ONLY_ADDRESS = pattern(r"[0-9.]+|v?[0-9][0-9.]*", re.ASCII)


class Dumps:
    """Renames the files of nodes."""

    def __init__(self, key: bytes, addresses: Addresses, words: Words) -> None:
        self._key = key
        self._addresses = addresses
        self._words = words

    def renamed(self, name: str, text: str) -> str:
        """Return the text of the node file *name* with as many lines, each under other names."""
        holds = BY_NAME[name].holds
        if holds is Holds.PROXY:
            return text
        if holds is Holds.RESOLVER:
            text = _SEARCH.sub(lambda match: match[1] + self._words.in_name(match[2]), text)
        elif holds is Holds.SOCKETS:
            text = _PROCESS.sub(lambda match: self._words.in_name(match[0]), text)
        elif holds not in _WITHOUT_NAMES:
            text = self._rules(holds, text)
        return self._addresses.in_text(text)

    def _rules(self, holds: Holds, text: str) -> str:
        text = _SAID.sub(lambda match: match["before"] + self._comment(match["said"]), text)
        text = _HASHED.sub(lambda match: match[1] + self._hash(match[2], 16), text)
        if holds is Holds.NFT:
            return _NFT_NAME.sub(self._nft_name, text)
        return self._chains(text) if holds is Holds.XTABLES else text

    def _comment(self, said: str) -> str:
        return _IN_COMMENT.sub(self._in_comment, said)

    def _in_comment(self, match: re.Match[str]) -> str:
        if match["service"] is not None:
            return self._words.in_name(match["service"])
        if match["address"] is not None:
            return match[0] if self._addresses.is_address(match[0].rstrip(":.")) else self._words.in_name(match[0])
        word = match["word"]
        is_everybodys = word.lower() in _WORDS_OF_COMMENTS or _ONLY_ADDRESS.fullmatch(word) or word.startswith("KUBE-")
        return word if is_everybodys else self._words.in_name(word)

    def _chains(self, text: str) -> str:
        """Return the dump with other names for the chains that are neither kube-proxy's nor another well-known program's."""
        for chain in sorted({c for c in _CHAIN.findall(text) if not _EVERYBODYS_CHAIN.fullmatch(c)}):
            pattern = re.compile(_CHAIN_AT.format(re.escape(chain)), re.ASCII | re.MULTILINE)
            text = pattern.sub(lambda _, chain=chain: self._words.word(chain), text)  # type: ignore[misc]
        return text

    def _nft_name(self, match: re.Match[str]) -> str:
        names = "/".join(self._words.in_name(match[part]) for part in ("namespace", "name"))
        made = f"{match['what']}-{self._hash(match['hash'], 8)}-{names}/{match['protocol']}/{self._words.in_name(match['port'])}"
        if match["address"] is None:
            return made
        text = match["address"]
        if ".." not in text and text.count(".") == 3:
            return f"{made}__{text}/{match['number']}"  # an IPv4 address, replaced like all others
        # kube-proxy writes dots for the colons of an IPv6 address.
        return f"{made}__{self._addresses.in_text(text.replace('.', ':')).replace(':', '.')}/{match['number']}"

    def _hash(self, text: str, length: int) -> str:
        number = drawn(self._key, "hash", text)
        return base64.b32encode(number.to_bytes(32, "big")).decode()[:length]
