"""A study of a herd alone: mainshocks at random times, a simulated herd that answers to them or not, judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.evaluation.judgement import Evaluation, evaluate
from seisprobe.intake import read_catalog
from seisprobe.planning import compute_features, make_plan, tables_of
from seisprobe.study import Study, study_from_dict
from support.herd import herd

START = datetime(2017, 1, 8, tzinfo=UTC)
DAYS, HISTORY_DAYS, HOURS = 90, 8, 12.0
REGION = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}


def shock_times(seed: int, k: int, at_hour: float | None = None) -> list[datetime]:
    """Return K times more than four days apart; at one hour of the day if asked."""
    rng = np.random.default_rng([seed, 1])
    while True:
        days = np.sort(rng.uniform(6.0, DAYS - 2.0, k))
        if at_hour is not None:
            days = np.floor(days) + (at_hour + rng.uniform(0, 0.2, k)) / 24.0
        if (np.diff(days) > 4.0).all():
            return [START + timedelta(seconds=round(day * 86_400.0)) for day in days]


def herd_study(folder: Path, seed: int, *, k: int = 6, at_hour: float | None = None, **kind: Any) -> Study:
    """Write the herd's table and return the study, whose path it is."""
    shocks = shock_times(seed, k, at_hour)
    first = (START - timedelta(days=HISTORY_DAYS)).isoformat()
    events = [pd.Timestamp(t) for t in shocks]
    path = folder / f"herd-{seed}.csv"
    herd(first, DAYS + HISTORY_DAYS, seed=seed, events=events, local=False, **kind).to_csv(path, index=False)
    return study_from_dict(
        {
            "study": {
                "name": "herd",
                "seed": seed,
                "start": START,
                "end": START + timedelta(days=DAYS),
                "region": REGION,
            },
            "mainshock": [{"name": f"M{i}", "time": t, "magnitude": 5.0} for i, t in enumerate(shocks, start=1)],
            "windows": {"hours": [HOURS], "block_days": 1},
            "table": [{"name": "herd", "path": str(path), "time": "datetime", "zone": "UTC"}],
            "evaluation": {"draws": 199, "shifts": 199},
        }
    )


def judge_herd(folder: Path, seed: int, **kind: Any) -> Evaluation:
    """Return the whole evaluation of one world, classifiers left out."""
    study = herd_study(folder, seed, **kind)
    plan = make_plan(study, read_catalog(study, None)[0])
    found = evaluate(study, tables_of(study, plan, compute_features(study, plan)), label_free=True)
    Path(study.table[0].path).unlink()
    return found
