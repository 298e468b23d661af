"""Small studies made from nothing: events at random, any series as a modality, through the package's own plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import Floats, Integers, times_us
from seisprobe.evaluation.judgement import Tables
from seisprobe.modalities import MODALITIES, Modality
from seisprobe.planning import Plan, background_table, make_plan
from seisprobe.study import Study, study_from_dict
from support.event_tables import event_table

START = pd.Timestamp("2016-01-01", tz="UTC")
HOUR_US = 3_600_000_000
REGION = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}
LARGE = 6.0


def study_of(
    days: Sequence[float],
    record_days: float,
    *,
    hours: Sequence[float] = (6.0,),
    windows: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    places: Sequence[tuple[float, float]] | None = None,
) -> Study:
    """Return a study with mainshocks "M1", "M2", … of magnitude 6 at days (and 1,234 s) after its start."""
    where = places or [(42.7, 13.1)] * len(days)
    return study_from_dict(
        {
            "study": {
                "name": "world",
                "start": START.isoformat(),
                "end": (START + pd.Timedelta(days=record_days)).isoformat(),
                "region": REGION,
            },
            "catalog": {"source": "file:nowhere.csv"},
            "mainshock": [
                {"name": f"M{i}", "time": mainshock_time(day).isoformat(), "magnitude": LARGE,
                 "latitude": latitude, "longitude": longitude}
                for i, (day, (latitude, longitude)) in enumerate(zip(days, where, strict=True), start=1)
            ],
            "windows": {"hours": list(hours), **(windows or {})},
            "evaluation": {"backgrounds": ["uniform"], "headline": "uniform", "draws": 199, "shifts": 199,
                           "logistic_draws": 9, **(evaluation or {})},
        }
    )  # fmt: skip


def mainshock_time(day: float) -> pd.Timestamp:
    """Return the time of a mainshock: days after the start, and 1,234 s, so that it is on no grid."""
    return START + pd.Timedelta(days=day) + pd.Timedelta(seconds=1234)


def random_events(
    study: Study, rate_per_day: float, rng: np.random.Generator, history_days: float = 30
) -> pd.DataFrame:
    """Return a Poisson catalog with Gutenberg–Richter magnitudes under 5, the study's mainshocks among the events.

    Fifteen events follow each mainshock in its second hour: what the post-event check looks at.
    """
    start, end = (pd.Timestamp(t) for t in (study.study.start, study.study.end))
    first = start - pd.Timedelta(days=history_days)
    length_us = int((end - first) / pd.Timedelta(microseconds=1))
    n = int(rng.poisson(rate_per_day * length_us / 8.64e10))
    after = [int(t - times_us([first])[0]) for t in times_us([m.time for m in study.mainshock])]
    after = [t + HOUR_US + i * 200_000_000 for t in after for i in range(15) if t + 2 * HOUR_US < length_us]
    offsets = np.sort(np.concatenate([rng.choice(length_us, n, replace=False), after]).astype(np.int64))
    rows = [
        {
            "event_id": f"e{i}", "time": int(times_us([first])[0]) + int(offset),
            "latitude": float(rng.uniform(41.6, 43.9)), "longitude": float(rng.uniform(11.6, 14.4)),
            "depth_km": 9.0, "magnitude": round(2.5 + min(2.4, float(rng.exponential(0.43))), 1),
            "magnitude_type": "ML", "event_type": "earthquake", "evaluation_mode": "", "evaluation_status": "",
        }
        for i, offset in enumerate(offsets)
    ]  # fmt: skip
    rows += [
        {**rows[0], "event_id": m.name, "time": int(times_us([pd.Timestamp(m.time)])[0]), "magnitude": m.magnitude,
         "latitude": m.latitude, "longitude": m.longitude}
        for m in study.mainshock
    ]  # fmt: skip
    return event_table(rows)


def planned(study: Study, seed: int = 0, rate_per_day: float = 1.0) -> tuple[Plan, pd.DataFrame]:
    """Return the plan of a study on a random catalog, and that catalog."""
    from seisprobe.catalog import Catalog

    events = random_events(study, rate_per_day, np.random.default_rng([seed, 99]))
    return make_plan(study, Catalog(events)), events


def window_table(windows: pd.DataFrame, columns: Mapping[str, Floats], station: str = "") -> pd.DataFrame:
    """Return columns, one value a window in the plan's order, as a feature table."""
    return pd.DataFrame({"window_id": windows["window_id"], "station": station, **columns})


def hour_of(windows: pd.DataFrame) -> Integers:
    """Return the hour since the study's start in which each window ends, floored: an index into an hourly series."""
    return np.asarray((times_us(windows["end"]) - times_us([START])[0]) // HOUR_US)


def series_table(windows: pd.DataFrame, series: Floats, station: str = "") -> pd.DataFrame:
    """Return an hourly series, shape (hours,) or (hours, d), as a feature table: each window reads its last value."""
    series = series.reshape(len(series), -1)
    rows = np.clip(hour_of(windows), 0, len(series) - 1)
    return window_table(windows, {f"x{j}": series[rows, j] for j in range(series.shape[1])}, station)


def modality_of(n_columns: int = 1, **options: Any) -> Modality:
    """Return a modality whose columns are x0, x1, …; x0 is a score of its own."""
    options = {"scores": {"x0": ("x0", 1.0)}, "needs": "waveforms", **options}
    return Modality(features=lambda setting: setting.windows, multivariate=tuple(f"x{j}" for j in range(n_columns)),
                    **options)  # fmt: skip


def tables_of(plan: Plan, features: Mapping[str, pd.DataFrame], modalities: Mapping[str, Modality]) -> Tables:
    """Return what an evaluation reads, from a plan and feature tables of any modalities."""
    return Tables(
        mainshocks=plan.mainshocks,
        windows=plan.windows,
        backgrounds=background_table(plan.backgrounds),
        why_none={name: b.reasons for name, b in plan.backgrounds.items()},
        features=features,
        modalities={**{n: m for n, m in MODALITIES.items() if n in features}, **modalities},
    )


def ar1(n: int, memory: float, rng: np.random.Generator, columns: int = 1) -> Floats:
    """Return stationary AR(1) series of unit variance, shape (n, columns), with correlation exp(−1/memory)."""
    from scipy.signal import lfilter

    rho = np.exp(-1.0 / np.broadcast_to(memory, columns))
    out = np.empty((n, columns))
    for j in range(columns):
        noise = rng.standard_normal(n) * np.sqrt(1 - rho[j] ** 2)
        noise[0] = rng.standard_normal()
        out[:, j] = lfilter([1.0], [1.0, -rho[j]], noise)
    return out
