"""The official weights from Google Drive, by the standard library.

Drive answers a request for a large file with a page that asks for confirmation; the form in it names the real address.
"""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from seisprobe.errors import DataFileError, InputError, SourceError
from seisprobe.seisclip.weights import KNOWN, KnownFile, add_weights, file_hashes, temporary, weights_folder

__all__ = ["fetch_weights"]

_DRIVE = "https://drive.google.com/uc"
_RECORD = "downloads.json"
_BLOCK = 1 << 20
Progress = Callable[[int, int | None], None]


class _Form(HTMLParser):
    """Address and hidden fields of the page's download form."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the first form and the inputs that have a name and a value."""
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = values.get("action")
        if tag == "input" and self.action and values.get("name") and values.get("value") is not None:
            self.fields[str(values["name"])] = str(values["value"])


def fetch_weights(
    name: str,
    weights_dir: str | Path | None = None,
    *,
    url: str = _DRIVE,
    timeout_s: float = 60.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Download official weights and add them.

    Size and SHA-256 are recorded on first use in downloads.json of the folder; another file is refused later.

    Parameters
    ----------
    name : str
        seisclip-120 or seisclip-600.
    weights_dir : path, optional
        Folder of weights.
    url : str
        Address that takes `export=download&id=…`; given up after `timeout_s` without an answer.
    timeout_s : float
    progress : callable, optional
        Called with bytes so far and in all (None where the server does not say).

    Returns
    -------
    dict
        As `add_weights`.

    Raises
    ------
    InputError, DataFileError
        No official file of that name; not the file recorded on first use, or no SeisCLIP checkpoint.
    SourceError
        No network, or no such file on Drive: the message says how to do it by hand.

    Examples
    --------
    >>> fetch_weights("seisclip-60")
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: no official weights 'seisclip-60'; known: seisclip-120, seisclip-600
    """
    if name not in KNOWN:
        raise InputError(f"no official weights {name!r}; known: {', '.join(KNOWN)}")
    known = KNOWN[name]
    folder = weights_folder(weights_dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as scratch:
            part = Path(scratch) / known.file
            size = _download(known, url, part, timeout_s, progress)
            _same_as_recorded(folder, known, part, size)
            record = add_weights(part, name, folder, source=known.page)
            _write_record(folder, known, record["sha256"], size)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise SourceError(f"{name}: Google Drive: {_reason(error)}; {_by_hand(known)}") from None
    return record


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _by_hand(known: KnownFile) -> str:
    return f"open {known.page} in a browser, save {known.file}, then: seisprobe weights add {known.file}"


def _download(known: KnownFile, url: str, part: Path, timeout_s: float, progress: Progress | None) -> int:
    address = f"{url}?{urllib.parse.urlencode({'export': 'download', 'id': known.drive_id})}"
    with _open(address, timeout_s) as answer:
        if not _is_page(answer):
            return _save(answer, known, part, progress)
        address = _confirmed(answer, known)
    with _open(address, timeout_s) as answer:
        if not _is_page(answer):
            return _save(answer, known, part, progress)
    raise SourceError(f"Google Drive sent a page, not {known.file} (too many downloads today?); {_by_hand(known)}")


def _save(answer: Any, known: KnownFile, part: Path, progress: Progress | None) -> int:
    length = answer.headers.get("Content-Length")
    total = int(length) if length else None
    with part.open("wb") as file:
        size = _copy(answer, file, total, progress)
    if total is not None and size != total:
        raise SourceError(f"{known.file}: {size} of {total} bytes came; run it again, or {_by_hand(known)}")
    return size


def _open(address: str, timeout_s: float) -> Any:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise SourceError(f"Google Drive's page leads to {address!r}, no web address; download the file by hand")
    request = urllib.request.Request(address, headers={"User-Agent": "seisprobe"})  # noqa: S310 (scheme checked above)
    return urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310


def _is_page(answer: Any) -> bool:
    return str(answer.headers.get("Content-Type", "")).startswith("text/html")


def _confirmed(answer: Any, known: KnownFile) -> str:
    form = _Form()
    form.feed(answer.read(_BLOCK).decode("utf-8", "replace"))
    if not form.action or "id" not in form.fields:
        raise SourceError(
            f"Google Drive sent a page without {known.file} (moved, or asks to sign in); {_by_hand(known)}"
        )
    return f"{urllib.parse.urljoin(answer.url, form.action)}?{urllib.parse.urlencode(form.fields)}"


def _copy(answer: Any, file: IO[bytes], total: int | None, progress: Progress | None) -> int:
    size = 0
    while block := answer.read(_BLOCK):
        file.write(block)
        size += len(block)
        if progress:
            progress(size, total)
    return size


def _records(folder: Path) -> dict[str, Any]:
    try:
        records: dict[str, Any] = json.loads((folder / _RECORD).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataFileError(f"{folder / _RECORD}: {error}; delete it to record downloads anew") from None
    return records


def _same_as_recorded(folder: Path, known: KnownFile, part: Path, size: int) -> None:
    first = _records(folder).get(known.file)
    sha256, _ = file_hashes(part)
    if first and first["sha256"] != sha256:
        raise DataFileError(
            f"{known.file}: SHA-256 {sha256} ({size} bytes), but {first['sha256']} ({first['bytes']} bytes) on first "
            f"use; the file on Google Drive has changed: refused (delete {folder / _RECORD} to accept it)"
        )


def _write_record(folder: Path, known: KnownFile, sha256: str, size: int) -> None:
    records = {**_records(folder), known.file: {"sha256": sha256, "bytes": size}}
    with temporary(folder / _RECORD) as path:
        path.write_text(json.dumps(records, indent=2) + "\n", "utf-8")
