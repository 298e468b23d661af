"""The word: one for each modality, score and length, by an ordered list of rules; the first that holds gives it.

A pure function of figures (PROTOCOL 7). Whatever the figures are, there is exactly one word and one reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seisprobe.evaluation.power import critical_auc, detectable_auc

__all__ = ["WORDS", "Evidence", "Verdict", "adds_word", "as_good", "block_count_needed", "judge", "post_event_needed"]

DETECTED = "DETECTED"
SUGGESTIVE = "SUGGESTIVE"
CONFOUNDED = "CONFOUNDED"
CLUSTERING = "EXPLAINED BY CLUSTERING"
NOT_DETECTED = "NOT DETECTED"
INCONCLUSIVE = "INCONCLUSIVE"
WORDS = (DETECTED, SUGGESTIVE, CONFOUNDED, CLUSTERING, NOT_DETECTED, INCONCLUSIVE)
FEW_BLOCKS = 5
CONTROL_MARGIN, CHANCE = 0.05, 0.5
DETECTABLE_DIFFERENCE = 0.1
MOST_BLOCKS = 100


TOO_LOW = "that lies below what chance makes it, so the ETAS rate is not that of this record"
POST_EVENT, POST_EVENT_ALPHA, MANY_BLOCKS = 0.9, 0.001, 10


@dataclass(frozen=True)
class Evidence:
    """What the word of one (modality, score, length) is read from, at the headline background.

    Parameters
    ----------
    auc, p : float or None
        p is p_pseudo for the primary cell, else p_adjusted.
    alpha, effect : float
        Level of the tests, and the true AUC of interest.
    tests : int
        1 for the primary cell, else the size of its family.
    headline : str
        Background that it is read at.
    u : tuple of float
        Percentile of each mainshock.
    blocks : tuple of int
        Block of each mainshock.
    stations : mapping of str to float
        AUC by station; empty where there are none.
    without_station : mapping of str to float
        AUC with each station left out; empty where there are fewer than two.
    post_event_auc : float or None
        None where it cannot be had, which decides nothing.
    controls : mapping of str to (auc, p)
        ``clock``, ``drift``, ``station_state``, ``completeness``, ``etas_rate``, as far as they exist.
    uniform : (auc, p) or None
        The same cell against `uniform`.
    detectable : float or None
        The true AUC that this cell finds with 80% power at alpha / tests.
    why_no_auc : str
    claims : tuple of str
        Said with DETECTED and SUGGESTIVE: what a discovery would rest on.
    caveats : tuple of str
        Said with every word, last.
    catalog : bool
        Whether the study has one: without events nothing is known of clustering.
    own_p : float, optional
        p_pseudo, adjusted or not: an AUC far below chance says that the ETAS rate is wrong.
    """

    auc: float | None
    p: float | None
    alpha: float
    effect: float
    tests: int
    headline: str
    u: tuple[float, ...]
    blocks: tuple[int, ...]
    stations: Mapping[str, float] = field(default_factory=dict)
    without_station: Mapping[str, float] = field(default_factory=dict)
    post_event_auc: float | None = None
    controls: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    uniform: tuple[float, float] | None = None
    detectable: float | None = None
    why_no_auc: str = ""
    claims: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    catalog: bool = True
    own_p: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A word, the rule that gave it (1 to 9), and why."""

    word: str
    rule: int
    why: str


def judge(evidence: Evidence) -> Verdict:
    """Return the word of one cell.

    Examples
    --------
    >>> judge(Evidence(0.73, 0.13, 0.05, 0.75, 1, "uniform", (0.22, 0.98, 0.99), (1, 2, 2), detectable=0.91)).word
    'INCONCLUSIVE'
    """
    verdict = _first_rule(evidence)
    claims = evidence.claims if verdict.word in (DETECTED, SUGGESTIVE) else ()
    return Verdict(verdict.word, verdict.rule, "; ".join([verdict.why, *claims, *evidence.caveats]))


def _below_chance(e: Evidence) -> bool:
    """Return whether the AUC is as far below its own null as one in twenty is on either side."""
    return e.own_p is not None and e.own_p >= 1.0 - e.alpha / 2


def _first_rule(e: Evidence) -> Verdict:
    if e.auc is None or e.p is None:
        return Verdict(INCONCLUSIVE, 1, f"there is no AUC with a p: {e.why_no_auc or 'it could not be computed'}")
    needed = post_event_needed(len(set(e.blocks)))
    if e.post_event_auc is not None and e.post_event_auc <= needed:
        return Verdict(
            INCONCLUSIVE,
            1,
            f"the time after the mainshocks scores only AUC {e.post_event_auc:.2f}, not above {needed:.2f}: the data"
            " do not work",
        )
    if e.p <= e.alpha:
        return _significant(e, e.auc, e.p)
    return _not_significant(e, e.auc, e.p) if e.catalog else _without_catalog(e.p)


def _without_catalog(p: float) -> Verdict:
    """Return the most that is said of a study without a catalog, significant or not."""
    said = "clustering not controlled: the study has no catalog"
    return Verdict(INCONCLUSIVE, 4, f"{said} (p = {p:.3g} against any time)")


def post_event_needed(blocks: int) -> float:
    """Return the AUC that the time after the mainshocks must exceed, for the data to work.

    0.9 for few large mainshocks. Many small ones have few aftershocks each, so that most of their windows hold none:
    with ten blocks or more they must together exceed what chance reaches once in a thousand times.

    Examples
    --------
    >>> post_event_needed(2), round(post_event_needed(68), 3)
    (0.9, 0.608)
    """
    return min(POST_EVENT, critical_auc((1,) * blocks, POST_EVENT_ALPHA)) if blocks >= MANY_BLOCKS else POST_EVENT


def _significant(e: Evidence, auc: float, p: float) -> Verdict:
    seen = f"p = {p:.3g}"
    for name in ("clock", "drift", "station_state", "completeness"):
        if _as_good(e, name, auc):
            other = e.controls[name]
            return Verdict(CONFOUNDED, 2, f"{seen}, but {name} alone reaches AUC {other[0]:.2f} (p = {other[1]:.3g})")
    if _as_good(e, "etas_rate", auc):
        other = e.controls["etas_rate"]
        return Verdict(
            CLUSTERING, 3, f"{seen}, but the ETAS rate alone reaches AUC {other[0]:.2f} (p = {other[1]:.3g})"
        )
    if not e.catalog:
        return _without_catalog(p)
    if e.headline != "etas":
        return Verdict(
            INCONCLUSIVE, 4, f"{seen} against `{e.headline}`, but clustering is not excluded: no ETAS background"
        )
    piece = _single_piece(e)
    if piece:
        return Verdict(INCONCLUSIVE, 5, f"{seen}, but it rests on one piece: {piece}")
    blocks = len(set(e.blocks))
    if blocks < FEW_BLOCKS:
        return Verdict(SUGGESTIVE, 6, f"{seen} beyond clustering; {blocks} independent blocks are too few for more")
    return Verdict(DETECTED, 6, f"{seen} beyond clustering, over {blocks} independent blocks")


def _as_good(e: Evidence, name: str, auc: float) -> bool:
    if name not in e.controls:
        return False
    return as_good(*e.controls[name], auc, e.alpha)


def as_good(control_auc: float, control_p: float, auc: float, alpha: float) -> bool:
    """Return whether a control is significant, above chance, and hardly below the cell that it stands beside.

    Examples
    --------
    >>> as_good(0.6, 0.01, 0.62, 0.05), as_good(0.499, 0.01, 0.52, 0.05)
    (True, False)
    """
    return control_p <= alpha and control_auc > CHANCE and control_auc >= auc - CONTROL_MARGIN


def _single_piece(e: Evidence) -> str:
    blocks = sorted(set(e.blocks))
    if len(blocks) < FEW_BLOCKS:
        low = min(e.u, default=0.0)
        if low <= 0.5:
            return f"one mainshock's percentile is {low:.2f}, not above 0.5"
    else:
        left = []
        for block in blocks:
            rest = [u for u, b in zip(e.u, e.blocks, strict=True) if b != block]
            left.append((sum(rest) / len(rest), critical_auc((1,) * len(rest), 0.10), block))
        auc, needed, block = min(left, key=lambda row: row[0] - row[1])
        if auc <= needed:
            return f"without block {block} the AUC is {auc:.2f}, not above {needed:.2f}"
    above = [auc > 0.5 for auc in e.stations.values()]
    if above and sum(above) < 2 / 3 * len(above):
        return f"{sum(above)} of {len(above)} stations have AUC above 0.5"
    if e.without_station:
        station, auc = min(e.without_station.items(), key=lambda row: row[1])
        needed = critical_auc((1,) * len(e.u), 0.10)
        if auc <= needed:
            return f"without station {station} the AUC is {auc:.2f}, not above {needed:.2f}"
    return ""


def _not_significant(e: Evidence, auc: float, p: float) -> Verdict:
    seen = f"p = {p:.3g}"
    if e.headline == "etas" and _below_chance(e):
        return Verdict(INCONCLUSIVE, 7, f"AUC {auc:.2f} ({seen}) against times of the same ETAS rate: {TOO_LOW}")
    if e.headline == "etas" and e.uniform is not None:
        uniform_auc, uniform_p = e.uniform
        if uniform_p <= e.alpha and uniform_auc > auc:
            return Verdict(
                CLUSTERING,
                7,
                f"AUC {uniform_auc:.2f} (p = {uniform_p:.3g}) against any time, but {auc:.2f} ({seen}) against times"
                " of the same ETAS rate",
            )
    if e.detectable is not None and e.detectable <= e.effect:
        return Verdict(
            NOT_DETECTED, 8, f"{seen}, and a true AUC of {e.detectable:.2f} would have been found with 80% power"
        )
    needed = block_count_needed(e.alpha / e.tests, e.effect)
    what = f"{needed} independent blocks" if needed else f"more than {MOST_BLOCKS} independent blocks"
    could = (
        f"only a true AUC of {e.detectable:.2f} would have been found" if e.detectable is not None else "no power known"
    )
    tests = "one test" if e.tests == 1 else f"{e.tests} tests"
    blocks = len(set(e.blocks))
    return Verdict(
        INCONCLUSIVE, 9, f"{seen}: with {blocks} block(s) {could}; an AUC of {e.effect:g} in {tests} needs {what}"
    )


def block_count_needed(alpha: float, effect: float) -> int | None:
    """Return how many independent blocks find a true AUC with 80% power at level `alpha`, None above 100.

    Examples
    --------
    >>> block_count_needed(0.05, 0.75), block_count_needed(0.05 / 12, 0.75)
    (8, 15)
    """
    low, high = 1, MOST_BLOCKS
    if _detectable(high, alpha) > effect:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _detectable(middle, alpha) <= effect else (middle + 1, high)
    return low


def _detectable(blocks: int, alpha: float) -> float:
    sizes = (1,) * blocks
    return detectable_auc(sizes, critical_auc(sizes, alpha))


def adds_word(p: float, own_p: float, null_quantile: float, null_sd: float, alpha: float) -> str:
    """Return whether one modality adds to another: ADDS, DOES NOT ADD, or CANNOT SAY.

    What is not above chance itself (`own_p`) adds nothing, however far below chance the other lies. The detectable
    ΔAUC is the 95% quantile of its null plus 0.84 of its standard deviation; it must be 0.1 or less before "does not"
    may be said.

    Examples
    --------
    >>> adds_word(0.01, 0.02, 0.3, 0.2, 0.05), adds_word(0.01, 0.5, 0.3, 0.2, 0.05), adds_word(0.5, 0.5, 0.3, 0.2, 0.05)
    ('ADDS', 'CANNOT SAY', 'CANNOT SAY')
    """
    if p <= alpha:
        return "ADDS" if own_p <= alpha else "CANNOT SAY"
    return "DOES NOT ADD" if null_quantile + 0.84 * null_sd <= DETECTABLE_DIFFERENCE else "CANNOT SAY"
