"""embed on the command line: any waveforms to vectors, chosen by time and station, done once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from seisprobe.embedding import open_store
from seisprobe.errors import InputError
from seisprobe.seisclip.baselines import band_energy
from seisprobe.vectors import parse_region, parse_time
from support.studies import call
from support.waveforms import make_stream, write_mseed, write_sds

FAST = ("--encoder", "band_energy", "-q")


def test_files_become_vectors_once(tmp_path: Path) -> None:
    stream = make_stream(seconds=300.0)
    write_mseed(tmp_path / "data" / "a.mseed", stream)
    arguments = ("embed", "mseed:data", "--out", "vectors", "--start", "2016-10-30T00:01:00Z", "--end",
                 "2016-10-30T00:04:00Z", *FAST)  # fmt: skip
    done = call(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 segments embedded now" in done.stdout
    (folder,) = (path for path in (tmp_path / "vectors").iterdir() if path.is_dir())
    table, vectors = open_store(folder).read(["IV.NRCA..HH.2016-10-30"])
    counts = np.stack([trace.data[6000:24000].reshape(3, 6000) for trace in stream], axis=1).astype(np.float32)
    np.testing.assert_allclose(vectors, band_energy().encode(counts), rtol=2e-3)  # float16 on disk
    assert table["start"].dt.minute.tolist() == [1, 2, 3]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = call(*arguments, folder=tmp_path)
    assert "1 of them done before; 0 of 0 segments embedded now" in again.stdout
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_two_workers_make_the_same_bytes_as_one(tmp_path: Path) -> None:
    for day in (28, 29, 30):
        write_sds(tmp_path / "archive", make_stream(start=f"2016-10-{day}T12:00:00", seconds=180.0, seed=day))
    for out, more in (("one", ()), ("two", ("--workers", "2"))):
        done = call("embed", "sds:archive", "--out", out, *FAST, *more, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    parts = [sorted((tmp_path / out).glob("*/*.parquet")) for out in ("one", "two")]
    assert len(parts[0]) == 3
    assert [p.name for p in parts[0]] == [p.name for p in parts[1]]
    assert [p.read_bytes() for p in parts[0]] == [p.read_bytes() for p in parts[1]]
    assert pq.read_schema(parts[0][0]).field("vector").type.list_size == band_energy().dimension


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mseed:nowhere",), "nowhere"),
        (("archive",), 'write "sds:archive"'),
        (("instance:x.csv",), "x.csv"),
        (("mseed:data", "--start", "2016-10-30"), "--start 2016-10-30: has no time zone"),
        (("mseed:data", "--start", "yesterdayish"), "--start yesterdayish: is no time"),
        (("mseed:data", "--region", "43,42,12,13"), "south below north"),
        (("mseed:data", "--hop-s", "7"), "hop_s = 7"),
        (("mseed:data", "--encoder", "seisklip-120"), "seisklip-120"),
        (("mseed:data", "--scheduler", "host:1"), "give an address such as tcp://host:8786"),
        (("mseed:data", "--encoder", "band_energy", "--metadata"), "metadata are embedded of event traces"),
        (("fdsn:INGV", "--encoder", "band_energy"), "start"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_mseed(tmp_path / "data" / "a.mseed", make_stream(seconds=60.0))
    done = call("embed", *arguments, "-q", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not list(tmp_path.glob("embeddings/*/*.parquet"))


def test_a_large_source_is_not_taken_whole_by_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from seisprobe import vectors
    from seisprobe.embedding import Recipe
    from seisprobe.sources.waveforms import Query

    for day in (28, 29):
        write_sds(tmp_path / "archive", make_stream(start=f"2016-10-{day}T12:00:00", seconds=60.0))
    monkeypatch.setattr(vectors, "MOST_UNASKED", 1)
    recipe = Recipe({"name": "band_energy"}, folder=tmp_path)
    with pytest.raises(InputError, match=r"holds 2 station-days .* take them all with --all"):
        vectors.embed_source("sds:archive", Query(), tmp_path / "out", recipe)
    chosen = Query(start=pd.Timestamp("2016-10-29T00:00Z"))
    assert vectors.embed_source("sds:archive", chosen, tmp_path / "out", recipe).units == 1
    assert vectors.embed_source("sds:archive", Query(), tmp_path / "out", recipe, everything=True).units == 2


def test_times_and_boxes_of_the_command_line() -> None:
    assert parse_time("2016-10-30T07:40:17+01:00", "--end").isoformat() == "2016-10-30T06:40:17+00:00"
    assert parse_time(None, "--end") is None
    assert parse_region(None) is None
    for text in ("1,2,3", "a,b,c,d", "1,1,2,3", "nan,2,3,4"):
        with pytest.raises(InputError):
            parse_region(text)
    for text in ("NaT", "2016-13-01T00:00:00Z"):
        with pytest.raises(InputError):
            parse_time(text, "--start")
