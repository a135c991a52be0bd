"""``pods/exec`` over a WebSocket: output and the way it ended, on the protocol's channels, as kubelet and containerd word it.

Source: k8s.io/apimachinery/pkg/util/remotecommand; kubelet's and containerd's own messages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from webapp.recorded_api.faults import Fault, What
from webapp.recorded_api.fields import key_of, mappings
from webapp.recorded_api.programs import Printed
from webapp.recorded_api.statuses import RequestError, status

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _ERROR = b"\x01", b"\x02", b"\x03"
_PIECE = 32 * 1024
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


def container_of(pod: Mapping[str, object], wanted: str) -> str:
    """Return the container to run in: *wanted*, or the first. :raises RequestError: 400, the pod has no such container."""
    names = [c.get("name") for c in mappings(pod, "spec", "containers")]
    if wanted and wanted not in names:
        raise RequestError(400, f"container {wanted} is not valid for pod {key_of(pod)[1]}")
    return wanted or str(names[0] if names else "")


def missing_program(program: str) -> dict[str, object]:
    """Return the Status by which containerd and runc say that a container has no *program*."""
    text = (
        'error executing command in container: failed to exec in container: failed to start exec "3b1f": OCI runtime exec failed: '
        f'exec failed: unable to start container process: exec: "{program}": executable file not found in $PATH: unknown'
    )
    return status(500, f"Internal error occurred: {text}", causes=[{"message": text}])


def ended(printed: Printed) -> dict[str, object]:
    """Return the Status that tells a program's exit code."""
    if printed.exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    code = str(printed.exit_code)
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    }


async def send_output(send: Send, printed: Printed | None, program: str, fault: Fault | None, *, wants: frozenset[str]) -> None:
    """Send what a program printed on the channels that the client *wants* (stdout, stderr), and how it ended; then close."""
    stdout = b"" if printed is None else printed.stdout
    if fault is not None and fault.what is What.HUGE:
        stdout = b"x" * fault.size
    if fault is not None and fault.what is What.CUT:
        await _pieces(send, _STDOUT, stdout[: fault.after or len(stdout) // 2], 0)
        await send({"type": "websocket.close", "code": 1011})
        return
    if fault is not None and fault.what is What.SILENT:
        await asyncio.sleep(fault.seconds)
    if printed is not None:
        pause = fault.seconds if fault is not None and fault.what is What.SLOW else 0
        if "stdout" in wants:
            await _pieces(send, _STDOUT, stdout, pause)
        if "stderr" in wants:
            await _pieces(send, _STDERR, printed.stderr, pause)
    last = json.dumps(missing_program(program) if printed is None else ended(printed)).encode()
    if fault is not None and fault.what is What.GARBAGE:
        last = b"\xff not a Status"
    await send({"type": "websocket.send", "bytes": _ERROR + last})
    await send({"type": "websocket.close", "code": 1000})


async def _pieces(send: Send, channel: bytes, content: bytes, pause: float) -> None:
    for begin in range(0, len(content), _PIECE):
        await send({"type": "websocket.send", "bytes": channel + content[begin : begin + _PIECE]})
        if pause:
            await asyncio.sleep(pause)
