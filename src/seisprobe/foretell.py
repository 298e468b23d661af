"""What a study could show, before it is run: its plan in numbers and its power (PROTOCOL 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seisprobe.costs import Costs, cost_lines
from seisprobe.evaluation.power import critical_auc, detectable_auc
from seisprobe.mainshocks import block_sizes, how_chosen, unlisted_events
from seisprobe.modalities import Modality, table
from seisprobe.modalities.table import TableCoverage
from seisprobe.planning import Plan
from seisprobe.study import Study

__all__ = ["FEWEST_TO_TRAIN", "foretell", "number_of_tests", "plan_lines"]

FEWEST_TO_TRAIN = 5
FEWEST_FOR_P = 2  # mainshocks; below that a cell has no p
# of a catalog study on one core, measured (docs/performance.md): what a window costs, a pair of events in the ETAS fit,
# and the rest
SECONDS_A_WINDOW, SECONDS_A_PAIR, SECONDS_FIXED = 1.5e-4, 1.2e-6, 4.0
BYTES_A_WINDOW, BYTES_FIXED = 40, 1_500_000


def number_of_tests(study: Study, modalities: Mapping[str, Modality], k_effective: int) -> int:
    """Return how many cells the headline background's family will hold."""
    scores = 0
    for modality in modalities.values():
        if not modality.control and not modality.baseline:
            many = len(modality.multivariate) > 1 or not modality.scores
            scores += len(modality.scores) + many * (3 if k_effective >= FEWEST_TO_TRAIN else 1)
    return max(1, scores * len(study.windows.hours) * len(study.windows.layouts))


def foretell(
    study: Study, plan: Plan, modalities: Mapping[str, Modality], costs: Costs | None = None
) -> dict[str, Any]:
    """Return what `plan --json` prints.

    Parameters
    ----------
    study : Study
    plan : Plan
    modalities : mapping of str to Modality
    costs : Costs, optional
        Of the waveforms, where the study has them.

    Returns
    -------
    dict
        ``k, k_effective, tests, critical_auc, detectable_auc, windows, station_days, bytes, seconds``; the two AUCs for
        K mainshocks apart and for the blocks as they are, for one test and for all of the family. Of waveforms also
        ``waveforms``: all of `Costs`; of timed tables ``tables``: what each covers.
    """
    sizes = block_sizes(plan.mainshocks)
    k = sum(sizes)
    tests = number_of_tests(study, modalities, len(sizes))
    alpha = study.evaluation.alpha
    laws = {"k": (1,) * k, "k_effective": sizes}
    levels = {"one": alpha, "all": alpha / tests}
    critical = {n: {m: critical_auc(law, level) for m, level in levels.items()} for n, law in laws.items()}
    detectable = {n: {m: detectable_auc(laws[n], c) for m, c in row.items()} for n, row in critical.items()}
    n_windows, n_events = len(plan.windows), len(plan.setting.events)
    seen = costs or Costs()
    found = {
        "k": k,
        "k_effective": len(sizes),
        "tests": tests,
        "critical_auc": critical,
        "detectable_auc": detectable,
        "windows": n_windows,
        "station_days": seen.station_days,
        "bytes": round(BYTES_FIXED + BYTES_A_WINDOW * n_windows + seen.bytes + seen.fetch_bytes),
        "seconds": round(SECONDS_FIXED + SECONDS_A_WINDOW * n_windows + SECONDS_A_PAIR * n_events**2 + seen.seconds, 1),
    }
    if study.table:
        found["tables"] = [_coverage(study, plan, table.describe(plan.setting, t)) for t in study.table]
    return found if costs is None else found | {"waveforms": asdict(costs)}


def _coverage(study: Study, plan: Plan, seen: TableCoverage) -> dict[str, Any]:
    """Return what a table covers, and the least AUC that its own mainshocks could show."""
    used = set(seen.covered) - set(seen.without_history)
    sizes = block_sizes(plan.mainshocks.loc[plan.mainshocks["name"].isin(used)])
    found = None if sum(sizes) < FEWEST_FOR_P else detectable_auc(sizes, critical_auc(sizes, study.evaluation.alpha))
    return {**table.record(seen), "line": seen.line, "k_effective": len(sizes), "detectable_auc": found}


def plan_lines(study: Study, plan: Plan, foretold: Mapping[str, Any], costs: Costs | None = None) -> list[str]:
    """Return the plan for a person: mainshocks, windows, what is left out and why, power."""
    lines = [f"mainshocks ({how_chosen(study)}):"]
    for m in plan.mainshocks.to_dict("records"):
        where = f"block {m['block']}" if m["block"] else f"no positive: {m['reason']}"
        lines.append(f"  {m['name']:<16} {m['time']:%Y-%m-%dT%H:%M:%S}Z  M {m['magnitude']:g}  {where}")
    unlisted = unlisted_events(study, plan.mainshocks, plan.setting.events)
    lines.append(f"events at least as large that are not listed: {len(unlisted) or 'none'}")
    lines += [f"  {e['time']:%Y-%m-%dT%H:%M:%S}Z  M {e['magnitude']:g}" for e in unlisted.head(20).to_dict("records")]
    kinds = plan.windows["kind"].value_counts()
    lines.append("windows: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    dropped = plan.windows.loc[plan.windows["kind"].eq("excluded"), "reason"].value_counts()
    lines += [f"  excluded, {reason}: {n}" for reason, n in dropped.items()]
    for name, background in plan.backgrounds.items():
        lines.append(f"background {name}: {len(background.weights)} windows of all lengths")
        reasons = {
            f"{mainshock + ': ' if mainshock else ''}{why}" for (_, _, mainshock), why in background.reasons.items()
        }
        lines += [f"  {reason}" for reason in sorted(reasons)]
    for seen in foretold.get("tables", ()):
        lines += _table_lines(seen)
    lines += cost_lines(costs) if costs is not None else []
    return [*lines, *_power_lines(foretold)]


def _table_lines(seen: Mapping[str, Any]) -> list[str]:
    """Return what a table covers, first how many mainshocks: where it is one, no more need be read."""
    lines, early = [seen["line"]], seen["without_history"]
    covered = len(seen["covered"])
    k = covered if covered < FEWEST_FOR_P else covered - len(early)
    if early:
        lines.append(f"  too few covered days before for what is usual (history_days), so no row: {', '.join(early)}")
    if seen["detectable_auc"] is None:
        lines.append(
            f"  K = {k}: nothing can be said of the hours before so few mainshocks; the way out is smaller ones of the"
            " table's time, by [mainshocks] rule"
        )
    else:
        lines.append(
            f"  K = {k} in {seen['k_effective']} block(s): found with 80% power: AUC {seen['detectable_auc']:.3f}"
        )
    for kind, reasons in seen["dropped"].items():
        said = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
        lines.append(f"  {kind} windows: {seen['windows'][kind]} with a row" + (f"; without: {said}" if said else ""))
    return [*lines, *(f"  {note}" for note in seen["notes"])]


def _power_lines(foretold: Mapping[str, Any]) -> list[str]:
    k, blocks, tests = foretold["k"], foretold["k_effective"], foretold["tests"]
    critical, detectable = foretold["critical_auc"], foretold["detectable_auc"]
    lines = ["power (best case: stationary record, unlimited background):"]
    for name, what in (("k", f"{k} mainshock(s) apart"), ("k_effective", f"in {blocks} independent block(s)")):
        for level, said in (("one", "one test"), ("all", f"any of {tests} tests")):
            lines.append(
                f"  {what}, {said}: chance reaches AUC {critical[name][level]:.3f};"
                f" found with 80% power: {detectable[name][level]:.3f}"
            )
    size, seconds = foretold["bytes"] / 1e6, foretold["seconds"]
    lines.append(
        f"to do: {foretold['windows']} windows, {foretold['station_days']} station-days, {size:.0f} MB, {seconds:.0f} s"
    )
    return lines
