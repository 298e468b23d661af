"""From waveforms to a verdict: the whole way through a real server, features recounted, bad input in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seisprobe import pipeline
from seisprobe.catalog import distance_km
from seisprobe.embedding.executors import choose_executor
from seisprobe.embedding.store import open_store, stores
from seisprobe.errors import StudyError
from seisprobe.planning import check, leave_out, modalities_of, waveform_rows
from seisprobe.study import load_study
from support.dataselect_server import RealServer, StationService, WaveformCentre, inventory_of, lacking_server
from support.embeddings import tiny_encoder
from support.seen import PLACES, Seen
from support.seisclip import golden_state
from support.studies import call, command, environment

WHOLE = Seen(background_count=12, per_window=10, segments={"hop_s": 60})


@cache
def tiny(folder: Path) -> dict[str, object]:
    return {"name": str(tiny_encoder(folder)["name"])}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run: user/ (the study), held/ (its waveforms), out/ (the result)."""
    root = tmp_path_factory.mktemp("seen")
    world = Seen(encoder=tiny(root), modalities=(*Seen.modalities, "seisclip_residual"))
    path = world.write(root / "user", "sds:../held")
    world.write_archive(root / "user", root / "held")
    pipeline.run(path, out=root / "out")
    return root


def result_in(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def cell_in(result: dict, modality: str, background: str = "etas") -> dict:
    return next(c for c in result["cells"] if (c["modality"], c["score"], c["background"]) == (modality, "novelty",
                                                                                             background))  # fmt: skip


def test_the_way_from_a_data_centre_to_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacking_server():
        pytest.skip(lacking_server())
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    torch.save(golden_state(), tmp_path / "golden.pt")
    world = replace(WHOLE, encoder={"name": str(tmp_path / "golden.pt")})
    path = world.write(tmp_path / "user", "fdsn:http://127.0.0.1:1")
    told = world.write_archive(tmp_path / "user", tmp_path / "held")
    with (
        RealServer(tmp_path / "held", tmp_path / "server") as real,
        WaveformCentre(StationService(inventory_of(told)), real) as centre,
    ):
        source = ("--set", f"waveforms.source=fdsn:{centre.url}", "--out", "out")
        fetched = call("fetch", path, *source, "-q", folder=tmp_path)
        assert fetched.returncode == 0, fetched.stderr
        done = call("run", path, *source, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = result_in(tmp_path / "out")
    assert result["verdict"]["word"] in done.stdout
    primary = next(cell for cell in result["cells"] if cell["primary"])
    assert (primary["modality"], primary["score"], primary["background"]) == ("catalog+seisclip", "novelty", "etas")
    assert 0 < primary["p_pseudo"] <= 1
    assert set(primary["stations"]) == {"IV.AAA", "IV.BBB"}
    pairs = {(c["a"], c["b"]) for c in result["comparisons"]}
    assert {("seisclip", "catalog"), ("catalog+seisclip", "catalog"), ("seisclip", "amplitude"),
            ("catalog+seisclip", "etas_rate")} <= pairs  # fmt: skip
    assert result["verdict"]["adds"]
    assert result["waveforms"]["stations"]["IV.AAA"]["dropped"] == {"too_few_segments": 0}
    assert (tmp_path / "out" / "report.html").stat().st_size > 50_000
    settled = load_study(tmp_path / "out" / "study.toml")
    assert (settled.encoder.precision, settled.encoder.backend) == ("float32", "torch")


def test_statistics_equal_a_direct_computation_from_the_stored_vectors(seen: Path) -> None:
    study = load_study(seen / "out" / "study.toml")
    table = pd.read_parquet(seen / "out" / "features" / "seisclip.parquet").set_index(["window_id", "station"])
    windows = pd.read_parquet(seen / "out" / "windows.parquet").set_index("window_id")
    store = next(s for s in map(open_store, stores(seen / "out" / "embeddings"))
                 if "tiny" in str((s.settings["encoder"] or {}).get("encoder")))  # fmt: skip
    looked = next(s for s in map(open_store, stores(seen / "out" / "embeddings")) if s.settings["encoder"] is None)
    rng = np.random.default_rng(0)
    rows = table.index[rng.permutation(len(table))[:25]]
    for window_id, station in rows:
        window, (network, code) = windows.loc[window_id], station.split(".")
        mine, _ = looked.read_window(network, code, window["start"], window["end"], ())
        mine = mine.loc[mine["reason"].eq("")]
        order = pd.util.hash_array(mine["segment_id"].to_numpy(object), hash_key=f"segments {study.study.seed:07d}")
        count = study.segments.per_window if window["hours"] in study.windows.hours else study.segments.per_window // 2
        drawn = set(mine["segment_id"].iloc[np.argsort(order)[:count]])
        kept, vectors = store.read_window(network, code, window["start"], window["end"])
        found = vectors[kept.loc[kept["reason"].eq(""), "segment_id"].isin(drawn)].astype(np.float64)
        assert len(found) == count
        d = found.shape[1]
        own = table.loc[(window_id, station)].to_numpy().reshape(4, d)
        assert own[0] == pytest.approx(found.mean(axis=0), abs=1e-6)
        assert own[1] == pytest.approx(found.std(axis=0), abs=1e-6)
        assert own[2] == pytest.approx(found.max(axis=0), abs=1e-6)
        low, high = np.sort(found, axis=0)[[int(0.95 * (count - 1)), int(0.95 * (count - 1)) + 1]]
        part = 0.95 * (count - 1) % 1
        assert own[3] == pytest.approx(low + part * (high - low), abs=1e-6)


def test_every_window_and_station_has_a_row_and_both_parts_of_a_sum(seen: Path) -> None:
    study = load_study(seen / "out" / "study.toml")
    catalog, _ = pipeline.read_catalog(study, seen / "out")
    rows, counts = waveform_rows(study, pipeline.make_plan(study, catalog))
    table = pd.read_parquet(seen / "out" / "features" / "seisclip.parquet")
    assert sorted(zip(table["window_id"], table["station"], strict=True)) == sorted(
        (window, station) for window in rows["window_id"] for station in ("IV.AAA", "IV.BBB")
    )
    asked = rows["hours"].isin(study.windows.hours)
    assert (counts == np.where(asked, 10, 5)).all()
    result = result_in(seen / "out")
    for name in ("seisclip", "catalog+seisclip", "amplitude", "seisclip_residual"):
        cell = cell_in(result, name)
        assert cell["auc"] is not None, cell["why_null"]
        assert cell["k_used"] == 3
        assert cell["why_null"]["p_shift"]
        assert np.mean(list(cell["percentiles"].values())) == pytest.approx(cell["auc"])
    assert cell_in(result, "amplitude")["verdict"] is None  # a baseline
    assert cell_in(result, "seisclip")["verdict"]
    assert cell_in(result, "station_state")["auc"] is None  # a perfect record: nothing to rank


def test_a_second_run_does_nothing_and_a_fresh_one_gives_the_same_bytes(seen: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (seen / "out").rglob("*")
              if p.is_file() and p.name not in ("run.log", ".lock")}  # fmt: skip
    pipeline.run(seen / "user" / "study.toml", out=seen / "out")
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before}
    assert after == before
    pipeline.run(seen / "user" / "study.toml", out=seen / "again", executor=choose_executor(2, None))
    assert (seen / "again" / "result.json").read_bytes() == (seen / "out" / "result.json").read_bytes()
    for name in ("seisclip", "amplitude"):
        path = Path("features") / f"{name}.parquet"
        pd.testing.assert_frame_equal(pd.read_parquet(seen / "again" / path), pd.read_parquet(seen / "out" / path))


def test_with_the_whole_record_joint_shifts_have_a_p(tmp_path: Path) -> None:
    world = Seen(
        days=5.0, shocks=(("Alfa", 1.4, 6.0), ("Beta", 3.6, 5.8)), modalities=("catalog", "amplitude"),
        windows={"hours": [2], "embargo_h": 2}, segments={"whole_record": True}, per_window=4, piece_h=2.0,
    )  # fmt: skip
    path = world.write(tmp_path / "user", "sds:../held")
    world.write_archive(tmp_path / "user", tmp_path / "held")
    result = pipeline.run(path, out=tmp_path / "out")
    cell = cell_in(result, "amplitude", "uniform")
    assert 0 < cell["p_shift"] <= 1
    assert cell["n_background"] > 30
    assert result["waveforms"]["samples"] == {}


def test_stations_stand_for_near_mainshocks_and_masked_segments_for_what_no_event_shakes(tmp_path: Path) -> None:
    world = Seen(
        background_count=8, encoder=tiny(tmp_path), modalities=("catalog", "seisclip", "seisclip_masked"),
        windows={"hours": [2], "radius_km": 90.0}, evaluation={"backgrounds": ["uniform"], "headline": "uniform"},
    )  # fmt: skip
    path = world.write(tmp_path / "user", "sds:../held")
    told = world.write_archive(tmp_path / "user", tmp_path / "held")
    inventory_of(told).write(str(tmp_path / "held" / "stations.xml"), format="STATIONXML")
    result = pipeline.run(path, out=tmp_path / "out")
    places = dict(zip(("Alfa", "Beta", "Gamma"), world.world.places(), strict=True))
    rows = pd.read_parquet(tmp_path / "out" / "windows.parquet").set_index("window_id")
    table = pd.read_parquet(tmp_path / "out" / "features" / "seisclip.parquet")
    found = set(zip(table["station"], rows.loc[table["window_id"], "mainshock"], strict=True))
    expected = {
        (station, name) for station, (lat, lon) in PLACES.items() for name, (a, b) in places.items()
        if float(distance_km(np.array([lat]), np.array([lon]), a, b)[0]) <= 90.0
    }  # fmt: skip
    assert found == expected
    assert len(expected) < 6
    assert cell_in(result, "seisclip", "uniform")["auc"] is not None
    masked = pd.read_parquet(tmp_path / "out" / "features" / "seisclip_masked.parquet")
    both = table.merge(masked, on=["window_id", "station"], suffixes=("", "_masked"))
    changed = (both["mean_0"] != both["mean_0_masked"]).to_numpy()
    assert rows.loc[both["window_id"][changed], "kind"].eq("post").any()  # aftershocks
    assert not changed.all()


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_station_that_ends_halfway_is_named_with_how_much_it_covers(tmp_path: Path, seen: Path) -> None:
    shutil.copytree(seen / "held", tmp_path / "held")
    for path in (tmp_path / "held" / "2016" / "IV" / "AAA").rglob("*.D.2016.*"):
        if int(path.name[-3:]) > 70:
            path.unlink()
    path = replace(Seen(), modalities=("catalog", "amplitude")).write(tmp_path / "user", "sds:../held")
    done = call("run", path, "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "IV.AAA: " in done.stderr
    assert "windows have enough valid segments" in done.stderr
    stations = result_in(tmp_path / "out")["waveforms"]["stations"]
    assert "IV.BBB" in stations
    if "IV.AAA" in stations:
        assert stations["IV.AAA"]["dropped"]["too_few_segments"] > 0


def test_no_station_that_covers_half_of_the_windows_is_one_line(tmp_path: Path, seen: Path) -> None:
    for path in (seen / "held").rglob("*.D.2016.*"):
        if int(path.name[-3:]) < 30:
            copy = tmp_path / path.relative_to(seen)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    path = Seen(modalities=("catalog", "amplitude")).write(tmp_path / "user", "sds:../held")
    done = call("run", path, "--out", "out", "-q", folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no station has enough valid segments in half of the windows; IV.AAA: " in done.stderr
    assert " of 54 windows have enough valid segments; left out; IV.BBB: " in done.stderr


def test_more_segments_than_a_window_holds_are_refused_at_once() -> None:
    with pytest.raises(StudyError, match=r"per_window = 120 does not fit into windows of 2 h, which hold 119 whole"):
        check(Seen(per_window=120).study())
    check(Seen(per_window=119).study())
    with pytest.raises(StudyError, match=r"per_window = 60 does not fit into windows of 1 h, which hold 59 whole"):
        check(Seen(per_window=60, windows={"hours": [2], "layouts": ["until-event", "at-lead"]}).study())


def test_leaving_everything_out_is_refused() -> None:
    study = Seen(modalities=("seisclip", "catalog+seisclip")).study()
    with pytest.raises(StudyError, match="--without seisclip: no modality of this study is left"):
        leave_out(study, ["seisclip"])
    assert [m.name for m in leave_out(Seen().study(), ["seisclip"]).modality] == ["catalog", "amplitude"]


def test_an_encoder_without_weights_is_one_line_and_can_be_left_out(tmp_path: Path, seen: Path) -> None:
    world = Seen(encoder={"name": "seisclip-120"})
    path = world.write(tmp_path / "user", f"sds:{seen / 'held'}")
    (tmp_path / "no-weights").mkdir()
    monkey = {"XDG_CACHE_HOME": str(tmp_path / "no-weights"), "XDG_DATA_HOME": str(tmp_path / "no-weights")}
    done = subprocess.run(command("run", path, "--out", "out", "-q"), cwd=tmp_path, env=environment() | monkey,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) == 1
    assert "seisprobe weights" in done.stderr
    assert "--without seisclip" in done.stderr
    assert not (tmp_path / "out").exists()
    done = call("run", path, "--out", "out", "-q", "--without", "seisclip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {c["modality"] for c in result_in(tmp_path / "out")["cells"]} >= {"catalog", "amplitude"}


def test_masked_segments_need_to_know_where_the_stations_stand(tmp_path: Path, seen: Path) -> None:
    world = Seen(modalities=("catalog", "seisclip_masked"), encoder=tiny(seen))
    path = world.write(tmp_path / "user", f"sds:{seen / 'held'}")
    with pytest.raises(
        StudyError, match=r"'seisclip_masked' needs to know where the stations stand; put a stations.xml"
    ):
        pipeline.run(path, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("modalities", "said"),
    [
        (("catalog", "seisclp"), "did you mean 'seisclip'"),
        (("catalog", "catalog"), "stands twice"),
        (("catalog+catalog",), "cannot be part of it"),
        (("catalog+station_state",), "cannot be part of it"),
        (("catalog+seisclp",), "did you mean 'seisclip'"),
    ],
)
def test_wrong_modalities_are_refused_before_any_work(modalities: tuple[str, ...], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        check(Seen(modalities=modalities).study())


def test_a_modality_of_waveforms_needs_waveforms(tmp_path: Path) -> None:
    path = Seen().write(tmp_path, "sds:held")
    study = load_study(path).model_copy(update={"waveforms": None, "segments": None, "encoder": None})
    with pytest.raises(StudyError, match=r"'seisclip' reads waveforms; add \[waveforms\] source"):
        check(study)


def test_a_study_with_waveforms_and_no_list_looks_at_all_of_them() -> None:
    study = Seen().study().model_copy(update={"modality": ()})
    assert list(modalities_of(study))[:4] == ["catalog", "seisclip", "catalog+seisclip", "amplitude"]
    assert "station_state" in modalities_of(study)


def test_vectors_of_another_encoder_stay_beside_and_are_not_mixed_in(tmp_path: Path, seen: Path) -> None:
    shutil.copytree(seen / "out", tmp_path / "out")
    before = {p.name for p in stores(tmp_path / "out" / "embeddings")}
    for name in ("result.json", "report.html", "study.toml"):
        (tmp_path / "out" / name).unlink()
    world = Seen(encoder={"name": str(tiny_encoder(tmp_path, seed=3)["name"])}, modalities=("catalog", "seisclip"))
    result = pipeline.run(world.write(tmp_path / "user", f"sds:{seen / 'held'}"), out=tmp_path / "out")
    new = {p.name for p in stores(tmp_path / "out" / "embeddings")} - before
    assert len(new) == 1
    assert result["waveforms"]["encoders"]["seisclip"]["encoder"] == "tiny-3"
    one, other = (pd.read_parquet(folder / "out" / "features" / "seisclip.parquet") for folder in (seen, tmp_path))
    assert one["window_id"].equals(other["window_id"])
    assert not np.allclose(one["mean_0"], other["mean_0"])
