"""Why a request was not answered by a worker, in words: the one table."""

from __future__ import annotations

from webapp.refusals import Refusal

RETRY_AFTER = 5
"""Seconds after which it is worth asking again, where it is."""

_SMALLER = "The server goes on without it. Ask about fewer endpoints or nodes, or where there is more time."
FAILURES: dict[str, Refusal] = {
    why: Refusal(status=status, why=why, heading=heading, words=words)
    for why, status, heading, words in (
        (
            "full",
            503,
            "Too much is being asked at the moment",
            "Hopline answers one question after the other, and too many are waiting. Try again in a moment.",
        ),
        ("late", 503, "This waited too long", "Too much was asked before it. Try again in a moment."),
        ("seconds", 503, "This took too long", f"The answer was not there when its time was over. {_SMALLER}"),
        ("memory", 503, "This needed more memory than there is for one question", _SMALLER),
        (
            "died",
            503,
            "What worked on this was ended",
            "The process that worked on it ended before it was done; nothing else was touched. Try again.",
        ),
        ("stopped", 503, "The server is being stopped", "Nothing more is worked on. Try again when it is back."),
        ("fault", 500, "Something broke in Hopline", "That is a fault of this server, not of your cluster. The server's log says more."),
        ("disk", 507, "The disk of this server is full", "Nothing of this was stored. Whoever runs the server has to make room."),
        ("slow", 408, "The request was not finished in time", "Its rest did not come for half a minute. Send it again."),
    )
}
