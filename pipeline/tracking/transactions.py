"""Read the file in which W&B keeps an offline run, `run-<id>.wandb`.

W&B has no public reader of it. The format is LevelDB's log: seven bytes that name it, then blocks
of 32 KiB with chunks, each with its checksum, length and type. The chunks of a record follow each
other. https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import struct
import zlib
from collections.abc import Iterator

NAME = b":W&B\xe1\xbe\x00"  # with a magic number and the version of the format
BLOCK = 32 * 1024
HEADER = struct.Struct("<IHB")  # CRC-32 of type and content, length of the content, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def is_complete(content: bytes) -> bool:
    """Return whether the file of a run has all records up to the one that ends the run."""
    from wandb.proto import wandb_internal_pb2 as messages  # here, so that it may be absent

    *_, last = [b"", *_records(content)]
    return bool(messages.Record.FromString(last).HasField("exit"))  # type: ignore[attr-defined]


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records up to the first damage; nothing for another format."""
    parts: list[bytes] = []
    for kind, data in _chunks(content):
        if (kind in (FULL, FIRST)) == bool(parts):
            return
        parts.append(data)
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def _chunks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each chunk up to the first damage."""
    place = len(NAME) if content.startswith(NAME) else len(content)
    while place < len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER.size:  # the rest of a block is too short for a chunk
            place += left
            continue
        if len(content) - place < HEADER.size:
            return
        checksum, length, kind = HEADER.unpack_from(content, place)
        start = place + HEADER.size
        place = start + length
        data = content[start:place]
        if len(data) < length or zlib.crc32(bytes([kind]) + data) != checksum:
            return
        yield kind, data
