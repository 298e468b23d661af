"""What the primary cell would have been under other choices that an analyst might have made (PROTOCOL 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from seisprobe.etas import FitOptions
from seisprobe.study import Study

__all__ = ["Variant", "variants"]

LARGE = 5.0
MC_STEP = 0.3
GAPS_S = (60.0, 600.0)
EMBARGO_H = 48.0
RADIUS_KM = 30.0
STABLE_BRANCHING = 0.95
LITERATURE = {"p": 1.12, "alpha": 1.8}  # the values of the protocol's reference simulations, typical of regional fits
MOST_LEFT_OUT = 10
# The likelihood has one maximum in practice; three starts and standard errors are for the study's own fit.
QUICK_FIT = FitOptions(starts=1, standard_errors=False)


@dataclass(frozen=True)
class Variant:
    """One change of one choice.

    Parameters
    ----------
    change : str
        In words, for the report.
    study : Study
        Under the change.
    refit : mapping or None
        How the ETAS rate is fitted anew; None keeps the study's own fit.
    left_out : str
        A mainshock that is no positive (its zone stays).
    without_largest : float
        Features are computed without the largest event of each window that is at least this large.
    """

    change: str
    study: Study
    refit: Mapping[str, Any] | None = None
    left_out: str = ""
    without_largest: float = float("inf")


def variants(study: Study, mainshocks: pd.DataFrame, primary: tuple[str, str, float, str, str]) -> list[Variant]:
    """Return the changes under which the primary cell is judged again.

    Parameters
    ----------
    study : Study
    mainshocks : DataFrame
        From the plan; each positive is left out once, where they are ten at most. (Of more, none carries the result
        alone, and rule 5 of the verdict leaves out each block.)
    primary : cell key
        What is not needed for it is not computed; the longest windows stay, since the zones are theirs.
    """
    refit = {"options": QUICK_FIT}
    stable = {**refit, "max_branching": STABLE_BRANCHING}
    held = ", ".join(f"{name} = {value:g}" for name, value in LITERATURE.items())
    names = [str(name) for name in mainshocks.loc[mainshocks["block"] > 0, "name"]]
    names = names if len(names) <= MOST_LEFT_OUT else []
    if study.catalog is None:
        made = [
            *(Variant(f"gap {gap_s:g} s", _with(study, "windows", gap_s=gap_s)) for gap_s in GAPS_S),
            Variant(f"embargo {EMBARGO_H:g} h", _with(study, "windows", embargo_h=EMBARGO_H)),
            *(Variant(f"without {name}", study, left_out=name) for name in names),
        ]
        return [replace(variant, study=_only(variant.study, primary)) for variant in made]
    made = [
        Variant(f"Mc + {MC_STEP:g}", _with(study, "catalog", mc=study.mc + MC_STEP), refit),
        *(Variant(f"gap {gap_s:g} s", _with(study, "windows", gap_s=gap_s)) for gap_s in GAPS_S),
        Variant(f"embargo {EMBARGO_H:g} h", _with(study, "windows", embargo_h=EMBARGO_H)),
        Variant(f"radius {RADIUS_KM:g} km", _with(study, "windows", radius_km=RADIUS_KM), refit),
        *(Variant(f"without {name}", study, left_out=name) for name in names),
        Variant(f"without the largest M ≥ {LARGE:g} in each window", study, without_largest=LARGE),
        Variant(f"ETAS with branching ≤ {STABLE_BRANCHING:g}", study, stable),
        Variant(f"ETAS with {held}", study, {**refit, "fixed": LITERATURE}),
    ]
    return [replace(variant, study=_only(variant.study, primary)) for variant in made]


def _only(study: Study, primary: tuple[str, str, float, str, str]) -> Study:
    """Return a study of the lengths, layout and backgrounds that one cell needs."""
    _, _, hours, background, layout = primary
    kept = tuple(sorted({hours, max(study.windows.hours)}))
    study = _with(study, "windows", layouts=(layout,), hours=kept)
    return _with(study, "evaluation", backgrounds=tuple(dict.fromkeys(("uniform", background))), headline=background)


def _with(study: Study, section: str, **options: Any) -> Study:
    """Return a study with some options of one section changed."""
    changed = getattr(study, section).model_copy(update=options)
    return study.model_copy(update={section: changed})
