"""`seisprobe demo`: a world with a known answer, written as files, and the ordinary study on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seisprobe import pipeline
from seisprobe.folder import claim
from seisprobe.simulation.catalog import CatalogWorld, SimulatedMainshock, simulate_catalog
from seisprobe.sources.files import write_fdsn_text
from seisprobe.storage import strict_json, write_bytes
from seisprobe.study import Study, study_from_dict

__all__ = ["run_demo"]

# Origin times, magnitudes and places of INGV's catalog: the world's mainshocks come when the real ones came.
MAINSHOCKS = (
    ("Amatrice", "2016-08-24T01:36:32Z", 6.0, 42.6983, 13.2335),
    ("Visso", "2016-10-26T19:18:07.42Z", 5.9, 42.9048, 13.0902),
    ("Norcia", "2016-10-30T06:40:17.32Z", 6.5, 42.8303, 13.1092),
)
REGION = {"min_latitude": 41.5, "max_latitude": 44.0, "min_longitude": 11.5, "max_longitude": 14.5}
ANSWER = "no precursor: before the mainshocks there is only chance and, before the third, the aftershocks of the second"


def demo_study(folder: Path, seed: int) -> Study:
    """Return the demo's study: the Norcia study on the world's own catalog file."""
    return study_from_dict(
        {
            "study": {
                "name": "seisprobe-demo",
                "seed": seed,
                "start": "2016-01-01T00:00:00Z",
                "end": "2018-01-01T00:00:00Z",
                "region": REGION,
            },
            "catalog": {"source": f"file:{(folder / 'catalog.txt').resolve()}", "min_magnitude": 2.5},
            "mainshock": [
                {"name": name, "time": time, "magnitude": magnitude, "latitude": latitude, "longitude": longitude}
                for name, time, magnitude, latitude, longitude in MAINSHOCKS
            ],
            "evaluation": {"primary": {"hours": 24}, "synthetic_catalogs": 0},
        }
    )


def run_demo(
    folder: Path, *, seed: int = 0, progress: Callable[[float, str], None] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the world in a folder, unless it is there, and run the study on it.

    Parameters
    ----------
    folder : Path
        The study folder; the world's ``catalog.txt`` and ``truth.json`` stand in it.
    seed : int
        Of the world and of the study.
    progress : callable, optional

    Returns
    -------
    result, truth : dict
    """
    study = demo_study(folder, seed)
    with claim(folder, study):
        if not (folder / "truth.json").exists():  # written last: where it is, the world is whole
            world = _world(study)
            events = simulate_catalog(world, np.random.default_rng([seed, 1]))
            write_fdsn_text(events, folder / "catalog.txt")
            truth = {"seed": seed, "precursor": None, "answer": ANSWER, "events": len(events), **_laws(world)}
            write_bytes(folder / "truth.json", strict_json(truth).encode())
    result = pipeline.run(study, out=folder, progress=progress)
    return result, json.loads((folder / "truth.json").read_text())


def _world(study: Study) -> CatalogWorld:
    start, end = (int(t.timestamp()) * 1_000_000 for t in (study.study.start, study.study.end))
    year = 365 * 86_400_000_000  # history before the study, as a real catalog has it
    mainshocks = [
        SimulatedMainshock(m.name, round(m.time.timestamp() * 1e6), m.magnitude, m.latitude or 0.0, m.longitude or 0.0)
        for m in study.mainshock
    ]
    return CatalogWorld(start - year, end, tuple(REGION.values()), mainshocks)  # type: ignore[arg-type]


def _laws(world: CatalogWorld) -> dict[str, Any]:
    names = ("mc", "b", "rate_per_day", "productivity", "c_days", "p", "spread_km")
    return {name: getattr(world, name) for name in names}
