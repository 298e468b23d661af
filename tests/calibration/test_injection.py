"""Injection and recovery: a trial recounted, features with the precursor in recomputed, bad input named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pytest

from seisprobe import pipeline
from seisprobe.calibration.injection import CELL, inject, injection_lines
from seisprobe.calibration.precursors import make_shift, make_swap, median_levels, open_archive, shift_effect
from seisprobe.calibration.trials import Bench, judge_trial, judge_trials, open_bench, pseudo_positives
from seisprobe.catalog import times_us
from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.executors import processes
from seisprobe.embedding.segments import cut_segments
from seisprobe.embedding.tremor import Tremor, band_noise, band_power
from seisprobe.embedding.waves import ALL
from seisprobe.errors import InputError, SeisprobeError, StudyError
from seisprobe.evaluation.novelty import Columns, novelty
from seisprobe.evaluation.scores import round_significant
from seisprobe.evaluation.shared_draws import pseudo_mainshocks
from seisprobe.folder import stored_study
from seisprobe.planning import Plan, stored_plan
from seisprobe.seisclip.baselines import BandEnergy
from seisprobe.sources.waveforms import open_waveform_source
from seisprobe.storage import strict_json
from support.embeddings import tiny_encoder
from support.results import Shape, write_folder
from support.seen import PLACES, Seen

HOUR = 3_600_000_000
SHOCKS = (("Alfa", 40.3, 6.0), ("Beta", 80.1, 5.8), ("Gamma", 84.6, 5.9))  # the last two are one block
WORLD = Seen(seed=3, shocks=SHOCKS, background_count=20, per_window=8)
AMPLITUDE = {"modality": "amplitude", "score": "novelty", "background": "etas"}
SIZE_DB = 6.0


def run_world(root: Path, world: Seen) -> Path:
    path = world.write(root / "user", "sds:../held")
    world.write_archive(root / "user", root / "held")
    pipeline.run(path, out=root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of catalog, network and band energies; its primary cell is of band energies."""
    root = tmp_path_factory.mktemp("injection")
    folder = run_world(root, replace(WORLD, encoder={"name": str(tiny_encoder(root)["name"])}))
    choose(folder, **AMPLITUDE)
    return folder


def choose(folder: Path, **primary: object) -> None:
    """Make another cell the primary one."""
    result = json.loads((folder / "result.json").read_text())
    for cell in result["cells"]:
        cell["primary"] = all(cell[key] == value for key, value in primary.items())
    (folder / "result.json").write_text(strict_json(result))


@pytest.fixture
def folder(ready: Path, tmp_path: Path) -> Path:
    """A copy of it, for what writes."""
    return Path(shutil.copytree(ready, tmp_path / "out"))


def laid_out(folder: Path) -> tuple[Plan, Bench]:
    study = stored_study(folder)
    plan = stored_plan(folder, study)
    cell = next(c for c in json.loads((folder / "result.json").read_text())["cells"] if c["primary"])
    return plan, open_bench(folder, plan, study, tuple(cell[key] for key in CELL))


@pytest.fixture(scope="module")
def bench(ready: Path) -> Bench:
    return laid_out(ready)[1]


# --- one trial, from the definition -----------------------------------------------------------------------------------


def naive_zones(bench: Bench, times: list[int]) -> list[tuple[int, int]]:
    windows = bench.study.windows
    before, after = max(windows.hours) + windows.embargo_h, 2 + windows.embargo_h
    return [(t - round(before * HOUR), t + round(after * HOUR)) for t in times]


def naive_background(folder: Path, bench: Bench, zones: list[tuple[int, int]]) -> dict[str, dict[int, float]]:
    """Of each background: end → how often it was drawn, without what meets a zone, real ones included."""
    plan = stored_plan(folder, bench.study)
    assert plan.samples is not None
    length = round(bench.key[2] * HOUR)
    real = naive_zones(bench, list(times_us(plan.mainshocks["time"])))
    found: dict[str, dict[int, float]] = {}
    for row in plan.samples.itertuples():
        end = int(times_us([row.end])[0])
        assert not any(end > a and end - length <= b for a, b in real)
        if not any(end > a and end - length <= b for a, b in zones):
            found.setdefault(row.background, {})[end] = float(row.drawn)
    return found


def naive_percentile(value: float, background: dict[int, float], scores: dict[int, float]) -> float:
    x, below, total = float(round_significant(value)), 0.0, 0.0
    for end, weight in background.items():
        other = float(round_significant(scores[end]))
        below += weight * (1.0 if other < x else 0.5 if other == x else 0.0)
        total += weight
    return below / total


@pytest.mark.parametrize(("number", "size"), [(0, 0.0), (5, 1.5)])
def test_a_trial_is_what_loops_over_its_definition_give(ready: Path, bench: Bench, number: int, size: float) -> None:
    seed, gap = 11, round(bench.study.windows.gap_s * 1e6)
    positives = pseudo_positives(bench, number + 1, seed)[number]
    put = make_shift(bench, size, seed)
    trial = judge_trial(bench, put, positives, number, 99, seed)
    ends = [int(e) for e in bench.grid.ends[positives]]
    # the step from a window's end to the time that it points at is a whole number of steps of the grid: none
    zones = naive_zones(bench, [e + gap for e in ends])
    backgrounds = naive_background(ready, bench, zones)
    windows = pd.read_parquet(ready / "windows.parquet")
    windows = windows.loc[windows["hours"].eq(bench.key[2]) & windows["kind"].eq("background")]
    end_of = dict(zip(windows["window_id"], times_us(windows["end"]), strict=True))
    table = pd.read_parquet(ready / "features" / "amplitude.parquet")
    table = table.loc[table["window_id"].isin(end_of)].assign(end=lambda t: t["window_id"].map(end_of))
    u = np.empty((2, 3))
    by_station = []
    for s, station in enumerate(PLACES):
        mine = table.loc[table["station"].eq(station)].set_index("end").drop(columns=["window_id", "station"])
        mine = mine.loc[sorted(set(ends).union(*(set(b) for b in backgrounds.values())))].copy()
        for end in ends:
            mine.loc[end] = put(s, 0, mine.loc[[end]].to_numpy(), np.array([0]), number)[0]
        scores = novelty([Columns(mine.to_numpy(), tuple(mine.columns))], np.ones(len(mine), bool)).scores
        score_of = dict(zip(mine.index, scores, strict=True))
        by_station.append(score_of)
        u[s] = [naive_percentile(score_of[end], backgrounds["etas"], score_of) for end in ends]
    assert trial.u == pytest.approx(np.median(u, axis=0), abs=1e-12)
    assert trial.auc == pytest.approx(np.mean(np.median(u, axis=0)), abs=1e-12)
    assert len(trial.null) == 99
    assert trial.p == (1 + sum(x >= trial.auc - 1e-12 for x in trial.null)) / 100
    # its null: pseudo-mainshocks of the remaining background, each draw ranked without its own zones
    weights = np.array([[backgrounds["etas"].get(int(e), 0.0) for e in bench.grid.ends]])
    rng = np.random.default_rng([seed, crc32(b"injected null"), number])
    drawn = pseudo_mainshocks(
        bench.study, "etas", replace(bench.grid, weights={"etas": weights}), bench.drawable, 99, rng
    )
    for draw, expected in list(zip(drawn, trial.null, strict=True))[:12]:
        own = [int(e) for e in bench.grid.ends[draw]]
        rest = naive_background(ready, bench, zones + naive_zones(bench, [e + gap for e in own]))["etas"]
        each = [[naive_percentile(scores[e], rest, scores) for e in own] for scores in by_station]
        assert expected == pytest.approx(np.mean(np.median(each, axis=0)), abs=1e-12)


def test_pseudo_mainshocks_keep_blocks_stand_apart_and_few_are_the_first_of_many(bench: Bench) -> None:
    many = pseudo_positives(bench, 300, 0)
    assert many.shape == (300, 3)
    assert (many[:40] == pseudo_positives(bench, 40, 0)).all()
    assert (many != pseudo_positives(bench, 300, 1)).any()
    ends = np.sort(bench.grid.ends[many], axis=1)
    assert np.diff(ends, axis=1).min() > (max(bench.study.windows.hours) + 2 * 24 + 2) * HOUR
    weights = bench.grid.weights["etas"][0]
    assert (weights[many] > 0).all()
    assert np.all(bench.grid.candidate[0][many])  # none meets a real mainshock's zone
    real = bench.grid.positive_ends
    after = bench.grid.ends[many[:, 2]][:, None] - real
    assert ((after > 0) & (after <= 10 * 24 * HOUR)).any(axis=1).all()  # a further member follows a real mainshock
    assert not ((bench.grid.ends[many[:, 0]][:, None] - real > 0) & (bench.grid.ends[many[:, 0]][:, None] - real
                                                                      <= 10 * 24 * HOUR)).any(axis=1).all()  # fmt: skip


def test_too_few_background_windows_are_named(bench: Bench) -> None:
    weights = np.zeros_like(bench.grid.weights["etas"])
    weights[0, bench.parts[0].index[:2]] = 1.0
    with pytest.raises(StudyError, match="have no room for 3 pseudo-mainshocks 52 h apart"):
        pseudo_positives(replace(bench, grid=replace(bench.grid, weights={"etas": weights})), 10, 0)


# --- what is put in ---------------------------------------------------------------------------------------------------


def segment_vectors(folder: Path, plan: Plan, bench: Bench) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield position in the part, station and the stored vectors of the windows' drawn segments."""
    archive = open_archive(folder, bench.study, plan, bench)
    every = np.ones(len(archive.rows), dtype=bool)
    waves = archive.observe(every, {"amplitude": {"name": "band_energy"}}, archive.recipe, lambda w, u: w(u), None)
    for station in PLACES:
        vectors, at = waves.vectors("amplitude", station)
        drawn = waves.drawn[ALL, station]
        for row, segments in zip(drawn.rows, drawn.segments, strict=True):
            yield int(row), station, vectors[at[segments]].astype(np.float64)


def statistics_of(vectors: np.ndarray) -> np.ndarray:
    ratio = 0.5 * (vectors[:, 4::11] - vectors[:, 5::11]) + np.log10(100) / 8
    parts = [vectors.mean(0), vectors.std(0), vectors.max(0), np.quantile(vectors, 0.95, axis=0), ratio.mean(0)]
    return np.concatenate(parts)


def test_shifted_features_are_those_of_shifted_vectors(ready: Path) -> None:
    plan, bench = laid_out(ready)
    stored = list(segment_vectors(ready, plan, bench))
    shift = make_shift(bench, 2.5, 7)
    for part, station in enumerate(PLACES):
        mine = {row: vectors for row, name, vectors in stored if name == station}
        assert len(mine) == len(bench.parts[part].index)
        spread = np.concatenate(list(mine.values())).std(axis=0)
        table = bench.parts[part].columns[0].table
        for row in (0, 3, len(mine) - 1):
            assert table[row] == pytest.approx(statistics_of(mine[row]), rel=1e-9, abs=1e-9)
            moved = shift(part, 0, table[[row]], np.array([row]), 4)[0]
            step = (moved - table[row])[:33]
            assert np.linalg.norm(step / spread) == pytest.approx(2.5, rel=1e-9)
            assert moved == pytest.approx(statistics_of(mine[row] + step), rel=1e-9, abs=1e-9)
    other = shift(1, 0, table[[0]], np.array([0]), 4)[0] - table[0]
    first = shift(0, 0, bench.parts[0].columns[0].table[[0]], np.array([0]), 4)[0] - bench.parts[0].columns[0].table[0]
    spreads = [np.concatenate([v for _, n, v in stored if n == station]).std(axis=0) for station in PLACES]
    assert first[:33] / spreads[0] == pytest.approx(other[:33] / spreads[1], rel=1e-6)  # one direction for all stations
    assert not np.allclose(other, shift(1, 0, table[[0]], np.array([0]), 5)[0] - table[0])  # another in another trial


def test_only_statistics_of_vectors_can_be_shifted() -> None:
    with pytest.raises(StudyError, match="column 'snr_mean': is no statistic of segment vectors"):
        shift_effect(["mean_0", "snr_mean"])


def test_tremor_is_in_the_waveforms_before_they_are_encoded(folder: Path) -> None:
    plan, bench = laid_out(folder)
    archive = open_archive(folder, bench.study, plan, bench)
    band = (2.0, 8.0)
    levels = median_levels(archive, band)
    positives = pseudo_positives(bench, 8, 0)
    swap = make_swap(bench, archive, positives, Tremor(SIZE_DB, band, 5, levels))
    source = open_waveform_source(archive.source, folder=Path())
    waves = archive.observe(np.ones(len(archive.rows), bool), {}, archive.recipe, lambda w, u: w(u), None)
    part, station = 1, "IV.BBB"
    drawn, segments = waves.drawn[ALL, station], waves.segments[station]
    picked = int(np.flatnonzero(bench.parts[part].index == positives[3, 0])[0])
    seconds = times_us(segments["start"].iloc[drawn.segments[picked]]) // 1_000_000
    from obspy import UTCDateTime

    stream = source.get_waveforms("IV", "BBB", "", "HH?", UTCDateTime(int(seconds[0]) - 5),
                                  UTCDateTime(int(seconds[-1]) + 65))  # fmt: skip
    quiet, _ = cut_segments(stream, seconds, Segmenting())
    amplitude = np.sqrt(np.array(levels["IV.BBB..HH"]) * (10 ** (SIZE_DB / 10) - 1))
    noise = np.stack([amplitude[:, None] * band_noise(5, station, int(s), band) for s in seconds])
    vectors = BandEnergy().encode((quiet + noise).astype(np.float32)).astype(np.float16).astype(np.float64)
    values = swap.tables[part][0]
    assert values is not None
    assert values[picked] == pytest.approx(statistics_of(vectors), abs=2e-2, rel=2e-3)
    plain = bench.parts[part].columns[0].table[picked]
    assert np.abs(values[picked] - plain).max() > 0.3
    unpicked = ~np.isin(bench.parts[part].index, positives)
    assert np.isnan(values[unpicked]).all()
    assert np.isfinite(values[~unpicked]).all()
    # its level: the median over what the station's windows drew
    all_days = drawn.used
    stream = source.get_waveforms("IV", "BBB", "", "HH?", UTCDateTime(2016, 1, 1), UTCDateTime(2016, 5, 10))
    every, _ = cut_segments(stream, times_us(segments["start"].iloc[all_days]) // 1_000_000, Segmenting())
    assert levels["IV.BBB..HH"] == pytest.approx(np.median(band_power(every, band), axis=0), rel=0.1)
    power = band_power((quiet + noise).astype(np.float32), band).mean(axis=0)
    assert 10 * np.log10(power / np.array(levels["IV.BBB..HH"])) == pytest.approx(SIZE_DB, abs=1.0)


# --- the curve --------------------------------------------------------------------------------------------------------


def test_nothing_put_in_is_found_as_often_as_alpha_says_and_much_always(bench: Bench) -> None:
    # mainshocks in blocks of their own: the further members of a block have too few times of their kind here
    apart = replace(bench, grid=replace(bench.grid, blocks=np.array([1, 2, 3])))
    positives = pseudo_positives(apart, 400, 0)
    p = np.array([p for _, _, p in judge_trials(apart, None, positives, 199, 0, range(400))])
    assert 7 <= np.sum(p <= 0.05) <= 37  # of 400 at 5%: outside once in a thousand
    assert 160 <= np.sum(p <= 0.5) <= 240
    large = judge_trials(apart, make_shift(apart, 60.0, 0), positives, 199, 0, range(60))
    assert np.mean([p <= 0.05 for _, _, p in large]) >= 0.98


def test_more_is_found_of_more(folder: Path) -> None:
    before = (folder / "result.json").read_bytes()
    told: list[float] = []
    result = inject(folder, "embedding", [40, 0, 1.5], 100, 2, progress=lambda share, text: told.append(share))
    points = {p["size"]: p for p in result["curves"]}
    assert list(points) == [0, 1.5, 40]
    assert points[0]["rate"] < points[1.5]["rate"] < points[40]["rate"]
    assert points[40]["rate"] >= 0.7
    assert points[0]["mean_auc"] == pytest.approx(0.5, abs=0.1)
    assert all(p["rate"] == p["k"] / 100 and p["n"] == 100 for p in points.values())
    low, half = points[1.5], result["size_50"]
    assert (half is None) == (max(p["rate"] for p in points.values()) < 0.5)
    assert 0 < half <= 40
    assert (folder / "result.json").read_bytes() == before
    assert told == sorted(told)
    assert told[-1] == 1.0
    lines = injection_lines(result)
    assert "0 sd" in lines[1]
    assert "false alarms" in lines[1]
    assert f"{100 * low['rate']:.1f}%" in lines[2]


def test_tremor_is_found_by_amplitude_and_kinds_stand_side_by_side(folder: Path) -> None:
    vectors = inject(folder, "embedding", [0], 20)
    tremor = inject(folder, "tremor", [0, 12], 20)
    assert [e["kind"] for e in json.loads((folder / "injection.json").read_text())] == ["embedding", "tremor"]
    assert tremor["curves"][0] == vectors["curves"][0]  # the same trials, with nothing put in
    assert tremor["curves"][1]["rate"] >= 0.9
    assert tremor["unit"] == "dB"
    assert tremor["band_hz"] == [2, 8]


def test_sizes_join_are_not_made_again_and_give_the_same_bytes(folder: Path, ready: Path, tmp_path: Path) -> None:
    inject(folder, "tremor", [4], 2)
    parts = {p: p.stat().st_mtime_ns for p in (folder / "embeddings").rglob("*.parquet")}
    inject(folder, "tremor", [8], 2)
    more = {p: p.stat().st_mtime_ns for p in (folder / "embeddings").rglob("*.parquet")}
    assert {p: more[p] for p in parts} == parts
    assert len(more) > len(parts)
    both = (folder / "injection.json").read_bytes()
    assert [p["size"] for p in json.loads(both)[0]["curves"]] == [4, 8]
    (folder / "injection.json").unlink()  # killed before it was written: what is embedded stays embedded
    inject(folder, "tremor", [4, 8], 2)
    assert (folder / "injection.json").read_bytes() == both
    assert {p: p.stat().st_mtime_ns for p in (folder / "embeddings").rglob("*.parquet")} == more
    once = Path(shutil.copytree(ready, tmp_path / "once"))
    inject(once, "tremor", [8, 4], 2)
    assert (once / "injection.json").read_bytes() == both


def test_other_trials_are_another_curve(folder: Path) -> None:
    inject(folder, "embedding", [0, 2], 3)
    inject(folder, "embedding", [2], 4)
    inject(folder, "embedding", [5], 4, 1)
    points = json.loads((folder / "injection.json").read_bytes())[0]["curves"]
    assert [(p["size"], p["n"]) for p in points] == [(5, 4)]


def test_workers_change_nothing(folder: Path) -> None:
    alone = inject(folder, "embedding", [3], 12)
    (folder / "injection.json").unlink()
    assert inject(folder, "embedding", [3], 12, executor=processes(2)) == alone


def test_both_parts_of_a_sum_and_an_encoder_that_is_a_network(folder: Path) -> None:
    choose(folder, modality="catalog+seisclip", score="novelty", background="etas")
    bench = laid_out(folder)[1]
    assert bench.moved == ("", "seisclip")
    shift, rows = make_shift(bench, 1.0, 0), np.array([2])
    catalog, vectors = (c.table[rows] for c in bench.parts[0].columns)
    assert shift(0, 0, catalog, rows, 0) is catalog
    assert not np.allclose(shift(0, 1, vectors, rows, 0), vectors)
    result = inject(folder, "tremor", [0, 25], 12)
    assert result["cell"]["modality"] == "catalog+seisclip"
    assert result["curves"][1]["mean_auc"] > result["curves"][0]["mean_auc"] + 0.2


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sizes", "trials", "said"),
    [
        ("embeding", [0], 10, "--kind embeding: no such precursor; did you mean 'embedding'"),
        (
            "rate",
            [1],
            10,
            "--kind rate: events are added on simulated catalogs: `seisprobe calibrate --kind stationary",
        ),
        ("embedding", [], 10, "--size: none is given"),
        ("embedding", [-1], 10, "--size -1: must be a number from 0 on"),
        ("embedding", [float("nan")], 10, "--size nan: must be a number from 0 on"),
        ("tremor", [1], 0, "--trials 0: must be 1 or more"),
        ("tremor", [1], -5, "--trials -5: must be 1 or more"),
    ],
)
def test_what_is_asked_is_checked_before_anything_is_read(kind: str, sizes: list, trials: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        inject("nowhere", kind, sizes, trials)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def refused(folder: Path, kind: str = "embedding", **more: object) -> str:
    with pytest.raises(SeisprobeError) as caught:
        inject(folder, kind, [0], 5, **more)  # type: ignore[arg-type]
    return str(caught.value)


def test_folders_that_cannot_take_a_precursor(folder: Path, tmp_path: Path) -> None:
    assert "is no study folder" in refused(tmp_path / "nowhere")
    assert "give two frequencies" in refused(folder, "tremor", band_hz=(8.0, 2.0))
    assert "has no waveforms to put a precursor into" in refused(write_folder(tmp_path / "catalog", Shape()))
    choose(folder, modality="catalog", score="novelty", background="etas")
    assert "its primary cell, 'catalog', reads no waveforms" in refused(folder)
    choose(folder, modality="amplitude", score="logistic", background="etas")
    assert "only novelty is fitted again" in refused(folder)
    (folder / "result.json").unlink()
    assert "has no result.json yet; run its study to the end first" in refused(folder)
    assert not (folder / "injection.json").exists()


def test_a_cell_without_p_or_a_table_that_is_gone(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    cell = next(c for c in result["cells"] if c["primary"])
    cell |= {"p_pseudo": None, "why_null": {"p_pseudo": "no room for pseudo-mainshocks"}}
    (folder / "result.json").write_text(strict_json(result))
    assert "its primary cell has no p (no room for pseudo-mainshocks)" in refused(folder)
    cell["p_pseudo"] = 0.5
    (folder / "result.json").write_text(strict_json(result))
    (folder / "features" / "amplitude.parquet").unlink()
    assert "has no features/amplitude.parquet" in refused(folder)
    (folder / "windows.parquet").write_bytes(b"no table")
    assert "windows.parquet is not there or cannot be read" in refused(folder)


def test_an_older_file_is_no_hindrance(folder: Path) -> None:
    (folder / "injection.json").write_text("[{}, 3")
    first = inject(folder, "embedding", [0], 6)
    stale = json.loads((folder / "injection.json").read_text())
    stale[0]["of"]["seisprobe"] = "0.0.1"
    stale[0]["curves"][0]["k"] = 6
    (folder / "injection.json").write_text(strict_json(stale))
    assert inject(folder, "embedding", [0], 6) == first
