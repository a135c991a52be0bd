"""Rules of a node that spoil packets whatever the Service: both back ends in use, a DROP that lost its match, FORWARD's policy.

LEFTOVER_RULES, LEGACY_NOT_RECORDED, DROP_WITHOUT_MARK, FORWARD_POLICY_DROP, INVALID_NOT_DROPPED; RP_FILTER of a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.linux_release import resets_on_invalid
from tracer.explain.findings.passage import Mark, Passage
from tracer.netfilter import model as m
from tracer.netfilter.dump import Chain, Dump
from tracer.netfilter.owners import owner_of
from tracer.packet import Family, Protocol, unsaid
from tracer.patterns import pattern
from tracer.routing.model import ResultKind
from tracer.routing.reception import by_what
from tracer.snapshot.node_files import DUMPS, SYSCTL
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Finding, Hop

_TARGET = pattern(r" -[jg] (\S+)", re.ASCII)
_NFT_INVALID = pattern(r"ct state [^\n]*\binvalid\b[^\n]*\b(?:drop|reject)\b", re.ASCII)
_ASKS_FOR_WAY_BACK = pattern(r" -m rpfilter [^\n]{0,80}--invert|\bfib saddr [^\n]{0,40}\biif oif (?:0|missing)\b", re.ASCII)
_LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what the nodes' rule sets explain of this outcome."""
    if passage.decided is not None:
        yield from forward_policy(case, passage.decided, reply=False)
        yield from _without_mark(case, passage.decided)
        yield from _reverse_path(case, passage.decided)
    for hop in passage.nodes:
        yield from _leftover(case, passage, hop)
        yield from _legacy(case, hop)
    yield from _invalid(case, passage)


# -- what dropped it ------------------------------------------------------------------------------------------------------------------


def forward_policy(case: Case, at: Mark, *, reply: bool) -> Iterator[Finding]:
    """Yield FORWARD_POLICY_DROP when *at* is the policy of a chain at the forward hook; *reply*: it dropped the answer."""
    if not is_forward_policy(at):
        return
    chain = case.chain_of(at)
    where = f"{chain.table.dump.file}:{chain.line}" if chain else at.where
    packet = at.hop.packet_out
    about = f" for Service {case.subject.name}" if case.subject else ""
    mark = f"it carries mark {packet.mark:#x}" if packet.mark else "it carries no mark"
    text = (
        f"Node {at.hop.node} forwards the {'answer' if reply else 'packet'}{about} ({packet.source} to {packet.destination}), no "
        "rule of table "
        f"{at.step.table} accepts it ({mark}), and the policy of {at.step.chain} is DROP ({where}): it times out"
    )
    owner = case.owner(at)
    whose = f"{owner.name}'s" if owner.name else "no known program's"
    if chain is None:
        fix = f"Let table {at.step.table}, which is {whose}, accept pod traffic in chain {at.step.chain}. {owner.undo}"
    elif at.step.table == "filter":
        fix = (
            "Tell kube-proxy the pod range (clusterCIDR) or let the network plugin accept pod traffic in FORWARD; "
            "iptables -P FORWARD ACCEPT opens the node for everything."
        )
    else:
        fix = (
            f"Find out who set the policy: kube-proxy accepts nothing in table {at.step.table}, and what table filter accepts does not "
            f"count there. iptables -t {at.step.table} -P {at.step.chain} ACCEPT takes it back."
        )
    yield finding(code="FORWARD_POLICY_DROP", text=text, fix=fix, at=at, reply=reply, evidence=(f"{where} :{at.step.chain} DROP",))


def is_forward_policy(at: Mark) -> bool:
    """Return whether a step is a DROP policy of a chain that forwarded packets pass."""
    return (at.step.policy or "").upper() == "DROP" and at.step.hook == "forward"


def _without_mark(case: Case, at: Mark) -> Iterator[Finding]:
    """A DROP that asks for nothing, where its place or comment says that it was for marked packets."""
    rule = case.rule_of(at)
    if rule is None or not isinstance(rule.target, m.Drop) or any(not isinstance(x, m.CommentMatch) for x in rule.matches):
        return
    if at.step.chain != "KUBE-FIREWALL" and "marked packets" not in (rule.comment or ""):
        return
    about = f", also this one for Service {case.subject.name}" if case.subject else ""
    text = (
        f"Node {at.hop.node} drops every packet that reaches chain {at.step.chain}{about}: the rule {at.where} has lost its mark match "
        f"(it should read -m mark --mark 0x8000/0x8000), as an older iptables leaves it when it saves a newer one's rules"
    )
    fix = "Use one iptables version for all that write rules on the node (host, kubelet, kube-proxy, network plugin), then delete the rule."
    yield finding(code="DROP_WITHOUT_MARK", text=text, fix=fix, at=at)


def _reverse_path(case: Case, at: Mark) -> Iterator[Finding]:
    """A rule that asks for the way back, as rp_filter does: say what decides it."""
    hop, rule = at.hop, at.step.rule or ""
    if hop.node is None or hop.came_in is None or not _ASKS_FOR_WAY_BACK.search(rule):
        return
    source = hop.packet_in.source
    found = case.stack(hop).routing.lookup(source, mark=hop.packet_out.mark if "--validmark" in rule else 0)
    if unsaid(source) is not None or len(found) != 1 or found[0].kind is ResultKind.UNKNOWN:
        return
    way = f"through {found[0].device}" if found[0].kind is ResultKind.UNICAST else "nowhere"
    text = (
        f"Node {hop.node} drops the packet at {at.where}, which lets in only what would be answered by the device it came in by, "
        f"{hop.came_in}: the way back to {source} is {way}{by_what(found[0])}"
    )
    fix = f"Let node {hop.node} route {source} through {hop.came_in}, send the packet in by the other device, or loosen the rule. "
    yield finding(code="RP_FILTER", text=text, fix=fix + case.owner(at).undo, at=at)


# -- both back ends -------------------------------------------------------------------------------------------------------------------


def _leftover(case: Case, passage: Passage, hop: Hop) -> Iterator[Finding]:
    family = hop.packet_in.family
    stack = case.stack(hop)
    shared = case.known.once(("leftover", stack.name, family), lambda: _in_both(stack, family))
    files = [d.file for d in stack.dumps(family)]
    used = {s.file for s in hop.steps if s.file}
    if not shared or not used.issuperset(files):
        return
    ended = passage.decided is not None and passage.decided.hop is hop
    at = passage.decided if ended else next((x for x in passage.dnats if x.hop is hop), None)
    did = f"; {at.where} decides about this packet" if at else ""
    about = f" of Service {case.subject.name}" if case.subject else ""
    text = (
        f"Node {stack.name} has two sets of rules with the same chains ({some(shared, 3)}), in {' and in '.join(files)}, and the "
        "kernel asks "
        f"both about this packet{about}{did}. Only one of them is kept up to date; the other sends to what was there when it was "
        "left behind"
    )
    writers = some(list(dict.fromkeys(owner_of("nat", name, None).name or "their program" for name in shared)))
    fix = (
        f"Reboot node {stack.name}, or flush the back end to which {writers} no longer writes (iptables --version tells which one is used)."
    )
    yield finding(code="LEFTOVER_RULES", text=text, fix=fix, severity=Severity.FAULT if ended else None, at=at, evidence=tuple(files))


def _legacy(case: Case, hop: Hop) -> Iterator[Finding]:
    """The dump says that the other back end has tables, and nobody recorded them: they are asked about this packet too."""
    family, stack = hop.packet_in.family, case.stack(hop)
    if stack.assumed_legacy(family) is None:
        return
    told = next(d for d in stack.dumps(family) if d.speaks_of_legacy is not None)
    file = DUMPS[family][1]
    text = (
        f"Node {stack.name} has tables of iptables-legacy beside those of the nft back end ({told.file}:{told.speaks_of_legacy}), and "
        f"{case.path(stack.name, file.name)} was not recorded: what they do to this packet is not known, and this answer holds only if "
        "they let it pass"
    )
    fix = f"Record {' '.join(file.argv)} of node {stack.name} as well ({file.name}), and upload the snapshot anew."
    evidence = (f"{told.file}:{told.speaks_of_legacy} {told.lines[(told.speaks_of_legacy or 1) - 1]}",)
    yield finding(code="LEGACY_NOT_RECORDED", text=text, fix=fix, evidence=evidence)


def _in_both(stack: NodeStack, family: Family) -> list[str]:
    """The chains of table nat that a program made, with rules, in every back end of the node: one program wrote to both."""
    dumps = stack.dumps(family)
    if len(dumps) < 2:
        return []
    return sorted(set.intersection(*(_own_chains(d) for d in dumps)))


def _own_chains(dump: Dump) -> set[str]:
    table = dump.tables.get("nat")
    return {c.name for c in table.chains.values() if c.policy is None and len(c)} if table else set()


# -- INVALID --------------------------------------------------------------------------------------------------------------------------


def _invalid(case: Case, passage: Passage) -> Iterator[Finding]:
    """INVALID_NOT_DROPPED: a latent fault of a TCP connection that a node translates and forwards."""
    if passage.outcome.disposition is not Disposition.DELIVERED or not passage.dnats or case.sent is None:
        return
    at = passage.dnats[0]
    if at.step.made_as:
        return  # what others have on the node, which may drop them, was not recorded
    if case.sent.protocol is not Protocol.TCP or at.hop.node is None or at.hop is passage.outcome.hops[-1]:
        return
    stack, family = case.stack(at.hop), at.hop.packet_in.family
    if case.known.once(("invalid", stack.name, family), lambda: _drops_invalid(stack, family)) or _drops_in_nft(case, at):
        return
    liberal, node = stack.routing.get(_LIBERAL), case.cluster.node(stack.name)
    affected = resets_on_invalid(node.kernel_version if node else None)
    if affected is False or (liberal is not None and liberal.strip() != "0"):
        return
    setting = (
        f"{_LIBERAL} is 0" if liberal else f"{_LIBERAL} is not recorded in {case.path(stack.name, SYSCTL.name)} (the kernel's default is 0)"
    )
    about = f" of Service {case.subject.name}" if case.subject else ""
    text = (
        f"Node {stack.name} translates this connection{about} at {at.where}, and no rule it forwards by drops ctstate INVALID, "
        f"while {setting}: "
        f"an answer outside the expected window keeps the pod's address, and the client resets a busy connection now and then"
    )
    fix = f"Let kube-proxy drop INVALID packets (its default), or set {_LIBERAL}=1 on node {stack.name}."
    yield finding(code="INVALID_NOT_DROPPED", text=text, fix=fix, severity=Severity.NOTICE, at=at)


def _drops_invalid(stack: NodeStack, family: Family) -> bool:
    """Whether a forwarded packet can meet a rule that drops INVALID."""
    return any(dump.judged(_has_invalid_dropped) for dump in stack.dumps(family))


def _has_invalid_dropped(dump: Dump) -> bool:
    """Whether such a rule is in *dump*: looks at the text first, so a long chain stays unparsed."""
    bases = (
        chain
        for table in dump.tables.values()
        if table.name != "nat"  # which never sees INVALID packets
        for name in ("PREROUTING", "FORWARD")
        if (chain := table.chains.get(name)) is not None
    )
    return any(_drops(chain, i) for base in bases for chain in _reachable(base) for i in range(len(chain)) if "INVALID" in chain.text(i))


def _drops_in_nft(case: Case, at: Mark) -> bool:
    """Whether the translating rule stands in an nft ruleset that drops INVALID somewhere."""
    file = at.step.file
    if file is None or "nft" not in file:
        return False
    if at.step.made_as:
        made = case.stack(at.hop).programmed
        return made is not None and case.known.once(("invalid", file), lambda: _NFT_INVALID.search(made.nft) is not None)
    return case.known.once(("invalid", file), lambda: case.cluster.snapshot.mentions(file, _NFT_INVALID))


def _drops(chain: Chain, position: int) -> bool:
    rule = chain.rule(position)
    return isinstance(rule.target, m.Drop | m.Reject) and any(
        isinstance(x, m.CtStateMatch) and not x.negated and "INVALID" in x.states for x in rule.matches
    )


def _reachable(base: Chain) -> Iterator[Chain]:
    """Yield *base* and every chain that it can come to."""
    waiting, seen = [base], {base.name}
    while waiting:
        chain = waiting.pop()
        yield chain
        for i in range(len(chain)):
            found = _TARGET.search(chain.text(i))
            if found and found[1] not in seen and found[1] in base.table.chains:
                seen.add(found[1])
                waiting.append(base.table.chains[found[1]])
