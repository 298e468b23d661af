"""What tells a data file from another of the same name, or from itself before it grew: its size and its two ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["file_stamp", "joined_stamp"]

END_BYTES = 4096


def file_stamp(path: Path) -> str:
    """Return 16 hexadecimal digits from a file's size, first and last 4 KiB; neither its name nor its date.

    A file that is gone or cannot be read has a stamp of its own kind.

    Examples
    --------
    >>> file_stamp(Path("nowhere"))
    'unreadable'
    """
    try:
        with path.open("rb") as file:
            first = file.read(END_BYTES)
            size = file.seek(0, 2)
            file.seek(max(size - END_BYTES, 0))
            last = file.read(END_BYTES)
    except OSError:
        return "unreadable"
    return hashlib.blake2b(f"{size} ".encode() + first + last, digest_size=8).hexdigest()


def joined_stamp(named: Iterable[tuple[str, Path]]) -> str:
    """Return one stamp of several files, each under a name that says what it is for.

    Examples
    --------
    >>> joined_stamp([])
    'e4a6a0577479b2b4'
    """
    parts = [f"{name} {file_stamp(path)}" for name, path in sorted(named)]
    return hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
