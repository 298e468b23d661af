"""How far a study is, read from its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from seisprobe import pipeline
from seisprobe.errors import FolderError
from seisprobe.folder import claim
from seisprobe.status import folder_status, status_lines
from support.studies import World

QUICK = World(
    days=60,
    shocks=(("Alfa", 25.3, 6.0), ("Beta", 26.1, 5.8)),
    windows={"hours": [2]},
    evaluation={"backgrounds": ["uniform"], "draws": 9, "shifts": 9},
)


def test_status_counts_what_is_planned_done_and_dropped_before_during_and_after(tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = pipeline.load_study(QUICK.write(tmp_path / "s"))
    with claim(out, study):
        begun = folder_status(out)
    assert (begun["planned"], begun["done"], begun["remaining"], begun["dropped"]) == (0, 0, 0, {})
    assert not any(begun["files"].values())

    pipeline.run(study, out=out)
    done = folder_status(out)
    assert done["planned"] == done["done"] > 100
    assert done["remaining"] == 0
    assert set(done["dropped"]) == {"too_close", "zone"}
    assert done["dropped"]["too_close"] == 2  # its positive and its post window
    assert done["bytes"] == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    assert all(done["files"].values())

    (out / "features" / "catalog.parquet").unlink()
    half = folder_status(out)
    assert (half["planned"], half["done"], half["remaining"]) == (done["planned"], 0, done["planned"])
    (out / "windows.parquet").write_bytes(b"PAR1 half")
    assert folder_status(out)["planned"] == 0
    assert any("remaining" in line for line in status_lines(half))


def test_what_is_no_study_folder_has_no_status(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FolderError, match="is no study folder"):
            folder_status(folder)
