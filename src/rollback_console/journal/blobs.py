"""Blobs at rest: zlib, beside their size and under their SHA-256. No pydantic here either."""

from __future__ import annotations

import zlib

from rollback_console.journal.chain import digest


def pack(data: bytes) -> tuple[str, int, bytes]:
    """(SHA-256 hex, size, compressed) as the table `blobs` holds them."""
    return digest(data), len(data), zlib.compress(data)


def unpack(size: object, data: object) -> bytes | None:
    """A blob's bytes, or None when they are not `size` bytes of zlib. Never inflates beyond `size`."""
    if not isinstance(size, int) or not isinstance(data, bytes) or size < 0:
        return None
    inflate = zlib.decompressobj()
    try:
        out = inflate.decompress(data, size + 1)
    except (zlib.error, OverflowError, MemoryError):
        return None
    return out if len(out) == size and inflate.eof else None
