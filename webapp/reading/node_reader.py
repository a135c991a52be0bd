"""Reading one node once: each documented file by its program, run in kube-proxy's container (or all of them by our own reader's).

No shell and no pipe; a program that is missing, fails or prints too much costs its own file, not the others'. One that hangs ends the
reading, with what was read before it: a kubelet that answers nobody would hang the next program too, and a worker for minutes.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from tracer.snapshot.node_files import BY_NAME, CONNTRACK, OF_A_POD, READ, SYSCTL, NodeFile
from tracer.values import dataclass
from webapp.cluster.errors import BadAnswer, ClusterError, Denied, NoSuchProgram, Refused, TimedOut, TooLarge, Unreachable
from webapp.cluster.remote_program import Output
from webapp.reading.changes import FileRead, NodeRead
from webapp.reading.same_reading import as_kept

PROGRAM_SECONDS = 20.0
READER_SECONDS = READING_SECONDS = 60.0
"""So long a whole reading of a node may take, by our reader or program by program."""
MOST_BYTES = 64 << 20
READER_ARGV = ("hopline-node-reader",)
_REPORT = "reading.json"
_LACKING = "The container has no program"
"""How our reader begins to say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFrom:
    """The pod that a node is read from: kube-proxy's, or (*is_reader*) our DaemonSet's."""

    namespace: str
    pod: str
    container: str | None
    is_reader: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}"


class Runs(Protocol):
    """What runs programs in pods: a connection, or what sends them elsewhere."""

    def exec(self, namespace: str, pod: str, container: str | None, argv: tuple[str, ...], *, timeout: float, most_bytes: int) -> Output:
        """Return what *argv* printed. :raises ClusterError: it could not be run."""


def commands(*, slow: bool, conntrack: bool, lacking: Iterable[str] = ()) -> tuple[NodeFile, ...]:
    """Return what is to be read: what follows events; with *slow* the rest too; *lacking* are files whose program was missing lately."""
    without = frozenset(lacking)
    wanted = tuple(f for f in READ if (slow or f.follows_events) and f.name not in without)
    return (*wanted, CONNTRACK) if conntrack else wanted


def read_node(connection: Runs, node: str, place: ReadFrom, wanted: tuple[NodeFile, ...]) -> NodeRead:
    """Return what *node*'s programs print now. Never raises: what failed is said in the reading."""
    started, begun = time.time(), time.monotonic()
    try:
        files = _by_reader(connection, place, wanted) if place.is_reader else _one_by_one(connection, place, wanted)
        error, is_denied = "", False
    except _Ended as ended:
        files, error, is_denied = ended.files, ended.text, ended.is_denied
    seconds = time.monotonic() - begun
    return NodeRead(node=node, pod=str(place), files=files, error=error, is_denied=is_denied, read_at=started, seconds=seconds)


class _Ended(Exception):
    """The reading cannot go on; *files* were read before. *is_denied*: the API server does not allow it."""

    def __init__(self, text: str, files: tuple[FileRead, ...] = (), *, is_denied: bool = False) -> None:
        super().__init__(text)
        self.text, self.files, self.is_denied = text, files, is_denied


def _one_by_one(connection: Runs, place: ReadFrom, wanted: tuple[NodeFile, ...]) -> tuple[FileRead, ...]:
    files: list[FileRead] = []
    until = time.monotonic() + READING_SECONDS
    for command in wanted:
        left = until - time.monotonic()
        if left <= 0:
            raise _Ended(f"The reading was ended after {READING_SECONDS:g} s, before {command.argv[0]}.", tuple(files))
        try:
            files.append(_file(connection, place, command, min(PROGRAM_SECONDS, left)))
        except TimedOut as error:
            text = f"{command.argv[0]}: {error}"
            raise _Ended(text, (*files, _hung(command, text, left))) from None
        except (Denied, Refused, Unreachable) as error:
            raise _Ended(str(error), tuple(files), is_denied=isinstance(error, Denied)) from None
    return tuple(files)


def _hung(command: NodeFile, text: str, left: float) -> FileRead:
    seconds = min(PROGRAM_SECONDS, left)
    return FileRead(name=command.name, content=None, error=text, read_at=time.time() - seconds, seconds=seconds)


def _file(connection: Runs, place: ReadFrom, command: NodeFile, timeout: float) -> FileRead:
    """Return what one program printed. :raises Denied, Refused, Unreachable: no other program will fare better.

    NB: the API server's own silence, and a kubelet's, look like a program that hangs (TimedOut).
    """
    started = time.time()

    def failed(text: str, *, is_lacking: bool = False, seconds: float = 0.0) -> FileRead:
        return FileRead(name=command.name, content=None, error=text, is_lacking=is_lacking, read_at=started, seconds=seconds)

    try:
        output = connection.exec(place.namespace, place.pod, place.container, command.argv, timeout=timeout, most_bytes=MOST_BYTES)
    except NoSuchProgram:
        return failed(f"{_LACKING} {command.argv[0]}.", is_lacking=True)
    except (TooLarge, BadAnswer) as error:
        return failed(str(error))
    # "sysctl -a" ends with an error for every setting that nobody may read; the network's are what counts.
    is_enough = command is SYSCTL and bool(as_kept(command.name, output.stdout))
    if output.exit_code != 0 and not is_enough:
        said = output.stderr.strip().splitlines()
        return failed(f"{command.argv[0]} ended with {output.exit_code}{': ' + said[-1][:300] if said else ''}", seconds=output.seconds)
    if command.name.endswith(".json") and not output.stdout.strip():
        return failed("Nothing was printed.", seconds=output.seconds)
    return FileRead(name=command.name, content=output.stdout, read_at=started, seconds=output.seconds)


# --- our own reader ----------------------------------------------------------------------------------------------------------


def _by_reader(connection: Runs, place: ReadFrom, wanted: tuple[NodeFile, ...]) -> tuple[FileRead, ...]:
    """Return what the reader's archive holds: every documented file, whatever was *wanted*; conntrack only when it was."""
    argv = (*READER_ARGV, "--conntrack") if CONNTRACK in wanted else READER_ARGV
    started = time.time()
    try:
        return unpacked_reading(_printed_by_reader(connection, place, argv), started)
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise _Ended(f"The node reader's archive cannot be read: {error}") from None


def _printed_by_reader(connection: Runs, place: ReadFrom, argv: tuple[str, ...]) -> bytes:
    try:
        output = connection.exec(place.namespace, place.pod, place.container, argv, timeout=READER_SECONDS, most_bytes=2 * MOST_BYTES)
    except ClusterError as error:
        raise _Ended(str(error), is_denied=isinstance(error, Denied)) from None
    if output.exit_code != 0:
        raise _Ended(f"The node reader ended with {output.exit_code}: {output.stderr.strip()[-300:]}")
    return output.stdout


def read_pods(connection: Runs, place: ReadFrom, stacks: Mapping[str, str]) -> tuple[NodeRead, ...]:
    """Return what the reader at *place* reads of pods' own stacks (uid → what the stack is called) on its node. Never raises."""
    started, begun = time.time(), time.monotonic()
    found: Mapping[str, tuple[FileRead, ...]] = {}
    error, is_denied = "", False
    try:
        argv = (*READER_ARGV, "--pods", ",".join(stacks))
        found = unpacked_pods(_printed_by_reader(connection, place, argv), frozenset(stacks), started)
    except _Ended as ended:
        error, is_denied = ended.text, ended.is_denied
    except (tarfile.TarError, ValueError, EOFError) as failure:
        error = f"The node reader's archive cannot be read: {failure}"
    seconds = (time.monotonic() - begun) / max(1, len(stacks))
    return tuple(
        NodeRead(
            node=stack,
            pod=str(place),
            files=found.get(uid, ()),
            error=error or ("" if found.get(uid) else "The node reader left it out."),
            is_denied=is_denied,
            read_at=started,
            seconds=seconds,
        )
        for uid, stack in stacks.items()
    )


def unpacked_reading(archive: bytes, read_at: float) -> tuple[FileRead, ...]:
    """Return the files of a reader's tar. Names that are not documented are left out; nothing is written anywhere.

    :raises TarError, ValueError: it is no such archive.
    """
    contents, report = _unpacked(archive, BY_NAME)
    return tuple(_from_report(name, contents.get(name), report.get(name), read_at) for name in sorted({*contents, *report}))


def unpacked_pods(archive: bytes, uids: Collection[str], read_at: float) -> Mapping[str, tuple[FileRead, ...]]:
    """Return uid → the files of that pod's own stack, of a reader's tar. Pods that nobody asked for are left out.

    :raises TarError, ValueError: it is no such archive.
    """
    folders = {f"pods/{uid}/{name}": (uid, name) for uid in uids for name in OF_A_POD}
    contents, report = _unpacked(archive, folders)
    found: dict[str, tuple[FileRead, ...]] = {}
    for path in sorted({*contents, *report}):
        uid, name = folders[path]
        found[uid] = (*found.get(uid, ()), _from_report(name, contents.get(path), report.get(path), read_at))
    return found


def _unpacked(archive: bytes, names: Collection[str]) -> tuple[dict[str, bytes], dict[str, dict[str, object]]]:
    """Return those of *names* that the tar holds, and what its report says of them."""
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if member.isfile() and (name in names or name == _REPORT):
                file = tar.extractfile(member)
                contents[name] = file.read() if file else b""
    report = _report(contents.pop(_REPORT, None))
    return contents, {name: said for name, said in report.items() if name in names}


def _report(text: bytes | None) -> dict[str, dict[str, object]]:
    if text is None:
        raise ValueError(f"it has no {_REPORT}")
    value = json.loads(text)
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, dict):
        raise ValueError(f"its {_REPORT} says nothing of files")
    return {str(name): said for name, said in files.items() if isinstance(said, dict)}


def _from_report(name: str, content: bytes | None, said: dict[str, object] | None, read_at: float) -> FileRead:
    error, seconds = str((said or {}).get("error") or ""), (said or {}).get("seconds")
    taken = float(seconds) if isinstance(seconds, int | float) else 0.0
    if content is None or error:
        text = error or "The node reader left it out."
        return FileRead(name=name, content=None, error=text, is_lacking=text.startswith(_LACKING), read_at=read_at, seconds=taken)
    return FileRead(name=name, content=content, read_at=read_at, seconds=taken)
