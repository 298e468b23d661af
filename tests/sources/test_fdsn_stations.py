"""Station metadata of any number of answers make one file, the same whatever was asked twice; choices by priority."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from obspy import Stream, read_inventory

from seisprobe.sources.fdsn_stations import Channel, merged, wanted_days
from seisprobe.sources.waveforms import Query
from support.dataselect_server import inventory_of
from support.shared import shared_file
from support.waveforms import make_stream

QUERY = Query(pd.Timestamp("2016-10-29T13:00", tz="UTC"), pd.Timestamp("2016-10-31", tz="UTC"))


def written(inventory: Any) -> bytes:
    buffer = io.BytesIO()
    inventory.write(buffer, format="STATIONXML")
    return buffer.getvalue()


def sent(inventory: Any) -> Any:
    """Return an inventory as it comes from a service: parsed."""
    return read_inventory(io.BytesIO(written(inventory)), format="STATIONXML")


def stations(*codes: str) -> Stream:
    return sum((make_stream(code, seconds=1.0) for code in codes), Stream())


def test_what_is_merged_twice_changes_nothing_and_order_counts_for_nothing() -> None:
    def one() -> Any:
        return sent(inventory_of(stations("IV.A..HH")))

    def two() -> Any:
        return sent(inventory_of(stations("IV.B..HH", "8P.C..EH")))

    both = written(merged(merged(None, one()), two()))
    assert written(merged(merged(None, two()), one())) == both
    assert written(merged(read_inventory(io.BytesIO(both)), one())) == both


def test_epochs_of_a_channel_are_kept_apart_and_the_new_one_wins() -> None:
    stream = stations("IV.A..HH")
    old, moved = inventory_of(stream, start="2010-01-01"), inventory_of(stream, start="2016-01-01")
    closed = inventory_of(stream, start="2016-01-01", end="2017-01-01")
    channels = merged(merged(merged(None, old), moved), closed)[0][0].channels
    ends = {(str(c.start_date)[:4], str(c.end_date)[:4]) for c in channels}
    assert ends == {("2010", "None"), ("2016", "2017")}


def channel(code: str, location: str = "", start: str = "2010-01-01", end: str = "2030-01-01") -> Channel:
    times = [pd.Timestamp(time, tz="UTC").value // 1000 for time in (start, end)]
    return Channel("IV", "A", location, code, *times, 100.0, 42.0, 13.0)


def of(band: str, location: str = "", **times: str) -> list[Channel]:
    return [channel(band + component, location, **times) for component in "ENZ"]


@pytest.mark.parametrize(
    ("channels", "choices"),
    [
        (of("HH"), [["HH@", "EH@"], ["HH@", "EH@"]]),
        (of("HH", "10"), [["HH@10", "EH@"], ["HH@10", "EH@"]]),
        ([*of("HH", "10"), *of("HH")], [["HH@", "HH@10", "EH@"]] * 2),
        (of("HH", start="2016-10-30"), [["EH@"], ["HH@", "EH@"]]),
        (of("HH", end="2016-10-30"), [["HH@", "EH@"], ["EH@"]]),
        (of("HH")[:2], [["EH@"], ["EH@"]]),
    ],
)
def test_bands_and_locations_come_by_priority_and_by_the_epochs_of_the_day(
    channels: list[Channel], choices: list[list[str]]
) -> None:
    found = list(wanted_days(sorted([*channels, *of("EH")]), QUERY, None))
    assert [[f"{want.unit.band}@{want.unit.location}" for want in day] for day in found] == choices
    assert [day[0].unit.day for day in found] == ["2016-10-29", "2016-10-30"]


def test_a_day_on_which_components_are_renamed_is_asked_for_with_all_of_them() -> None:
    renamed = [channel("HHE", end="2016-10-30T11:00"), channel("HHN", end="2016-10-30T11:00"), channel("HHZ")]
    renamed += [channel("HH1", start="2016-10-30T11:00"), channel("HH2", start="2016-10-30T11:00")]
    first, second = (day[0].codes for day in wanted_days(sorted(renamed), QUERY))
    assert (first, second) == (("HHE", "HHN", "HHZ"), ("HH1", "HH2", "HHE", "HHN", "HHZ"))


def test_real_stations_of_central_italy_merge_into_one_file() -> None:
    inventory = None
    for path in sorted(shared_file("data/stations/IV.NRCA.xml").parent.glob("*.xml")):
        inventory = merged(inventory, read_inventory(str(path), format="STATIONXML"))
    body = written(inventory)
    again = read_inventory(io.BytesIO(body), format="STATIONXML")
    assert sum(len(network) for network in again) == 12
    assert written(merged(again, read_inventory(str(path), format="STATIONXML"))) == body
