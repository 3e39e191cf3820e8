"""Reads the header of Linux programs: for which machine they are, whether they are whole, what they load.

Used to refuse wrong or cut files before they reach a node, and to find the libraries an image needs.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF"
MACHINES: Mapping[int, str] = {62: "amd64", 183: "arm64"}

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC_ENTRY = struct.Struct("<qQ")
_64_BIT_LITTLE_ENDIAN = b"\x02\x01"
_EXECUTABLE_TYPES = (2, 3)
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NO_BITS = 8
_DT_NEEDED, _DT_STRING_TABLE = 1, 5


@dataclass(frozen=True, slots=True)
class Program:
    """A program or shared library. `size` is the least size of a whole file, by its own header."""

    arch: str
    size: int
    interpreter: str | None
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def read(path: Path) -> Program:
    """Parse a program. ValueError says why it is none."""
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC or path.stat().st_size < _HEADER.size:
            raise ValueError("it has no ELF header")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(data)


def _parse(data: mmap.mmap) -> Program:
    header = _HEADER.unpack_from(data)
    ident, kind, machine = header[0], header[1], header[2]
    if ident[4:6] != _64_BIT_LITTLE_ENDIAN or kind not in _EXECUTABLE_TYPES:
        raise ValueError("it is not a 64-bit little-endian program")
    segments = _segments(data, offset=header[5], count=header[10])
    ends = [segment.offset + segment.size for segment in segments]
    ends += _section_ends(data, offset=header[6], count=header[12])
    whole = max(ends) <= len(data)
    return Program(
        arch=MACHINES.get(machine, f"machine {machine}"),
        size=max(ends),
        interpreter=_interpreter(data, segments) if whole else None,
        needed=_needed(data, segments) if whole else (),
    )


def _segments(data: mmap.mmap, *, offset: int, count: int) -> list[_Segment]:
    if offset + count * _PROGRAM_HEADER.size > len(data):
        raise ValueError("it ends within its program headers")
    rows = (_PROGRAM_HEADER.unpack_from(data, offset + i * _PROGRAM_HEADER.size) for i in range(count))
    return [_Segment(kind=row[0], offset=row[2], address=row[3], size=row[5]) for row in rows]


def _section_ends(data: mmap.mmap, *, offset: int, count: int) -> list[int]:
    """Where the header table and each section with content end; what can be read of them, in a cut file."""
    ends = [offset + count * _SECTION_HEADER.size if count else 0]
    if ends[0] <= len(data):
        rows = (_SECTION_HEADER.unpack_from(data, offset + i * _SECTION_HEADER.size) for i in range(count))
        ends += [row[4] + row[5] for row in rows if row[1] != _NO_BITS]
    return ends


def _interpreter(data: mmap.mmap, segments: list[_Segment]) -> str | None:
    for segment in segments:
        if segment.kind == _INTERPRETER:
            return data[segment.offset : segment.offset + segment.size].rstrip(b"\0").decode()
    return None


def _needed(data: mmap.mmap, segments: list[_Segment]) -> tuple[str, ...]:
    entries = [
        _DYNAMIC_ENTRY.unpack_from(data, at)
        for segment in segments
        if segment.kind == _DYNAMIC
        for at in range(segment.offset, segment.offset + segment.size, _DYNAMIC_ENTRY.size)
    ]
    tables = [value for tag, value in entries if tag == _DT_STRING_TABLE]
    if not tables:
        return ()
    strings = _file_offset(tables[0], segments)
    return tuple(_string(data, strings + value) for tag, value in entries if tag == _DT_NEEDED)


def _file_offset(address: int, segments: list[_Segment]) -> int:
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise ValueError("its dynamic section points outside of the file")


def _string(data: mmap.mmap, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode()
