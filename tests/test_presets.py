"""The presets: mainshocks where they should be, blocks as promised, and only words that could be right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from seisprobe.catalog import Catalog, select_events
from seisprobe.errors import InputError
from seisprobe.mainshocks import block_sizes
from seisprobe.planning import check, make_plan
from seisprobe.presets import NORCIA, PRESETS, default_precursor, find_preset, make_world, right_words, study_of_world
from seisprobe.setting import Rates
from seisprobe.simulation.precursors import CONFOUNDERS, Precursor
from seisprobe.simulation.world import make_catalog
from seisprobe.study import study_from_dict

DAY_US = 86_400_000_000


@pytest.mark.parametrize(("name", "sizes"), [("norcia", [1, 2]), ("power", [1] * 20), ("small", [1] * 3)])
def test_a_presets_study_has_its_mainshocks_and_blocks_whatever_the_seed(name: str, sizes: list[int]) -> None:
    preset = find_preset(name)
    for seed in range(20):
        world = make_world(preset, seed)
        study = study_from_dict(study_of_world(preset, world))
        check(study)
        assert len(study.mainshock) == sum(sizes)
        assert min(m.magnitude for m in study.mainshock) > world.catalog.largest
        if seed == 0:
            events = make_catalog(world)
            known = select_events(events, start=pd.Timestamp(study.study.start), end=pd.Timestamp(study.study.end))
            assert len(known.loc[known["magnitude"] >= 2.5]) > 200
            plan = make_plan(study, Catalog(events.loc[events["magnitude"] >= 2.5]), Rates(why_none="not asked"))
            assert sorted(block_sizes(plan.mainshocks)) == sizes
            assert len(plan.windows.loc[plan.windows["kind"].eq("positive")]) == len(preset.hours) * sum(sizes)


def test_norcias_mainshocks_are_those_of_2016() -> None:
    world = make_world(find_preset("norcia"), 7)
    found = [(m.name, str(np.datetime64(m.time_us, "us")), m.magnitude) for m in world.catalog.mainshocks]
    assert [(name, magnitude) for name, _, magnitude in found] == [(n, m) for n, _, m, *_ in NORCIA]
    assert found[2][1].startswith("2016-10-30T06:40:17.32")


def test_another_seed_moves_the_made_up_mainshocks() -> None:
    times = [[m.time_us for m in make_world(find_preset("small"), seed).catalog.mainshocks] for seed in (0, 0, 1)]
    assert times[0] == times[1] != times[2]


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match=r"preset norca: no such preset; did you mean 'norcia'"):
        find_preset("norca")
    with pytest.raises(InputError, match=r"--confounder outage: no such confounder; did you mean 'outages'"):
        make_world(find_preset("small"), 0, confounder="outage")


@pytest.mark.parametrize("name", PRESETS)
def test_the_right_words_are_known_for_what_was_measured_alone(name: str) -> None:
    preset = find_preset(name)
    tremor = default_precursor(preset)
    assert right_words(preset, tremor, "") == (("DETECTED",) if name == "power" else ("SUGGESTIVE",))
    assert not {"DETECTED", "SUGGESTIVE"} & set(right_words(preset, None, "") or ())
    for confounder in CONFOUNDERS:
        assert not {"DETECTED", "SUGGESTIVE"} & set(right_words(preset, None, confounder) or ())
        assert right_words(preset, tremor, confounder) is None
    assert right_words(preset, Precursor("tremor", 0.5), "") is None
    assert right_words(preset, Precursor("repeaters", 9.0), "") is None
