"""What a page can be about: a stored snapshot, or a followed cluster. ``/c/<source>/…`` names either by its id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from django.http import Http404

from webapp.live import live_sources as live
from webapp.models import LiveSource, Snapshot
from webapp.storing import stored_snapshots

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster
    from webapp.live.replica import View

Source = Snapshot | LiveSource


class NoSuchSource(Http404):
    """There is none of that name that this session may see. What nobody catches becomes a page that says so."""


def find(slug: str, owner: str) -> Source:
    """Return the snapshot or followed cluster if *owner* may see it. :raises NoSuchSource: there is none for this owner."""
    try:
        return stored_snapshots.get_snapshot(slug, owner)
    except Snapshot.DoesNotExist:
        return find_live(slug, owner)


def find_live(slug: str, owner: str) -> LiveSource:
    """Return the followed cluster if *owner* may watch it. :raises NoSuchSource: there is none for this owner."""
    try:
        return live.get(slug, owner)
    except LiveSource.DoesNotExist:
        raise NoSuchSource(slug) from None


def visible(owner: str) -> tuple[Source, ...]:
    """Return all that *owner* may ask about: followed clusters and timelines being played first, then snapshots."""
    return (*live.sources(owner), *stored_snapshots.visible_snapshots(owner))


@contextmanager
def using(row: Source) -> Iterator[Cluster]:
    """Give the engine's cluster of *row*, as it is now, to one thread at a time; trace inside it.

    :raises NoSuchSource: (on entering) the cluster was disconnected meanwhile.
    """
    with ExitStack() as stack:
        if isinstance(row, Snapshot):
            yield stack.enter_context(stored_snapshots.using_cluster(row))
        else:
            yield stack.enter_context(using_live(row)).cluster


@contextmanager
def using_live(row: LiveSource) -> Iterator[View]:
    """Give the newest picture of *row*, with the answers kept from it. :raises NoSuchSource: (on entering) it was disconnected."""
    with ExitStack() as stack:
        try:
            view = stack.enter_context(live.using(row))
        except LiveSource.DoesNotExist:
            raise NoSuchSource(row.id) from None
        yield view
