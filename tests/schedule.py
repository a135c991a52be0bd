"""Which tests share a worker, and in which order the workers get them.

``make test`` runs the tests in three processes more than there are processors: many of them wait most of the time. What shares something
stays in one of them: the tests of one file (fixtures of the module, one recording that is read once), all pages in Chromium (the running
server), and all that asks the kernel (the legacy back end of iptables has one lock). Everything else that has a name outside its process
is the test's own: a folder of its own, a free port of its worker's range, a database with the worker's name, a namespace without a name
or with one drawn at random.

Fast tests come first, so that a plain mistake shows in the first minute; then what takes longest, so that the workers end together.
"""

from __future__ import annotations

from collections.abc import Iterable

TRACE_PAGE, PAGES, KERNEL = "trace page", "pages", "kernel"
_TRACE_PAGE_FILES = ("tests/browser/test_dns_page.py", "tests/browser/test_trace_page.py")
_KERNEL_FILES = (
    "tests/deploy/test_deploy_node_reader.py",
    "tests/oracle/test_nft.py",
    "tests/oracle/test_oracle.py",
    "tests/oracle/test_regressions.py",
    "tests/tracer/netfilter/test_nft_round_trip.py",
    "tests/tracer/routing/test_routing_kernel.py",
    "tests/tracer/routing/test_routing_packets.py",
)
LONG: tuple[str, ...] = (
    PAGES,
    TRACE_PAGE,
    "tests/test_lint.py",
    "tests/tracer/simulate/test_modes.py",
    "tests/tracer/simulate/test_kernel_truth.py",
    "tests/tracer/simulate/test_nftables_truth.py",
    KERNEL,
    "tests/webapp/test_storage_servers.py",
    "tests/webapp/failures/test_failures.py",
    "tests/tracer/snapshot/rename/test_rename_traces.py",
    "tests/oracle/test_recorded.py",
    "tests/tracer/explain/test_dependencies.py",
    "tests/tracer/explain/test_dependencies_recordings.py",
    "tests/webapp/live/test_supervisor.py",
    "tests/webapp/live/test_follower.py",
    "tests/tracer/simulate/test_inferred_routing.py",
    "tests/tracer/simulate/test_ipvs.py",
    "tests/tracer/simulate/test_kept_walks.py",
    "tests/tracer/topology/test_followed.py",
)
"""Scopes that take more than 10 s of processor time, the longest first; the order is a matter of time only."""


def scope_of(nodeid: str) -> str:
    """Return what a test shares with others: a name of its own for the kernel and the pages, else its file."""
    file = nodeid.partition("::")[0]
    if file.startswith("tests/browser/"):
        return TRACE_PAGE if file in _TRACE_PAGE_FILES else PAGES
    return KERNEL if file in _KERNEL_FILES else file


def in_order(nodeids: Iterable[str]) -> list[str]:
    """Return *nodeids*, scope by scope: short tests of the engine, then the longest, then the rest; each scope in the order it came in."""
    scopes: dict[str, list[str]] = {}
    for nodeid in nodeids:
        scopes.setdefault(scope_of(nodeid), []).append(nodeid)
    return [nodeid for scope in sorted(scopes, key=_rank) for nodeid in scopes[scope]]


def _rank(scope: str) -> tuple[int, int]:
    if scope in LONG:
        return 1, LONG.index(scope)
    return (0 if scope.startswith("tests/tracer/") else 2), 0
