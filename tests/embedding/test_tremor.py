"""Tremor in segments: as strong as was asked, in its band, the same in any block; a store of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seisprobe.embedding.embed import embed
from seisprobe.embedding.segments import cut_segments
from seisprobe.embedding.store import open_store, stores
from seisprobe.embedding.tremor import Tremor, band_noise, band_power, check_band
from seisprobe.embedding.work import Recipe
from seisprobe.errors import InputError
from seisprobe.seisclip.baselines import BandEnergy
from seisprobe.sources.waveforms import Query
from support.embeddings import part_bytes, starts
from support.waveforms import make_stream, write_sds

BAND = (2.0, 8.0)
RAW = {"IV.NRCA..HH": (4.0, 9.0, 16.0)}


def segments(count: int = 40) -> tuple[np.ndarray, pd.DataFrame]:
    stream = make_stream(seconds=60 * count, amplitude=30.0)
    return cut_segments(stream, starts("2016-10-30", count))


@pytest.mark.parametrize("size_db", [1.0, 10.0, 25.0])
def test_a_median_segment_rises_by_as_much_as_was_asked_and_in_its_band_alone(size_db: float) -> None:
    waveforms, table = segments()
    level = np.median(band_power(waveforms, BAND), axis=0)
    changed = Tremor(size_db, BAND, 3, {"IV.NRCA..HH": tuple(level)})(waveforms, table)
    rise = 10 * np.log10(np.median(band_power(changed, BAND), axis=0) / level)
    assert rise == pytest.approx(size_db, abs=0.25)
    outside = (10.0, 40.0)
    assert band_power(changed, outside) == pytest.approx(band_power(waveforms, outside), rel=1e-3)
    assert changed.dtype == np.float32


def test_nothing_is_added_at_0_db_and_what_is_given_stays_as_it_is() -> None:
    waveforms, table = segments(3)
    before = waveforms.copy()
    assert np.array_equal(Tremor(0.0, BAND, 3, RAW)(waveforms, table), before)
    Tremor(9.0, BAND, 3, RAW)(waveforms, table)
    assert np.array_equal(waveforms, before)


def test_noise_is_that_of_station_start_and_seed_whatever_the_block() -> None:
    waveforms, table = segments(6)
    tremor = Tremor(9.0, BAND, 3, RAW)
    whole = tremor(waveforms, table)
    assert np.array_equal(whole[4:5], tremor(waveforms[4:5], table.iloc[4:5]))
    one = band_noise(3, "IV.NRCA", 60, BAND)
    for other in (
        band_noise(4, "IV.NRCA", 60, BAND),
        band_noise(3, "IV.ARRO", 60, BAND),
        band_noise(3, "IV.NRCA", 120, BAND),
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(one)[0, 1]) < 0.2  # components apart
    many = np.array([band_noise(3, "IV.NRCA", 60 * n, BAND) for n in range(100)])
    assert (many**2).mean(axis=(0, 2)) == pytest.approx(1.0, abs=0.02)


def test_each_instrument_and_component_has_its_own_level() -> None:
    waveforms, table = segments(30)
    levels = {"IV.NRCA..HH": (4.0, 400.0, 40_000.0), "IV.NRCA..HN": (1.0, 1.0, 1.0)}
    added = Tremor(10.0, BAND, 3, levels)(np.zeros_like(waveforms), table)
    assert (added**2).mean(axis=(0, 2)) / 9 == pytest.approx([4.0, 400.0, 40_000.0], rel=0.1)


@pytest.mark.parametrize("band", [(8.0, 2.0), (2.0, 2.2), (0.0, 5.0), (2.0, 60.0), (float("nan"), 8.0)])
def test_a_band_that_segments_do_not_hold_is_refused(band: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="give two frequencies from"):
        check_band(band)


def test_segments_are_embedded_with_tremor_into_a_store_of_their_own(tmp_path: Path) -> None:
    write_sds(tmp_path / "held", make_stream(seconds=1200))
    source = f"sds:{tmp_path / 'held'}"
    query = Query(pd.Timestamp("2016-10-30T00:00Z"), pd.Timestamp("2016-10-30T00:20Z"))
    recipe = Recipe({"name": "band_energy"}, dtype="float32")
    plain = embed(source, query, tmp_path / "out", recipe).store
    assert "change" not in plain.settings  # stores without tremor keep their names
    before = part_bytes(plain.folder)
    tremor = Tremor(12.0, BAND, 3, {"IV.NRCA..HH": (1e4, 1e4, 1e4)})
    made = embed(source, query, tmp_path / "out", replace(recipe, change=tremor)).store
    assert made.settings["change"]["tremor_db"] == 12.0
    assert len(stores(tmp_path / "out")) == 2
    assert part_bytes(plain.folder) == before
    again = embed(source, query, tmp_path / "out", replace(recipe, change=tremor))
    assert again.done == again.units == 1  # nothing is made twice
    table, vectors = open_store(made.folder).read(made.units())
    stream = make_stream(seconds=1200)
    waveforms, cut = cut_segments(stream, starts("2016-10-30", 20))
    assert table["segment_id"].tolist() == cut["segment_id"].tolist()
    assert np.allclose(vectors, BandEnergy().encode(tremor(waveforms, cut)), rtol=1e-5, atol=1e-5)
    other = embed(source, query, tmp_path / "out", replace(recipe, change=replace(tremor, seed=4))).store
    assert other.folder != made.folder
