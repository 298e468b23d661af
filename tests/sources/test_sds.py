"""SDS archives: planned from names, read over the edges of days, whatever lies in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from obspy import Stream, UTCDateTime

from seisprobe.errors import DataFileError
from seisprobe.sources.sds import SdsSource
from seisprobe.sources.waveforms import Query
from support.waveforms import DAY, make_stream, sds_path, write_mseed, write_sds

NEW_YEAR = UTCDateTime("2017-01-01")
IV = ("IV", "NRCA", "", "HH?")


def equal(read: Stream, truth: Stream) -> bool:
    """Whether two streams have the same traces of the same samples at the same times."""
    return [(t.id, t.stats.starttime.ns, t.data.tobytes()) for t in read] == [
        (t.id, t.stats.starttime.ns, t.data.tobytes()) for t in truth
    ]


@pytest.mark.parametrize("midnight", [DAY, NEW_YEAR], ids=str)
@pytest.mark.parametrize("spill_s", [0.0, 0.005, 7.3, 100.0])
def test_what_lies_at_the_edge_of_a_neighbours_file_is_read(
    midnight: UTCDateTime, spill_s: float, tmp_path: Path
) -> None:
    whole = make_stream(start=midnight - 300, seconds=600)
    assert len(write_sds(tmp_path, whole, spill_s=spill_s)) == 6
    source = SdsSource(tmp_path)
    assert equal(
        source.get_waveforms(*IV, midnight - 200, midnight + 200), whole.slice(midnight - 200, midnight + 199.99)
    )
    after = source.get_waveforms(*IV, midnight, midnight + 86_400)
    assert equal(after, whole.slice(midnight))
    before = source.get_waveforms(*IV, midnight - 86_400, midnight)
    assert equal(before, whole.slice(None, midnight - 0.01))
    assert source.problems() == []


def test_records_that_start_before_midnight_stand_in_the_day_before_too(tmp_path: Path) -> None:
    whole = make_stream(start=DAY - 60, seconds=120, components="Z")
    # As acquisition programs write: a record goes whole to the day of its first sample.
    first = whole.slice(None, DAY + 1.234)
    write_mseed(sds_path(tmp_path, whole[0], DAY - 86_400), first)
    write_mseed(sds_path(tmp_path, whole[0], DAY), whole.slice(DAY + 1.244))
    read = SdsSource(tmp_path).get_waveforms("IV", "NRCA", "", "HHZ", DAY, DAY + 60)
    assert equal(read, whole.slice(DAY))


def test_units_are_made_from_names_alone(tmp_path: Path) -> None:
    for path in [
        *write_sds(tmp_path, make_stream(start=DAY + 86_390, seconds=20)),
        *write_sds(tmp_path, make_stream("IV.NRCA.00.EH", seconds=1)),
        *write_sds(tmp_path, make_stream("MN.AQU..HN", start=NEW_YEAR, seconds=1)),
        *write_sds(tmp_path, make_stream("MN.AQU..HH", start=NEW_YEAR, seconds=1, components="Z")),
    ]:
        path.write_bytes(b"")
    source = SdsSource(tmp_path)
    keys = ["IV.NRCA..HH.2016-10-30", "IV.NRCA..HH.2016-10-31", "MN.AQU..HN.2017-01-01"]
    assert [unit.key for unit in source.units(Query())] == keys
    since = Query(start=pd.Timestamp("2016-10-31T05:00", tz="Europe/Rome"), stations=("NRCA", "AQU"))
    assert [unit.key for unit in source.units(since)] == keys[1:]
    until = Query(end=pd.Timestamp("2016-10-30T00:00:01Z"), channels=("EH",))
    assert [unit.key for unit in source.units(until)] == ["IV.NRCA.00.EH.2016-10-30"]
    assert source.units(Query(channels=("BH",))) == []
    assert source.problems()[1].startswith("MN.AQU: 1 day without three components of BH")


def test_the_last_hours_of_a_year_in_another_zone_are_not_lost(tmp_path: Path) -> None:
    write_sds(tmp_path, make_stream(start=NEW_YEAR - 60, seconds=30))
    query = Query(start=pd.Timestamp("2017-01-01T00:30", tz="Europe/Rome"))
    assert [unit.day for unit in SdsSource(tmp_path).units(query)] == ["2016-12-31"]


@pytest.mark.parametrize(
    "name",
    ["2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.2016.000", "2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.2016.304.part",
     "2016/IV/NRCA/HHZ.D/.IV.NRCA..HHZ.D.2016.304.77.tmp", "2016/IV/NRCA/HHZ.D/IV.NRCA..HHZ.D.0000.304",
     "2016/IV/NRCA/HHZ.D/NRCA.mseed", "stations/IV.xml", "2016/notes.txt", "notes.txt"],
)  # fmt: skip
def test_other_files_in_an_archive_are_no_days(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"other")
    source = SdsSource(tmp_path)
    assert source.units(Query()) == []
    assert "NET.STA.LOC.CHAN.D.YEAR.DAY" in source.problems()[0]
    assert len(source.get_waveforms(*IV, DAY, DAY + 86_400)) == 0


def test_damaged_and_misnamed_files_are_said_once_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = make_stream(seconds=60)
    east, north, up = write_sds(tmp_path, whole)
    east.write_bytes(b"")
    data = bytearray(north.read_bytes())
    data[712] ^= 0xFF
    north.write_bytes(data)
    write_mseed(up, make_stream("IV.CESI..HH", seconds=60, components="Z"))
    source = SdsSource(tmp_path)
    for _ in range(3):
        read = source.get_waveforms(*IV, DAY, DAY + 86_400)
    assert {trace.stats.channel for trace in read} == {"HHN"}
    kept = sum(trace.stats.npts for trace in read)
    assert 5000 < kept < 6000
    lines = source.problems()
    assert [line.partition(": ")[2] for line in lines] == [
        "empty",
        "1 record that cannot be decoded left out, the first at byte 512",
        "holds IV.CESI..HHZ, not what its name says; left out",
    ]
    assert all(line.startswith("2016/IV/NRCA/") for line in lines)


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    write_sds(tmp_path, make_stream(seconds=10))
    source = SdsSource(tmp_path)
    assert source.get_waveforms(*IV, DAY, DAY + 60)[0].stats.npts == 1000
    write_sds(tmp_path, make_stream(seconds=30))
    assert source.get_waveforms(*IV, DAY, DAY + 60)[0].stats.npts == 3000


def test_a_year_of_days_keeps_few_files_in_mind(tmp_path: Path) -> None:
    source = SdsSource(tmp_path)
    for day in range(40):
        write_sds(tmp_path, make_stream(start=DAY + day * 86_400, seconds=2))
        assert len(source.get_waveforms(*IV, DAY + day * 86_400, DAY + (day + 1) * 86_400)) == 3
    assert len(source._remembered) <= 64


def test_codes_with_odd_letters_are_taken_as_they_are(tmp_path: Path) -> None:
    stream = make_stream("TR.EGG05.42.?H", seconds=5)
    write_sds(tmp_path, stream)
    write_sds(tmp_path, make_stream("TR.EGG05.42.EH", seconds=5, components="Z"))
    source = SdsSource(tmp_path)
    (unit,) = source.units(Query())
    assert unit.band == "?H"
    read = source.get_waveforms(unit.network, unit.station, unit.location, f"{unit.band}?", unit.start, unit.end)
    assert equal(read, stream)


def test_an_archive_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataFileError, match="a file, not a folder"):
        SdsSource(tmp_path / "file")


def test_the_same_archive_elsewhere_has_the_same_identity(tmp_path: Path) -> None:
    (tmp_path / "a" / "waveforms").mkdir(parents=True)
    (tmp_path / "b" / "waveforms").mkdir(parents=True)
    names = {SdsSource(tmp_path / side / "waveforms").identity for side in "ab"}
    assert names == {"sds:waveforms"}


def test_samples_are_those_written(tmp_path: Path) -> None:
    stream = make_stream(seconds=3)
    write_sds(tmp_path, stream)
    read = SdsSource(tmp_path).get_waveforms(*IV, DAY, DAY + 3)
    assert read[0].data.dtype == np.int32
    assert equal(read, stream)
