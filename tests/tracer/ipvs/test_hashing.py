"""sh, dh and mh against a second implementation (hash_vectors/second.c), and sh against every client of a recording.

``hash_vectors/vectors.txt`` is what that program printed; where a compiler is there it is made again and has to be the same.
``python -m tests.tracer.ipvs.test_hashing`` writes it anew, from the cases that are drawn here.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.ipvs import hashing
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.ipvs.schedule import choices
from tracer.packet import Packet, Protocol

FOLDER = Path(__file__).parent / "hash_vectors"
VECTORS = FOLDER / "vectors.txt"


@dataclass(frozen=True)
class Vector:
    """One line: a client, a virtual server whose real servers were added in this order, and who is chosen (None: nobody)."""

    line: str
    packet: Packet
    server: VirtualServer
    chosen: tuple[str, int] | None


def read(line: str) -> Vector:
    case, _, result = line.partition(" = ")
    scheduler, falls_back, ported, client, port, destination, count, *rest = case.split()
    added = [RealServer(address=ip_address(rest[i]), port=int(rest[i + 1]), weight=int(rest[i + 2])) for i in range(0, 3 * int(count), 3)]
    flags = (f"{scheduler}-fallback",) * int(falls_back) + (f"{scheduler}-port",) * int(ported)
    packet = Packet(
        protocol=Protocol.TCP, source=ip_address(client), source_port=int(port), destination=ip_address(destination), destination_port=80
    )
    server = VirtualServer(
        protocol=Protocol.TCP,
        address=packet.destination,
        port=80,
        scheduler=scheduler,
        flags=flags,
        real_servers=tuple(reversed(added)),
        in_kernel_order=True,
    )
    words = result.split()
    return Vector(line=line, packet=packet, server=server, chosen=None if words == ["none"] else (words[0], int(words[1])))


def drawn() -> list[str]:
    """The cases: both families, one to nine servers, equal and unequal weights, drained ones, each flag."""
    draw = random.Random(12)
    found = []
    for number in range(600):
        scheduler = ("sh", "dh", "mh")[number % 3]
        family = draw.choice((4, 6))
        count = draw.choice((1, 2, 3, 3, 4, 5, 9))
        weights = [draw.choice(((1,), (1, 2, 3), (100, 300, 7), (65535, 1, 4096))[draw.randrange(4)]) for _ in range(count)]
        if scheduler != "mh" and count > 1 and draw.random() < 0.3:
            weights[draw.randrange(count)] = 0
        falls_back = int(scheduler == "sh" and draw.random() < 0.5)
        ported = int(scheduler != "dh" and draw.random() < 0.4)
        servers = " ".join(f"{_address(draw, family)} {draw.choice((80, 8080, 53, 65535))} {weight}" for weight in weights)
        client, destination = _address(draw, family), _address(draw, family)
        found.append(f"{scheduler} {falls_back} {ported} {client} {draw.randrange(1, 65536)} {destination} {count} {servers}")
    return found


def _address(draw: random.Random, family: int) -> str:
    return str(IPv4Address(draw.getrandbits(32)) if family == 4 else IPv6Address(draw.getrandbits(128)))


def made(folder: Path) -> str:
    """What the second implementation says of the cases."""
    program = folder / "second"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", program, FOLDER / "second.c"], check=True)
    return subprocess.run([program], input="\n".join(drawn()) + "\n", capture_output=True, text=True, check=True).stdout


RECORDED = [read(line) for line in VECTORS.read_text().splitlines()] if VECTORS.exists() else []


@pytest.mark.parametrize("scheduler", ["sh", "dh", "mh"])
def test_every_vector_of_the_second_implementation(scheduler: str) -> None:
    mine = [v for v in RECORDED if v.server.scheduler == scheduler]
    assert len(mine) == 200
    wrong = []
    for vector in mine:
        found = choices(vector.server, vector.packet)
        real = found[0].real_server
        said = None if real is None else (str(real.address), real.port)
        if len(found) != 1 or found[0].condition is not None or said != vector.chosen:
            wrong.append(f"{vector.line}: {found}")
    assert wrong == []
    assert len({v.chosen for v in mine}) > 150


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc: the vectors cannot be made again")
def test_the_vectors_are_what_the_second_implementation_prints(tmp_path: Path) -> None:
    assert made(tmp_path) == VECTORS.read_text()


# -- orders ---------------------------------------------------------------------------------------------------------------------------


def server(scheduler: str, *flags: str, weights: tuple[int, ...] = (1, 1, 1), in_kernel_order: bool = False) -> VirtualServer:
    reals = tuple(RealServer(address=ip_address(f"10.1.0.{n}"), port=80, weight=weight) for n, weight in enumerate(weights, 1))
    return VirtualServer(
        protocol=Protocol.TCP,
        address=ip_address("10.0.0.1"),
        port=80,
        scheduler=scheduler,
        flags=flags,
        real_servers=reals,
        in_kernel_order=in_kernel_order,
    )


def client(port: int | None = None, *, is_random: bool = False, source: str = "10.9.0.5") -> Packet:
    return Packet(
        protocol=Protocol.TCP,
        source=ip_address(source),
        source_port=port,
        source_port_random=is_random,
        destination=ip_address("10.0.0.1"),
        destination_port=80,
    )


def test_mh_is_certain_where_no_order_makes_a_difference() -> None:
    certain = [choices(server("mh"), client(source=f"10.9.{n >> 8}.{n & 255}")) for n in range(300)]
    assert sum(len(found) == 1 for found in certain) > 290
    (one,) = next(found for found in certain if len(found) == 1)
    assert one.condition is None
    assert "whatever the order of its list; as the kernel's source says, not proved with packets" in one.reason


def test_a_slot_of_mh_that_two_want_at_once_stays_a_condition() -> None:
    found = next(f for n in range(4000) if len(f := choices(server("mh"), client(source=f"10.9.{n >> 8}.{n & 255}"))) > 1)
    assert all(c.condition and "the mh table" in c.condition for c in found)


@pytest.mark.parametrize("scheduler", ["sh", "dh"])
def test_what_depends_on_an_order_that_ipvsadm_hides_is_a_condition(scheduler: str) -> None:
    assert len(choices(server(scheduler), client())) == 3
    (one,) = choices(server(scheduler, in_kernel_order=True), client())
    assert one.condition is None
    assert "by the order in which they are listed" in one.reason
    assert ("not proved with packets" in one.reason) is (scheduler == "dh")


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
@pytest.mark.parametrize("is_random", [True, False])
def test_a_port_that_counts_and_is_not_known_is_a_condition(scheduler: str, is_random: bool) -> None:
    made = server(scheduler, f"{scheduler}-port", in_kernel_order=True)
    found = choices(made, client(40000 if is_random else None, is_random=is_random))
    assert len(found) == 3
    assert all(c.condition and "the client's port" in c.condition for c in found)
    assert len(choices(made, client(40000))) == 1


def test_a_drained_server_is_refused_or_passed_over() -> None:
    weights = (1, 0, 1)
    clients = [client(source=f"10.9.0.{n}") for n in range(60)]
    plain = [choices(server("sh", weights=weights, in_kernel_order=True), c) for c in clients]
    assert {found[0].real_server is None for found in plain} == {True, False}
    falls_back = [choices(server("sh", "sh-fallback", weights=weights, in_kernel_order=True), c) for c in clients]
    assert all(len(found) == 1 and found[0].real_server is not None for found in falls_back)


def test_a_drained_server_of_mh_keeps_a_weight_that_no_listing_tells() -> None:
    found = choices(server("mh", weights=(1, 0, 1), in_kernel_order=True), client())
    assert all(c.condition and "keep a weight that they had before" in c.condition for c in found)
    assert None in {c.real_server for c in found}
    assert None not in {c.real_server for c in choices(server("mh", "mh-fallback", weights=(1, 0, 1)), client())}


@settings(deadline=None)
@given(st.permutations([1, 2, 3]), st.sampled_from(["sh", "dh", "mh"]), st.integers(0, 0xFFFFFFFF))
def test_what_is_said_without_the_order_holds_for_every_order(order: list[int], scheduler: str, source: int) -> None:
    packet = client(source=str(ip_address(source)))
    hidden = server(scheduler)
    known = server(scheduler, in_kernel_order=True)
    reals = {int(r.address) & 0xFF: r for r in known.real_servers}
    ordered = VirtualServer(**{f: getattr(known, f) for f in known.__slots__} | {"real_servers": tuple(reals[n] for n in order)})
    (one,) = choices(ordered, packet)
    assert one.real_server in {c.real_server for c in choices(hidden, packet)}


@pytest.mark.parametrize("scheduler", ["sh", "dh", "mh"])
def test_replaced_addresses_have_another_hash(scheduler: str) -> None:
    renamed = replace(server(scheduler, in_kernel_order=True), is_renamed=True)
    found = choices(renamed, client(40000))
    assert len(found) == 3
    assert all(c.condition and "this snapshot's were replaced" in c.condition for c in found)


@settings(deadline=None)
@given(st.integers(0, 0xFFFFFFFF))
def test_ways_stand_in_the_order_of_the_listing(source: int) -> None:
    found = choices(server("sh"), client(source=str(ip_address(source))))
    assert [c.real_server for c in found] == list(server("sh").real_servers)


def test_more_real_servers_than_orders_can_be_tried_stay_conditions() -> None:
    assert len(choices(server("mh", weights=(1,) * 4), client())) == 1
    assert len(choices(server("mh", weights=(1,) * 5), client())) == 5
    assert len(choices(server("mh", weights=(1,) * 5, in_kernel_order=True), client())) == 1


def test_tables_are_whole() -> None:
    reals = server("mh", weights=(1, 2, 1)).real_servers
    assert len(hashing.maglev_table(reals)) == hashing.MAGLEV_SLOTS
    shares = [sum(r is real for r in hashing.maglev_table(reals)) for real in reals]
    assert abs(shares[1] - 2 * shares[0]) < 5
    assert len(hashing.source_table(reals)) == len(hashing.destination_table(reals)) == hashing.SLOTS


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        VECTORS.write_text(made(Path(folder)))
