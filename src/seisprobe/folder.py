"""The study folder: one study, one process at a time, nothing of anybody else's touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seisprobe.errors import BusyError, FolderError, InputError, StudyError
from seisprobe.storage import write_bytes
from seisprobe.study import Study, changed_keys, load_study, resolved_toml, settle_encoder, study_fingerprint

__all__ = ["claim", "known_study", "settled_study", "stored_study", "wipe_computed"]

COMPUTED = (
    "windows.parquet", "backgrounds.parquet", "features", "nulls.parquet", "etas.parquet", "result.json", "report.html"
)  # fmt: skip
OURS = frozenset(
    (*COMPUTED, "study.toml", "catalog.parquet", "catalog-parts", "waveforms", "embeddings", "runs.jsonl", "run.log",
     "running.json", ".lock", "catalog.txt", "truth.json", "world.json", "world.toml", "injection.json")
)  # fmt: skip
MOST_NAMED = 6


def stored_study(folder: Path) -> Study:
    """Return the resolved study of a folder.

    Raises
    ------
    FolderError
        When there is none.
    """
    path = folder / "study.toml"
    if not folder.is_dir() or not path.is_file():
        raise FolderError(f"{folder}: is no study folder (it has no study.toml); name the folder that `run` made")
    return load_study(path)


def known_study(folder: Path, study: Study) -> bool:
    """Return whether a folder holds this study already; refuse one that holds another, or somebody's files.

    Raises
    ------
    FolderError
        Naming the keys that differ, or the files that are not a study's.
    """
    if folder.is_file():
        raise FolderError(f"{folder}: is a file; name a folder with --out")
    if not folder.is_dir():
        return False
    if not (folder / "study.toml").is_file():
        foreign = sorted(p.name for p in folder.iterdir() if p.name not in OURS and not p.name.endswith(".tmp"))
        if foreign:
            named = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
            raise FolderError(
                f"{folder}: holds files that are no study's ({named}); name an empty or new folder with --out"
            )
        return False
    try:
        stored = stored_study(folder)
    except StudyError as error:
        raise FolderError(
            f"{folder}: its study.toml cannot be read ({error}); name another folder with --out"
        ) from None
    stored, study = settle_encoder(stored, study), settle_encoder(study, stored)
    if study_fingerprint(stored) != study_fingerprint(study):
        keys = changed_keys(stored, study)
        more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
        named = ", ".join(keys[:MOST_NAMED])
        raise FolderError(
            f"{folder}: holds another study, which differs in {named}{more}; name another folder with --out"
        )
    return True


def settled_study(folder: Path, study: Study) -> Study:
    """Return a study with what its folder has settled of its encoder; the study itself where there is none."""
    return settle_encoder(study, stored_study(folder)) if (folder / "study.toml").is_file() else study


@contextmanager
def claim(folder: Path, study: Study) -> Iterator[None]:
    """Hold a study folder for this process; write the resolved study when it is new.

    Input that is refused on the first run leaves nothing behind: the study corrected is another study, and would be
    told that the folder is taken.

    Raises
    ------
    BusyError
        When another process holds it, naming process and host.
    FolderError
        As `known_study`.
    """
    from filelock import FileLock, Timeout

    known = known_study(folder, study)
    before = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder}: {_holder(folder)} works in it; wait for it, or name another folder with --out"
        ) from None
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot be used: {error.strerror or error}; name another folder with --out"
        ) from None
    try:
        known = known_study(folder, study)
        me = {"pid": os.getpid(), "host": socket.gethostname()}
        write_bytes(folder / "running.json", json.dumps(me).encode())
        settled = settled_study(folder, study)
        if not known or settled != stored_study(folder):
            write_bytes(folder / "study.toml", resolved_toml(settled).encode())
        yield
    except InputError:
        if not known:
            _forget(folder, before)
        raise
    finally:
        (folder / "running.json").unlink(missing_ok=True)
        for left in (*folder.glob(".*.tmp"), *folder.glob("features/.*.tmp")):
            left.unlink(missing_ok=True)  # of an earlier process that was killed while writing
        lock.release()


def _holder(folder: Path) -> str:
    try:
        running = json.loads((folder / "running.json").read_text())
        return f"process {running['pid']} on {running['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"


def _forget(folder: Path, before: set[str] | None) -> None:
    """Remove what a refused first run has written, and the folder if it was made for it."""
    for path in folder.iterdir():
        if path.name in OURS - (before or set()):
            _remove(path)
    if before is None and not any(folder.iterdir()):
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def wipe_computed(folder: Path) -> None:
    """Remove everything that can be computed again; catalog, waveforms, embeddings and the list of runs stay."""
    for name in COMPUTED:
        _remove(folder / name)
