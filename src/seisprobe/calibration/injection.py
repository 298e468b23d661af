"""Injection and recovery: P(detected) against the size of a precursor put into a study that was run (PROTOCOL 6).

Sizes of `embedding` are standard deviations that every segment vector of the windows is shifted by, those of `tremor`
decibels that its power in a band rises by. Size 0 is the rate of false alarms. Every size has the same trials:
pseudo-mainshocks, directions and nulls are drawn once.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seisprobe import __version__
from seisprobe.calibration.catalogs import binomial_interval
from seisprobe.calibration.precursors import make_shift, make_swap, median_levels, open_archive
from seisprobe.calibration.trials import Bench, Put, judge_trials, open_bench, pseudo_positives
from seisprobe.catalog import Integers
from seisprobe.embedding.executors import Executor, serial
from seisprobe.embedding.tremor import Tremor, check_band
from seisprobe.errors import FolderError, StudyError, nearest
from seisprobe.folder import claim, stored_study
from seisprobe.intake import Progress
from seisprobe.planning import Plan, modalities_of, stored_plan
from seisprobe.storage import strict_json, write_bytes
from seisprobe.study import Study, study_fingerprint

__all__ = ["INJECTED", "KINDS", "inject", "injection_lines"]

KINDS = {"embedding": "sd", "tremor": "dB"}
INJECTED = "injection.json"
DRAWS = 10  # of a trial's own null, times 1/α, less one: 199 at 5%, as in calibration on catalogs
BAND_HZ = (2.0, 8.0)
CELL = ("modality", "score", "hours", "background", "layout")
CATALOG_ALONE = "on simulated catalogs: `seisprobe calibrate --kind stationary --size F`"


def inject(
    folder: str | Path,
    kind: str,
    sizes: Sequence[float],
    trials: int = 200,
    seed: int = 0,
    *,
    band_hz: tuple[float, float] = BAND_HZ,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Put a precursor into a finished study, over and over, and count how often its primary cell detects it.

    Parameters
    ----------
    folder : path
        A study folder that `run` has finished; ``injection.json`` is written into it, nothing else is touched but, with
        `tremor`, its embeddings, to which those with tremor are added.
    kind : {"embedding", "tremor"}
    sizes : sequence of float
        Not negative: standard deviations, or dB. Sizes that the file has already, of the same trials, are kept.
    trials : int
        Of each size.
    seed : int
    band_hz : (low, high)
        Of the tremor.
    executor : callable
        Who judges trials, and embeds: `seisprobe.embedding.choose_executor`.
    progress : callable, optional
        Called with a share done and a text.

    Returns
    -------
    dict
        The kind's entry of ``injection.json``: ``kind, cell, k, trials, draws, seed, alpha, unit, band_hz, of, curves``
        (``size, k, n, rate, low, high, mean_auc``; k of n trials have p ≤ alpha, low to high is the exact 95%
        interval), ``size_50`` and ``size_99`` (between the sizes tried, None where the rate is not reached).

    Raises
    ------
    SeisprobeError
        One line: no finished study, no waveforms, an unknown kind, sizes or trials that cannot be, too few background
        windows.
    """
    folder = Path(folder)
    asked = _checked(kind, sizes, trials, seed, band_hz)
    study, result = _finished(folder)
    head = _head(folder, study, result, kind, trials, seed, band_hz)
    with claim(folder, study):
        entries = _stored(folder)
        curves = _known_sizes(entries, head)
        if set(asked) - set(curves):
            work = _Work(folder, study, stored_plan(folder, study), head, executor, progress)
            for size, point in work.run([size for size in asked if size not in curves]):
                curves[size] = point
                _write(folder, entries, _entry(head, curves))
        made = _entry(head, curves)
        _write(folder, entries, made)
    found: dict[str, Any] = json.loads(strict_json(made))
    return found


# --- what is asked ---------------------------------------------------------------------------------------------------


def _checked(kind: str, sizes: Sequence[float], trials: int, seed: int, band_hz: tuple[float, float]) -> list[float]:
    """Return the sizes in order; refuse what cannot be."""
    if kind == "rate":
        raise StudyError(f"--kind rate: events are added {CATALOG_ALONE}")
    if kind not in KINDS:
        raise StudyError(f"--kind {kind}: no such precursor; {nearest(kind, KINDS)}")
    if not sizes:
        raise StudyError("--size: none is given; name sizes, such as --size 0 --size 1 --size 2")
    for size in sizes:
        if not (np.isfinite(size) and size >= 0):
            raise StudyError(f"--size {size:g}: must be a number from 0 on; 0 puts nothing in")
    if trials < 1:
        raise StudyError(f"--trials {trials}: must be 1 or more")
    if seed < 0:
        raise StudyError(f"--seed {seed}: must not be negative")
    if kind == "tremor":
        check_band(band_hz)
    return sorted({float(size) for size in sizes})


def _finished(folder: Path) -> tuple[Study, Mapping[str, Any]]:
    """Return a finished study and its result."""
    study = stored_study(folder)
    try:
        result = json.loads((folder / "result.json").read_bytes())
        of = result["study"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise FolderError(f"{folder}: has no result.json yet; run its study to the end first") from None
    if of != study_fingerprint(study):
        raise FolderError(f"{folder}: its result.json is of another study; run its study again")
    return study, result


def _head(
    folder: Path, study: Study, result: Mapping[str, Any], kind: str, trials: int, seed: int,
    band_hz: tuple[float, float],
) -> dict[str, Any]:  # fmt: skip
    """Return what curves of one kind have in common: two of the same head may be joined."""
    cell = next(c for c in result["cells"] if c["primary"])
    if study.waveforms is None:
        raise StudyError(f"{folder}: its study has no waveforms to put a precursor into; it is put {CATALOG_ALONE}")
    name = cell["modality"]
    if not modalities_of(study)[name].sampled:
        raise StudyError(
            f"{folder}: its primary cell, '{name}', reads no waveforms; name another modality under [evaluation]"
            f" primary, or inject {CATALOG_ALONE}"
        )
    if cell["score"] != "novelty":
        raise StudyError(f"{folder}: its primary score is '{cell['score']}'; only novelty is fitted again in trials")
    if cell["p_pseudo"] is None:
        why = (cell.get("why_null") or {}).get("auc") or (cell.get("why_null") or {}).get("p_pseudo") or "no null"
        raise StudyError(f"{folder}: its primary cell has no p ({why}), so no trial could have one")
    return {
        "kind": kind,
        "cell": {key: cell[key] for key in CELL},
        "k": sum(u is not None for u in cell["percentiles"].values()),
        "trials": trials,
        "draws": math.ceil(DRAWS / study.evaluation.alpha) - 1,
        "seed": seed,
        "alpha": study.evaluation.alpha,
        "unit": KINDS[kind],
        "band_hz": list(map(float, band_hz)) if kind == "tremor" else None,
        "of": {
            "study": result["study"]["fingerprint"],
            "catalog": result["catalog"]["sha256"],
            "seisprobe": __version__,
        },
    }


# --- the work --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """All sizes of one kind."""

    folder: Path
    study: Study
    plan: Plan
    head: Mapping[str, Any]
    executor: Executor
    progress: Progress | None

    def run(self, sizes: Sequence[float]) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield each size and its point of the curve."""
        cell, seed = self.head["cell"], self.head["seed"]
        bench = open_bench(self.folder, self.plan, self.study, tuple(cell[key] for key in CELL))
        positives = pseudo_positives(bench, self.head["trials"], seed)
        precursor = self._tremor(bench, positives) if self.head["kind"] == "tremor" else self._shift(bench)
        for number, size in enumerate(sizes):
            told = self._telling(number, len(sizes), f"{size:g} {self.head['unit']}")
            put = precursor(size, seed, told) if size else None
            yield size, self._point(bench, put, positives, size, told)

    def _telling(self, number: int, of: int, what: str) -> Progress:
        def tell(share: float, text: str) -> None:
            if self.progress:
                self.progress((number + share) / of, f"{what}: {text}")

        return tell

    def _shift(self, bench: Bench) -> Callable[[float, int, Progress], Put]:
        return lambda size, seed, _told: make_shift(bench, size, seed)

    def _tremor(self, bench: Bench, positives: Integers) -> Callable[[float, int, Progress], Put]:
        low, high = self.head["band_hz"]
        archive = open_archive(self.folder, self.study, self.plan, bench)
        levels = median_levels(archive, (low, high), executor=self.executor, progress=self._telling(0, 1, "levels"))

        def made(size: float, seed: int, told: Progress) -> Put:
            tremor = Tremor(size, (low, high), seed, levels)
            return make_swap(bench, archive, positives, tremor, executor=self.executor, progress=told)

        return made

    def _point(self, bench: Bench, put: Put | None, positives: Integers, size: float, told: Progress) -> dict[str, Any]:
        """Judge all trials of a size."""
        trials, alpha = self.head["trials"], self.head["alpha"]
        aucs, ps = np.full(trials, np.nan), np.full(trials, np.nan)
        work = partial(judge_trials, bench, put, positives, self.head["draws"], self.head["seed"])
        for done, (number, auc, p) in enumerate(self.executor(work, range(trials)), start=1):
            aucs[number], ps[number] = auc, p
            told(done / trials, f"{done} of {trials} trials")
        k = int(np.sum(ps <= alpha + 1e-12))
        low, high = binomial_interval(k, trials)
        known = aucs[np.isfinite(aucs)]
        mean = float(known.mean()) if len(known) else None
        return {"size": size, "k": k, "n": trials, "rate": k / trials, "low": low, "high": high, "mean_auc": mean}


# --- what is written -------------------------------------------------------------------------------------------------


def _stored(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a folder's file, none where there is no file that can be read."""
    try:
        entries = json.loads((folder / INJECTED).read_bytes())
    except (OSError, ValueError):
        return []
    known = [e for e in entries if isinstance(e, dict) and e.get("kind") in KINDS] if isinstance(entries, list) else []
    return [entry for entry in known if isinstance(entry.get("curves"), list)]


def _known_sizes(entries: Sequence[Mapping[str, Any]], head: Mapping[str, Any]) -> dict[float, dict[str, Any]]:
    """Return the points that the file has of the same trials, by size."""
    plain = json.loads(strict_json(head))
    same = [entry for entry in entries if {key: entry.get(key) for key in plain} == plain]
    return {float(point["size"]): dict(point) for entry in same for point in entry["curves"]}


def _entry(head: Mapping[str, Any], curves: Mapping[float, Mapping[str, Any]]) -> dict[str, Any]:
    points = [curves[size] for size in sorted(curves)]
    return {**head, "curves": points, "size_50": _size_at(points, 0.5), "size_99": _size_at(points, 0.99)}


def _size_at(points: Sequence[Mapping[str, Any]], rate: float) -> float | None:
    """Return the size at which the curve first reaches a rate, on the straight line between two sizes.

    Examples
    --------
    >>> _size_at([{"size": 1, "rate": 0.25}, {"size": 2, "rate": 0.75}], 0.5)
    1.5
    >>> _size_at([{"size": 1, "rate": 0.25}], 0.5) is None
    True
    """
    for before, after in itertools.pairwise(points):
        if before["rate"] < rate <= after["rate"]:
            share = (rate - before["rate"]) / (after["rate"] - before["rate"])
            return float(before["size"] + share * (after["size"] - before["size"]))
    return None


def _write(folder: Path, entries: Sequence[Mapping[str, Any]], made: Mapping[str, Any]) -> None:
    """Write the file with an entry in place of the one of its kind; the kinds stand in the order of their names."""
    others = [entry for entry in entries if entry["kind"] != made["kind"]]
    text = strict_json(sorted([*others, made], key=lambda entry: str(entry["kind"])))
    write_bytes(folder / INJECTED, text.encode())


def injection_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what `inject` found, for a person.

    Examples
    --------
    >>> point = {"size": 0.0, "k": 9, "n": 200, "rate": 0.045, "low": 0.0208, "high": 0.0837, "mean_auc": 0.5}
    >>> cell = {"modality": "seisclip", "score": "novelty", "hours": 24.0, "background": "etas"}
    >>> for line in injection_lines({"kind": "embedding", "unit": "sd", "cell": cell, "k": 3, "trials": 200,
    ...                              "alpha": 0.05, "curves": [point], "size_50": None, "size_99": None}):
    ...     print(line)
    embedding into novelty of seisclip, 24 h, against etas: 3 pseudo-mainshocks, 200 trials a size, p ≤ 0.05
      0 sd: detected 4.5% (2.1 to 8.4%), mean AUC 0.500 — the rate of false alarms
      no size tried has half of its trials detected
    """
    cell, unit = result["cell"], result["unit"]
    said = (
        f"{result['kind']} into {cell['score']} of {cell['modality']}, {cell['hours']:g} h, against"
        f" {cell['background']}: {result['k']} pseudo-mainshocks, {result['trials']} trials a size,"
        f" p ≤ {result['alpha']:g}"
    )
    lines = [said]
    for point in result["curves"]:
        auc = "none" if point["mean_auc"] is None else f"{point['mean_auc']:.3f}"
        said = f"  {point['size']:g} {unit}: detected {100 * point['rate']:.1f}% ({100 * point['low']:.1f} to"
        said += f" {100 * point['high']:.1f}%), mean AUC {auc}"
        lines.append(said + (" — the rate of false alarms" if point["size"] == 0 else ""))
    reached = [
        (share, result[key]) for share, key in (("half", "size_50"), ("99%", "size_99")) if result[key] is not None
    ]
    words = "; ".join(f"{share} of the trials are detected at {size:.3g} {unit}" for share, size in reached)
    return [*lines, f"  {words or _not_reached(result['curves'])}"]


def _not_reached(points: Sequence[Mapping[str, Any]]) -> str:
    if min(point["rate"] for point in points) >= 0.5:
        return "every size tried has half of its trials detected"
    return "no size tried has half of its trials detected"
