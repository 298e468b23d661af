"""The word: every rule reached by a case, whatever the figures exactly one word, and a reason in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.evaluation.verdict import WORDS, Evidence, adds_word, block_count_needed, judge

GOOD = Evidence(
    auc=0.95, p=0.01, alpha=0.05, effect=0.75, tests=1, headline="etas", u=(0.9, 0.95, 1.0), blocks=(1, 2, 3),
    post_event_auc=0.99, controls={"clock": (0.5, 0.6), "etas_rate": (0.6, 0.3)}, uniform=(0.9, 0.01), detectable=0.86,
    claims=("beyond this ETAS fit",), caveats=("the ETAS residuals fail",),
)  # fmt: skip
MANY = replace(GOOD, auc=0.8, u=(0.7, 0.8, 0.75, 0.85, 0.9, 0.8), blocks=(1, 2, 3, 4, 5, 6), detectable=0.78)
TENS = replace(MANY, u=(0.8,) * 12, blocks=tuple(range(12)))
NOTHING = replace(GOOD, auc=0.55, p=0.4, uniform=(0.5, 0.5))

CASES = [
    # rule, word, evidence, what the reason names
    (1, "INCONCLUSIVE", replace(GOOD, auc=None, p=None, why_no_auc="mainshocks without data: Visso"), "Visso"),
    (1, "INCONCLUSIVE", replace(GOOD, p=None), "no AUC with a p"),
    (1, "INCONCLUSIVE", replace(GOOD, post_event_auc=0.9), "the data do not work"),
    (1, "INCONCLUSIVE", replace(NOTHING, post_event_auc=0.1), "the data do not work"),
    (1, "INCONCLUSIVE", replace(TENS, post_event_auc=0.71), "not above 0.7"),
    (2, "CONFOUNDED", replace(GOOD, controls={"clock": (0.90, 0.05)}), "clock"),
    (2, "CONFOUNDED", replace(GOOD, controls={"drift": (1.0, 0.001)}), "drift"),
    (2, "CONFOUNDED", replace(GOOD, controls={"station_state": (0.96, 0.01)}), "station_state"),
    (2, "CONFOUNDED", replace(GOOD, controls={"completeness": (0.92, 0.04)}), "completeness"),
    (2, "CONFOUNDED", replace(GOOD, controls={"clock": (0.95, 0.01), "etas_rate": (0.95, 0.01)}), "clock"),
    (2, "CONFOUNDED", replace(GOOD, headline="uniform", controls={"clock": (0.95, 0.01)}), "clock"),
    (3, "EXPLAINED BY CLUSTERING", replace(GOOD, controls={"etas_rate": (0.91, 0.01)}), "ETAS rate"),
    (4, "INCONCLUSIVE", replace(GOOD, headline="uniform"), "clustering is not excluded"),
    (4, "INCONCLUSIVE", replace(MANY, headline="matched"), "clustering is not excluded"),
    (4, "INCONCLUSIVE", replace(MANY, headline="uniform", catalog=False), "clustering not controlled"),
    (2, "CONFOUNDED", replace(GOOD, headline="uniform", catalog=False, controls={"clock": (0.95, 0.01)}), "clock"),
    (
        4,
        "INCONCLUSIVE",
        replace(NOTHING, headline="uniform", catalog=False, detectable=0.6),
        "clustering not controlled",
    ),
    (5, "INCONCLUSIVE", replace(GOOD, u=(0.5, 0.99, 1.0)), "0.50"),
    (5, "INCONCLUSIVE", replace(MANY, u=(0.5, 0.5, 0.5, 0.5, 0.5, 1.0)), "without block 6"),
    (5, "INCONCLUSIVE", replace(GOOD, stations={"A": 0.9, "B": 0.4, "C": 0.5}), "1 of 3 stations"),
    (5, "INCONCLUSIVE", replace(GOOD, stations=dict(zip("ABCDE", (0.9, 0.9, 0.9, 0.4, 0.5), strict=True))), "3 of 5"),
    (5, "INCONCLUSIVE", replace(GOOD, without_station={"A": 0.7, "B": 0.99}), "without station A the AUC is 0.70"),
    (6, "SUGGESTIVE", replace(GOOD, without_station={"A": 0.75, "B": 0.99}), "too few"),
    (6, "SUGGESTIVE", GOOD, "3 independent blocks are too few"),
    (6, "SUGGESTIVE", replace(GOOD, stations={"A": 0.9, "B": 0.8, "C": 0.3}), "too few"),
    (6, "SUGGESTIVE", replace(GOOD, post_event_auc=None), "too few"),
    (6, "SUGGESTIVE", replace(GOOD, controls={"clock": (0.99, 0.06), "drift": (0.89, 0.01)}), "too few"),
    (6, "DETECTED", MANY, "6 independent blocks"),
    (6, "DETECTED", replace(MANY, u=(0.4, 0.8, 0.95, 0.95, 0.9, 0.8)), "6 independent blocks"),
    (6, "DETECTED", replace(TENS, post_event_auc=0.8), "12 independent blocks"),
    (7, "EXPLAINED BY CLUSTERING", replace(NOTHING, uniform=(0.8, 0.05)), "any time"),
    (7, "INCONCLUSIVE", replace(NOTHING, uniform=(0.8, 0.05), p=0.99, own_p=0.975), "below what chance makes it"),
    (7, "EXPLAINED BY CLUSTERING", replace(NOTHING, uniform=(0.8, 0.05), p=0.99, own_p=0.97), "against any time"),
    (8, "NOT DETECTED", replace(NOTHING, detectable=0.75), "0.75"),
    (8, "NOT DETECTED", replace(NOTHING, detectable=0.70, uniform=None), "0.70"),
    (8, "NOT DETECTED", replace(NOTHING, detectable=0.70, headline="uniform", uniform=(0.55, 0.4)), "0.70"),
    (9, "INCONCLUSIVE", replace(NOTHING, uniform=(0.5, 0.01)), "needs 8 independent blocks"),  # uniform is no higher
    (9, "INCONCLUSIVE", NOTHING, "in one test needs 8 independent blocks"),
    (9, "INCONCLUSIVE", replace(NOTHING, tests=12), "in 12 tests needs 15 independent blocks"),
    (9, "INCONCLUSIVE", replace(NOTHING, detectable=None), "no power known"),
    (9, "INCONCLUSIVE", replace(NOTHING, effect=0.52), "more than 100"),
    (9, "INCONCLUSIVE", replace(NOTHING, headline="uniform", uniform=(0.9, 0.01)), "needs 8"),  # 7 is for `etas`
]


@pytest.mark.parametrize(("rule", "word", "evidence", "named"), CASES)
def test_each_rule_gives_its_word(rule, word, evidence, named):
    verdict = judge(evidence)
    assert (verdict.rule, verdict.word) == (rule, word)
    assert named in verdict.why


def test_the_cases_reach_every_word_and_every_rule():
    assert {word for _, word, _, _ in CASES} == set(WORDS)
    assert {rule for rule, _, _, _ in CASES} == set(range(1, 10))


def test_a_discovery_says_what_it_rests_on_and_every_word_ends_with_the_caveats():
    assert judge(GOOD).why.endswith("; beyond this ETAS fit; the ETAS residuals fail")
    for _, word, evidence, _ in CASES:
        why = judge(evidence).why
        assert why.endswith("the ETAS residuals fail")
        assert ("beyond this ETAS fit" in why) == (word in ("DETECTED", "SUGGESTIVE"))


def test_the_margins_are_the_protocols():
    at = replace(GOOD, auc=0.95)
    assert judge(replace(at, controls={"clock": (0.9, 0.05)})).rule == 2
    assert judge(replace(at, controls={"clock": (0.899, 0.05)})).rule == 6
    assert judge(replace(at, controls={"clock": (0.9, 0.051)})).rule == 6
    assert judge(replace(at, p=0.05)).rule == 6
    assert judge(replace(at, p=0.0501)).rule == 9
    assert judge(replace(at, post_event_auc=0.9001)).rule == 6
    assert judge(replace(MANY, u=(0.5, 0.6, 0.8, 0.8, 0.9, 0.9), stations={"A": 0.51, "B": 0.51, "C": 0.5})).rule == 6


unit = st.floats(0, 1)
maybe = st.none() | unit
pairs = st.tuples(unit, unit)
names = st.sampled_from(["clock", "drift", "station_state", "completeness", "etas_rate", "something"])


@st.composite
def evidences(draw):
    k = draw(st.integers(0, 7))
    return Evidence(
        auc=draw(maybe), p=draw(maybe), alpha=draw(st.sampled_from([0.01, 0.05, 0.2])),
        effect=draw(st.sampled_from([0.6, 0.75])), tests=draw(st.sampled_from([1, 12])),
        headline=draw(st.sampled_from(["etas", "uniform", "matched"])),
        u=tuple(draw(st.lists(unit, min_size=k, max_size=k))),
        blocks=tuple(draw(st.lists(st.integers(1, 7), min_size=k, max_size=k))),
        stations=draw(st.dictionaries(st.text("ABC", min_size=1, max_size=2), unit, max_size=4)),
        post_event_auc=draw(maybe), controls=draw(st.dictionaries(names, pairs, max_size=4)),
        uniform=draw(st.none() | pairs), detectable=draw(maybe), why_no_auc=draw(st.sampled_from(["", "no data"])),
        claims=draw(st.sampled_from([(), ("beyond",)])), caveats=draw(st.sampled_from([(), ("said",)])),
    )  # fmt: skip


@settings(max_examples=300)
@given(evidences())
def test_whatever_the_figures_there_is_one_word_and_one_line(evidence):
    verdict = judge(evidence)
    assert verdict.word in WORDS
    assert verdict.rule in range(1, 10)
    assert verdict.why.strip()
    assert "\n" not in verdict.why
    assert "nan" not in verdict.why.lower()
    assert judge(evidence) == verdict


@settings(max_examples=200)
@given(evidences())
def test_no_discovery_without_its_conditions(evidence):
    verdict = judge(evidence)
    if verdict.word in ("SUGGESTIVE", "DETECTED"):
        assert evidence.p <= evidence.alpha
        assert evidence.headline == "etas"
        assert (len(set(evidence.blocks)) >= 5) == (verdict.word == "DETECTED")
        assert not any(
            p <= evidence.alpha and auc >= evidence.auc - 0.05
            for name, (auc, p) in evidence.controls.items()
            if name != "something"
        )


def test_the_number_of_blocks_is_the_protocols():
    assert block_count_needed(0.05, 0.75) == 8
    assert block_count_needed(0.05 / 12, 0.75) == 15
    assert block_count_needed(0.05, 0.51) is None


def test_adds_says_no_only_with_power():
    assert adds_word(0.05, 0.05, 9.0, 9.0, 0.05) == "ADDS"
    assert adds_word(0.05, 0.06, 9.0, 9.0, 0.05) == "CANNOT SAY"  # above the other, but not above chance
    assert adds_word(0.06, 0.01, 0.05, 0.05, 0.05) == "DOES NOT ADD"
    assert adds_word(0.06, 0.01, 0.05, 0.06, 0.05) == "CANNOT SAY"
