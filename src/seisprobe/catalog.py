"""The event table: its columns, what makes a row usable, completeness after large events, b-values, mainshock check.

An *event table* is a pandas DataFrame with the columns of `EVENT_COLUMNS`, sorted by time, one row an event, times in
UTC to the microsecond. Depth is in km, positive downwards, NaN where it is not known. Plain functions on it live here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.errors import DataFileError

__all__ = [
    "EVENT_COLUMNS",
    "Catalog",
    "b_of_mean_excess",
    "b_positive",
    "b_value",
    "completeness_at",
    "completeness_mean",
    "distance_km",
    "largest_apart",
    "magnitude_bin",
    "nearest_event",
    "select_events",
    "table_sha256",
    "tidy_events",
    "times_us",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TEXT_COLUMNS = ("event_id", "magnitude_type", "event_type", "evaluation_mode", "evaluation_status")
NUMBER_COLUMNS = ("latitude", "longitude", "depth_km", "magnitude")
EVENT_COLUMNS = (
    "event_id",
    "time",
    *NUMBER_COLUMNS,
    "magnitude_type",
    "event_type",
    "evaluation_mode",
    "evaluation_status",
)
EARTH_RADIUS_KM = 6371.0
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
LONGEST_US = 2**61  # 73,000 years: times to come stay within 64 bits
# Non-tectonic event types of the FDSN and QuakeML vocabularies are not earthquakes: quarry blasts, landslides, ice.
EARTHQUAKE_TYPES = frozenset({"", "earthquake", "induced or triggered event", "not reported"})
PLAUSIBLE = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 360.0), "magnitude": (-5.0, 10.5)}


@dataclass(frozen=True)
class Catalog:
    """An event table and what did not get into it.

    Parameters
    ----------
    events : DataFrame
        Event table (`EVENT_COLUMNS`), sorted by time.
    dropped : mapping of str to int
        Rows left out, by reason: ``bad_time``, ``no_magnitude``, ``out_of_range``, ``not_an_earthquake``,
        ``duplicate``; ``noise`` for the noise traces of a table of waveforms.
    notes : tuple of str
        What a reader of the report should know of the reading; the first bad row of each reason among them.
    """

    events: pd.DataFrame
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def times_us(times: Iterable[object]) -> Integers:
    """Return UTC times as microseconds since 1970-01-01.

    Parameters
    ----------
    times : series, index or list of aware datetimes

    Returns
    -------
    ndarray of int64

    Examples
    --------
    >>> int(times_us([pd.Timestamp("1970-01-01T00:00:01Z")])[0])
    1000000
    """
    index = pd.DatetimeIndex(times)
    return np.asarray(index.as_unit("us").asi8, dtype=np.int64)


def tidy_events(raw: pd.DataFrame, *, origin: str, first_row: int = 2, row_word: str = "line") -> Catalog:
    """Turn a table as read into an event table; rows that cannot be used are counted, never silently lost.

    Parameters
    ----------
    raw : DataFrame
        Columns named as in `EVENT_COLUMNS`, of any type, in any order; ``time`` already as aware UTC datetimes, with
        NaT where it could not be read; a column ``time_text`` with the text as read is used in notes if present, and
        so is ``row_number``, where the rows are not consecutive lines of their file.
    origin : str
        File or service, for messages.
    first_row : int
        Line number of the first row of `raw` in its file, for messages.
    row_word : str
        What a row is called in messages: "line", "row", "event".

    Returns
    -------
    Catalog

    Raises
    ------
    DataFileError
        When no row can be used.

    Examples
    --------
    >>> raw = pd.DataFrame({"time": pd.to_datetime(["2016-10-30T06:40:17Z"] * 2), "latitude": ["42.83", "95"],
    ...                     "longitude": [13.11, 13.11], "magnitude": [6.5, 6.5]})
    >>> tidy_events(raw, origin="example.csv").dropped
    {'out_of_range': 1}
    """
    if raw.empty:
        raise DataFileError(f"{origin}: holds no events; check the file, or the region and period asked for")
    table = pd.DataFrame({"time": raw["time"].dt.as_unit("us")})
    for column in NUMBER_COLUMNS:
        numbers = pd.to_numeric(raw[column], errors="coerce") if column in raw else np.nan
        table[column] = pd.Series(numbers, index=raw.index, dtype="float64")
    table["longitude"] = table["longitude"].where(table["longitude"].le(180.0), table["longitude"] - 360.0)
    for column in TEXT_COLUMNS:
        table[column] = raw[column].astype("string").fillna("").str.strip() if column in raw else ""
    reason = _unusable(table)
    notes = _first_bad_rows(raw, reason, origin, first_row, row_word)
    usable = reason == ""
    dropped = Counter(reason[~usable].tolist())
    if not usable.any():
        raise DataFileError(f"{origin}: none of its {len(raw)} rows can be used: {'; '.join(notes)}")
    table = table.loc[usable, list(EVENT_COLUMNS)]
    table = table.sort_values(["time", "event_id", "magnitude"], kind="stable", ignore_index=True)
    repeated = _repeated(table)
    if repeated.any():
        dropped["duplicate"] = int(repeated.sum())
        table = table.loc[~repeated].reset_index(drop=True)
    for column in TEXT_COLUMNS:
        table[column] = table[column].astype("string")
    return Catalog(table, dict(sorted(dropped.items())), tuple(notes))


def _unusable(table: pd.DataFrame) -> pd.Series:
    """Return the reason why a row cannot be used, "" where it can; the first that holds counts."""
    reason = pd.Series("", index=table.index, dtype=object)
    place = pd.Series(True, index=table.index)
    for column, (low, high) in PLAUSIBLE.items():
        if column != "magnitude":
            place &= table[column].between(low, high)
    magnitude = table["magnitude"]
    wild = magnitude.notna() & ~magnitude.between(*PLAUSIBLE["magnitude"])
    reason[~table["event_type"].str.lower().isin(EARTHQUAKE_TYPES)] = "not_an_earthquake"
    reason[~place | wild] = "out_of_range"
    reason[magnitude.isna()] = "no_magnitude"
    reason[table["time"].isna()] = "bad_time"
    return reason


def _first_bad_rows(raw: pd.DataFrame, reason: pd.Series, origin: str, first_row: int, row_word: str) -> list[str]:
    shown = {
        "bad_time": ("time_text" if "time_text" in raw else "time",),
        "no_magnitude": ("magnitude",),
        "out_of_range": ("latitude", "longitude", "magnitude"),
        "not_an_earthquake": ("event_type",),
    }
    notes = []
    for name, columns in shown.items():
        bad = np.flatnonzero((reason == name).to_numpy())
        if len(bad):
            row = int(bad[0])
            values = ", ".join(f"{c.removesuffix('_text')} {_shown(raw[c].iloc[row])}" for c in columns if c in raw)
            number = int(raw["row_number"].iloc[row]) if "row_number" in raw else first_row + row
            where = f"the first in {row_word} {number}"
            notes.append(f"{origin}: {len(bad)} row(s) dropped as {name}, {where}: {values}")
    return notes


def _shown(value: object) -> str:
    """Return a value as read, cut short: text in quotes, and nothing as "" rather than nan."""
    text = "" if pd.isna(value) else str(value)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"'{text}'" if text == "" or isinstance(value, str) else text


def _repeated(table: pd.DataFrame) -> pd.Series:
    """Return True for an event that is in the table already: the same id, or (where ids lack) the same hypocentre."""
    same_id = table["event_id"].ne("") & table.duplicated("event_id")
    unnamed = table["event_id"].eq("")
    return same_id | (unnamed & table.duplicated(["time", "latitude", "longitude", "magnitude"]))


def select_events(
    events: pd.DataFrame,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    region: Mapping[str, float] | None = None,
    min_magnitude: float | None = None,
) -> pd.DataFrame:
    """Return the events in [start, end), inside the region (edges included) and of at least a magnitude.

    Parameters
    ----------
    events : DataFrame
        Event table.
    start, end : Timestamp, optional
        Aware times.
    region : mapping, optional
        ``min_latitude, max_latitude, min_longitude, max_longitude`` in degrees.
    min_magnitude : float, optional
        Compared with a tolerance of 1e-9, so that 2.8 is not lost to 2.5 + 0.3.

    Returns
    -------
    DataFrame
        A new event table, index from 0.
    """
    keep = np.ones(len(events), dtype=bool)
    if start is not None:
        keep &= (events["time"] >= start).to_numpy()
    if end is not None:
        keep &= (events["time"] < end).to_numpy()
    if region is not None:
        for axis in ("latitude", "longitude"):
            keep &= events[axis].between(region[f"min_{axis}"], region[f"max_{axis}"]).to_numpy()
    if min_magnitude is not None:
        keep &= (events["magnitude"] >= min_magnitude - 1e-9).to_numpy()
    return events.loc[keep].reset_index(drop=True)


def table_sha256(events: pd.DataFrame) -> str:
    """Return the SHA-256 of an event table's values, the same whatever source or file layout it came by.

    Examples
    --------
    >>> table_sha256(pd.DataFrame({c: [] for c in EVENT_COLUMNS}).assign(time=pd.to_datetime([], utc=True)))[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256(times_us(events["time"]).astype("<i8").tobytes())
    for column in NUMBER_COLUMNS:
        digest.update(events[column].to_numpy(dtype="<f8").tobytes())
    digest.update("\n".join(events["event_id"].astype(str)).encode())
    return digest.hexdigest()


def distance_km(latitude: Floats, longitude: Floats, latitude0: float, longitude0: float) -> Floats:
    """Return great-circle distances in km from a point (haversine formula, sphere of 6371 km).

    Examples
    --------
    >>> float(distance_km(np.array([43.0]), np.array([13.0]), 42.0, 13.0)[0].round(2))
    111.19
    """
    lat, lon, lat0, lon0 = (np.radians(x) for x in (latitude, longitude, latitude0, longitude0))
    h = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat) * np.cos(lat0) * np.sin((lon - lon0) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(h, 1.0))))


# --- completeness after large events --------------------------------------------------------------------------------


def completeness_at(times: Integers, event_times: Integers, magnitudes: Floats, mc: float) -> Floats:
    """Return Mc(t), the magnitude of completeness raised by earlier large events.

    Mc(t) = max(Mc, over earlier events of M ≥ Mc + 2 of M − 4.5 − 0.75 log10 Δt), Δt in days and at least one minute
    (Helmstetter, Kagan & Jackson 2006, BSSA 96, doi:10.1785/0120050067, eq. 15).

    Parameters
    ----------
    times : ndarray of int64
        Microseconds, ascending.
    event_times, magnitudes : ndarray
        The events, ascending in time.
    mc : float
        Completeness outside aftershock sequences.

    Returns
    -------
    ndarray of float64, as long as `times`

    Examples
    --------
    >>> hour = 3_600_000_000
    >>> completeness_at(np.array([0, hour // 8, hour]), np.array([0]), np.array([5.4]), 1.0).round(2).tolist()
    [1.0, 2.61, 1.94]
    """
    curve = np.full(len(times), float(mc))
    large = magnitudes >= mc + 2.0 - 1e-9
    for time, magnitude in zip(event_times[large], magnitudes[large], strict=True):
        first = np.searchsorted(times, time, side="right")
        last = np.searchsorted(times, time + _raised_us(float(magnitude), mc), side="left")
        days = np.maximum(times[first:last] - time, MINUTE_US) / DAY_US
        np.maximum(curve[first:last], magnitude - 4.5 - 0.75 * np.log10(days), out=curve[first:last])
    return curve


def _raised_us(magnitude: float, mc: float) -> int:
    """Return for how long an event keeps Mc(t) above Mc, in microseconds (0 where it never does)."""
    duration = int(min(10 ** ((magnitude - 4.5 - mc) / 0.75) * DAY_US, LONGEST_US))
    return duration if duration > MINUTE_US else (MINUTE_US if magnitude - 4.5 - 0.75 * np.log10(1 / 1440) > mc else 0)


def completeness_mean(starts: Integers, ends: Integers, event_times: Integers, magnitudes: Floats, mc: float) -> Floats:
    """Return the mean of Mc(t) over windows [start, end), by the trapezoidal rule on knots that follow each decay.

    Parameters
    ----------
    starts, ends : ndarray of int64
        Window limits in microseconds.
    event_times, magnitudes, mc
        As in `completeness_at`.

    Returns
    -------
    ndarray of float64, as long as `starts`
    """
    large = np.flatnonzero(magnitudes >= mc + 2.0 - 1e-9)
    knots = [np.array([min(starts.min(), event_times.min(initial=0)) - 1, ends.max() + 1], dtype=np.int64)]
    for index in large:
        time, raised = int(event_times[index]), _raised_us(float(magnitudes[index]), mc)
        if raised:
            steps = np.geomspace(MINUTE_US, max(raised, MINUTE_US + 2), 64).astype(np.int64)
            knots.append(np.concatenate([[time, time + 1], time + steps, [time + raised + 1]]))
    grid = np.unique(np.concatenate(knots))
    height = completeness_at(grid, event_times, magnitudes, mc) - mc
    area = np.concatenate([[0.0], np.cumsum(0.5 * (height[1:] + height[:-1]) * np.diff(grid))])
    integral = np.interp(ends, grid, area) - np.interp(starts, grid, area)
    return np.asarray(mc + np.maximum(integral, 0.0) / (ends - starts))


# --- b-values --------------------------------------------------------------------------------------------------------


def magnitude_bin(magnitudes: Floats) -> float:
    """Return the step in which magnitudes are given: 0.1 or 0.01, or 0.0 where they are continuous.

    Examples
    --------
    >>> magnitude_bin(np.array([2.5, 3.1])), magnitude_bin(np.array([2.54, 3.1]))
    (0.1, 0.01)
    """
    for step in (0.1, 0.01):
        if np.allclose(magnitudes / step, np.round(magnitudes / step), atol=1e-6):
            return step
    return 0.0


def b_value(magnitudes: Floats, mc: float, delta_m: float) -> float:
    """Return the maximum-likelihood b-value of binned magnitudes (Tinti & Mulargia 1987, BSSA 77, eq. 3.10).

    Parameters
    ----------
    magnitudes : ndarray
        Those below `mc` are left out.
    mc : float
        Magnitude of completeness (centre of its bin).
    delta_m : float
        Bin width; 0 for continuous magnitudes (Aki 1965).

    Returns
    -------
    float
        NaN where no magnitude exceeds `mc`.

    Examples
    --------
    >>> round(b_value(np.array([2.0, 2.1, 2.4, 3.0]), 2.0, 0.1), 3)
    1.027
    """
    excess = magnitudes[magnitudes >= mc - 1e-9] - mc
    return float(b_of_mean_excess(excess.mean(), delta_m)) if len(excess) else float("nan")


def b_positive(magnitudes: Floats, delta_m: float, dmc: float | None = None) -> float:
    """Return the b-value from positive differences of successive magnitudes (van der Elst 2021, JGR 126).

    Parameters
    ----------
    magnitudes : ndarray
        In order of time.
    delta_m : float
        Bin width.
    dmc : float, optional
        Smallest difference used; by default one bin.

    Returns
    -------
    float
        NaN where there is no such difference.

    Examples
    --------
    >>> round(b_positive(np.array([2.0, 2.5, 2.1, 2.2, 2.6]), 0.1, 0.2), 3)
    1.461
    """
    least = delta_m if dmc is None else dmc
    differences = np.diff(magnitudes)
    excess = differences[(differences >= least - 1e-9) & (differences > 1e-9)] - least
    return float(b_of_mean_excess(excess.mean(), delta_m)) if len(excess) else float("nan")


def b_of_mean_excess(mean_excess: Floats | float, delta_m: float) -> Floats:
    """Return b for a mean excess over the lowest magnitude (or difference) of bins `delta_m` wide; NaN for none.

    b = ln(1 + ΔM/x̄) / (ΔM ln 10) for binned magnitudes (Tinti & Mulargia 1987), 1/(x̄ ln 10) for continuous (Aki 1965).
    """
    mean = np.asarray(mean_excess, dtype=np.float64)
    mean = np.where(mean > 1e-12, mean, np.nan)
    beta = np.log1p(delta_m / mean) / delta_m if delta_m else 1.0 / mean
    return np.asarray(beta / np.log(10))


def largest_apart(times: Floats, magnitudes: Floats, eligible: np.ndarray, most: int, distance: float) -> Integers:
    """Return the rows of the largest eligible events, each more than a distance in time from every larger one chosen.

    Parameters
    ----------
    times, magnitudes : ndarray, shape (n,)
        Times in the unit of `distance`.
    eligible : ndarray of bool, shape (n,)
    most : int
        How many are wanted; fewer are returned where the catalog has no more.
    distance : float

    Returns
    -------
    ndarray of int64, ascending

    Examples
    --------
    >>> largest_apart(np.array([0.0, 1.0, 9.0]), np.array([5.0, 6.0, 4.0]), np.ones(3, dtype=bool), 2, 3.0).tolist()
    [1, 2]
    """
    chosen: list[int] = []
    for row in np.argsort(-magnitudes, kind="stable"):
        if eligible[row] and all(abs(times[row] - times[other]) > distance for other in chosen):
            chosen.append(int(row))
            if len(chosen) == most:
                break
    return np.array(sorted(chosen), dtype=np.int64)


def nearest_event(
    events: pd.DataFrame, time: pd.Timestamp, magnitude: float | None = None, tolerance: float = 0.3
) -> pd.Series | None:
    """Return the event nearest in time, among those within `tolerance` of a magnitude if one is given.

    Returns
    -------
    Series or None
        A row of the event table, with ``offset_s`` (event minus `time`) added.
    """
    table = events
    if magnitude is not None:
        table = events.loc[(events["magnitude"] - magnitude).abs() <= tolerance + 1e-9]
    if table.empty:
        return None
    offset_s = (table["time"] - time).dt.total_seconds()
    row = table.loc[offset_s.abs().idxmin()].copy()
    row["offset_s"] = float(offset_s.loc[row.name])
    return row
