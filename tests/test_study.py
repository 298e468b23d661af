"""study.toml: strict, resolved, named by a fingerprint that no folder changes."""

from __future__ import annotations

import copy
import datetime as dt
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.errors import SeisprobeError, StudyError
from seisprobe.pipeline import check
from seisprobe.study import changed_keys, load_study, resolved_toml, study_fingerprint, study_from_dict
from support.studies import World

RAW = World().raw()
FULL = study_from_dict(RAW).model_dump()
KEYS = [
    *[(section, key) for section in ("study", "catalog", "windows", "evaluation") for key in FULL[section]],
    *[("study", "region", key) for key in FULL["study"]["region"]],
    *[("evaluation", "primary", key) for key in ("modality", "score", "hours")],
    *[("mainshock", 0, key) for key in ("name", "time", "magnitude", "latitude", "longitude", "nonsense")],
    ("study",), ("catalog",), ("windows",), ("evaluation",), ("mainshock",), ("mainshock", 0), ("modality",), ("x",),
]  # fmt: skip
HOSTILE: list[Any] = [
    None, 0, -1, 1, 24.0, 1e300, -1e300, 5e-324, 2**70, True, "", "x" * 5000, "a\nb", "a\x00b", "../x", "<b>&", "🌋",
    [], [1], [1, 1], [1e300], [0], ["x"], {}, {"a": 1}, [[1]], [{}], [{"name": "x"}], float("nan"), float("inf"),
    dt.date(2016, 1, 1), dt.datetime(2016, 1, 1), dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.time(3),
    dt.datetime(9999, 12, 31, 23, tzinfo=dt.UTC), "2016-01-01", "file:", "file:~nobody-here/x", "fdsn:", ":",
]  # fmt: skip


def with_value(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    table: Any = raw
    for step in path[:-1]:
        table = table[step] if isinstance(table, list) else table.setdefault(step, {})
    table[path[-1]] = value
    return raw


@pytest.mark.parametrize("path", KEYS, ids=lambda p: ".".join(map(str, p)))
def test_a_hostile_value_is_taken_or_refused_in_one_line_with_its_section(
    path: tuple[Any, ...], tmp_path: Path
) -> None:
    for value in HOSTILE:
        try:
            study = study_from_dict(with_value(path, value), origin="s.toml")
        except StudyError as error:
            message = str(error)
            assert message.startswith("s.toml: ")
            assert len(message) < 700, message
            assert str(path[0]) in message or path == ("x",), message
            continue
        resolved = tmp_path / "resolved.toml"
        resolved.write_text(resolved_toml(study), encoding="utf-8")
        again = load_study(resolved)
        assert study_fingerprint(again) == study_fingerprint(study), (path, value)
        assert not changed_keys(study, again)
        with suppress(SeisprobeError):  # and nothing else
            check(study)


@pytest.mark.parametrize("literal", ["nan", "inf", "-inf", "+nan"])
@pytest.mark.parametrize(
    "key", ["catalog.min_magnitude", "windows.gap_s", "evaluation.alpha", "mainshock.Alfa.magnitude"]
)
def test_toml_knows_nan_and_inf_and_a_study_refuses_them(key: str, literal: str, tmp_path: Path) -> None:
    World().write(tmp_path)
    with pytest.raises(StudyError, match="finite number"):
        load_study(tmp_path / "study.toml", [f"{key}={literal}"])


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "", ".x", "a\nb", "<script>", "x" * 65, "Ünï", "a b"])
def test_a_studys_name_names_a_folder(name: str) -> None:
    with pytest.raises(StudyError, match=r"\[study\] name = .*names a folder"):
        study_from_dict(with_value(("study", "name"), name))


@pytest.mark.parametrize("name", ["a/b", "<b>x</b>", "a\nb", "🌋", "", "-x", "x" * 65, "a|b", 'a"b', "../../x"])
def test_a_mainshocks_name_is_plain_words(name: str) -> None:
    with pytest.raises(StudyError, match=r"\[\[mainshock\]\]"):
        study_from_dict(with_value(("mainshock", 0, "name"), name))


@pytest.mark.parametrize("name", ["Città di Castello", "M 6.0 (Mw)", "L'Aquila"[0:1] + "Aquila", "2016+1", "Ōsaka"])
def test_names_of_places_are_welcome(name: str) -> None:
    assert study_from_dict(with_value(("mainshock", 0, "name"), name)).mainshock[0].name == name


def test_settings_override_the_file_and_are_read_as_toml_or_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = World().write(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    study = load_study(
        path,
        ["windows.hours=[3, 1]", "catalog.source=file:b/x.csv", "mainshock.Beta.magnitude=5.9", "study.name=other",
         "evaluation.primary.hours=1"],
    )  # fmt: skip
    assert study.windows.hours == (1.0, 3.0)
    assert study.catalog is not None
    assert study.catalog.source == f"file:{tmp_path}/b/x.csv"  # relative to the working folder
    assert load_study(path).catalog.source == f"file:{tmp_path}/a/catalog.txt"  # type: ignore[union-attr]
    assert [m.magnitude for m in study.mainshock] == [6.0, 5.9]
    assert study.study.name == "other"
    assert study.evaluation.primary.hours == 1


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("windows.hours", "write it as section.key=value"),
        ("hours=[2]", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("windows..hours=3", "write it as section.key=value"),
        ("windows.hours.x=3", "windows.hours is no section"),
        ("windows.hours.x.y=3", "the study has no windows.hours.x"),
        ("mainshock.Gamma.magnitude=3", "the study has no mainshock.Gamma"),
        ("mainshock.Alpha.magnitude=3", "did you mean 'Alfa'?"),
        ("windows.hours=two", r"\[windows\] hours = 'two'"),
    ],
)
def test_a_malformed_setting_is_refused_as_it_was_written(setting: str, expected: str, tmp_path: Path) -> None:
    path = World().write(tmp_path)
    with pytest.raises(StudyError, match=expected):
        load_study(path, [setting])


@pytest.mark.parametrize("encode", [lambda t: t.replace("\n", "\r\n").encode(), lambda t: b"\xef\xbb\xbf" + t.encode()])
def test_windows_line_endings_and_a_byte_order_mark_change_nothing(encode: Any, tmp_path: Path) -> None:
    path = World().write(tmp_path)
    plain = study_fingerprint(load_study(path))
    path.write_bytes(encode(path.read_text()))
    assert study_fingerprint(load_study(path)) == plain


def test_files_that_are_no_study_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes("[study]".encode("utf-16"))
    with pytest.raises(StudyError, match="cannot be read as a study file"):
        load_study(tmp_path / "a.toml")
    with pytest.raises(StudyError, match="cannot be read as a study file"):
        load_study(tmp_path)
    with pytest.raises(StudyError, match="no such study file"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_text("")
    with pytest.raises(StudyError, match="'study' is missing; add it"):
        load_study(tmp_path / "b.toml")


@settings(max_examples=30)
@given(st.permutations(range(3)), st.sampled_from(["Z", "+02:00"]), st.sampled_from([[2, 6], [6.0, 2.0]]))
def test_order_zone_and_way_of_writing_do_not_change_the_fingerprint(order: list[int], zone: str, hours: list) -> None:
    raw = World(shocks=(("A", 10.0, 6.0), ("B", 30.0, 6.0), ("C", 50.0, 6.0))).raw()
    plain = study_fingerprint(study_from_dict(raw))
    if zone != "Z":
        raw["study"]["start"] = raw["study"]["start"].astimezone(dt.timezone(dt.timedelta(hours=2)))
    raw["mainshock"] = [raw["mainshock"][i] for i in order]
    raw["windows"]["hours"] = hours
    raw["catalog"]["source"] = "file:/somewhere/else/catalog.txt"
    assert study_fingerprint(study_from_dict(raw)) == plain


def test_every_option_changes_the_fingerprint_and_is_named() -> None:
    base = study_from_dict(RAW)
    changes = {
        ("study", "seed"): 7, ("windows", "gap_s"): 60, ("windows", "radius_km"): 30, ("catalog", "mc"): 2.9,
        ("evaluation", "alpha"): 0.01, ("mainshock", 1, "magnitude"): 5.7, ("catalog", "source"): "file:other.txt",
        ("windows", "layouts"): ["at-lead"], ("evaluation", "primary"): {"hours": 2},
    }  # fmt: skip
    for path, value in changes.items():
        changed = study_from_dict(with_value(path, value))
        assert study_fingerprint(changed) != study_fingerprint(base), path
        named = changed_keys(base, changed)
        assert len(named) == 1
        assert str(path[-1]) in named[0]


def test_the_resolved_study_writes_out_every_default(tmp_path: Path) -> None:
    raw = {"study": RAW["study"], "catalog": {"source": "fdsn:INGV"}, "mainshock": RAW["mainshock"]}
    (tmp_path / "s.toml").write_text(tomli_w.dumps(raw))
    text = resolved_toml(load_study(tmp_path / "s.toml"))
    for line in (
        "min_magnitude = 2.5", "gap_s = 120", "embargo_h = 24", "step_h = 1", "block_days = 10", "block_km = 100",
        "background_count = 200", "draws = 2000", "shifts = 2000", "logistic_draws = 199", "alpha = 0.05",
        "recall = 0.8", "effect_of_interest = 0.75", 'headline = "etas"', "allow_unsafe_split = false",
    ):  # fmt: skip
        assert line in text
    assert load_study(tmp_path / "s.toml").windows.hours == (2, 6, 12, 24)


def test_folders_of_paths_do_not_change_the_fingerprint_but_names_of_files_do() -> None:
    def named(path: str) -> str:
        return study_fingerprint(study_from_dict({**RAW, "modality": [{"name": "catalog", "path": path}]}))

    assert named("/a/x.csv") == named("/b/c/x.csv") != named("/a/y.csv")
