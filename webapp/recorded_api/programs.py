"""What programs in a node's containers print: the files that the recording has of that node.

A program whose output was not recorded is one that the container does not have.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable

from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, CONNTRACK, IPTABLES, OF_A_POD, READ
from tracer.values import dataclass
from webapp.reading.pod_network import ENTER, NOT_ENTERED

_FILES = {file.argv: file.name for file in (*READ, CONNTRACK)} | {one.argv: one.file.name for one in (*ALSO, *ALSO_CONNECTIONS)}
_MORE = frozenset(one.argv for one in (*ALSO, *ALSO_CONNECTIONS))
_CHROOT = ("chroot", "/host")
_READER = ("hopline-node-reader",)
_ENTERING = ("sh", "-c", ENTER, "sh")
_UNPRIVILEGED = {
    "iptables-save": (4, "iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)"),
    "ip6tables-save": (
        4,
        "ip6tables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
    ),
    "nft": (1, "netlink: Error: cache initialization failed: Operation not permitted"),
    "ipset": (1, "ipset v7.17: Kernel error received: Operation not permitted"),
    "iptables-legacy-save": (1, "iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)"),
    "ip6tables-legacy-save": (1, "ip6tables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)"),
}
"""What programs that print rules say without NET_ADMIN, as they did in a network namespace on Linux 6.1 and Debian 12."""
_READER_WITH_CONNTRACK = (*_READER, "--conntrack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a program printed, and its exit code."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


def run(argv: tuple[str, ...], read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what *argv* prints, by the files that *read* knows (documented name → content). None: there is no such program."""
    name = _FILES.get(argv)
    content = None if name is None else read(name)
    if content is not None:
        return Printed(stdout=content)
    is_there = any(other[:1] == argv[:1] and read(file) is not None for other, file in _FILES.items())
    if is_there and (name is None or argv in _MORE):
        return Printed(stderr=f"{argv[0]}: the recording has no output of {' '.join(argv)}\n".encode(), exit_code=2)
    return None


def run_in_own_container(argv: tuple[str, ...], may_print_rules: bool, read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what *argv* prints in a container of a pod whose own stack was recorded: rules only to those that may see them."""
    printed = run(argv, read)
    if printed is not None and not may_print_rules and argv[0] in _UNPRIVILEGED:
        code, text = _UNPRIVILEGED[argv[0]]
        return Printed(stderr=f"{text}\n".encode(), exit_code=code)
    return printed


def run_in_network(
    argv: tuple[str, ...],
    of_pod: Callable[[str], Callable[[str], bytes | None] | None],
    run_plain: Callable[[tuple[str, ...]], Printed | None],
) -> Printed | None:
    """Return what *argv* prints in a pod for debugging, which may ask for the network of another pod there.

    *of_pod* returns what reads the recorded files of the pod with a uid, None: it has none.
    """
    if argv[:4] != _ENTERING or len(argv) < 6:
        return run_plain(argv)
    read = of_pod(argv[4])
    if read is None:
        return Printed(stderr=b"No process of the pod runs there.\n", exit_code=NOT_ENTERED)
    printed = run_on_host(argv[5:], lambda asked: run(asked, read))
    missing = f"nsenter: failed to execute {argv[5]}: No such file or directory\n"
    return printed or Printed(stderr=missing.encode(), exit_code=127)


def run_on_host(argv: tuple[str, ...], run_plain: Callable[[tuple[str, ...]], Printed | None]) -> Printed | None:
    """Return what *argv* prints in a pod for debugging: its ``chroot /host`` has the node's programs, and so has its image."""
    if argv[:2] != _CHROOT:
        return run_plain(argv)
    missing = f"chroot: failed to run command '{argv[2] if len(argv) > 2 else ''}': No such file or directory\n"
    return run_plain(argv[2:]) or Printed(stderr=missing.encode(), exit_code=127)


def run_reader(argv: tuple[str, ...], names: Iterable[str], read: Callable[[str], bytes | None]) -> Printed | None:
    """Return what our node reader prints: a tar of the files called *names*, and what it says of them in ``reading.json``.

    None: *argv* is another program, and its image has none that could be run. Source: deploy/node-reader/node_reader.py.
    """
    if argv[:1] != _READER:
        return None
    if argv not in (_READER, _READER_WITH_CONNTRACK):
        return Printed(stderr=b"usage: hopline-node-reader [--conntrack] > reading.tar\n", exit_code=2)
    found = {name: read(name) for name in names if name != CONNTRACK.name or argv == _READER_WITH_CONNTRACK}
    report = {name: {"seconds": 0.0} | ({"error": "Not recorded yet."} if content is None else {}) for name, content in found.items()}
    files = {name: content for name, content in found.items() if content is not None}
    return Printed(stdout=_tar(files | {"reading.json": json.dumps({"files": report}).encode()}))


def run_reader_of_pods(argv: tuple[str, ...], of_pod: Callable[[str], Callable[[str], bytes | None] | None]) -> Printed:
    """Return what our node reader prints of pods' own stacks, whose uids *argv* names. Source: deploy/node-reader/node_reader.py."""
    files: dict[str, bytes] = {}
    report: dict[str, dict[str, object]] = {}
    for uid in argv[2].split(",") if len(argv) == 3 else ():
        read = of_pod(uid)
        found = {} if read is None else {name: content for name in sorted(OF_A_POD) if (content := read(name)) is not None}
        files |= {f"pods/{uid}/{name}": content for name, content in found.items()}
        report |= {f"pods/{uid}/{name}": {"error": None, "seconds": 0.0} for name in found}
        if not found:
            report[f"pods/{uid}/{IPTABLES.name}"] = {"error": "No process of the pod runs there.", "seconds": 0.0}
    return Printed(stdout=_tar(files | {"reading.json": _report(report)}))


def is_of_pods(argv: tuple[str, ...]) -> bool:
    """Return whether our node reader is asked for pods' own stacks."""
    return argv[:2] == (*_READER, "--pods")


def _report(report: dict[str, dict[str, object]]) -> bytes:
    """Return a report as the node reader writes it, one file a line."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(said)}" for name, said in report.items())
    return f'{{"reader": 1, "files": {{\n{lines}\n}}}}\n'.encode()


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
