"""How a program ended, as several runtimes word it."""

from __future__ import annotations

import json

import pytest

from webapp.cluster import remote_program
from webapp.cluster.connection import _verdict as verdict_of
from webapp.cluster.errors import BadAnswer, NoSuchProgram, Refused, TooLarge
from webapp.cluster.remote_program import Output

RUNC = 'OCI runtime exec failed: exec failed: unable to start container process: exec: "nft": executable file not found in $PATH: unknown'
OLD_RUNC = (
    'exec failed: container_linux.go:380: starting container process caused: exec: "nft": executable file not found in $PATH: unknown'
)
ABSOLUTE = 'OCI runtime exec failed: exec failed: unable to start container process: exec: "/x/nft": stat /x/nft: no such file or directory'
OLD_ABSOLUTE = (
    'container_linux.go:348: starting container process caused "exec: \\"/bin/nft\\": stat /bin/nft: no such file or directory": unknown'
)
NOT_RUNNING = (
    'OCI runtime exec failed: exec failed: container_linux.go:348: caused "open /proc/self/fd: no such file or directory": unknown'
)
CRUN = "executable file `nft` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found"


def ended(status: object, *messages: bytes, most_bytes: int = 1000) -> Output:
    """Return the output after *messages* (each with its channel) and a last one that tells *status*."""
    running = remote_program._Running(most_bytes=most_bytes)
    for message in messages:
        running.take(message)
    running.take(b"\x03" + (status if isinstance(status, bytes) else json.dumps(status).encode()))
    return remote_program._output(running, seconds=0.5, hide=("s3cret",))


def exit_code(code: object) -> dict[str, object]:
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": code}]}}


def internal(message: str) -> dict[str, object]:
    return {"status": "Failure", "reason": "InternalError", "message": f"Internal error occurred: {message}", "code": 500}


@pytest.mark.parametrize("message", [RUNC, OLD_RUNC, ABSOLUTE, OLD_ABSOLUTE, CRUN])
def test_a_missing_program_is_known_however_it_is_worded(message: str) -> None:
    with pytest.raises(NoSuchProgram):
        ended(internal(f"error executing command in container: {message}"))
    for code in ("126", "127", "255"):
        with pytest.raises(NoSuchProgram):
            ended(exit_code(code), b"\x02" + message.encode())
        with pytest.raises(NoSuchProgram):
            ended(exit_code(code), b"\x01" + message.encode())


@pytest.mark.parametrize(
    ("status", "messages", "expected"),
    [
        ({"status": "Success"}, (b"\x01ab", b"\x01c", b"\x02warn"), (b"abc", "warn", 0)),
        (exit_code("1"), (b"\x02" + RUNC.encode(),), (b"", RUNC, 1)),
        (exit_code("127"), (b"\x02sh: something: not found",), (b"", "sh: something: not found", 127)),
        (exit_code("-1"), (), (b"", "", -1)),
        ({"status": "Success"}, (b"\x02\xff\xfe", b"\x07other", b"\x01"), (b"", "\ufffd\ufffd", 0)),
        ({"status": "Success"}, tuple(b"\x02" + b"e" * 60_000 for _ in range(3)), (b"", "e" * 65_536, 0)),
    ],
)
def test_what_was_printed_and_the_exit_code(status: object, messages: tuple[bytes, ...], expected: tuple[bytes, str, int]) -> None:
    output = ended(status, *messages)
    assert (output.stdout, output.stderr, output.exit_code) == expected


@pytest.mark.parametrize(
    "status",
    [
        internal(NOT_RUNNING),
        internal("container not running, token s3cret"),
        exit_code("many"),
        exit_code(None),
        {"status": "Failure", "details": 5},
    ],
)
def test_what_is_not_the_programs_failure_is_refused(status: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        ended(status)
    assert "s3cret" not in str(caught.value)
    assert caught.value.status == 500


@pytest.mark.parametrize("status", [b"", b"null", b"\xff", b'{"status":"Maybe"}', b"[" * 100_000])
def test_an_end_that_says_nothing_is_no_end(status: bytes) -> None:
    with pytest.raises(BadAnswer):
        ended(status)


@pytest.mark.parametrize("message", ["text", b""])
def test_messages_without_a_channel_are_refused(message: object) -> None:
    with pytest.raises(BadAnswer):
        remote_program._Running(most_bytes=10).take(message)


def test_the_limit_counts_all_pieces() -> None:
    assert ended({"status": "Success"}, b"\x01" + b"x" * 600, b"\x01" + b"x" * 400).stdout == b"x" * 1000
    with pytest.raises(TooLarge):
        ended({"status": "Success"}, b"\x01" + b"x" * 600, b"\x01" + b"x" * 401)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"allowed": True, "reason": "RBAC: allowed"}, (True, "RBAC: allowed")),
        ({"allowed": False}, (False, "")),
        ({"allowed": False, "denied": True, "evaluationError": "webhook down"}, (False, "webhook down")),
        ({"allowed": False, "evaluationError": "webhook down"}, (None, "webhook down")),
        ({"allowed": True, "evaluationError": "webhook down"}, (True, "webhook down")),
        ({"allowed": "yes"}, (None, "The API server did not say.")),
        (None, (None, "The API server did not say.")),
    ],
)
def test_a_review_that_could_not_tell_is_neither_yes_nor_no(status: object, expected: tuple[bool | None, str]) -> None:
    verdict = verdict_of({"status": status})
    assert (verdict.allowed, verdict.reason) == expected
