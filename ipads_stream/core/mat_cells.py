"""Cells and structs of MATLAB 5 files, whose parts no list of arrays counts."""

import math
import struct
import zlib
from pathlib import Path

from ipads_stream.core.errors import ConfigError

MATRIX, PACKED_MATRIX, CELL = 14, 15, 1
NESTED = (CELL, 2, 3)  # structs and objects, too
HEADER, TAG, HEAD = 128, 8, 24  # bytes: of a file, an element, and a matrix up to its class
DEEPEST, MOST = 16, 1 << 28  # cells in cells; bytes that are unpacked


def check_cells(key: str, path: Path) -> None:
    """Raises ConfigError where cells or structs claim more parts than the file has bytes for.

    A reader makes room for all of them before it reads the first.

    Args:
        key: that names the file.
        path: of a file of version 5 to 7; others are left to their reader.

    Source: MAT-file format, The MathWorks.
    """
    whole = path.read_bytes()
    if len(whole) < HEADER or whole[126:128] not in (b"IM", b"MI"):
        return
    order = "<" if whole[126:128] == b"IM" else ">"
    try:
        for kind, part in _elements(whole[HEADER:], order):
            if kind == PACKED_MATRIX:
                for inner, matrix in _elements(_opened(part, order), order):
                    _check(matrix if inner == MATRIX else b"", order, 0)
            elif kind == MATRIX:
                _check(part, order, 0)
    except (struct.error, zlib.error, ValueError) as error:
        raise ConfigError(key, str(path), f"a sound file ({error})") from None


def _opened(packed: bytes, order: str) -> bytes:
    """A packed matrix whole where it is of cells or structs, else its first bytes."""
    stream = zlib.decompressobj()
    head = stream.decompress(packed, HEAD)
    if len(head) < HEAD or struct.unpack_from(f"{order}I", head, 16)[0] & 0xFF not in NESTED:
        return head
    whole = head + stream.decompress(stream.unconsumed_tail, MOST)
    if stream.unconsumed_tail:
        raise ValueError(f"cells or structs of more than {MOST / 1e6:.0f} MB")
    return whole


def _elements(content: bytes, order: str) -> list[tuple[int, bytes]]:
    """(kind, bytes) one after another; short ones keep four bytes or fewer in their tag."""
    found, at = [], 0
    while at + TAG <= len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, at)
        if kind >> 16:
            kind, size, start, at = kind & 0xFFFF, kind >> 16, at + 4, at + TAG
        else:
            start, at = at + TAG, at + TAG + size + (-size % 8 if kind != PACKED_MATRIX else 0)
        found.append((kind, content[start : start + size]))
    return found


def _check(matrix: bytes, order: str, depth: int) -> None:
    parts = _elements(matrix, order)
    if len(parts) < 3 or len(parts[0][1]) < 4:
        return
    kind = struct.unpack_from(f"{order}I", parts[0][1])[0] & 0xFF
    if kind not in NESTED:
        return
    if depth == DEEPEST:
        raise ValueError(f"more than {DEEPEST} cells within one another")
    shape = parts[1][1]
    count = math.prod(struct.unpack(f"{order}{len(shape) // 4}i", shape))
    inner = [part for part_kind, part in parts[2:] if part_kind == MATRIX]
    if not 0 <= count <= len(inner) + (kind != CELL):  # a struct without fields has no parts
        raise ValueError(f"{count} parts, of which {len(inner)} are there")
    for part in inner:
        _check(part, order, depth + 1)
