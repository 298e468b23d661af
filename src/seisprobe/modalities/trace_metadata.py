"""Features of the metadata of event traces: how many start in a window, how strong they are, how clear (PROTOCOL 2).

Signal-to-noise ratio, peak ground acceleration and velocity and rms amplitude are those that INSTANCE's table gives of
each trace (Michelini et al. 2021, https://doi.org/10.5194/essd-13-5509-2021); no waveform is read. A window without
traces has ``n_traces`` 0 and the others NaN: a mean of nothing is no number, and a floor put in its place would say a
second time that the window is empty. Where more than 5% of windows are so, novelty leaves these columns out and names
them, and goes by the two counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.errors import DataFileError
from seisprobe.setting import Setting
from seisprobe.sources.instance import STRIDE, find_pair
from seisprobe.sources.trace_tables import TraceTable, choose_rows
from seisprobe.sources.waveforms import Query

__all__ = ["QUANTITIES", "features"]

log = logging.getLogger("seisprobe")
# What is taken of a trace: its columns, the three components' where the table has none of the whole trace.
QUANTITIES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "snr_db": (tuple(f"trace_{c}_snr_db" for c in "ENZ"),),
    "pga_cmps2": (("trace_pga_cmps2",), tuple(f"trace_{c}_pga_cmps2" for c in "ENZ")),
    "pgv_cmps": (("trace_pgv_cmps",), tuple(f"trace_{c}_pgv_cmps" for c in "ENZ")),
    "rms_counts": (tuple(f"trace_{c}_rms_counts" for c in "ENZ"),),
}
DECIBEL, QUADRATIC, LOG = "snr_db", "rms_counts", "log_"


def features(setting: Setting) -> pd.DataFrame:
    """Return counts, means and maxima of the traces that start in each window, all stations together.

    Parameters
    ----------
    setting : Setting
        With `waves`, for its windows; the study's waveforms are ``instance:PATH``.

    Returns
    -------
    DataFrame
        ``window_id``, ``station`` (""), ``n_traces``, ``n_stations``, then mean and maximum over the traces of each of
        `QUANTITIES` that the table has. Those of SNR are in dB, of a trace the mean of its components; all others are
        log10, as amplitudes spread over decades (ranks are the same): of PGA in cm/s², of PGV in cm/s, of the rms in
        counts, of a trace the root of the components' mean square. NaN where no trace has a value; an amplitude that
        is not above 0 is none.

    Raises
    ------
    DataFileError
        No table, one that is damaged, or one without any of the columns.
    """
    assert setting.waves is not None
    assert setting.study.waveforms is not None
    windows = setting.waves.windows
    begin, end = times_us(windows["start"]), times_us(windows["end"])
    table = _table(Path(setting.study.waveforms.source.partition(":")[2]))
    parts = list(_chosen(table, _query(setting), (begin, end)))
    starts, stations = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    values = np.concatenate([part[2] for part in parts])
    order = np.argsort(starts, kind="stable")
    starts, stations, values = starts[order], stations[order], values[order]
    low, high = np.searchsorted(starts, begin), np.searchsorted(starts, end)
    found = np.array([_statistics(stations[a:b], values[a:b]) for a, b in zip(low, high, strict=True)])
    made = pd.DataFrame(found, columns=_names(table))
    amplitudes = [name for name in made if name.startswith(LOG)]
    made[amplitudes] = np.log10(made[amplitudes])
    made.insert(0, "window_id", windows["window_id"].to_numpy())
    made.insert(1, "station", "")
    return made


def _table(path: Path) -> TraceTable:
    metadata, _ = find_pair(path)
    table = TraceTable(metadata, [name for ways in QUANTITIES.values() for way in ways for name in way])
    if not _there(table):
        wanted = ", ".join(way[0] for way, *_ in QUANTITIES.values())
        raise DataFileError(
            f"{metadata.name}: no column of SNR, PGA, PGV or RMS ({wanted}, …); leave the modality trace_metadata out"
        )
    return table


def _there(table: TraceTable) -> dict[str, tuple[str, ...]]:
    """Return the columns of each quantity that the table has."""
    found = {}
    for quantity, ways in QUANTITIES.items():
        columns = next((own for way in ways if (own := tuple(name for name in way if name in table.names))), ())
        if columns:
            found[quantity] = columns
    return found


def _names(table: TraceTable) -> list[str]:
    prefixes = {quantity: "" if quantity == DECIBEL else LOG for quantity in _there(table)}
    of_quantities = [f"{prefix}{how}_{quantity}" for quantity, prefix in prefixes.items() for how in ("mean", "max")]
    return ["n_traces", "n_stations", *of_quantities]


def _query(setting: Setting) -> Query:
    """Return what the source of these waveforms is asked for, but for times, which the windows say."""
    study, waves = setting.study, setting.waves
    assert study.waveforms is not None
    assert waves is not None
    region = None if study.waveforms.stations else study.study.region.model_dump()
    windows = waves.windows
    return Query(windows["start"].min(), windows["end"].max(), region, study.waveforms.stations)


def _chosen(
    table: TraceTable, query: Query, windows: tuple[Integers, Integers]
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield starts (n,), numbers of stations (n,) and quantities (n, q) of the traces that start in some window.

    They are 48 bytes a trace, and all that stays in memory of the table.
    """
    table.need(query)
    there, known = _there(table), dict[tuple[str, str], int]()
    begin, end = np.sort(windows[0]), np.sort(windows[1])
    lost = 0
    yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, len(there)))
    for number in range(0, len(table), STRIDE):
        frame = table.frame(number, STRIDE)
        wanted, unknown = choose_rows(frame, query)
        lost += int(unknown.sum())
        frame = frame.loc[wanted]
        starts = times_us(frame["start"])
        inside = np.searchsorted(begin, starts, "right") > np.searchsorted(end, starts, "right")
        frame, starts = frame.loc[inside], starts[inside]
        pairs = zip(frame["network"], frame["station"], strict=True)
        stations = np.array([known.setdefault(pair, len(known)) for pair in pairs], np.int64)
        yield starts, stations, np.column_stack([_of_trace(q, frame[list(names)]) for q, names in there.items()])
    if lost:
        log.warning("trace_metadata: %d traces whose start or place cannot be read are left out", lost)


def _of_trace(quantity: str, columns: pd.DataFrame) -> Floats:
    """Return one number a trace, (n,), from one column or those of its components; NaN where there is none.

    Examples
    --------
    >>> components = pd.DataFrame({"E": ["3.0", "x"], "N": [4.0, 2.0], "Z": ["", "-1"]})
    >>> _of_trace("snr_db", components).tolist(), _of_trace("pga_cmps2", components).tolist()
    ([3.5, 0.5], [4.0, 2.0])
    >>> _of_trace("rms_counts", components).round(6).tolist()
    [3.535534, 2.0]
    """
    numbers = np.column_stack([pd.to_numeric(columns[c], errors="coerce").to_numpy("float64") for c in columns])
    usable = np.isfinite(numbers) if quantity == DECIBEL else np.isfinite(numbers) & (numbers > 0)
    if quantity not in (DECIBEL, QUADRATIC):
        return np.asarray(np.fmax.reduce(np.where(usable, numbers, np.nan), axis=1))
    power = 2 if quantity == QUADRATIC else 1
    total = (np.where(usable, numbers, 0.0) ** power).sum(axis=1)
    return np.asarray(_mean(total, usable.sum(axis=1)) ** (1 / power))


def _mean(total: Floats, count: Integers) -> Floats:
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _statistics(stations: Integers, values: Floats) -> Floats:
    """Return the features of one window from its traces: stations (n,), quantities (n, q) → (2 + 2 q,)."""
    usable = np.isfinite(values)
    mean = _mean(np.where(usable, values, 0.0).sum(axis=0), usable.sum(axis=0))
    most = np.fmax.reduce(values, axis=0, initial=np.nan)
    return np.concatenate([[len(stations), len(np.unique(stations))], np.column_stack([mean, most]).ravel()])
