"""The sockets of a random little cluster: servers in every stack, and clients that ask them, all in this process.

What a client sees is read from its own socket; who answered, and what address it saw, from the answer, and where none comes from the
server that accepted. Every client has a port of its own, so that NAT keeps it and the server's word can be laid to the client.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tests.oracle.netns import Namespace
from tests.oracle.stacks_drawn import Shot
from tests.oracle.stacks_plan import OPEN

WAIT = 0.7
"""Seconds until what did not answer is a timeout; a SYN is sent again after one."""
_FIRST_PORT = 40_000
_SEEN = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "no-route",
    errno.ENETUNREACH: "net-unreachable",
    errno.EPERM: "eperm",
    errno.EACCES: "eacces",
    errno.EINVAL: "einval",
    errno.ENOPROTOOPT: "no-protocol",
    errno.ECONNRESET: "closed",
    errno.EPIPE: "closed",
}
_ECHO = {4: b"\x08\0\0\0\0\0\0\x01?", 6: b"\x80\0\0\0\0\0\0\x01?"}
_RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "icmp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class Observed:
    """What a client saw; *server* and *source* where somebody heard it: whose socket did, and whom that saw."""

    sees: str
    server: str = ""
    source: str = ""


@dataclass(slots=True)
class Asking:
    """A client that asks; its *port* tells whose it is. *connected*: its ``connect`` has succeeded."""

    shot: Shot
    socket: socket.socket
    port: int
    observed: Observed | None = None
    connected: bool = False


class Sockets:
    """The servers and clients in *spaces*, of one IP *version*; close them."""

    def __init__(self, spaces: Mapping[str, Namespace], version: int) -> None:
        self._spaces = spaces
        self._version = version
        self._family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._any = "0.0.0.0" if version == 4 else "::"
        self._stack = ExitStack()
        self._servers: dict[int, tuple[str, socket.socket]] = {}
        self._heard_by: dict[int, tuple[str, str]] = {}
        self._poll = select.poll()
        self._port = _FIRST_PORT

    def close(self) -> None:
        """Close every server and every connection."""
        self._stack.close()

    # -- servers ------------------------------------------------------------------------------------------------------------------

    def serve(self, name: str, addresses: Iterable[str]) -> None:
        """Listen in *name* over TCP, and over UDP on each of *addresses*, so that answers leave from there."""
        with self._spaces[name].inside():
            self._listen(name, socket.SOCK_STREAM, self._any)
            for address in addresses:
                self._listen(name, socket.SOCK_DGRAM, address)

    def _listen(self, name: str, kind: int, address: str) -> None:
        made = socket.socket(self._family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, OPEN))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        self._watch(name, made)

    def _watch(self, name: str, made: socket.socket) -> None:
        made.setblocking(False)
        self._stack.callback(made.close)
        self._servers[made.fileno()] = (name, made)
        self._poll.register(made.fileno(), select.POLLIN)

    def _answer(self, name: str, server: socket.socket) -> None:
        """Answer what came: a datagram, a connection, or more of one."""
        try:
            if server.type == socket.SOCK_DGRAM:
                _, source = server.recvfrom(64)
                self._heard_by[source[1]] = (name, source[0])
                server.sendto(f"{name} {source[0]}".encode(), source)
            elif server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                made, source = server.accept()
                self._heard_by[source[1]] = (name, source[0])
                self._watch(name, made)
                made.send(f"{name} {source[0]}".encode())
            elif server.recv(64):
                server.send(f"{name} {server.getpeername()[0]}".encode())
            else:
                self._forget(server)
        except BlockingIOError:
            return
        except OSError:  # refused on its way back: the client says what it saw
            if server.type == socket.SOCK_STREAM and not server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._forget(server)

    def _forget(self, made: socket.socket) -> None:
        self._poll.unregister(made.fileno())
        del self._servers[made.fileno()]
        made.close()

    # -- clients ------------------------------------------------------------------------------------------------------------------

    def shoot(self, shots: list[Shot], wait: float = WAIT) -> list[Observed]:
        """Return what each client sees within *wait* seconds; all ask at once."""
        asking = [self._ask(shot) for shot in shots]
        self._hear(asking, wait)
        for one in asking:
            one.socket.close()
        return [one.observed or self._silence(one) for one in asking]

    def converse(self, shots: list[Shot], wait: float = WAIT) -> list[Asking]:
        """Return the clients that were answered within *wait* seconds; they stay connected."""
        asking = [self._ask(shot) for shot in shots]
        self._hear(asking, wait)
        for one in asking:
            self._stack.callback(one.socket.close)
        return [one for one in asking if one.observed is not None and one.observed.sees == "connected"]

    def go_on(self, asking: list[Asking], wait: float = WAIT) -> list[Observed]:
        """Return what clients that were answered before see when they ask once more."""
        for one in asking:
            one.observed = None
            self._heard_by.pop(one.port, None)
            try:
                one.socket.send(b"?")
            except OSError as error:
                one.observed = Observed(_SEEN[error.errno or 0])
        return self.listen(asking, wait)

    def listen(self, asking: list[Asking], wait: float) -> list[Observed]:
        """Return what clients that have asked see within *wait* seconds."""
        self._hear(asking, wait)
        return [one.observed or Observed("timeout", *self._heard_by.get(one.port, ())) for one in asking]

    def _silence(self, one: Asking) -> Observed:
        return Observed("hangs" if one.connected else "timeout", *self._heard_by.get(one.port, ()))

    def _hear(self, asking: list[Asking], wait: float) -> None:
        """Let servers answer and clients hear until all have heard, or *wait* seconds are over."""
        waiting = {one.socket.fileno(): one for one in asking if one.observed is None}
        for number, one in waiting.items():
            is_opening = one.shot.protocol == "tcp" and not one.connected
            self._poll.register(number, select.POLLIN | (select.POLLOUT if is_opening else 0))
        end = time.monotonic() + wait
        while waiting and (left := end - time.monotonic()) > 0:
            for number, _ in self._poll.poll(left * 1000):
                if number in self._servers:
                    self._answer(*self._servers[number])
                elif number in waiting and self._is_told(waiting[number]):
                    del waiting[number]
                    self._poll.unregister(number)
        for number in waiting:
            self._poll.unregister(number)

    def _ask(self, shot: Shot) -> Asking:
        is_echo = shot.protocol == "icmp"
        number = (socket.IPPROTO_ICMP if self._version == 4 else socket.IPPROTO_ICMPV6) if is_echo else 0
        with self._spaces[shot.source].inside():
            made = socket.socket(self._family, _KINDS[shot.protocol], number)
        made.setblocking(False)
        self._port += 1
        one = Asking(shot, made, self._port)
        try:
            if is_echo:
                made.setsockopt(*_RECVERR[self._version], 1)
            made.bind((self._any, one.port))
            made.connect((shot.destination, shot.port))
            if shot.protocol != "tcp":
                made.send(_ECHO[self._version] if is_echo else b"?")
        except BlockingIOError:
            pass
        except OSError as error:
            one.observed = Observed(_SEEN[error.errno or 0])
        return one

    def _is_told(self, one: Asking) -> bool:
        """Something came for a client, or its connection was made; return whether it knows its end.

        NB: a connection that was made is not asked for its error: of an ICMP error for its ACK, which it only notes, one that blocks in
        ``connect`` is not told.
        """
        if not _is_connected(one) and (failed := one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            one.observed = Observed(_SEEN[failed])
            return True
        one.connected = one.shot.protocol == "tcp"
        self._poll.modify(one.socket.fileno(), select.POLLIN)
        try:
            said = one.socket.recv(64)
        except BlockingIOError:
            return False
        except OSError as error:
            one.observed = Observed(_SEEN[error.errno or 0])
            return True
        if one.shot.protocol == "icmp":
            one.observed = Observed("connected")
        else:
            one.observed = Observed("connected", *said.decode().split()) if said else Observed("closed")
        return True


def _is_connected(one: Asking) -> bool:
    """Return whether a TCP client's connection was made."""
    if one.shot.protocol != "tcp":
        return False
    try:
        one.socket.getpeername()
    except OSError:
        return False
    return True
