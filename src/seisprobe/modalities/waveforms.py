"""Features of the waveforms in a window: statistics of its segments' vectors, by station (PROTOCOL 2).

Every window has the same number of segments, drawn by seed (`embedding.drawing`): mean, standard deviation, maximum and
95% quantile of what an encoder says of each. `amplitude` is the same of band energies, with the displacement amplitude
ratio; `station_state` says how the record itself was.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seisprobe.catalog import Floats, times_us
from seisprobe.embedding.components import LENGTH_S
from seisprobe.embedding.drawing import Drawn
from seisprobe.embedding.waves import ALL, MASKED, Waves
from seisprobe.setting import Setting

__all__ = ["STATISTICS", "amplitude", "seisclip", "seisclip_masked", "seisclip_metadata", "station_state", "statistics"]

STATISTICS = ("mean", "std", "max", "q95")
QUANTILE = 0.95
AT_ONCE = 32  # windows: 60 segments of 384 numbers each, as float64, are 6 MB
# of the eight bands of band_energy, equally wide in the logarithm from 0.5 to 50 Hz
BANDS, LOW_HZ, HIGH_HZ, NUMBERS_A_COMPONENT = 8, 0.5, 50.0, 11
MIDDLE, UPPER = 4, 5  # 5.0–8.9 and 8.9–15.8 Hz
_US = 1_000_000


def statistics(vectors: NDArray[np.floating]) -> Floats:
    """Return mean, standard deviation, maximum and 95% quantile of segments, one after another.

    Parameters
    ----------
    vectors : ndarray, shape (windows, segments, d)

    Returns
    -------
    ndarray of float64, shape (windows, 4 d)

    Examples
    --------
    >>> statistics(np.array([[[0.0], [2.0]]])).round(3).tolist()
    [[1.0, 1.0, 2.0, 1.9]]
    """
    values = vectors.astype(np.float64)
    q95 = np.quantile(values, QUANTILE, axis=1)
    return np.concatenate([values.mean(axis=1), values.std(axis=1), values.max(axis=1), q95], axis=1)


def seisclip(setting: Setting, use: str = "seisclip", part: slice = slice(None)) -> pd.DataFrame:
    """Return statistics of the segments' embeddings.

    Parameters
    ----------
    setting : Setting
        With `waves`.
    use : str
        Which store.
    part : slice
        Which numbers of a vector: one network of several that were run together.

    Returns
    -------
    DataFrame
        ``window_id``, ``station``, then ``mean_0 …, std_0 …, max_0 …, q95_0 …``; a window has no row at a station that
        had too few valid segments.
    """
    return _of_stations(_waves(setting), use, ALL, part=part)


def seisclip_masked(setting: Setting) -> pd.DataFrame:
    """Return what `seisclip` does, of segments that no catalogued event shakes, as many in every window."""
    return _of_stations(_waves(setting), "seisclip", MASKED)


def seisclip_metadata(setting: Setting) -> pd.DataFrame:
    """Return statistics of the metadata embeddings of the event traces in a window, all stations together."""
    return _of_stations(_waves(setting), "metadata", ALL, column="metadata_vector")


def amplitude(setting: Setting) -> pd.DataFrame:
    """Return statistics of band energies, RSAM, kurtosis and centroid of the segments, and DSAR by component.

    DSAR, the displacement seismic amplitude ratio, compares displacement at 4.5–8 Hz with 8–16 Hz (as Dempsey et al.
    2020 use it, Nat. Commun. 11, doi:10.1038/s41467-020-17375-2); here log10 of the ratio of rms displacement in the
    two bands of `band_energy` that are nearest, 5.0–8.9 and 8.9–15.8 Hz, mean over the segments.
    """
    return _of_stations(_waves(setting), "amplitude", ALL, dsar=True)


def _waves(setting: Setting) -> Waves:
    assert setting.waves is not None
    return setting.waves


def _of_stations(
    waves: Waves, use: str, draw: str, *, part: slice = slice(None), column: str = "vector", dsar: bool = False
) -> pd.DataFrame:
    """Return one table of all stations."""
    tables = []
    for station in waves.stations:
        if (draw, station) not in waves.drawn:
            continue
        drawn = waves.drawn[draw, station]
        vectors, at = waves.vectors(use, station, column)
        vectors = vectors[:, part]
        values = np.empty((len(drawn.rows), len(STATISTICS) * vectors.shape[1]))
        ratios = np.empty((len(drawn.rows), 3 if dsar else 0))
        for rows, index in _alike(drawn):
            segments = vectors[at[index]]
            values[rows] = statistics(segments)
            if dsar:
                ratios[rows] = _log_dsar(segments.astype(np.float64)).mean(axis=1)
        names = [f"{name}_{j}" for name in STATISTICS for j in range(vectors.shape[1])]
        names += [f"dsar_{letter}" for letter in "ENZ"[: ratios.shape[1]]]
        table = pd.DataFrame(np.concatenate([values, ratios], axis=1), columns=names)
        table.insert(0, "window_id", waves.windows["window_id"].to_numpy()[drawn.rows])
        table.insert(1, "station", station)
        tables.append(table)
    if not tables:
        return pd.DataFrame({"window_id": pd.Series(dtype=object), "station": pd.Series(dtype=object)})
    return pd.concat(tables, ignore_index=True)


def _alike(drawn: Drawn) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield some windows with the same number of segments: positions (m,), segments (m, n)."""
    numbers = np.array([len(s) for s in drawn.segments], dtype=np.int64)
    for count in np.unique(numbers):
        same = np.flatnonzero(numbers == count)
        for first in range(0, len(same), AT_ONCE):
            rows = same[first : first + AT_ONCE]
            yield rows, np.stack([drawn.segments[row] for row in rows])


def _log_dsar(vectors: Floats) -> Floats:
    """Return log10 of the displacement ratio by component, (…, 3), from `band_energy` vectors, (…, 33)."""
    by_component = vectors.reshape(*vectors.shape[:-1], 3, NUMBERS_A_COMPONENT)
    width = np.log10(HIGH_HZ / LOW_HZ) / BANDS  # of velocity to displacement: one over frequency, a band apart
    return np.asarray(0.5 * (by_component[..., MIDDLE] - by_component[..., UPPER]) + width)


def station_state(setting: Setting) -> pd.DataFrame:
    """Return how the record of a window was: a control, for what changes in a station and not in the ground.

    Returns
    -------
    DataFrame
        ``window_id``, ``station``, ``gap_fraction`` (share of the window's whole segments without data or with a gap),
        ``valid_segments`` (share of them that is valid: a count would tell windows that end off the grid apart),
        ``rate_hz`` (mean of the valid ones), ``epoch`` and ``instrument`` (how rare the epoch of the station's
        metadata, and the location and band that recorded, are among all its segments: −ln of their share, mean over
        the window's; a number that went up with time would call the one between two others usual).
    """
    waves = _waves(setting)
    begin, end = times_us(waves.windows["start"]), times_us(waves.windows["end"])
    tables = []
    for station in waves.stations:
        table, rows = waves.segments[station], waves.drawn[ALL, station].rows
        starts = times_us(table["start"])
        low = np.searchsorted(starts, begin[rows])
        high = np.searchsorted(starts, end[rows] - LENGTH_S * _US, side="right")
        valid = table["reason"].eq("").to_numpy()
        gap = table["reason"].isin(("gap", "no_data", "missing_component")).to_numpy()
        rate = np.where(valid, table["rate_hz"].to_numpy(dtype=np.float64), 0.0)
        n, n_valid = np.maximum(high - low, 1), np.maximum(_between(valid, low, high), 1)
        columns = {
            "gap_fraction": _between(gap, low, high) / n,
            "valid_segments": _between(valid, low, high) / n,
            "rate_hz": _between(rate, low, high) / n_valid,
            "instrument": _between(np.where(valid, _rarity(table["instrument"], valid), 0.0), low, high) / n_valid,
            "epoch": _between(_rarity(table["epoch"], np.ones(len(table), dtype=bool)), low, high) / n,
        }
        ids = waves.windows["window_id"].to_numpy()[rows]
        tables.append(pd.DataFrame({"window_id": ids, "station": station, **columns}))
    return pd.concat(tables, ignore_index=True)


def _rarity(codes: pd.Series, counted: NDArray[np.bool_]) -> Floats:
    """Return −ln of the share of segments with the same code, among those that are counted; 0 where none is."""
    number = pd.factorize(codes, use_na_sentinel=False)[0]
    share = np.bincount(number[counted], minlength=int(number.max(initial=0)) + 1) / max(int(counted.sum()), 1)
    return np.asarray(-np.log(np.where(share > 0, share, 1.0))[number])


def _between(values: NDArray[np.generic], low: NDArray[np.int64], high: NDArray[np.int64]) -> Floats:
    """Return sums over [low, high)."""
    total = np.concatenate([[0.0], np.cumsum(values.astype(np.float64))])
    return np.asarray(total[high] - total[low])
