"""Eight features equal the authors' norm_text; codas of any spelling are read; what had to be done is counted."""

import json

import numpy as np
import pandas as pd
import pytest

from seisprobe.errors import InputError
from seisprobe.seisclip.metadata import (
    FEATURES,
    features_from_instance,
    features_from_stead,
    normalise_features,
    parse_number,
)
from support.shared import shared_file

STEAD = dict(zip(FEATURES, (500.0, 0.54, 11.02, 1266.0, 0.45, 65.35, 200.7, "[[3417.]]"), strict=True))
EXPECTED = [500 / 6000, 0.54, 11.02 / 60, 1266 / 6000, 0.45, 65.35 / 300, 200.7 / 360, 3417 / 6000]
INSTANCE = {
    "trace_P_arrival_sample": 2600,
    "path_weight_phase_location_P": 100,
    "path_travel_time_P_s": 3.0,
    "trace_S_arrival_sample": "2900",
    "path_weight_phase_location_S": "45.0",
    "path_ep_distance_km": 30.0,
    "path_backazimuth_deg": 90.0,
}


def test_equals_the_authors_norm_text():
    listed = json.loads(shared_file("reference/seisclip/norm_text_rows.json").read_text())
    expected = np.load(shared_file("reference/seisclip/golden_norm_text.npz"))["norm_text"]
    found = features_from_stead(pd.DataFrame(listed["rows"], columns=listed["columns"]))
    np.testing.assert_allclose(found.features, expected, atol=1e-12, rtol=0)
    assert found.counts["unreadable"] == 0
    assert found.counts["missing"] == sum(value is None for row in listed["rows"] for value in row)


def test_formula_of_the_paper_code():
    np.testing.assert_allclose(features_from_stead([STEAD]).features, [EXPECTED], atol=1e-15)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("[[5000.]]", 5000),
        ("[[5000]]", 5000),
        ("5000.0", 5000),
        ("[5e3]", 5000),
        (" -1.5 ", -1.5),
        (5000, 5000),
        (np.float32(2.5), 2.5),
        (np.array([[5000.0]]), 5000),
        ([7], 7),
        ("late", np.nan),
        ("[[1 2]]", np.nan),
        ([1, 2], np.nan),
        ("", np.nan),
        (None, np.nan),
        (pd.NA, np.nan),
        (np.inf, np.nan),
    ],
    ids=repr,
)
def test_a_number_is_a_number(value, number):
    np.testing.assert_equal(parse_number(value), number)


def test_unreadable_and_missing_become_zero_and_are_counted_apart():
    rows = [{**STEAD, "coda_end_sample": value} for value in ("late", np.nan, None, "[[nan]]", pd.NA, "12")]
    found = features_from_stead(rows)
    np.testing.assert_allclose(found.features[:, 7], [0, 0, 0, 0, 0, 12 / 6000])
    assert found.counts == {"rows": 6, "missing": 4, "unreadable": 1, "percent_weights": 0, "outside": 0}


def test_weights_over_one_are_taken_as_percent_and_counted():
    rows = pd.DataFrame([STEAD, {**STEAD, "p_weight": 54.0, "s_weight": 45.0}, {**STEAD, "p_weight": 1.0}])
    found = features_from_stead(rows)
    np.testing.assert_allclose(found.features[0], found.features[1])
    assert found.features[2, 1] == 1.0
    assert found.counts["percent_weights"] == 2


def test_instance_columns_as_numbers_or_text_weights_always_percent():
    one = {**INSTANCE, "path_weight_phase_location_S": 1}
    found = features_from_instance(pd.DataFrame([INSTANCE, one]))
    np.testing.assert_allclose(
        found.features[0], [2600 / 6000, 1.0, 3 / 60, 2900 / 6000, 0.45, 30 / 300, 90 / 360, 0.0], atol=1e-15
    )
    assert found.features[1, 4] == 0.01
    assert found.counts == {"rows": 2, "missing": 2, "unreadable": 0, "percent_weights": 0, "outside": 0}


def test_positions_are_rebased_when_sixty_seconds_are_cut():
    rows = [{**STEAD, "p_arrival_sample": 2500, "s_arrival_sample": 8200, "coda_end_sample": "[[9000.]]"}] * 2
    found = features_from_stead(rows, start_sample=[2000, 3000])
    np.testing.assert_allclose(found.features[:, 0], [500 / 6000, 0])  # the second P is before its cut
    np.testing.assert_allclose(found.features[:, 3], [0, 5200 / 6000])  # the first S is after its cut
    np.testing.assert_allclose(found.features[:, 7], [0, 0])  # both codas end after the cut
    np.testing.assert_allclose(found.features[:, 2], EXPECTED[2])  # travel times stay
    assert found.counts["outside"] == 4


def test_tables_of_any_kind_give_the_same_and_stay_as_they_are():
    rows = [INSTANCE, {**INSTANCE, "path_ep_distance_km": None}]
    frame = pd.DataFrame(rows)
    before = frame.copy(deep=True)
    first = features_from_instance(frame, 2000)
    for other in (rows, {key: [row[key] for row in rows] for key in INSTANCE}, iter(rows)):
        np.testing.assert_array_equal(features_from_instance(other, 2000).features, first.features)
    pd.testing.assert_frame_equal(frame, before)


def test_nothing_is_clipped_and_nan_is_zero():
    np.testing.assert_allclose(normalise_features([[12000, 2, 120, 12000, 2, 600, 720, np.nan]]), [[2] * 7 + [0]])


def test_no_rows_give_no_features():
    assert features_from_stead([]).features.shape == (0, 8)


def test_bad_tables_are_refused_in_one_line():
    with pytest.raises(InputError, match="without the column s_weight"):
        features_from_stead([{key: value for key, value in STEAD.items() if key != "s_weight"}])
    with pytest.raises(InputError, match="unequal lengths"):
        features_from_instance({**{key: [1.0] for key in INSTANCE}, "path_ep_distance_km": [1.0, 2.0]})
    with pytest.raises(InputError, match="start_sample of shape"):
        features_from_stead([STEAD], start_sample=[1, 2])
    with pytest.raises(InputError, match=r"metadata of shape \(8,\)"):
        normalise_features(np.zeros(8))
