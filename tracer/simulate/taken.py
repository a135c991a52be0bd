"""What a walk takes for granted of a node of which no rules, or no addresses, were recorded: said on the hop, and kept as assumptions."""

from __future__ import annotations

from tracer.assumptions import BRIDGE, CNI, KINDS, MASQUERADE, MODE, NON_POD, OVERLAY, PROXY, ROUTED
from tracer.packet import Address
from tracer.simulate.assuming import Assuming
from tracer.simulate.walk import Walk
from tracer.topology.programmed import Keys
from tracer.topology.stack import NodeStack


class UnprogrammedError(Exception):
    """A packet comes to a node whose modelled rules lack those of *services*: it has to be asked again with them."""

    def __init__(self, services: Keys) -> None:
        super().__init__("rules of other Services are needed")
        self.services = services


def programming(walk: Walk, assuming: Assuming, stack: NodeStack) -> Walk:
    """Say what stands in for the node's rules where none were recorded, and what that rests on."""
    made = stack.programmed
    if made is None:
        return walk
    if not (walk.answering or walk.midstream) and (lacked := made.lacks(walk.packet)):
        raise UnprogrammedError(lacked)
    others = {MODE: made.modes, PROXY: tuple(KINDS[PROXY].settings)}
    words = [_picked(assuming, name, setting, text, others[name]) for name, (setting, text) in made.assumed.items()]
    source = walk.packet.source
    is_first = not (walk.answering or walk.midstream)  # of others no nat rule is asked
    if is_first and any(source in network for network in made.pods if network.version == source.version):
        setting = assuming.setting(MASQUERADE) or NON_POD
        text = f"no rules of the nodes were recorded: {KINDS[MASQUERADE].settings[setting]}"
        words.append(_picked(assuming, MASQUERADE, setting, text, tuple(KINDS[MASQUERADE].settings)))
    return walk.assuming(*words).note(f"as {made.by} would program it; no rules recorded", *(f"assumed: {one}" for one in made.taken))


def shown_by(walk: Walk, assuming: Assuming, stack: NodeStack, address: Address, device: str | None) -> Walk:
    """Say so where *address* is only assumed to be the node's on *device*, which packets leave by."""
    found = stack.assumed_plugin(address, device)
    if found is None:
        return walk
    setting, why = found
    text = f"no addresses of node {stack.name} were recorded; {why}: {KINDS[CNI].settings[setting]}"
    others = (ROUTED,) if setting in (BRIDGE, OVERLAY) else (BRIDGE,)  # whose address is another one
    return walk.assuming(_picked(assuming, CNI, setting, text, others))


def _picked(assuming: Assuming, name: str, setting: str, text: str, others: tuple[str, ...]) -> str:
    assuming.picked(name, (setting, *(other for other in others if other != setting)), lambda _: text)
    return f"{name}:{setting}"
