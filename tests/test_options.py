"""What a user reads when an option is wrong: section, key, value, and what to do, in one line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from seisprobe.options import Options, explain
from seisprobe.study import Study


class Inner(Options):
    depth: float = 1.0


class Outer(Options):
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


def said(model: type[Options], raw: dict, section: str = "") -> str:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(raw)
    return explain(refusal.value, model, raw, section)


def test_options_are_frozen_and_refuse_what_is_not_finite() -> None:
    with pytest.raises(ValidationError):
        Inner().depth = 2.0  # type: ignore[misc]
    for value in (float("nan"), float("inf"), -float("inf")):
        assert "inner" in said(Outer, {"inner": {"depth": value}})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"inner": {"dept": 1}}, "[inner] unknown key 'dept'; did you mean 'depth'? (known: depth)"),
        ({"iner": {}}, "unknown key 'iner'; did you mean 'inner'? (known: inner, many)"),
        ({"many": [{"depht": 1}]}, "[[many]] 1 unknown key 'depht'; did you mean 'depth'? (known: depth)"),
        ({"many": [{"name": "A", "depth": "x"}]}, "(and 1 more)"),
        ({"inner": {"depth": "deep"}}, "[inner] depth = 'deep': input should be a valid number"),
        ({"inner": 3}, "inner = 3: "),
    ],
)
def test_a_wrong_option_is_placed_as_it_stands_in_the_file(raw: dict, expected: str) -> None:
    message = said(Outer, raw)
    assert expected in message
    assert "\n" not in message


def test_a_section_given_stands_before_the_key() -> None:
    assert said(Inner, {"x": 1}, "[[modality]] catalog").startswith("[[modality]] catalog: unknown key 'x'")


def test_a_value_as_long_as_a_book_is_cut() -> None:
    assert len(said(Study, {"study": "x" * 5000})) < 300
