"""What the primary cell would have been under other choices: every change of the protocol, and nothing else changed."""

from __future__ import annotations

import pytest

from seisprobe.sensitivity import variants
from support.worlds import planned, study_of

PRIMARY = ("catalog", "novelty", 12.0, "etas", "at-lead")


@pytest.fixture(scope="module")
def changes():
    study = study_of((12.0, 31.0, 34.6, 34.9), 80, hours=(2.0, 12.0, 24.0),
                     windows={"layouts": ["until-event", "at-lead"]},
                     evaluation={"backgrounds": ["uniform", "matched", "etas"], "headline": "etas"})  # fmt: skip
    plan, _ = planned(study)
    return study, {v.change: v for v in variants(study, plan.mainshocks, PRIMARY)}


def test_every_change_of_the_protocol_is_there_once(changes):
    assert list(changes[1]) == [
        "Mc + 0.3", "gap 60 s", "gap 600 s", "embargo 48 h", "radius 30 km", "without M1", "without M2", "without M3",
        "without the largest M ≥ 5 in each window", "ETAS with branching ≤ 0.95", "ETAS with p = 1.12, alpha = 1.8",
    ]  # fmt: skip


def test_each_change_changes_what_it_says_and_nothing_else(changes):
    study, made = changes
    expected = {
        "Mc + 0.3": {("catalog", "mc"): study.mc + 0.3},
        "gap 60 s": {("windows", "gap_s"): 60.0},
        "gap 600 s": {("windows", "gap_s"): 600.0},
        "embargo 48 h": {("windows", "embargo_h"): 48.0},
        "radius 30 km": {("windows", "radius_km"): 30.0},
    }
    kept = {"layouts": ("at-lead",), "hours": (12.0, 24.0)}  # the longest windows make the zones
    for name, variant in made.items():
        want = study
        for (section, key), value in expected.get(name, {}).items():
            want = want.model_copy(update={section: getattr(want, section).model_copy(update={key: value})})
        want = want.model_copy(update={"windows": want.windows.model_copy(update=kept)})
        options = {"backgrounds": ("uniform", "etas"), "headline": "etas"}
        want = want.model_copy(update={"evaluation": want.evaluation.model_copy(update=options)})
        assert variant.study == want, name


def test_mainshocks_are_left_out_one_at_a_time_and_only_positives(changes):
    _, made = changes
    assert [v.left_out for v in made.values() if v.left_out] == ["M1", "M2", "M3"]  # M4 is too close to count


def test_the_rate_is_fitted_anew_only_where_the_change_touches_it(changes):
    _, made = changes
    refitted = {name: v.refit for name, v in made.items() if v.refit is not None}
    assert set(refitted) == {
        "Mc + 0.3", "radius 30 km", "ETAS with branching ≤ 0.95", "ETAS with p = 1.12, alpha = 1.8"
    }  # fmt: skip
    assert refitted["ETAS with branching ≤ 0.95"]["max_branching"] == 0.95
    assert refitted["ETAS with p = 1.12, alpha = 1.8"]["fixed"] == {"p": 1.12, "alpha": 1.8}
    assert made["without the largest M ≥ 5 in each window"].without_largest == 5.0


def test_a_primary_cell_of_the_only_length_keeps_one_length():
    study = study_of((12.0, 31.0), 50)
    plan, _ = planned(study)
    for variant in variants(study, plan.mainshocks, ("catalog", "novelty", 6.0, "uniform", "until-event")):
        assert variant.study.windows.hours == (6.0,)
        assert variant.study.evaluation.backgrounds == ("uniform",)
