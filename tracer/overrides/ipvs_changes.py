"""A node's recorded virtual servers and ipsets as kube-proxy would leave them: a difference of two models, put on what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tracer.added import Added
from tracer.ipvs.ipvsadm_save import parse_virtual_servers, to_text
from tracer.ipvs.model import RealServer, VirtualServer, VirtualServers
from tracer.kubeproxy.ipvs_rules import IpvsState
from tracer.netfilter.ipset_save import IpSet, parse_sets

States = Sequence[IpvsState]
Servers = dict[tuple[object, ...], VirtualServer]


def changed_servers(servers: VirtualServers, before: States, after: States, *, by: str, file: str) -> VirtualServers:
    """Return *servers* with what is different between the states *before* and *after*; themselves where nothing is."""
    behind = max((line for s in servers.servers for line in (s.line, *(r.line for r in s.real_servers))), default=0)
    was, now = _served(before, 0), _served(after, behind)
    if {key: _meaning(one) for key, one in was.items()} == {key: _meaning(one) for key, one in now.items()}:
        return servers
    held = {one.key: one for one in servers.servers}
    for key in was:
        if key not in now:
            held.pop(key, None)
    for key, one in now.items():
        if key not in was or _meaning(was[key]) != _meaning(one):
            held[key] = _merged(held.get(key), one)
    return VirtualServers(held.values(), servers.file, servers.faults, servers.made_as, Added(behind=behind, by=by, file=file))


def made_servers(after: States, *, by: str, file: str) -> VirtualServers:
    """Return the virtual servers of the states *after* alone."""
    return VirtualServers(_served(after, 0).values(), file, made_as=by)


def _served(states: States, behind: int) -> Servers:
    """The servers of *states* as ipvsadm prints them, their lines behind so many others."""
    text = to_text(tuple(server for state in states for server in state.servers))
    return {one.key: one for one in parse_virtual_servers("\n" * behind + text, "the model")[0]}


def _meaning(one: VirtualServer) -> object:
    return (one.scheduler, one.flags, one.persistence_timeout, one.granularity, [(r.address, r.port, r.weight) for r in one.real_servers])


def _merged(recorded: VirtualServer | None, new: VirtualServer) -> VirtualServer:
    """The server *new*; of one that is there already its line, and those of its real servers, stay the recorded ones."""
    if recorded is None:
        return new
    held: Mapping[tuple[object, int], RealServer] = {(r.address, r.port): r for r in recorded.real_servers}
    real = tuple(replace(held[r.address, r.port], weight=r.weight) if (r.address, r.port) in held else r for r in new.real_servers)
    return replace(
        recorded,
        scheduler=new.scheduler,
        persistence_timeout=new.persistence_timeout,
        granularity=new.granularity,
        real_servers=real,
        in_kernel_order=False,
    )


def changed_sets(sets: Mapping[str, IpSet] | None, before: States, after: States) -> Mapping[str, IpSet] | None:
    """Return *sets* with the entries that come and go between the states *before* and *after*."""
    was, now = _sets(before), _sets(after)
    changed = {name for name in (*was, *now) if _entries(was.get(name)) != _entries(now.get(name))}
    if not changed:
        return sets
    found = dict(sets or {})
    for name in changed:
        own, old, new = found.get(name), was.get(name), now.get(name)
        if new is None:
            found.pop(name, None)
        elif own is None:
            found[name] = new
        else:
            gone = set(_entries(old)) - set(_entries(new))
            came = [entry for entry in new.entries if entry not in _entries(own)]
            found[name] = replace(own, entries=[*(e for e in own.entries if e not in gone), *came], _index=None)
    return found


def _sets(states: States) -> Mapping[str, IpSet]:
    return parse_sets("".join(f"{line}\n" for state in states for line in state.save_sets()), "the model")[0]


def _entries(found: IpSet | None) -> Sequence[object]:
    return found.entries if found is not None else ()


def bound(states: Iterable[IpvsState]) -> tuple[str, ...]:
    """Return the addresses that kube-proxy's device holds in the *states*."""
    return tuple(dict.fromkeys(text for state in states for text in state.bound))
