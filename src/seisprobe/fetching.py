"""What `seisprobe fetch` does: the catalog, station metadata and waveforms of a study, into its folder and archive."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from seisprobe.folder import claim
from seisprobe.intake import Progress, read_catalog
from seisprobe.planning import Plan, check, make_plan, waveform_rows
from seisprobe.samples import touched_days
from seisprobe.sources.fdsn_waveforms import Fetched, fetch_waveforms
from seisprobe.sources.waveforms import Query
from seisprobe.study import Study

__all__ = ["archive_of", "data_centre", "fetch_planned", "fetch_study", "fetched_lines", "waveform_query"]


def archive_of(study: Study, folder: Path) -> Path:
    """Return the folder of a study's SDS archive."""
    assert study.waveforms is not None
    return Path(study.waveforms.archive) if study.waveforms.archive else folder / "waveforms"


def data_centre(study: Study) -> str:
    """Return the data centre that a study's waveforms come from, "" where they are on disk.

    Examples
    --------
    >>> from seisprobe.sections import WaveformOptions
    >>> data_centre(Study.model_construct(waveforms=WaveformOptions(source="fdsn:INGV")))
    'INGV'
    """
    assert study.waveforms is not None
    scheme, _, rest = study.waveforms.source.partition(":")
    return rest if scheme == "fdsn" else ""


def waveform_query(study: Study, windows: pd.DataFrame) -> tuple[Query, list[str]]:
    """Return what to ask a source for windows, and the UTC days that they touch."""
    assert study.waveforms is not None
    days = touched_days(windows)
    query = Query(
        pd.Timestamp(days[0], tz="UTC"),
        pd.Timestamp(days[-1], tz="UTC") + pd.Timedelta(days=1),
        None if study.waveforms.stations else study.study.region.model_dump(),
        study.waveforms.stations,
        study.waveforms.channels,
    )
    return query, days


def fetch_planned(
    study: Study, plan: Plan, folder: Path, *, parallel: int = 2, progress: Progress | None = None
) -> Fetched | None:
    """Fetch the waveforms of a plan that the archive lacks; None where they are on disk already.

    Only the UTC days are fetched that some window touches: of the mainshocks, and of the background samples.
    """
    if study.waveforms is None or not data_centre(study):
        return None
    query, days = waveform_query(study, waveform_rows(study, plan)[0])
    archive = archive_of(study, folder)
    return fetch_waveforms(data_centre(study), query, archive, days=days, parallel=parallel, progress=progress)


def fetch_study(
    study: Study, folder: Path, *, parallel: int = 2, progress: Progress | None = None
) -> tuple[Path, Fetched | None]:
    """Fetch what a study needs and does not have: catalog, stations, waveforms; resumable at any point.

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
        archive = archive_of(study, folder)
        if not data_centre(study):
            return archive, None
        return archive, fetch_planned(study, make_plan(study, catalog), folder, parallel=parallel, progress=progress)


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
