"""Values drawn by a key: the same for the same text, and not to be guessed without the key."""

from __future__ import annotations

import hashlib
import hmac


def drawn(key: bytes, what: str, text: str) -> int:
    """Return a whole number of 256 bits for *text*; *what* keeps different uses of one key apart. Source: RFC 2104, HMAC."""
    return int.from_bytes(hmac.new(key, f"{what}\0{text}".encode(errors="surrogatepass"), hashlib.sha256).digest(), "big")
