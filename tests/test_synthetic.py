"""p_etas: one synthetic catalog is judged as the whole pipeline would judge it, whatever the number of workers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from seisprobe.catalog import Catalog, largest_apart, times_us
from seisprobe.embedding.executors import processes, serial
from seisprobe.etas import EtasParameters, simulate
from seisprobe.evaluation.judgement import evaluate
from seisprobe.planning import compute_features, make_plan, tables_of
from seisprobe.sections import Mainshock
from seisprobe.setting import Rates, Setting
from seisprobe.synthetic import auc_in_catalog, synthetic_p
from seisprobe.windows import DAY_US
from support.event_tables import event_table
from support.worlds import START, study_of

DAYS = 150.0
LAW = EtasParameters(2.0, 0.01, 1.8, 0.01, 1.2, mc=2.5)
BACKGROUNDS = {"backgrounds": ["uniform", "etas"], "headline": "etas"}


def made_catalog(seed):
    """Return a catalog with history, and its three largest events at least five days apart."""
    rng = np.random.default_rng(seed)
    made = simulate(LAW, DAYS, rng, b=1.0, max_magnitude=7.0, lead_in_days=60.0, delta_m=0.1)
    eligible = (made.times_days > 3.0) & (made.times_days < DAYS)
    return made, largest_apart(made.times_days, made.magnitudes, eligible, 3, 5.0)


def as_events(made):
    start = int(times_us([START])[0])
    times = start + np.round(made.times_days * DAY_US).astype(np.int64)
    rows = [
        {"event_id": str(i), "time": int(time), "latitude": 42.7, "longitude": 13.1, "depth_km": 10.0,
         "magnitude": float(magnitude), **dict.fromkeys(
             ("magnitude_type", "event_type", "evaluation_mode", "evaluation_status"), "")}
        for i, (time, magnitude) in enumerate(zip(times, made.magnitudes, strict=True))
    ]  # fmt: skip
    return event_table(rows)


def shocks_of(made, rows):
    times = pd.to_datetime(times_us([START])[0] + np.round(made.times_days[rows] * DAY_US), unit="us", utc=True)
    return tuple(
        Mainshock(name=f"S{i}", time=t.to_pydatetime(), magnitude=float(m), latitude=42.7, longitude=13.1)
        for i, (t, m) in enumerate(zip(times, made.magnitudes[rows], strict=True))
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_synthetic_catalog_is_judged_as_the_pipeline_judges_a_real_one(seed):
    made, rows = made_catalog(seed)
    events = as_events(made)
    study = study_of((9.0, 30.0, 60.0), DAYS, hours=(2.0, 24.0), evaluation=BACKGROUNDS,
                     windows={"step_h": 12, "layouts": ["until-event", "at-lead"]})  # fmt: skip
    own = study.model_copy(update={"mainshock": shocks_of(made, rows)})
    plan = make_plan(own, Catalog(events), Rates({"": LAW}))
    assert (plan.mainshocks["block"] > 0).all()
    cells = evaluate(own, tables_of(own, plan, compute_features(own, plan)), label_free=True).cells
    expected = {c.key: c.auc for c in cells if c.modality == "catalog" and c.background == "etas" and c.auc is not None}
    assert {key[1] for key in expected} >= {"novelty", "event_rate", "rate_ratio"}
    found = auc_in_catalog(study, LAW, made, rows, list(expected))
    assert found == pytest.approx(expected, abs=1e-10)  # times to the microsecond there


def judged(study, mainshocks, events, cells, executor=serial):
    setting = Setting(study, pd.DataFrame(), events, Rates({"": LAW}))
    return synthetic_p(study, setting, mainshocks, cells, executor)


def small_study(catalogs):
    """Return a study of three mainshocks, its plan and its cells at `etas`, on a catalog that ETAS made."""
    made, rows = made_catalog(11)
    evaluation = {**BACKGROUNDS, "synthetic_catalogs": catalogs}
    study = study_of(tuple(made.times_days[rows]), DAYS, hours=(6.0,), evaluation=evaluation)
    events = as_events(made)
    study = study.model_copy(update={"mainshock": shocks_of(made, rows)})
    plan = make_plan(study, Catalog(events), Rates({"": LAW}))
    cells = evaluate(study, tables_of(study, plan, compute_features(study, plan)), label_free=True).cells
    return study, plan.mainshocks, events, cells


def test_workers_change_no_p_etas():
    asked = small_study(20)
    alone = judged(*asked)
    assert {key[1] for key in alone.p} >= {"novelty", "event_rate"}
    assert judged(*asked, executor=processes(2)) == alone
    assert all(0 < p <= 1 and round(p * 21) == pytest.approx(p * 21) for p in alone.p.values())


def test_a_study_that_asks_for_no_synthetic_catalogs_is_told_so():
    found = judged(*small_study(0))
    assert found.p == {}
    assert "asks for no synthetic catalogs" in found.why_none
