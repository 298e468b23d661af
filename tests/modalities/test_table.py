"""Features of timed tables against a loop over samples, and what has no row and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seisprobe.errors import StudyError
from seisprobe.intake import read_catalog
from seisprobe.modalities import table
from seisprobe.planning import make_plan
from seisprobe.sections import TableOptions
from seisprobe.setting import Setting
from seisprobe.study import study_from_dict
from support.herd import herd
from support.herd_worlds import REGION, START, herd_study

HOUR = 3_600_000_000


def plan_of(study):
    return make_plan(study, read_catalog(study, None)[0])


def options_of(path: Path, **more) -> TableOptions:
    return TableOptions(**{"name": "herd", "path": str(path), "time": "datetime", "zone": "UTC", **more})


def setting_of(pairs: list[tuple[pd.Timestamp, pd.Timestamp]], kind: str = "background") -> Setting:
    """Return a plan with windows at the given times and nothing else."""
    study = study_from_dict(
        {
            "study": {"name": "t", "start": START, "end": START + timedelta(days=90), "region": REGION},
            "mainshock": [{"name": "M", "time": START + timedelta(days=40), "magnitude": 5.0}],
            "table": [{"name": "herd", "path": "herd.csv", "zone": "UTC"}],
        }
    )
    windows = pd.DataFrame({"window_id": [f"w{i}" for i in range(len(pairs))], "kind": kind, "mainshock": "M",
                            "hours": [(b - a).total_seconds() / 3600 for a, b in pairs],
                            "start": pd.DatetimeIndex([a for a, _ in pairs]).as_unit("us"),
                            "end": pd.DatetimeIndex([b for _, b in pairs]).as_unit("us")})  # fmt: skip
    return Setting(study, windows, pd.DataFrame())


def by_hand(frame: pd.DataFrame, column: str, start, end, zone: str, days: int) -> dict[str, float]:
    """Return the statistics of one column in one window, from the rows complete within it."""

    def inside(a, b):
        complete = frame["datetime"] + pd.Timedelta(minutes=15)
        return frame.loc[(complete > a) & (complete <= b)]

    rows = inside(start, end)
    x, hours = rows[column].to_numpy(), rows["datetime"].astype("int64").to_numpy() / 3.6e9
    usual = []
    shown = end.tz_convert(zone).tz_localize(None)
    first = -(-(end - start) // pd.Timedelta(days=1))
    for day in range(first, first + days):
        moved = (shown - pd.Timedelta(days=day)).tz_localize(
            ZoneInfo(zone), ambiguous=True, nonexistent="shift_forward"
        )
        earlier = inside(moved - (end - start), moved)
        if len(earlier) * 15 >= 0.8 * (end - start).total_seconds() / 60:
            usual.append(earlier[column].mean())
    n = len(usual)
    t = (x.mean() - np.mean(usual)) / (np.std(usual, ddof=1) * np.sqrt(1 + 1 / n))
    z = stats.norm.ppf(stats.t.cdf(t, n - 1))
    return {"mean": x.mean(), "std": x.std(), "max": x.max(), "slope": np.polyfit(hours - hours[0], x, 1)[0], "z": z}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), minutes=st.lists(st.integers(8 * 1440, 39 * 1440), min_size=1, max_size=5),
       hours=st.sampled_from([2.0, 6.0, 24.0, 30.0]), zone=st.sampled_from(["UTC", "Europe/Rome"]))  # fmt: skip
def test_features_are_those_of_a_loop_over_samples(tmp_path_factory, seed, minutes, hours, zone):
    folder = tmp_path_factory.mktemp("t")
    made = herd("2017-03-01T00:00Z", 40, seed=seed, local=False)
    made = made.sample(frac=0.97, random_state=seed).sort_index()  # with holes
    made.assign(datetime=made["datetime"] + "Z").to_csv(folder / "herd.csv", index=False)
    frame = made.assign(datetime=pd.to_datetime(made["datetime"]).dt.tz_localize("UTC").dt.as_unit("us"))
    ends = [pd.Timestamp("2017-03-01T00:00Z") + pd.Timedelta(minutes=m) for m in minutes]
    pairs = [(end - pd.Timedelta(hours=hours), end) for end in ends]
    options = options_of(folder / "herd.csv", zone=zone, sampling_s=900)
    found = table.features(setting_of(pairs), options).set_index("window_id")
    for i, (start, end) in enumerate(pairs):
        if f"w{i}" not in found.index:
            continue
        for column in ("cow", "animal"):
            for statistic, value in by_hand(frame, column, start, end, zone, 7).items():
                assert found.loc[f"w{i}", f"{column}_{statistic}"] == pytest.approx(value, rel=1e-6, abs=1e-9), (
                    statistic
                )


def test_no_sample_that_ends_after_a_window_counts_in_it(tmp_path):
    made = herd("2017-01-08T00:00Z", 60, local=False)
    made.to_csv(tmp_path / "a.csv", index=False)
    end = pd.Timestamp("2017-02-10T06:40:17Z")
    later = pd.to_datetime(made["datetime"]).dt.tz_localize("UTC") + pd.Timedelta(minutes=15) > end
    made.loc[later, ["cow", "dog", "sheep", "animal"]] *= 1000
    made.to_csv(tmp_path / "b.csv", index=False)
    pairs = [(end - pd.Timedelta(hours=h), end) for h in (2, 24)]
    a, b = (table.features(setting_of(pairs), options_of(tmp_path / f"{x}.csv")) for x in "ab")
    assert a.drop(columns="station").equals(b.drop(columns="station"))


@pytest.mark.parametrize(
    ("marks", "end", "row"),
    [
        ("start", "00:15:00", "00:00:00"),
        ("start", "00:14:59", None),
        ("end", "00:15:00", "00:15:00"),
        ("end", "00:14:59", None),
        ("instant", "00:15:00", "00:00:00"),
        ("instant", "00:14:59", "00:00:00"),
    ],
)
def test_which_row_a_window_holds_depends_on_what_its_time_marks(tmp_path, marks, end, row):
    made = herd("2017-01-08T00:00Z", 10, local=False)
    made.to_csv(tmp_path / "herd.csv", index=False)
    pairs = [(pd.Timestamp("2017-01-15T00:00:00Z"), pd.Timestamp(f"2017-01-15T{end}Z"))]
    pairs.append((pairs[0][0] - pd.Timedelta(hours=2), pairs[0][0]))  # one that is covered in any case
    options = options_of(tmp_path / "herd.csv", marks=marks, history_days=0)
    found = table.features(setting_of(pairs), options).set_index("window_id")
    assert ("w0" in found.index) == (row is not None)
    if row is not None:
        assert found.loc["w0", "cow_mean"] == made.set_index("datetime").loc[f"2017-01-15 {row}", "cow"]


def test_a_window_with_few_samples_has_no_row(tmp_path):
    made = herd("2017-01-08T00:00Z", 60, local=False)
    times = pd.to_datetime(made["datetime"])
    gone = (times >= "2017-02-01 00:00") & (times < "2017-02-01 06:00")
    made[~gone].to_csv(tmp_path / "herd.csv", index=False)
    ends = [pd.Timestamp(f"2017-02-01T{h:02d}:00Z") for h in (0, 2, 3, 12, 23)]
    pairs = [(end - pd.Timedelta(hours=12), end) for end in ends]
    options = options_of(tmp_path / "herd.csv", sampling_s=900)
    found = table.features(setting_of(pairs), options)
    assert list(found["window_id"]) == ["w0", "w1", "w4"]
    assert list(table.features(setting_of(pairs), options.model_copy(update={"min_coverage": 0.7}))["window_id"]) == [
        "w0", "w1", "w2", "w4"]  # fmt: skip


def test_a_table_with_most_rows_gone_is_not_made_whole_by_a_large_sampling(tmp_path):
    made = herd("2017-01-08T00:00Z", 60, local=False).sample(frac=0.3, random_state=0).sort_index()
    made.to_csv(tmp_path / "herd.csv", index=False)
    ends = [pd.Timestamp(f"2017-02-{d:02d}T12:00Z") for d in range(1, 20)]
    setting = setting_of([(end - pd.Timedelta(hours=12), end) for end in ends], "positive")
    for sampling_s in (900.0, 3600.0):
        seen = table.describe(setting, options_of(tmp_path / "herd.csv", sampling_s=sampling_s))
        assert seen.windows["positive"] <= 1
        assert any(f"rows are 1800 s apart (median), sampling_s = {sampling_s:g}" in n for n in seen.table.notes)
        assert table.record(seen)["notes"] == list(seen.table.notes)


def test_a_window_without_days_before_it_has_no_row_unless_z_is_left_out(tmp_path):
    herd("2017-01-08T00:00Z", 60, local=False).to_csv(tmp_path / "herd.csv", index=False)
    ends = [pd.Timestamp(f"2017-01-{d:02d}T12:00Z") for d in (9, 10, 11, 12)]
    setting = setting_of([(end - pd.Timedelta(hours=6), end) for end in ends], "positive")
    options = options_of(tmp_path / "herd.csv")
    assert list(table.features(setting, options)["window_id"]) == ["w2", "w3"]
    seen = table.describe(setting, options)
    assert seen.dropped["positive"] == {"short_history": 2}
    without = options.model_copy(update={"history_days": 0})
    found = table.features(setting, without)
    assert len(found) == 4
    assert not [name for name in found.columns if name.endswith("_z")]
    assert table.describe(setting, without).dropped["positive"] == {}


def test_groups_are_stations_with_windows_of_their_own(tmp_path):
    made = herd("2017-01-08T00:00Z", 30, local=False)[["datetime", "cow"]]
    early = made.iloc[: 20 * 96]
    both = pd.concat([made.assign(tag="b"), early.assign(tag="a")])
    both.to_csv(tmp_path / "herd.csv", index=False)
    ends = [pd.Timestamp("2017-01-20T12:00Z"), pd.Timestamp("2017-02-02T12:00Z")]
    setting = setting_of([(end - pd.Timedelta(hours=6), end) for end in ends])
    found = table.features(setting, options_of(tmp_path / "herd.csv", group="tag"))
    assert list(zip(found["window_id"], found["station"], strict=True)) == [("w0", "a"), ("w0", "b"), ("w1", "b")]
    assert found["cow_mean"].iloc[0] == found["cow_mean"].iloc[1]


def test_a_constant_stretch_has_no_spread_no_slope_and_is_as_usual(tmp_path):
    made = herd("2017-01-08T00:00Z", 30, local=False)
    made.loc[: 15 * 96, "cow"] = 0.1
    made.to_csv(tmp_path / "herd.csv", index=False)
    end = pd.Timestamp("2017-01-20T12:00Z")
    found = table.features(setting_of([(end - pd.Timedelta(hours=6), end)]), options_of(tmp_path / "herd.csv"))
    assert found.loc[0, ["cow_std", "cow_slope", "cow_z"]].tolist() == [0, 0, 0]


def test_a_table_that_covers_no_window_is_refused_with_both_periods(tmp_path):
    herd("2015-01-08T00:00Z", 30, local=False).to_csv(tmp_path / "herd.csv", index=False)
    end = pd.Timestamp("2017-01-20T12:00Z")
    with pytest.raises(StudyError, match="covers no window: it holds 2015-01-08T00:00:00Z to 2015-02-06T23:45:00Z"):
        table.features(setting_of([(end - pd.Timedelta(hours=6), end)]), options_of(tmp_path / "herd.csv"))


def test_a_table_too_short_for_its_history_is_told_what_to_change(tmp_path):
    herd("2017-01-19T00:00Z", 2, local=False).to_csv(tmp_path / "herd.csv", index=False)
    end = pd.Timestamp("2017-01-20T12:00Z")
    with pytest.raises(StudyError, match="no window has 3 covered days in the history_days = 7 before it"):
        table.features(setting_of([(end - pd.Timedelta(hours=6), end)]), options_of(tmp_path / "herd.csv"))


def test_what_a_table_covers_is_counted_by_kind_and_reason(tmp_path):
    study = herd_study(tmp_path, 5)
    plan = plan_of(study)
    whole = pd.read_csv(study.table[0].path)
    times = pd.to_datetime(whole["datetime"]).dt.tz_localize("UTC")
    shocks = [m.time for m in study.mainshock]
    middle = shocks[3] - timedelta(hours=13)
    whole[times >= middle].to_csv(study.table[0].path, index=False)
    seen = table.describe(plan.setting, study.table[0])
    assert seen.covered == ("M4", "M5", "M6")
    assert seen.uncovered == ("M1", "M2", "M3")
    assert seen.without_history[0] == "M4"
    assert seen.dropped["positive"]["before_table"] == 3
    made = table.features(plan.setting, study.table[0])
    kinds = plan.windows.set_index("window_id")["kind"]
    counted = kinds.loc[made["window_id"]].value_counts()
    assert {k: n for k, n in seen.windows.items() if n} == {
        k: int(counted[k]) for k in counted.index if k in seen.windows
    }
    total = plan.windows["kind"].value_counts()
    for kind in ("positive", "background"):
        assert seen.windows[kind] + sum(seen.dropped[kind].values()) == total[kind]
    assert "of the 12 h before 6 mainshock(s) it covers 3 (M4, M5, M6)" in seen.line


def test_times_are_utc_whatever_the_zone(tmp_path):
    made = herd("2017-01-08T00:00Z", 20, local=False)
    made.to_csv(tmp_path / "utc.csv", index=False)
    rome = pd.to_datetime(made["datetime"]).dt.tz_localize("UTC").dt.tz_convert("Europe/Rome").dt.tz_localize(None)
    made.assign(datetime=rome.astype(str)).to_csv(tmp_path / "rome.csv", index=False)
    end = pd.Timestamp(datetime(2017, 1, 20, 12, tzinfo=UTC))
    setting = setting_of([(end - pd.Timedelta(hours=6), end)])
    a = table.features(setting, options_of(tmp_path / "utc.csv"))
    b = table.features(setting, options_of(tmp_path / "rome.csv", zone="Europe/Rome"))
    assert a.equals(b)
