"""What targets that let the packet go on change of its view: marks, tracking, header fields, sets.

Source: xt_mark.c, xt_connmark.c, xt_CT.c, xt_DSCP.c, xt_HL.c, xt_set.c, Linux 6.18.
"""

from __future__ import annotations

from tracer.frozen import changed
from tracer.netfilter import ipset_save, matches
from tracer.netfilter import model as m
from tracer.netfilter.view import View


def marked(target: m.SetMark | m.CopyMark, view: View) -> View:
    """Return the view after a MARK or CONNMARK target. Source: xt_mark.c, xt_connmark.c."""
    mark, connection_mark = view.packet.mark, view.connection_mark
    if isinstance(target, m.SetMark) and not target.connection:
        mark = (mark & ~target.mask & 0xFFFFFFFF) ^ target.value
    elif view.connection is None:
        return view
    elif isinstance(target, m.SetMark):
        connection_mark = (connection_mark & ~target.mask & 0xFFFFFFFF) ^ target.value
    elif target.save:
        connection_mark = (connection_mark & ~target.ctmask & 0xFFFFFFFF) ^ (mark & target.nfmask)
    else:
        mark = (mark & ~target.nfmask & 0xFFFFFFFF) ^ (connection_mark & target.ctmask)
    return changed(view, packet=changed(view.packet, mark=mark), connection_mark=connection_mark)


def altered(target: m.NoTrack | m.SetDscp | m.SetTtl | m.TrackTemplate | m.SetChange, view: View) -> View:
    """Return the view after a target that changes something beside the marks."""
    match target:
        case m.NoTrack():
            return _untracked(view)
        case m.SetDscp():
            return _with_dscp(target, view)
        case m.SetTtl():
            return _with_ttl(target, view)
        case m.TrackTemplate():
            return _templated(view)
        case m.SetChange():
            return _with_set_changed(target, view)


def _untracked(view: View) -> View:
    """Return the view of a packet that conntrack will leave alone; too late, the target does nothing. Source: xt_CT.c."""
    if view.connection is not None or view.template or view.state == "UNTRACKED":
        return view
    return changed(view, state="UNTRACKED")


def _templated(view: View) -> View:
    """Return the view of a packet with a template: to matches it is a new connection whose tuple is all zeros. Source: xt_CT.c."""
    if view.connection is not None or view.template or view.state == "UNTRACKED":
        return view
    return changed(view, state="NEW", template=True)


def _with_set_changed(target: m.SetChange, view: View) -> View:
    """Return the view after SET put the packet into a set, or took it out."""
    if view.sets is None or target.name not in view.sets:
        return view
    held = ipset_save.changed(view.sets[target.name], matches.set_key(view), target.directions, adds=target.adds)
    return changed(view, sets={**view.sets, target.name: held})


def _with_dscp(target: m.SetDscp, view: View) -> View:
    if target.mask == 0x3F:
        return changed(view, dscp=target.value)
    return changed(view, dscp=None if view.dscp is None else (view.dscp & ~target.mask) ^ target.value)


def _with_ttl(target: m.SetTtl, view: View) -> View:
    if target.operation == "set":
        return changed(view, ttl=target.value)
    if view.ttl is None:
        return view
    change = target.value if target.operation == "inc" else -target.value
    return changed(view, ttl=max(0, min(255, view.ttl + change)))
