"""A study of event traces, from INSTANCE's two files to a verdict; and what such a study cannot ask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tomli_w

from seisprobe import pipeline
from seisprobe.catalog import times_us
from seisprobe.embedding.drawing import priorities
from seisprobe.embedding.store import open_store, stores
from seisprobe.errors import InputError, StudyError
from seisprobe.planning import check, modalities_of, waveform_rows
from seisprobe.study import load_study
from support.embeddings import tiny_encoder
from support.instance_files import metadata, write_table, write_waves
from support.seen import Seen
from support.shared import ROOT, shared_file

MODALITIES = ("catalog", "seisclip", "catalog+seisclip", "seisclip_metadata", "trace_metadata", "amplitude")
MINUTES = 4  # that stand for a window: two traces
AMPLITUDES = ("trace_pga_cmps2", "trace_pgv_cmps", *(f"trace_{c}_rms_counts" for c in "ENZ"))


def world_of(**changes: Any) -> Seen:
    return replace(Seen(background_count=12, per_window=MINUTES, modalities=MODALITIES), **changes)


def write_study(folder: Path, world: Seen, source: str = "instance:instance") -> Path:
    """Write catalog.txt and study.toml of a study of traces; return the study file."""
    path = world.write(folder, source)
    raw = world.raw(source)
    path.write_text(tomli_w.dumps(raw | {"waveforms": {"source": source}}), encoding="utf-8")
    return path


def write_traces(path: Path, in_a_window: int) -> None:
    """Write INSTANCE's files beside a study: some traces in every window that needs them, by seed, not in order."""
    study = load_study(path)
    windows, _ = waveform_rows(study, pipeline.plan(path))
    rng = np.random.default_rng(3)
    first, last = times_us(windows["start"]), times_us(windows["end"]) - 120_000_000
    starts = rng.permutation(np.concatenate([rng.integers(first, last) for _ in range(in_a_window)]))
    table = metadata(len(starts))
    texts = [f"{text}Z" for text in np.datetime_as_string(starts.astype("datetime64[us]"))]
    table = table.set_column(table.column_names.index("trace_start_time"), "trace_start_time", pa.array(texts))
    for name in AMPLITUDES:
        values = pa.array(rng.lognormal(0, 2, len(starts)).round(6))
        table = table.set_column(table.column_names.index(name), name, values)
    folder = path.parent / "instance"
    folder.mkdir()
    write_table(folder / "metadata_Instance_events_v2.csv", table)
    write_waves(folder / "Instance_events_counts.hdf5", len(starts))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run: user/ (the study and the traces), out/ (the result)."""
    root = tmp_path_factory.mktemp("instance")
    world = world_of(encoder={"name": str(tiny_encoder(root)["name"])})
    path = write_study(root / "user", world)
    write_traces(path, 2)
    pipeline.run(path, out=root / "out")
    return root


def table_in(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(root / "out" / "features" / f"{name}.parquet")


def test_a_study_of_traces_comes_to_a_verdict_and_a_second_run_does_nothing(ran: Path) -> None:
    before = (ran / "out" / "result.json").read_bytes()
    result = json.loads(before)
    assert result["verdict"]["word"]
    primary = next(cell for cell in result["cells"] if cell["primary"])
    assert (primary["modality"], primary["score"]) == ("catalog+seisclip", "novelty")
    assert 0 < primary["p_pseudo"] <= 1
    novel = {c["modality"]: c for c in result["cells"] if (c["score"], c["background"]) == ("novelty", "etas")}
    for name in MODALITIES:
        assert 0 <= novel[name]["auc"] <= 1, name
        assert novel[name]["k_used"] == 3
    assert (ran / "out" / "report.html").stat().st_size > 10_000
    parts = {path: path.stat().st_mtime_ns for path in (ran / "out").rglob("*.parquet")}
    pipeline.run(ran / "user" / "study.toml", out=ran / "out")
    assert (ran / "out" / "result.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in (ran / "out").rglob("*.parquet")} == parts


def test_trace_metadata_of_a_run_is_a_recount_of_the_table(ran: Path) -> None:
    table = pd.read_csv(ran / "user" / "instance" / "metadata_Instance_events_v2.csv")
    start = pd.to_datetime(table["trace_start_time"], utc=True)
    snr = table[[f"trace_{c}_snr_db" for c in "ENZ"]].mean(axis=1)
    rms = np.sqrt((table[[f"trace_{c}_rms_counts" for c in "ENZ"]] ** 2).mean(axis=1))
    found = table_in(ran, "trace_metadata").set_index("window_id")
    windows = pd.read_parquet(ran / "out" / "windows.parquet").set_index("window_id").loc[found.index]
    assert {"positive", "post", "background"} <= set(windows["kind"])
    for name, window in windows.iterrows():
        mine = (start >= window["start"]) & (start < window["end"])
        expected = [
            mine.sum(), table.loc[mine, "station_code"].nunique(), snr[mine].mean(), snr[mine].max(),
            *(np.log10(how(table.loc[mine, column])) for column in AMPLITUDES[:2] for how in (np.mean, np.max)),
            np.log10(rms[mine].mean()), np.log10(rms[mine].max()),
        ]  # fmt: skip
        assert mine.sum() >= 2
        np.testing.assert_allclose(found.loc[name].iloc[1:].astype(float), expected, rtol=1e-9, err_msg=str(name))


@pytest.mark.parametrize(("modality", "column"), [("seisclip", "vector"), ("seisclip_metadata", "metadata_vector")])
def test_features_are_statistics_of_the_stored_vectors_of_exactly_so_many_segments(
    ran: Path, modality: str, column: str
) -> None:
    store = store_of_metadata(ran)
    table, vectors = store.read(store.units(), (column,))
    assert table["reason"].eq("").all()
    starts, order = times_us(table["start"]), priorities(table["segment_id"], 0)
    found = table_in(ran, modality).set_index("window_id")
    windows = pd.read_parquet(ran / "out" / "windows.parquet").set_index("window_id").loc[found.index]
    begin, end = times_us(windows["start"]), times_us(windows["end"]) - 60_000_000
    for row, (name, window) in enumerate(windows.iterrows()):
        inside = np.flatnonzero((starts >= begin[row]) & (starts <= end[row]))
        drawn = inside[np.argsort(order[inside])][: MINUTES if window["hours"] == 2 else MINUTES // 2]
        mine = vectors[drawn].astype(np.float64)
        assert len(mine) == (MINUTES if window["hours"] == 2 else MINUTES // 2)
        expected = [*mine.mean(axis=0), *mine.std(axis=0), *mine.max(axis=0), *np.quantile(mine, 0.95, axis=0)]
        np.testing.assert_allclose(found.loc[name].iloc[1:].astype(float), expected, rtol=1e-9, err_msg=str(name))


def store_of_metadata(ran: Path) -> Any:
    found = [open_store(folder) for folder in stores(ran / "out" / "embeddings")]
    (mine,) = (store for store in found if store.settings["metadata"])
    return mine


def test_both_vectors_of_a_trace_are_in_one_store(ran: Path) -> None:
    # segments alone, band energies, and SeisCLIP once for waveforms and metadata
    assert len(stores(ran / "out" / "embeddings")) == 3
    result = json.loads((ran / "out" / "result.json").read_text())
    assert set(result["waveforms"]["encoders"]) == {"amplitude", "metadata", "seisclip"}
    assert result["waveforms"]["encoders"]["metadata"] == result["waveforms"]["encoders"]["seisclip"]


def test_too_few_traces_are_one_line_that_says_what_would_do(ran: Path, tmp_path: Path) -> None:
    setting = ("segments.per_window=40", f"waveforms.source=instance:{ran}/user/instance")
    path = write_study(tmp_path, world_of(modalities=("catalog", "trace_metadata")))
    with pytest.raises(
        InputError, match=r"\d+ of \d+ windows have enough traces \(40 minutes.* per_window to \d+"
    ) as e:
        pipeline.run(path, out=tmp_path / "out", settings=setting)
    said = str(e.value)
    assert len(said.splitlines()) == 1
    enough = int(said.rpartition("per_window to ")[2].split()[0])
    assert MINUTES <= enough < 40
    done = pipeline.run(path, out=tmp_path / "again", settings=[f"segments.per_window={enough}", setting[1]])
    assert done["verdict"]["word"]
    with pytest.raises(InputError, match="windows have enough traces"):
        pipeline.run(path, out=tmp_path / "more", settings=[f"segments.per_window={enough + 2}", setting[1]])


@pytest.mark.parametrize("modality", ["trace_metadata", "seisclip_metadata", "catalog+trace_metadata"])
@pytest.mark.parametrize("source", ["sds:held", "mseed:held", "fdsn:INGV"])
def test_metadata_of_traces_are_refused_of_a_continuous_record(tmp_path: Path, modality: str, source: str) -> None:
    path = write_study(tmp_path, world_of(modalities=("catalog", modality)), source)
    study = load_study(path)
    with pytest.raises(
        StudyError, match=r"'\w+_metadata' reads the metadata of event traces; .*instance:PATH"
    ) as error:
        check(study)
    assert len(str(error.value).splitlines()) == 1


def test_an_encoder_without_metadata_is_one_line(ran: Path, tmp_path: Path) -> None:
    world = world_of(modalities=("catalog", "seisclip_metadata"), encoder={"name": "band_energy"})
    path = write_study(tmp_path, world, f"instance:{ran}/user/instance")
    with pytest.raises(InputError, match="metadata are embedded by SeisCLIP alone") as error:
        pipeline.run(path, out=tmp_path / "out")
    assert len(str(error.value).splitlines()) == 1


def test_places_are_refused_of_pooled_traces(ran: Path, tmp_path: Path) -> None:
    world = world_of(modalities=("catalog", "trace_metadata"), windows={"radius_km": 30.0})
    path = write_study(tmp_path, world, f"instance:{ran}/user/instance")
    with pytest.raises(StudyError, match="radius_km: traces of events are taken of all stations together"):
        pipeline.run(path, out=tmp_path / "out")


def test_the_study_of_norcia_on_instance_asks_what_the_other_asks() -> None:
    path = ROOT / "studies" / "norcia-2016-instance.toml"
    study, other = load_study(path), load_study(ROOT / "studies" / "norcia-2016.toml")
    check(study)
    for section in ("mainshock", "windows", "catalog"):
        assert getattr(study, section) == getattr(other, section)
    assert study.study.model_copy(update={"name": other.study.name}) == other.study
    assert set(modalities_of(study)) >= {
        "catalog",
        "seisclip",
        "catalog+seisclip",
        "seisclip_metadata",
        "trace_metadata",
    }
    source = f"catalog.source=file:{shared_file('data/catalogues/ingv_italy_m2.5_2015-2026.txt')}"
    planned = pipeline.plan(
        path, settings=[source, "evaluation.backgrounds=['uniform']", "evaluation.headline=uniform"]
    )
    assert len(planned.mainshocks) == 3
