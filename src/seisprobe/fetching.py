"""What `seisprobe fetch` does: the catalog, station metadata and waveforms of a study, into its folder and archive."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from seisprobe.folder import claim
from seisprobe.pipeline import Progress, read_catalog
from seisprobe.planning import check, make_plan
from seisprobe.samples import draw_samples, touched_days, waveform_windows
from seisprobe.sources.fdsn_waveforms import Fetched, fetch_waveforms
from seisprobe.sources.waveforms import Query
from seisprobe.study import Study

__all__ = ["archive_of", "fetch_study", "fetched_lines"]


def archive_of(study: Study, folder: Path) -> Path:
    """Return the folder of a study's SDS archive."""
    assert study.waveforms is not None
    return Path(study.waveforms.archive) if study.waveforms.archive else folder / "waveforms"


def fetch_study(
    study: Study, folder: Path, *, parallel: int = 2, progress: Progress | None = None
) -> tuple[Path, Fetched | None]:
    """Fetch what a study needs and does not have: catalog, stations, waveforms; resumable at any point.

    Only the UTC days are fetched that some window touches: of the mainshocks, and of the background samples.

    Parameters
    ----------
    study : Study
    folder : Path
        The study folder.
    parallel : int
        Requests to the data centre at the same time.
    progress : callable, optional

    Returns
    -------
    archive : Path
    fetched : Fetched or None
        None where the study has no waveforms, or has them on disk.

    Raises
    ------
    SeisprobeError
        See `read_catalog` and `fetch_waveforms`.
    """
    check(study)
    with claim(folder, study):
        catalog, _ = read_catalog(study, folder, progress)
        if study.waveforms is None:
            return folder, None
        scheme, _, rest = study.waveforms.source.partition(":")
        if scheme != "fdsn":
            return archive_of(study, folder), None
        plan = make_plan(study, catalog)
        rows = waveform_windows(plan.windows, draw_samples(study, plan.windows, plan.backgrounds))
        days = touched_days(rows)
        query = Query(
            pd.Timestamp(days[0], tz="UTC"),
            pd.Timestamp(days[-1], tz="UTC") + pd.Timedelta(days=1),
            None if study.waveforms.stations else study.study.region.model_dump(),
            study.waveforms.stations,
            study.waveforms.channels,
        )
        archive = archive_of(study, folder)
        return archive, fetch_waveforms(rest, query, archive, days=days, parallel=parallel, progress=progress)


def fetched_lines(study: Study, archive: Path, fetched: Fetched | None) -> list[str]:
    """Return what a fetch did, for a person."""
    if fetched is None:
        if study.waveforms is None:
            return [f"catalog: {archive / 'catalog.parquet'}; the study has no [waveforms]"]
        return [f"catalog fetched; waveforms are read from {study.waveforms.source}, nothing to fetch"]
    line = (
        f"{fetched.days} station-days, {fetched.kept} of them there before, {fetched.empty} without data;"
        f" {fetched.received_bytes / 1e6:.0f} MB received"
    )
    return [line, *(f"  {problem}" for problem in fetched.problems), f"archive: {archive}"]
