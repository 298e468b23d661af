"""run(study): the only file that knows every step, in the order in which data go through the house."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from seisprobe import __version__
from seisprobe.catalog import Catalog
from seisprobe.embedding.executors import Executor, serial
from seisprobe.errors import FolderError, StudyError
from seisprobe.etas import EtasFit
from seisprobe.evaluation.cells import Cell
from seisprobe.evaluation.judgement import Evaluation, Key, evaluate, primary_cell
from seisprobe.folder import claim, known_study, settled_study, stored_study, wipe_computed
from seisprobe.intake import Progress, read_catalog
from seisprobe.mainshocks import plan_mainshocks
from seisprobe.modalities import Modality
from seisprobe.modalities.table import describe, record
from seisprobe.observing import needs_waveforms, observe_study, settle, single_segments, waveform_report
from seisprobe.planning import (
    Plan,
    background_table,
    check,
    iter_features,
    make_plan,
    modalities_of,
    tabled,
    tables_of,
)
from seisprobe.result import result_of
from seisprobe.sensitivity import Variant, variants
from seisprobe.setting import Rates, fit_places
from seisprobe.sources.stamps import file_stamp
from seisprobe.storage import feature_file, read_table, strict_json, write_bytes, write_table
from seisprobe.study import Study, is_open, load_study, study_fingerprint
from seisprobe.synthetic import synthetic_p
from seisprobe.windows import places

__all__ = ["plan", "read_catalog", "report", "run"]

log = logging.getLogger("seisprobe")
TABLES = ("windows.parquet", "backgrounds.parquet")


# --- steps -----------------------------------------------------------------------------------------------------------


def plan(study: str | Path | Study, *, settings: Iterable[str] = (), progress: Progress | None = None) -> Plan:
    """Check a study and plan it, from its folder's catalog where ``./NAME`` holds it, else from its source.

    Writes nothing. Parameters and errors as in `run`.
    """
    if not isinstance(study, Study):
        study = load_study(study, settings)
    check(study)
    folder = Path(study.study.name)
    try:
        known = known_study(folder, study) and (folder / "catalog.parquet").exists()
        catalog, _ = read_catalog(study, folder if known else None, progress)
    except FolderError:  # the folder is another study's, or of an older catalog: no hindrance to a plan
        catalog, _ = read_catalog(study, None, progress)
    return make_plan(study, catalog)


# --- running ---------------------------------------------------------------------------------------------------------


def run(
    study: str | Path | Study,
    *,
    out: str | Path | None = None,
    settings: Iterable[str] = (),
    fresh: bool = False,
    executor: Executor = serial,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Do everything of a study that is not done yet, then its report; a second run does nothing again.

    Parameters
    ----------
    study : path or Study
    out : path, optional
        The study folder; by default ``./NAME``.
    settings : iterable of str
        ``section.key=value``, as on the command line.
    fresh : bool
        Compute everything again, but keep catalog and waveforms.
    executor : callable
        Who looks at waveforms and embeds them: `seisprobe.embedding.choose_executor`.
    progress : callable, optional
        Called with a share done and a text while data are fetched.

    Returns
    -------
    dict
        The result, as in ``result.json``.

    Raises
    ------
    SeisprobeError
        One line; see `seisprobe.errors`.
    """
    if not isinstance(study, Study):
        study = load_study(study, settings)
    check(study)
    folder = Path(out) if out is not None else Path(study.study.name)
    if known_study(folder, study):
        study = settled_study(folder, study)
    if needs_waveforms(study) and (is_open(study) or not (folder / "result.json").is_file()):
        study = settle(study)  # before anything is fetched: an encoder without weights is known now
    with claim(folder, study), _logged(folder):
        if study.waveforms is not None and not needs_waveforms(study):
            log.warning("[waveforms]: no modality of this study reads them; they are left out")
        if fresh:
            wipe_computed(folder)
        return _run_in(study, folder, executor, progress)


def _run_in(study: Study, folder: Path, executor: Executor, progress: Progress | None) -> dict[str, Any]:
    catalog, source = read_catalog(study, folder, progress)
    stamp = {"study": study_fingerprint(study), "catalog": source["sha256"], "seisprobe": __version__}
    stamp |= {f"table:{t.name}": file_stamp(Path(t.path)) for t in study.table}
    result = _finished(folder, stamp, modalities_of(study))
    if result is None:
        with threadpool_limits(1, "blas"):  # the last bits of a matrix product depend on the number of threads
            result = _compute(study, folder, catalog, source, stamp, executor, progress)
    else:
        log.info("evaluation: done before")
    if not (folder / "report.html").exists():
        report(folder)
    log.info("verdict: %s: %s", result["verdict"]["word"], result["verdict"]["why"])
    return result


def _compute(
    study: Study,
    folder: Path,
    catalog: Catalog,
    source: Mapping[str, Any],
    stamp: Mapping[str, str],
    executor: Executor,
    progress: Progress | None,
) -> dict[str, Any]:
    """Plan, compute features, judge, and write every table and the result, which is written last."""
    made = make_plan(study, catalog)
    log.info("plan: %d windows", len(made.windows))
    write_table(folder / "windows.parquet", made.windows, stamp)
    write_table(folder / "backgrounds.parquet", background_table(made.backgrounds), stamp)
    covered = [describe(made.setting, options) for options in study.table]
    for seen in covered:
        log.info("%s", seen.line)
    waves, singles = None, {}
    if needs_waveforms(study):
        waves = observe_study(study, made, folder, executor=executor, progress=progress)
        made = replace(made, setting=replace(made.setting, waves=waves))
        singles = single_segments(study, made, waves)
    names = []
    for name, table in iter_features(study, made):
        log.info("features: %s, %d rows", name, len(table))
        write_table(folder / "features" / feature_file(name), table, stamp)
        names.append(name)
    log.info("evaluation: %d modalities, %d lengths", len(names), len(study.windows.hours))
    features = _OnDisk(folder.resolve() / "features", tuple(names))  # for workers elsewhere
    evaluation = _light(evaluate(study, tables_of(study, made, features, singles)))
    evaluation = _with_synthetic(study, made, evaluation, executor, progress)
    write_table(folder / "nulls.parquet", _null_table(evaluation), stamp)
    write_table(folder / "etas.parquet", _residual_table(made.setting.rates.fits), stamp)
    again = _Again(catalog, made.setting.rates, evaluation.primary, features)
    changes = _sensitivity(again, variants(study, made.mainshocks, evaluation.primary), executor, progress)
    waveforms = None if waves is None else waveform_report(study, made, waves)
    tables = [record(t) for t in covered]
    planned = (made.mainshocks, made.windows, made.backgrounds)
    result = result_of(study, source, catalog, planned, made.setting.rates.fits, evaluation, changes, waveforms, tables)
    _remember(folder, result)
    text = strict_json(result)
    (folder / "report.html").unlink(missing_ok=True)
    write_bytes(folder / "result.json", text.encode())
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True)
class _OnDisk(Mapping[str, pd.DataFrame]):
    """The feature tables of a study folder, read when they are asked for: those of waveforms are large."""

    folder: Path
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self.names:
            raise KeyError(name)
        found = read_table(self.folder / feature_file(name))
        assert found is not None
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _light(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without the scores of single windows, which nothing after the judgement reads."""

    def light(cell: Cell) -> Cell:
        return replace(cell, scores=None, ranked=None)

    controls = {key: {name: light(cell) for name, cell in own.items()} for key, own in evaluation.controls.items()}
    return replace(evaluation, cells=tuple(light(cell) for cell in evaluation.cells), controls=controls)


def _finished(folder: Path, stamp: Mapping[str, str], modalities: Mapping[str, Modality]) -> dict[str, Any] | None:
    """Return the folder's result if it is of this study, catalog and version, and its tables are there."""
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
        found = {
            "study": result["study"]["fingerprint"],
            "catalog": result["catalog"]["sha256"],
            "seisprobe": result["seisprobe"],
            **{f"table:{t['name']}": t["stamp"] for t in result.get("tables", ())},
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    tables = tabled(modalities)
    needed = [*TABLES, *(f"features/{feature_file(name)}" for name, m in tables.items() if m.needs != "etas")]
    complete = all((folder / name).is_file() for name in needed)
    return result if found == dict(stamp) and complete else None


def _with_synthetic(
    study: Study, made: Plan, evaluation: Evaluation, executor: Executor, progress: Progress | None
) -> Evaluation:
    """Return the evaluation with p_etas of the catalog's cells at `etas`, or why there is none."""
    if "etas" not in study.evaluation.backgrounds:
        return evaluation
    if study.evaluation.synthetic_catalogs:
        log.info("p_etas: asking %d synthetic catalogs", study.evaluation.synthetic_catalogs)
    found = synthetic_p(study, made.setting, made.mainshocks, evaluation.cells, executor, progress)
    cells = []
    for cell in evaluation.cells:
        if cell.key in found.p:
            cell = replace(cell, p_etas=found.p[cell.key])
        elif found.why_none and cell.background == "etas":
            cell = replace(cell, why_null={**cell.why_null, "p_etas": found.why_none})
        cells.append(cell)
    return replace(evaluation, cells=tuple(cells))


@dataclass(frozen=True)
class _Again:
    """Judges the primary cell again under other choices: the work of an executor, which may copy it to a process."""

    catalog: Catalog
    rates: Rates
    primary: Key
    features: Mapping[str, pd.DataFrame]

    def __call__(self, numbered: Iterable[tuple[int, Variant]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number of each change with AUC and p of the primary cell under it."""
        with threadpool_limits(1, "blas"):
            for number, variant in numbered:
                auc, p, why = _under(variant, self.catalog, self.rates, self.primary, self.features)
                yield number, {"change": variant.change, "auc": auc, "p": p, "why_null": why}


def _sensitivity(
    again: _Again, changes: Sequence[Variant], executor: Executor, progress: Progress | None
) -> list[dict[str, Any]]:
    """Return AUC and p of the primary cell under each change of what might have been chosen otherwise."""
    log.info("sensitivity: the primary cell under %d other choices", len(changes))
    rows: dict[int, dict[str, Any]] = {}
    for number, row in executor(again, list(enumerate(changes))):
        rows[number] = row
        if progress:
            progress(len(rows) / len(changes), f"sensitivity: {row['change']}")
    return [rows[number] for number in sorted(rows)]


def _under(
    variant: Variant, catalog: Catalog, rates: Rates, primary: Key, features: Mapping[str, pd.DataFrame]
) -> tuple[float | None, float | None, str | None]:
    """Return AUC and p_pseudo of the primary cell under one change, or why there is none."""
    modality, study = primary[0], variant.study
    sampled = modalities_of(study)[modality].sampled
    if sampled and not variant.left_out:
        return None, None, "its windows or weights would need other waveforms"
    if (variant.refit or {}).keys() & {"fixed", "max_branching"} and not rates.parameters:
        return None, None, rates.why_none
    try:
        if variant.refit is not None and rates.parameters:
            where = places(study, plan_mainshocks(study, catalog.events))
            free = rates.fits if "max_branching" in variant.refit else {}  # else events or places are others
            rates = fit_places(study, where, catalog.events, variant.refit, free)
        changed = make_plan(study, catalog, rates, variant.left_out)
        setting = replace(changed.setting, without_largest=variant.without_largest)
        if not sampled:
            own = tabled({modality: modalities_of(study)[modality]})
            features = {name: found.features(setting) for name, found in own.items()}
        cell = primary_cell(study, tables_of(study, changed, features), primary)
    except StudyError as error:
        return None, None, str(error)
    return cell.auc, cell.p_pseudo, cell.why_null.get("auc")


def _null_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return the null AUCs of the primary cell and of the same score in the other backgrounds, for the report."""
    primary = evaluation.primary_cell
    parts = [pd.DataFrame({"background": [], "null": [], "auc": []})]
    for cell in evaluation.cells:
        if (cell.key[:3], cell.layout) != (primary.key[:3], primary.layout):
            continue
        for name, null in (("pseudo", cell.null), ("shift", cell.shift_null)):
            if null is not None:
                parts.append(pd.DataFrame({"background": cell.background, "null": name, "auc": null}))
    return pd.concat(parts, ignore_index=True)


def _residual_table(fits: Mapping[str, EtasFit]) -> pd.DataFrame:
    """Return the transformed times of every fit, for the report."""
    parts = [pd.DataFrame({"place": [], "transformed": [], "expected": []})]
    for place, fit in fits.items():
        residuals = fit.residuals
        columns = {"place": place, "transformed": residuals.transformed, "expected": residuals.expected}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _remember(folder: Path, result: Mapping[str, Any]) -> None:
    """Add this evaluation to runs.jsonl, once for each fingerprint and version."""
    primary = next(c for c in result["cells"] if c["primary"])
    entry = {
        "fingerprint": result["study"]["fingerprint"],
        "seisprobe": __version__,
        "catalog": result["catalog"]["sha256"],
        "mainshocks": [m["time"] for m in result["mainshocks"]],
        "primary": {key: primary[key] for key in ("modality", "score", "hours", "background", "layout")},
    }
    path = folder / "runs.jsonl"
    known = path.read_text().splitlines() if path.exists() else []
    line = json.dumps(entry, sort_keys=True)
    if line not in known:
        write_bytes(path, ("\n".join([*known, line]) + "\n").encode())


def report(folder: str | Path) -> Path:
    """Write ``report.html`` of a study folder again, from its files alone.

    Returns
    -------
    Path
    """
    from seisprobe.report import write_report

    folder = Path(folder)
    stored_study(folder)
    if not (folder / "result.json").is_file():
        raise FolderError(f"{folder}: has no result.json yet; run its study to the end first")
    return Path(write_report(folder))


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Copy the log of a run, with times, to the folder's run.log."""
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    assert handler.formatter is not None
    handler.formatter.converter = time.gmtime
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
