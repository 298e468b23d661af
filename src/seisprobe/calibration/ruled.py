"""One world judged whose mainshocks a rule gives, K in the tens: of one place, or of many with their own ETAS rates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from seisprobe import planning
from seisprobe.calibration.catalogs import DRAWS, Request
from seisprobe.catalog import Catalog
from seisprobe.errors import StudyError
from seisprobe.etas import FitOptions
from seisprobe.evaluation.judgement import evaluate
from seisprobe.mainshocks import block_sizes, plan_mainshocks
from seisprobe.setting import fit_places
from seisprobe.simulation.worlds import MC, RULED_KINDS, ruled_events
from seisprobe.study import Study, study_from_dict
from seisprobe.windows import places

__all__ = ["judge_ruled", "ruled_study"]

LEAST_MAGNITUDE = MC + 1.7
RADIUS_KM = 50.0


def ruled_study(kind: str, start_us: int, end_us: int, seed: int) -> Study:
    """Return the study of a world: windows of a day, novelty of the catalog at `uniform` and `etas`, 199 draws."""
    start, end = (datetime.fromtimestamp(t / 1e6, UTC) for t in (start_us, end_us))
    by_place = kind != "rule"
    rule = {"min_magnitude": LEAST_MAGNITUDE, "decluster": "gardner-knopoff" if by_place else "none"}
    windows = {"hours": [24], "step_h": 24 if by_place else 6, "post_h": [0.05, 24.05]}
    region = {"min_latitude": 40, "max_latitude": 52, "min_longitude": 10, "max_longitude": 26}
    return study_from_dict(
        {
            "study": {"name": "world", "seed": seed, "start": start, "end": end, "region": region},
            "catalog": {"source": "file:world", "min_magnitude": MC},
            "mainshocks": {"rule": rule},
            "windows": windows | ({"radius_km": RADIUS_KM} if by_place else {}),
            "evaluation": {"backgrounds": ["uniform", "etas"], "draws": DRAWS, "shifts": DRAWS},
        }
    )


def judge_ruled(request: Request, index: int) -> dict[str, Any] | None:
    """Make one world, run the protocol on it, and return what was found; None where the rule gives fewer than K.

    Parameters
    ----------
    request : Request
    index : int
        Number of the world: with the seed, all of its randomness.
    """
    rng = np.random.default_rng([request.seed, 100 + RULED_KINDS.index(request.kind), index])
    events, start_us, end_us = ruled_events(request.kind, rng)
    study = ruled_study(request.kind, start_us, end_us, int(rng.integers(2**31)))
    try:
        mainshocks = plan_mainshocks(study, events)
    except StudyError:
        return None
    if sum(block_sizes(mainshocks)) < request.mainshocks:
        return None
    rates = fit_places(study, places(study, mainshocks), events, {"options": FitOptions(starts=1)})
    plan = planning.make_plan(study, Catalog(events), rates)
    tables = planning.tables_of(study, plan, planning.compute_features(study, plan))
    with threadpool_limits(1, "blas"):  # what a world gives does not depend on how many threads a worker has
        found = evaluate(study, tables, label_free=True)
    cells = {(c.modality, c.score, c.background): c for c in found.cells}
    rate, uniform = (cells["catalog", *key] for key in (("event_rate", "etas"), ("novelty", "uniform")))
    family = [p for key, p in found.p_adjusted.items() if key[3] == found.headline]
    sizes = block_sizes(plan.mainshocks)
    return {
        "index": index,
        "k": sum(sizes),
        "k_effective": len(sizes),
        "merged": max(sizes) > 1,
        "fitted": len(rates.fits),
        "auc": found.primary_cell.auc,
        "p_pseudo": found.primary_cell.p_pseudo,
        "p_adjusted": found.p_adjusted.get(found.primary),
        "p_adjusted_least": min(family, default=None),
        "auc_uniform": uniform.auc,
        "p_pseudo_uniform": uniform.p_pseudo,
        "p_shift_uniform": uniform.p_shift,
        "auc_rate": rate.auc,
        "p_pseudo_rate": rate.p_pseudo,
        "post_event_auc": found.post_event_auc,
        "word": found.verdicts[found.primary].word,
        "other_words": {},
    }
