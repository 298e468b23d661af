"""The mainshocks of a study: listed or chosen by rule, which of them count, and which belong together in a block.

A list is checked against the catalog. A rule goes forward in time and never looks at what comes after an event; a list
beside a rule must say what the rule says. (PROTOCOL 1)
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from seisprobe.catalog import DAY_US, Integers, distance_km, nearest_event, select_events, times_us
from seisprobe.declustering import DECLUSTERING, aftershock_spans, are_aftershocks
from seisprobe.errors import StudyError
from seisprobe.sections import Mainshock, MainshockRule
from seisprobe.study import Study

__all__ = [
    "bars_background",
    "block_sizes",
    "check_mainshocks",
    "check_period",
    "how_chosen",
    "mainshocks_by_rule",
    "outside_rule",
    "plan_mainshocks",
    "positive_distance_h",
    "sharing_ground",
    "unlisted_events",
]

HOUR_US = DAY_US // 24
MATCH_S, MATCH_MAGNITUDE = 5.0, 0.3
MOST_CANDIDATES = 1_000_000
AFTER_THE_FACT = "chosen after the fact"


def positive_distance_h(study: Study) -> float:
    """Return D = max(L) + 2 E + 2 h, the least distance of two positives in hours.

    Nearer than that, no background window fits between them, and a background that has no windows there makes half of
    all clustered worlds significant.
    """
    return max(study.windows.hours) + 2 * study.windows.embargo_h + 2.0


def check_mainshocks(study: Study, events: pd.DataFrame) -> None:
    """Refuse a mainshock that the catalog does not know at its time: local time given as UTC is the usual cause.

    Raises
    ------
    StudyError
        Naming the mainshock and the catalog's nearest event.
    """
    if study.catalog is None:
        return
    for mainshock in study.mainshock:
        found = nearest_event(events, pd.Timestamp(mainshock.time), mainshock.magnitude, MATCH_MAGNITUDE)
        if found is None or abs(found["offset_s"]) > MATCH_S:
            raise StudyError(_not_in_catalog(mainshock, events, found))
    if study.mainshocks.rule is not None and study.mainshock:
        _agree(study, events)


def _not_in_catalog(mainshock: Mainshock, events: pd.DataFrame, similar: pd.Series | None) -> str:
    time = pd.Timestamp(mainshock.time)
    nearest = nearest_event(events, time)
    message = (
        f"[[mainshock]] {mainshock.name}: the catalog has no event within {MATCH_S:g} s and {MATCH_MAGNITUDE} magnitude"
        f" units of {_stamp(time)} M {mainshock.magnitude:g}; its nearest event is {_described(nearest)}"
    )
    if similar is None:
        return f"{message}; no event of about that magnitude is in the catalog: check magnitude, region and catalog"
    hours = similar["offset_s"] / 3600
    message += f", the nearest of about that magnitude {_described(similar)}"
    if abs(hours - round(hours)) < 0.01 and 1 <= abs(round(hours)) <= 14:
        return f"{message}: {abs(round(hours))} h away, so the time looks local; give it in UTC"
    return f"{message}; correct the time (UTC) or the magnitude"


def _described(event: pd.Series | None) -> str:
    if event is None:
        return "none"
    return f"{_stamp(event['time'])} M {event['magnitude']:g} ({event['offset_s']:+.0f} s)"


def _stamp(time: pd.Timestamp) -> str:
    return str(time.strftime("%Y-%m-%dT%H:%M:%S.%f")).rstrip("0").rstrip(".") + "Z"


# --- by rule ---------------------------------------------------------------------------------------------------------


def how_chosen(study: Study) -> str:
    """Return how the mainshocks were chosen, in words: by hand, or by which rule."""
    rule = study.mainshocks.rule
    if rule is None:
        return AFTER_THE_FACT
    gap = f", {rule.min_gap_days:g} days after the last" if rule.min_gap_days else ""
    aftershocks = "" if rule.decluster == "none" else f", no aftershock ({rule.decluster})"
    return f"by rule: M ≥ {rule.min_magnitude:g}{aftershocks}{gap}"


def mainshocks_by_rule(study: Study, events: pd.DataFrame) -> tuple[Mainshock, ...]:
    """Return the mainshocks that the study's rule finds in its region and period, in order of time.

    Parameters
    ----------
    study : Study
        With a rule.
    events : DataFrame
        Event table with its history: an aftershock's mainshock may lie before the study.

    Raises
    ------
    StudyError
        The rule finds none.
    """
    rule = study.mainshocks.rule
    assert rule is not None
    events = events.sort_values("time", kind="stable", ignore_index=True)
    kept = _by_rule(study, events)
    times, (start, end) = times_us(events["time"]), (int(t) for t in times_us([study.study.start, study.study.end]))
    kept = kept[(times[kept] >= start) & (times[kept] < end)]
    if not len(kept):
        raise StudyError(_why_none(study, events))
    return tuple(
        _mainshock(events.iloc[row], number) for row, number in zip(kept, _same_minute(events, kept), strict=True)
    )


def _by_rule(study: Study, events: pd.DataFrame) -> Integers:
    """Return which events of the region the rule takes, those before the study too: a gap begins at the last of them.

    `events` in order of time, index from 0.
    """
    rule = study.mainshocks.rule
    assert rule is not None
    inside = select_events(events.reset_index(names="row"), region=study.study.region.model_dump())
    large = inside.loc[inside["magnitude"] >= rule.min_magnitude - 1e-9, "row"].to_numpy(dtype=np.int64)
    alone = large[~are_aftershocks(events, DECLUSTERING[rule.decluster](events), large)]
    return np.asarray(alone[_gapped(times_us(events["time"])[alone], rule)])


def _why_none(study: Study, events: pd.DataFrame) -> str:
    """Return why a rule finds no mainshock in the study's period."""
    rule = study.mainshocks.rule
    assert rule is not None
    period = {"start": pd.Timestamp(study.study.start), "end": pd.Timestamp(study.study.end)}
    inside = select_events(events, region=study.study.region.model_dump(), **period)
    large = int((inside["magnitude"] >= rule.min_magnitude - 1e-9).sum())
    if large:
        return (
            f"[mainshocks] rule: all {large} events of M ≥ {rule.min_magnitude:g} come too soon after earlier ones"
            f" (decluster = '{rule.decluster}', min_gap_days = {rule.min_gap_days:g}); use 'none' or a shorter gap, or"
            " start the study elsewhere"
        )
    largest = f"its largest event has M {inside['magnitude'].max():g}" if len(inside) else "it has no event"
    return (
        f"[mainshocks] rule.min_magnitude = {rule.min_magnitude:g}: no event in the study's region and period is as"
        f" large, {largest}; lower it, or check region, start and end"
    )


def _gapped(times: Integers, rule: MainshockRule) -> np.ndarray:
    """Return which events come at least the rule's gap after the last that was kept."""
    kept, last = np.zeros(len(times), dtype=bool), None
    for i, time in enumerate(times):
        if last is None or time - last >= rule.min_gap_days * DAY_US:
            kept[i], last = True, int(time)
    return kept


def _same_minute(events: pd.DataFrame, rows: Integers) -> list[int]:
    """Return how many of the rows before each one fall in the same minute: their names would be the same."""
    minutes = events["time"].iloc[rows].dt.floor("min").reset_index(drop=True)
    return [int(n) for n in minutes.groupby(minutes).cumcount()]


def _mainshock(event: pd.Series, number: int) -> Mainshock:
    more = f"-{number + 1}" if number else ""
    return Mainshock(
        name=f"{event['time']:%Y%m%dT%H%M}-M{event['magnitude']:g}{more}",
        time=event["time"].to_pydatetime(),
        magnitude=float(event["magnitude"]),
        latitude=float(event["latitude"]),
        longitude=float(event["longitude"]),
    )


def bars_background(study: Study) -> bool:
    """Return whether the rule leaves out events by what came before them, so that the background must follow it."""
    rule = study.mainshocks.rule
    return rule is not None and (rule.decluster != "none" or rule.min_gap_days > 0)


def outside_rule(study: Study, mainshocks: pd.DataFrame, events: pd.DataFrame) -> dict[str, tuple[Integers, Integers]]:
    """Return, by mainshock, the times at which the rule would not have taken an event like it at its place.

    A background that holds them compares mainshocks, which are none of the aftershocks, with times full of aftershocks:
    clustering would be told from its absence by the rule alone.

    Returns
    -------
    dict of str to (starts, ends)
        Microseconds; after a start, up to and with its end; under "" those of the whole region. Empty without a rule,
        or one that leaves nothing out.
    """
    rule = study.mainshocks.rule
    if rule is None or not bars_background(study):
        return {}
    events = events.sort_values("time", kind="stable", ignore_index=True)
    reach = DECLUSTERING[rule.decluster](events)
    gap, since = round(rule.min_gap_days * DAY_US), times_us(mainshocks["time"])
    if gap:
        since = np.union1d(since, times_us(events["time"].iloc[_by_rule(study, events)]))
    if study.windows.radius_km is None:
        return {"": (since, since + gap)}
    found = {}
    for m in mainshocks.to_dict("records"):
        starts, ends = aftershock_spans(events, reach, (m["latitude"], m["longitude"]), m["magnitude"])
        found[str(m["name"])] = (np.concatenate([starts, since]), np.concatenate([ends, since + gap]))
    return found


def _agree(study: Study, events: pd.DataFrame) -> None:
    """Refuse a list that is not what its rule gives."""
    found = mainshocks_by_rule(study, events)
    for mainshock in study.mainshock:
        if not any(_same(mainshock, other) for other in found):
            raise StudyError(
                f"[[mainshock]] {mainshock.name}: is none {how_chosen(study)}; leave it out, or change the rule"
            )
    for other in found:
        if not any(_same(mainshock, other) for mainshock in study.mainshock):
            raise StudyError(
                f"[mainshocks] rule: {_stamp(pd.Timestamp(other.time))} M {other.magnitude:g} is a mainshock"
                f" {how_chosen(study)}, and not on the list; add it, or change the rule"
            )


def _same(a: Mainshock, b: Mainshock) -> bool:
    apart_s = abs((a.time - b.time).total_seconds())
    return apart_s <= MATCH_S and abs(a.magnitude - b.magnitude) <= MATCH_MAGNITUDE + 1e-9


# --- those that count ------------------------------------------------------------------------------------------------


def plan_mainshocks(study: Study, events: pd.DataFrame, left_out: str = "") -> pd.DataFrame:
    """Return the mainshocks in order of time, with place, block and the reason why one is no positive.

    Parameters
    ----------
    study : Study
    events : DataFrame
        Event table; gives the place of a mainshock that has none in the study.
    left_out : str
        Name of a mainshock that is to be no positive; its row and zone stay.

    Returns
    -------
    DataFrame
        ``name, time, magnitude, latitude, longitude, block (1, 2, …; 0 for no positive), reason``: "",
        ``too_close`` or ``left_out``.

    Raises
    ------
    StudyError
        When a mainshock lies outside the study's period or a window is longer than the record.
    """
    check_period(study)
    rows = []
    for mainshock in study.mainshock or mainshocks_by_rule(study, events):
        latitude, longitude = _place_of(mainshock, events)
        time = pd.Timestamp(mainshock.time).as_unit("us")
        rows.append((mainshock.name, time, mainshock.magnitude, latitude, longitude))
    table = pd.DataFrame(rows, columns=["name", "time", "magnitude", "latitude", "longitude"])
    table["reason"] = _too_close(times_us(table["time"]), positive_distance_h(study), sharing_ground(study, table))
    table.loc[table["name"].eq(left_out), "reason"] = "left_out"
    table["block"] = _blocks(table, study.windows.block_days, study.windows.block_km)
    return table


def check_period(study: Study) -> None:
    """Refuse a study whose mainshocks or windows do not fit into its period, before any catalog is read.

    Raises
    ------
    StudyError
        Naming the mainshock, or the length.
    """
    start, end = pd.Timestamp(study.study.start), pd.Timestamp(study.study.end)
    for mainshock in study.mainshock:
        if not start <= pd.Timestamp(mainshock.time) < end:
            raise StudyError(
                f"[[mainshock]] {mainshock.name}: {_stamp(pd.Timestamp(mainshock.time))} lies outside the study's"
                f" period {_stamp(start)} to {_stamp(end)}; move start or end, or leave it out"
            )
    longest = max(study.windows.hours)
    record_h = (end - start).total_seconds() / 3600
    if longest > record_h:
        raise StudyError(f"[windows] hours = {longest:g}: longer than the record of {record_h:g} h; shorten it")
    if record_h / study.windows.step_h > MOST_CANDIDATES:
        raise StudyError(
            f"[windows] step_h = {study.windows.step_h:g}: the record of {record_h:g} h would have more than"
            f" {MOST_CANDIDATES} windows of each length; widen the step or shorten the record"
        )


def _place_of(mainshock: Mainshock, events: pd.DataFrame) -> tuple[float, float]:
    if mainshock.latitude is not None and mainshock.longitude is not None:
        return mainshock.latitude, mainshock.longitude
    event = nearest_event(events, pd.Timestamp(mainshock.time), mainshock.magnitude, MATCH_MAGNITUDE)
    if event is None or abs(event["offset_s"]) > MATCH_S:
        return float("nan"), float("nan")
    return float(event["latitude"]), float(event["longitude"])


def sharing_ground(study: Study, mainshocks: pd.DataFrame) -> np.ndarray:
    """Return which mainshocks look at common ground: all in one region, those whose circles meet elsewhere.

    Returns
    -------
    ndarray of bool, shape (m, m)
        Where a place is not known, true.
    """
    reach_km = np.inf if study.windows.radius_km is None else 2 * study.windows.radius_km
    latitude, longitude = (mainshocks[c].to_numpy(dtype=np.float64) for c in ("latitude", "longitude"))
    away = [distance_km(latitude, longitude, a, b) for a, b in zip(latitude, longitude, strict=True)]
    return ~(np.reshape(away, (len(mainshocks), len(mainshocks))) > reach_km)


def _too_close(times: Integers, distance_h: float, shared: np.ndarray) -> list[str]:
    """Going forward, a mainshock that comes `distance_h` or less after a positive on common ground is none."""
    positive: list[int] = []
    reasons = [""] * len(times)
    for i, time in enumerate(times):
        if any(shared[i, j] and time - times[j] <= distance_h * HOUR_US for j in positive):
            reasons[i] = "too_close"
        else:
            positive.append(i)
    return reasons


def _blocks(table: pd.DataFrame, block_days: float, block_km: float) -> list[int]:
    """Number the blocks: positives near each other in time and space, directly or through others, are one block."""
    positive = [i for i, reason in enumerate(table["reason"]) if not reason]
    times = times_us(table["time"])
    block = [0] * len(table)
    for i in positive:
        joined = {block[j] for j in positive if j < i and _near(table, times, i, j, block_days, block_km)}
        block[i] = min(joined) if joined else max(block) + 1
        block = [block[i] if b in joined else b for b in block]
    order = {number: rank for rank, number in enumerate(sorted(set(block) - {0}), start=1)}
    return [order.get(number, 0) for number in block]


def _near(table: pd.DataFrame, times: Integers, i: int, j: int, block_days: float, block_km: float) -> bool:
    if abs(times[i] - times[j]) > block_days * DAY_US:
        return False
    row = table.loc[i]
    away = distance_km(
        table["latitude"].to_numpy()[[j]], table["longitude"].to_numpy()[[j]], row["latitude"], row["longitude"]
    )[0]
    return bool(np.isnan(away) or away <= block_km)  # where a place is not known, nearness in time decides


def block_sizes(mainshocks: pd.DataFrame) -> tuple[int, ...]:
    """Return how many positives each block holds, in the order of time.

    Examples
    --------
    >>> block_sizes(pd.DataFrame({"block": [1, 2, 2, 0]}))
    (1, 2)
    """
    counts = mainshocks.loc[mainshocks["block"] > 0, "block"].value_counts().sort_index()
    return tuple(int(n) for n in counts)


def unlisted_events(study: Study, mainshocks: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Return the study's events at least as large as its smallest mainshock that are none of them."""
    region = study.study.region.model_dump()
    smallest = mainshocks["magnitude"].min()
    start, end = pd.Timestamp(study.study.start), pd.Timestamp(study.study.end)
    large = select_events(events, start=start, end=end, region=region, min_magnitude=smallest)
    listed = np.zeros(len(large), dtype=bool)
    for mainshock in mainshocks.itertuples():
        offset_s = (large["time"] - mainshock.time).dt.total_seconds().abs()
        alike = (large["magnitude"] - mainshock.magnitude).abs() <= MATCH_MAGNITUDE + 1e-9
        listed |= (alike & (offset_s <= MATCH_S)).to_numpy()
    return large.loc[~listed].reset_index(drop=True)
