"""`seisprobe simulate` and `seisprobe demo`: a world with a known answer, as files, and the ordinary study on it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from seisprobe import __version__, pipeline
from seisprobe.catalog import Integers, times_us
from seisprobe.embedding.executors import Executor, serial
from seisprobe.errors import FolderError, InputError
from seisprobe.folder import claim, known_study
from seisprobe.intake import read_catalog
from seisprobe.planning import make_plan, waveform_rows
from seisprobe.presets import find_preset, make_world, right_words, study_of_world
from seisprobe.simulation.precursors import Precursor
from seisprobe.simulation.stations import listed_stations, stations_around
from seisprobe.simulation.world import (
    StationDay,
    World,
    archive_bytes,
    check_disk,
    make_catalog,
    make_days,
    station_days,
    truth_of,
    write_stations,
)
from seisprobe.sources.files import write_fdsn_text
from seisprobe.storage import strict_json, write_bytes
from seisprobe.study import Study, load_study, study_from_dict

__all__ = ["Request", "right_line", "run_demo", "simulate", "world_lines"]

log = logging.getLogger("seisprobe")
Progress = Callable[[float, str], None]
DAY_US, MARGIN_US = 86_400_000_000, 60_000_000
SMALLEST = -3.0


@dataclass(frozen=True)
class Request:
    """What world is asked for.

    Parameters
    ----------
    preset : str
    seed : int
    precursor : Precursor, optional
    confounder : str
        "" for none.
    stations : str
        How many, or NET.STA, … of `inventory`; "" for the preset's.
    inventory : Path, optional
        StationXML.
    days : int, optional
        Days of continuous record, the last one that after the last mainshock; None: only where the study looks.
    catalog : Path, optional
        A real catalog instead of a simulated one.
    encoder : str
        Of the study: random_encoder, or band_energy where there is no torch; "" for what this machine has.
    """

    preset: str = "norcia"
    seed: int = 0
    precursor: Precursor | None = None
    confounder: str = ""
    stations: str = ""
    inventory: Path | None = None
    days: int | None = None
    catalog: Path | None = None
    encoder: str = ""


def simulate(
    request: Request, out: Path, *, executor: Executor = serial, progress: Progress | None = None
) -> dict[str, Any]:
    """Write a world into a folder, unless it is there: catalog, waveforms, StationXML, its study, the truth.

    Parameters
    ----------
    request : Request
    out : Path
        ``catalog.txt``, ``waveforms/`` (SDS and ``stations.xml``), ``world.toml`` (the study), ``truth.json`` (last).
    executor : Executor
        Makes the station-days; changes no byte.
    progress : callable, optional

    Returns
    -------
    dict
        The truth.

    Raises
    ------
    InputError
        What does not exist: preset, confounder, station; days that are none.
    FolderError
        A folder that holds another world.
    StorageError
        A disk too small.
    """
    preset = find_preset(request.preset)
    if request.days is not None and request.days < 1:
        raise InputError(f"--days {request.days}: give 1 or more, or leave it out to record what the study looks at")
    if request.catalog is not None and request.precursor is not None and request.precursor.kind in ("rate", "b-value"):
        raise InputError(f"--precursor {request.precursor}: goes into a simulated catalog; leave --catalog out")
    world = make_world(preset, request.seed, request.precursor, request.confounder)
    world = _with_stations(world, request)
    study = _study(request, world, out)
    asked = _asked(request, world)
    _same_world(out, asked)
    if not known_study(out, study) or not (out / "truth.json").is_file():  # written last: where it is, all is
        events = _events(request, study, world)
        days = station_days(world, _spans(request, study, world, events))
        check_disk(out, days)
        with claim(out, study):
            _write_world(request, world, out, asked, events, days, executor, progress)
    return _truth(out)


def _write_world(
    request: Request, world: World, out: Path, asked: dict[str, Any], events: pd.DataFrame, days: list[StationDay],
    executor: Executor, progress: Progress | None,
) -> None:  # fmt: skip
    write_bytes(out / "world.json", strict_json(asked).encode())
    if request.catalog is None:
        write_fdsn_text(events, out / "catalog.txt")
    log.info(
        "simulation: %d events, %d station-days with waveforms, at most %.1f GB", len(events), len(days),
        archive_bytes(days) / 1e9,
    )  # fmt: skip
    write_stations(world, out / "waveforms")
    for number, _ in enumerate(executor(_Making(world, events, out / "waveforms"), days), start=1):
        if progress:
            progress(number / len(days), "simulating seismograms")
    _write_study(request, world, out)
    preset = find_preset(request.preset)
    whole = request.days is None and request.catalog is None  # what the preset's words were measured on
    words = right_words(preset, request.precursor, request.confounder) if whole else None
    truth = {"preset": preset.name, "answer": _answer(world), "right_words": words,
             "power": _power(preset, request.precursor), **truth_of(world, events)}  # fmt: skip
    write_bytes(out / "truth.json", strict_json(truth).encode())


@dataclass(frozen=True)
class _Making:
    """The work of an executor: station-days to samples written; a worker of another process gets a copy."""

    world: World
    events: pd.DataFrame
    root: Path

    def __call__(self, days: Any) -> Any:
        return make_days(self.world, self.events, self.root, days)


def _with_stations(world: World, request: Request) -> World:
    if not request.stations:
        return world
    names = [name.strip() for name in request.stations.split(",")]
    if request.inventory is not None:
        found: Sequence[Any] = listed_stations(request.inventory, names)
    elif len(names) == 1 and names[0].lstrip("-").isdigit():
        shocks = world.catalog.mainshocks
        north, east = (float(np.mean([getattr(m, key) for m in shocks])) for key in ("latitude", "longitude"))
        found = stations_around(int(names[0]), north, east)
    else:
        raise InputError(
            f"--stations {request.stations}: give a number, or name the StationXML of these stations with --inventory"
        )
    return replace(world, stations=tuple(found))


def _asked(request: Request, world: World) -> dict[str, Any]:
    """Return what a world depends on, to be told from another."""
    return {
        "seisprobe": __version__,
        "preset": request.preset,
        "seed": request.seed,
        "precursor": str(world.precursor or "none"),
        "confounder": request.confounder or "none",
        "stations": [f"{s.name} {s.latitude} {s.longitude} {s.counts_per_m_s:g}" for s in world.stations],
        "days": request.days or "where the study looks",
        "catalog": request.catalog.name if request.catalog else "simulated",
    }


def _same_world(out: Path, asked: dict[str, Any]) -> None:
    try:
        known = json.loads((out / "world.json").read_bytes())
    except (OSError, ValueError):
        return
    if known != asked:
        differs = ", ".join(
            f"{key} ({_short(known.get(key))} → {_short(asked[key])})" for key in asked if known.get(key) != asked[key]
        )
        raise FolderError(f"{out}: holds another world ({differs}); name another folder with --out")


def _short(value: Any) -> str:
    return f"{len(value)} of other places or gains" if isinstance(value, list) else str(value)


def _study(request: Request, world: World, out: Path) -> Study:
    """Return the world's study with absolute paths, as `load_study` returns what is written beside the world."""
    raw = _raw_study(request, world)
    folder = out.resolve()
    if request.catalog is None:
        raw["catalog"]["source"] = f"file:{folder / 'catalog.txt'}"
    raw["waveforms"]["source"] = f"sds:{folder / 'waveforms'}"
    return study_from_dict(raw)


def _raw_study(request: Request, world: World) -> dict[str, Any]:
    catalog = "file:catalog.txt" if request.catalog is None else f"file:{request.catalog.resolve()}"
    encoder = request.encoder or ("random_encoder" if find_spec("torch") else "band_energy")
    return study_of_world(find_preset(request.preset), world, catalog, encoder)


def _write_study(request: Request, world: World, out: Path) -> None:
    import tomli_w

    text = tomli_w.dumps(_raw_study(request, world))
    write_bytes(
        out / "world.toml", f"# The study that looks at this world: seisprobe run world.toml\n\n{text}".encode()
    )


def _events(request: Request, study: Study, world: World) -> pd.DataFrame:
    """Return the events that shake the stations: all of them, those too small for the study too."""
    if request.catalog is None:
        return make_catalog(world)
    assert study.catalog is not None
    everything = study.catalog.model_copy(update={"min_magnitude": SMALLEST})
    return read_catalog(study.model_copy(update={"catalog": everything}), None)[0].events


def _spans(request: Request, study: Study, world: World, events: pd.DataFrame) -> Integers:
    """Return when there are to be waveforms: some days, or where the study's windows look."""
    if request.days:
        end = (max(m.time_us for m in world.catalog.mainshocks) // DAY_US + 2) * DAY_US
        return np.array([[end - request.days * DAY_US, end]], dtype=np.int64)
    assert study.catalog is not None
    with TemporaryDirectory() as folder:  # the plan is made from what a reader of the catalog's file will see
        if request.catalog is None:
            write_fdsn_text(events, Path(folder) / "catalog.txt")
            of_file = study.catalog.model_copy(update={"source": f"file:{folder}/catalog.txt"})
            study = study.model_copy(update={"catalog": of_file})
        rows, _ = waveform_rows(study, make_plan(study, read_catalog(study, None)[0]))
    return np.column_stack([times_us(rows["start"]) - MARGIN_US, times_us(rows["end"]) + MARGIN_US])


def _truth(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "truth.json").read_bytes())
    return found


def _power(preset: Any, precursor: Precursor | None) -> dict[str, Any] | None:
    """Return how often a precursor of this size was detected, where that was measured before."""
    size, detected, tried = preset.power
    if precursor is None or precursor.kind != "tremor" or precursor.size != size:
        return None
    return {"size": size, "detected": detected, "tried": tried}


def _answer(world: World) -> str:
    """Return the truth in a sentence."""
    precursor, k = world.precursor, len(world.catalog.mainshocks)
    if precursor is None:
        said = "no precursor: before the mainshocks there is only chance and the aftershocks of earlier events"
    else:
        where = f"in the last {precursor.hours:g} h before each of the {k} mainshocks"
        said = {
            "tremor": f"a tremor {where}: noise between 2 and 8 Hz is {precursor.size:g} dB louder at every station,"
            " and no catalog can see it",
            "repeaters": f"alike small events {where}, {precursor.size:g} times the noise and in no catalog",
            "rate": f"{precursor.size:g} times the mean rate of events is added {where}",
            "b-value": f"the b-value is lower by {precursor.size:g} in the 30 days before each of the {k} mainshocks",
        }[precursor.kind]
    return f"{said}; and a confounder: {world.confounder}" if world.confounder else said


def right_line(result: dict[str, Any], truth: dict[str, Any]) -> str:
    """Return whether a study said what is true of its world.

    Examples
    --------
    >>> right_line({"verdict": {"word": "DETECTED"}}, {"right_words": ["INCONCLUSIVE"]})
    'not the right word, which would be INCONCLUSIVE'
    """
    right = truth["right_words"] or ()
    if result["verdict"]["word"] in right:
        return "the right word"
    return f"not the right word, which would be {' or '.join(right)}" if right else "no word is known to be right here"


def world_lines(truth: dict[str, Any], out: Path) -> list[str]:
    """Return what a person is told of a world that was made."""
    right = truth["right_words"]
    lines = [f"truth: {truth['answer']}"]
    if right:
        lines.append(f"the right word of its study would be {' or '.join(right)}")
    return [*lines, f"run its study: seisprobe run {out / 'world.toml'}"]


def run_demo(
    request: Request, out: Path, *, executor: Executor = serial, progress: Progress | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a world in a folder, unless it is there, and run its study in the same folder.

    Returns
    -------
    result, truth : dict
    """
    truth = simulate(request, out, executor=executor, progress=progress)
    if not find_spec("torch"):
        log.warning(
            "no torch: band energies stand for embeddings; pip install 'seisprobe[waveforms]' for SeisCLIP's net"
        )
    result = pipeline.run(load_study(out / "world.toml"), out=out, executor=executor, progress=progress)
    return result, truth
