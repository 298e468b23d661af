"""Worlds whose mainshocks a rule gives: what they are, that they are judged the same again, that nothing is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from seisprobe.calibration import Request
from seisprobe.calibration.ruled import LEAST_MAGNITUDE, RADIUS_KM, judge_ruled, ruled_study
from seisprobe.catalog import distance_km
from seisprobe.errors import StudyError
from seisprobe.mainshocks import plan_mainshocks
from seisprobe.simulation.worlds import MC, PLACES, RULED_KINDS, ruled_events


@pytest.mark.parametrize("kind", RULED_KINDS)
def test_a_world_holds_its_places_and_the_rule_finds_tens_of_mainshocks(kind: str) -> None:
    events, start, end = ruled_events(kind, np.random.default_rng(3))
    assert events["time"].is_monotonic_increasing
    assert events["magnitude"].min() >= MC
    names = events["event_id"].str.split("-").str[0]
    centres = events.groupby(names)[["latitude", "longitude"]].mean()
    assert PLACES[kind] - 3 <= len(centres) <= PLACES[kind]  # a quiet place may have no event at all
    for a in centres.itertuples():
        away = distance_km(centres["latitude"].to_numpy(), centres["longitude"].to_numpy(), a.latitude, a.longitude)
        assert (away[away > 1] > 2 * RADIUS_KM + 50).all()  # no circle holds events of another place
    found = plan_mainshocks(ruled_study(kind, start, end, 0), events)
    assert 15 < (found["block"] > 0).sum() < 80
    assert found["magnitude"].min() >= LEAST_MAGNITUDE - 1e-9


@pytest.mark.parametrize("kind", ["rule", "rule-uneven"])
def test_a_world_is_judged_the_same_again_and_by_its_number(kind: str) -> None:
    request = Request(kind, 2)
    assert request.mainshocks == 20
    first = judge_ruled(request, 0)
    assert first is not None
    assert first == judge_ruled(request, 0)
    assert first["auc"] != (judge_ruled(request, 1) or first)["auc"]
    assert first["k"] >= first["k_effective"] >= 10
    assert first["post_event_auc"] > 0.8


def test_a_world_with_too_few_mainshocks_is_none() -> None:
    assert judge_ruled(Request("rule", 1, mainshocks=500), 0) is None
    with pytest.raises(StudyError, match=r"--size 2: rule worlds have no rate increase"):
        Request("rule", 1, 2.0)


@pytest.mark.slow
def test_p_is_uniform_where_a_rule_gives_the_mainshocks() -> None:
    rows = [row for i in range(150) if (row := judge_ruled(Request("rule", 150), i)) is not None]
    assert kstest([row["p_pseudo"] for row in rows], "uniform").pvalue > 0.001
    assert abs(np.mean([row["auc"] for row in rows]) - 0.5) < 0.03
