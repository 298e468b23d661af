"""From a plan to vectors: fetch what lacks, look at every segment of the windows, draw some of them, embed those."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seisprobe.catalog import distance_km, times_us
from seisprobe.embedding.components import Segmenting
from seisprobe.embedding.embed import epoch_edges
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.masking import shaken_spans, station_places
from seisprobe.embedding.waves import ALL, METADATA, Request, Waves, observe
from seisprobe.embedding.work import Recipe
from seisprobe.errors import InputError, StudyError
from seisprobe.evaluation.cells import generator
from seisprobe.fetching import archive_of, data_centre, fetch_planned, waveform_query
from seisprobe.intake import Progress
from seisprobe.planning import Plan, modalities_of, tabled, waveform_rows
from seisprobe.sources.fdsn_stations import read_stations
from seisprobe.study import Study

__all__ = [
    "encoders_of",
    "event_spans",
    "near_windows",
    "needs_waveforms",
    "number_of_networks",
    "observe_study",
    "settle",
    "single_segments",
    "station_metadata",
    "waveform_report",
]

log = logging.getLogger("seisprobe")
SINGLE = 1500  # segments of each station, of which day and night take 500 each
STATION_FILES = "stations.xml"


def needs_waveforms(study: Study) -> bool:
    """Return whether any modality of a study reads waveforms."""
    return study.waveforms is not None and any(m.sampled for m in modalities_of(study).values())


def number_of_networks(study: Study) -> int:
    """Return how many networks of random weights a study runs."""
    return sum(name.startswith("random_encoder_") for name in modalities_of(study))


def encoders_of(study: Study) -> dict[str, dict[str, Any]]:
    """Return the encoders that a study's modalities read, by use: arguments of `seisclip.make_encoder`."""
    assert study.encoder is not None
    modalities = tabled(modalities_of(study))
    uses = {modality.encoder for modality in modalities.values() if modality.encoder}
    how = study.encoder.model_dump(include={"precision", "backend", "batch", "threads"})
    own = study.encoder.model_dump(include={"name", "weights"}) | how
    if study.encoder.name == "band_energy":
        own = {"name": "band_energy"}
    elif study.encoder.name == "random_encoder":
        own = {"name": "random_encoder"} | how
    made = {
        "seisclip": own,
        METADATA: own,
        "amplitude": {"name": "band_energy"},
        "random": {"name": "random_encoder", "seeds": list(range(number_of_networks(study))), **how},
    }
    return {use: made[use] for use in sorted(uses)}


def settle(study: Study) -> Study:
    """Return a study of waveforms with precision, backend and threads of its encoder decided on this machine.

    Raises
    ------
    SeisprobeError
        An encoder that cannot be made: no weights, no torch.
    """
    assert study.encoder is not None
    from seisprobe.seisclip import make_encoder

    decided: dict[str, Any] = {}
    for use, arguments in encoders_of(study).items():
        try:
            encoder = make_encoder(**arguments)
        except InputError as error:
            if use == "amplitude":
                raise
            raise type(error)(f"{error}; or leave it out: --without {_modality_word(use)}") from None
        if not decided and hasattr(encoder, "options"):
            decided = {key: getattr(encoder.options, key) for key in ("precision", "backend", "threads")}
    return study.model_copy(update={"encoder": study.encoder.model_copy(update=decided)})


def _modality_word(use: str) -> str:
    return {"random": "random_encoder", METADATA: "seisclip_metadata"}.get(use, use)


def observe_study(
    study: Study, plan: Plan, folder: Path, *, executor: Executor = serial, progress: Progress | None = None
) -> Waves:
    """Return what a plan's windows see of the waveforms; what is in the folder already is not made again.

    Parameters
    ----------
    study : Study
        Settled.
    plan : Plan
    folder : Path
        The study folder.
    executor, progress
        As for `embed`.

    Raises
    ------
    SeisprobeError
        As `fetch_waveforms` and `observe`.
    """
    assert study.waveforms is not None
    assert study.segments is not None
    assert study.encoder is not None
    fetched = fetch_planned(study, plan, folder, progress=progress)
    for problem in fetched.problems if fetched else ():
        log.warning("%s", problem)
    rows, counts = waveform_rows(study, plan)
    query, _ = waveform_query(study, rows)
    source = f"sds:{archive_of(study, folder).resolve()}" if data_centre(study) else study.waveforms.source
    inventory = station_metadata(study, folder)
    places = station_places(inventory)
    request = Request(rows, counts, study.study.seed, near_windows(rows, places), event_spans(study, plan, places))
    segmenting = Segmenting(study.segments.hop_s, study.segments.max_gap_s)
    edges = {} if inventory is None else epoch_edges(inventory)
    recipe = Recipe(None, segmenting, dtype=study.encoder.dtype, edges=edges)
    encoders = encoders_of(study)
    return observe(
        source, query, folder / "embeddings", request, recipe, encoders, executor=executor, progress=progress
    )


def station_metadata(study: Study, folder: Path) -> Any:
    """Return station metadata: of the archive, or of the folder of an SDS archive that the study names."""
    assert study.waveforms is not None
    scheme, _, rest = study.waveforms.source.partition(":")
    if scheme == "sds":
        return read_stations(Path(rest))
    return read_stations(archive_of(study, folder)) if scheme == "fdsn" else None


def near_windows(rows: pd.DataFrame, places: Mapping[str, tuple[float, float]]) -> Callable[[str], np.ndarray] | None:
    """Return which windows a station stands for: those of places within reach of it; None: every one."""
    if rows["radius_km"].isna().all():
        return None

    def near(station: str) -> np.ndarray:
        if not station:
            raise StudyError("[windows] radius_km: traces of events are taken of all stations together; leave it out")
        if station not in places:
            raise StudyError(
                f"[windows] radius_km: where {station} stands is not known; put a {STATION_FILES} with"
                " its coordinates into the archive, or leave radius_km out"
            )
        flat = distance_km(rows["latitude"].to_numpy(), rows["longitude"].to_numpy(), *places[station])
        return np.asarray(flat <= rows["radius_km"].to_numpy())

    return near


def event_spans(study: Study, plan: Plan, places: Mapping[str, tuple[float, float]]) -> dict[str, Any] | None:
    """Return when events shake each station, where a modality wants segments without."""
    if "seisclip_masked" not in tabled(modalities_of(study)):
        return None
    if not places:
        raise StudyError(
            f"[[modality]] 'seisclip_masked' needs to know where the stations stand; put a {STATION_FILES} into the"
            " archive, or leave the modality out"
        )
    return {station: shaken_spans(plan.setting.events, *place) for station, place in places.items()}


def single_segments(study: Study, plan: Plan, waves: Waves) -> dict[str, pd.DataFrame]:
    """Return vectors of single segments of the uniform sample, by modality, for day against night.

    Returns
    -------
    dict of str to DataFrame
        ``station``, ``start``, then the numbers of the vectors; at most 1,500 segments a station.
    """
    if "seisclip" not in waves.stores:
        return {}
    ids = set(plan.windows.loc[plan.windows["kind"].eq("background"), "window_id"])
    if plan.samples is not None:
        ends = plan.samples.loc[plan.samples["background"].eq("uniform"), "end"]
        ids &= set(plan.windows.loc[plan.windows["end"].isin(ends), "window_id"])
    background = waves.windows["window_id"].isin(ids).to_numpy()
    tables = []
    for station in waves.stations:
        drawn = waves.drawn[ALL, station]
        used = [s for row, s in zip(drawn.rows, drawn.segments, strict=True) if background[row]]
        every = np.unique(np.concatenate([np.empty(0, np.int64), *used]))
        rng = generator(study.study.seed, f"single segments {station}")
        some = np.sort(rng.permutation(every)[:SINGLE])
        vectors, at = waves.vectors("seisclip", station)
        table = pd.DataFrame(vectors[at[some]].astype(np.float64)).add_prefix("v")
        table.insert(0, "station", station)
        table.insert(1, "start", waves.segments[station]["start"].to_numpy()[some])
        tables.append(table)
    return {"seisclip": pd.concat(tables, ignore_index=True)} if tables else {}


def waveform_report(study: Study, plan: Plan, waves: Waves) -> dict[str, Any]:
    """Return what of the waveforms a result says: stations, samples, and what became of windows and segments."""
    assert study.waveforms is not None
    assert study.segments is not None
    stations = {}
    for station in waves.stations:
        table, drawn = waves.segments[station], waves.drawn[ALL, station]
        reasons = Counter(str(reason) for reason in table["reason"] if reason)
        days = len(np.unique(times_us(table["start"]) // 86_400_000_000))
        stations[station or "traces"] = {
            "windows": len(drawn.rows),
            "dropped": {"too_few_segments": waves.asked[station] - len(drawn.rows)},
            "station_days": days,
            "segments": len(table),
            "drawn": len(drawn.used),
            "invalid": dict(sorted(reasons.items())),
        }
    samples = {} if plan.samples is None else plan.samples.groupby("background")["drawn"].agg(["size", "sum"])
    counted = {str(n): {"ends": int(row["size"]), "drawn": int(row["sum"])} for n, row in _rows(samples)}
    encoders = {use: store.settings["encoder"] for use, store in waves.stores.items()}
    named = {use: {key: _plain(value) for key, value in found.items()} for use, found in encoders.items()}
    return {
        "source": _named(study.waveforms.source),
        "per_window": study.segments.per_window,
        "windows": len(waves.windows),
        "samples": counted,
        "stations": stations,
        "encoders": named,
    }


def _named(source: str) -> str:
    """Return a source without folders and hosts."""
    scheme, _, rest = source.partition(":")
    return f"{scheme}:{'a service' if '//' in rest else Path(rest).name}"


def _rows(table: Any) -> Any:
    return table.iterrows() if isinstance(table, pd.DataFrame) else ()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) or value is None else list(value)
