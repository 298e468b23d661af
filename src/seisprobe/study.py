"""study.toml as frozen models: what every study has, read strictly, written back resolved, named by a fingerprint.

A source, modality, background or score declares its own options beside its function; this file knows none of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from seisprobe.errors import StudyError, nearest
from seisprobe.options import Options, explain

__all__ = [
    "CatalogOptions",
    "EvaluationOptions",
    "Mainshock",
    "ModalityOptions",
    "Region",
    "Study",
    "StudyOptions",
    "WindowOptions",
    "changed_keys",
    "load_study",
    "resolved_toml",
    "study_fingerprint",
    "study_from_dict",
]

LAYOUTS = ("until-event", "at-lead")
SHORTEST_STEP_H = 1 / 60
LONGEST_H = 87_600.0  # ten years: no window, gap or embargo that makes sense is longer, and times stay within 64 bits
PATH_KEYS = ("path", "weights", "archive")
PATH_SCHEMES = ("file", "sds", "mseed", "instance")
NAME_PATTERN = re.compile(r"[\w][\w .+()-]{0,63}")
FOLDER_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _as_utc(value: object) -> object:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is no time; write it as 2016-10-30T06:40:17Z") from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone; write UTC with a Z behind it, as 2016-10-30T06:40:17Z")
        return value.astimezone(UTC)
    if isinstance(value, date):
        raise ValueError("is a date without time and zone; write it as 2016-10-30T00:00:00Z")
    raise ValueError("is no time; write it as 2016-10-30T06:40:17Z")


def _is_name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, spaces or . + - ( ) _, beginning with a letter or digit")
    return value


def _is_folder_name(value: str) -> str:
    if not FOLDER_PATTERN.fullmatch(value):
        raise ValueError("names a folder: 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
    return value


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if len({f"{value:g}" for value in values}) != len(values):  # as window ids write them
        raise ValueError("names a value twice")
    return tuple(sorted(values))


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names a value twice")
    return values


UtcTime = Annotated[datetime, BeforeValidator(_as_utc)]
Name = Annotated[str, AfterValidator(_is_name)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Hours = Annotated[float, Field(gt=0, le=LONGEST_H)]
HoursOrNone = Annotated[float, Field(ge=0, le=LONGEST_H)]
Magnitude = Annotated[float, Field(ge=-10, le=10)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]


class Region(Options):
    """A box in degrees; its edges belong to it."""

    min_latitude: Latitude
    max_latitude: Latitude
    min_longitude: Longitude
    max_longitude: Longitude

    @model_validator(mode="after")
    def _not_empty(self) -> Region:
        if self.min_latitude >= self.max_latitude or self.min_longitude >= self.max_longitude:
            raise ValueError("is an empty box; each min_ must be below its max_")
        return self


class StudyOptions(Options):
    """``[study]``: name, seed, period in UTC, region."""

    name: Annotated[str, AfterValidator(_is_folder_name)]
    seed: Annotated[int, Field(ge=0)] = 0
    start: UtcTime
    end: UtcTime
    region: Region

    @model_validator(mode="after")
    def _forward(self) -> StudyOptions:
        if self.start >= self.end:
            raise ValueError(f"start {_iso(self.start)} is not before end {_iso(self.end)}")
        return self


class CatalogOptions(Options):
    """``[catalog]``: where the events come from and from which magnitude on they count."""

    source: str
    min_magnitude: Magnitude = 2.5
    mc: Magnitude | None = None
    columns: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> CatalogOptions:
        if self.mc is not None and self.mc < self.min_magnitude:
            raise ValueError(f"mc = {self.mc} is below min_magnitude = {self.min_magnitude}")
        return self

    @property
    def completeness(self) -> float:
        """The study's one magnitude of completeness: ``mc``, by default ``min_magnitude``."""
        return self.min_magnitude if self.mc is None else self.mc


class Mainshock(Options):
    """``[[mainshock]]``: one earthquake that the study asks about."""

    name: Name
    time: UtcTime
    magnitude: Annotated[float, Field(ge=-2, le=10)]
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def _whole_place(self) -> Mainshock:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("has one of latitude and longitude; give both or neither")
        return self


class WindowOptions(Options):
    """``[windows]``: lengths and places of the windows in time (PROTOCOL 1)."""

    hours: Annotated[tuple[Hours, ...], Field(min_length=1), AfterValidator(_ascending)] = (2.0, 6.0, 12.0, 24.0)
    gap_s: Annotated[float, Field(ge=0, le=LONGEST_H * 3600)] = 120.0
    embargo_h: HoursOrNone = 24.0
    step_h: Annotated[float, Field(ge=SHORTEST_STEP_H, le=24)] = 1.0
    layouts: Names = ("until-event",)
    lead_window_h: Hours = 1.0
    post_h: tuple[HoursOrNone, Hours] = (1.0, 2.0)
    block_days: NotNegative = 10.0
    block_km: NotNegative = 100.0
    radius_km: Positive | None = None
    background_count: Annotated[int, Field(ge=1)] = 200

    @property
    def post_length_h(self) -> float:
        """Length of the post-event window: 1, not 0.9999999999999996, for 3.1 to 4.1."""
        return round(self.post_h[1] - self.post_h[0], 9)

    @model_validator(mode="after")
    def _sound(self) -> WindowOptions:
        for layout in self.layouts:
            if layout not in LAYOUTS:
                raise ValueError(f"layouts names '{layout[:80]}'; {nearest(layout, LAYOUTS)}")
        if self.post_h[0] >= self.post_h[1]:
            raise ValueError(f"post_h = {list(self.post_h)} must ascend")
        return self


class PrimaryOptions(Options):
    """``[evaluation] primary``: the one cell that is tested by itself; what is left out has PROTOCOL's default."""

    modality: str | None = None
    score: str | None = None
    hours: Positive | None = None


class EvaluationOptions(Options):
    """``[evaluation]``: backgrounds, nulls and thresholds (PROTOCOL 3 to 7)."""

    backgrounds: Names = ("quiet", "uniform", "matched", "etas")
    headline: str = "etas"
    primary: PrimaryOptions = PrimaryOptions()
    shifts: Annotated[int, Field(ge=1)] = 2000
    draws: Annotated[int, Field(ge=1)] = 2000
    logistic_draws: Annotated[int, Field(ge=1)] = 199
    synthetic_catalogs: Annotated[int, Field(ge=0)] = 500
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    recall: Annotated[float, Field(gt=0, le=1)] = 0.8
    effect_of_interest: Annotated[float, Field(gt=0.5, lt=1)] = 0.75
    split: str = "leave-one-block-out"
    allow_unsafe_split: bool = False

    @model_validator(mode="after")
    def _headline_known(self) -> EvaluationOptions:
        if self.headline not in self.backgrounds:
            raise ValueError(f"headline = '{self.headline[:80]}' is not among backgrounds = {list(self.backgrounds)}")
        return self


class ModalityOptions(BaseModel):
    """``[[modality]]``: a name, and whatever options that modality declares."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: str


class Study(Options):
    """A whole study, resolved: every default written out, every path absolute.

    Examples
    --------
    >>> study = study_from_dict({
    ...     "study": {"name": "example", "start": "2016-01-01T00:00:00Z", "end": "2018-01-01T00:00:00Z",
    ...               "region": {"min_latitude": 41.5, "max_latitude": 44, "min_longitude": 11.5,
    ...                          "max_longitude": 14.5}},
    ...     "catalog": {"source": "fdsn:INGV"},
    ...     "mainshock": [{"name": "Norcia", "time": "2016-10-30T06:40:17Z", "magnitude": 6.5}]})
    >>> study.windows.hours
    (2.0, 6.0, 12.0, 24.0)
    """

    study: StudyOptions
    catalog: CatalogOptions | None = None
    mainshock: Annotated[tuple[Mainshock, ...], Field(min_length=1)]
    windows: WindowOptions = WindowOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    modality: tuple[ModalityOptions, ...] = ()

    @property
    def mc(self) -> float:
        """The study's one magnitude of completeness; NaN in a study of tables alone."""
        return self.catalog.completeness if self.catalog else math.nan

    @model_validator(mode="after")
    def _mainshocks_in_order(self) -> Study:
        names = [m.name for m in self.mainshock]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"[[mainshock]] name = '{name}' stands twice; names tell mainshocks apart")
        in_order = tuple(sorted(self.mainshock, key=lambda m: m.time))
        object.__setattr__(self, "mainshock", in_order)
        return self


# --- reading ---------------------------------------------------------------------------------------------------------


def load_study(path: str | Path, settings: Iterable[str] = ()) -> Study:
    """Read a study file and the settings that override it.

    Parameters
    ----------
    path : path
        A TOML file; paths inside are relative to its folder.
    settings : iterable of str
        ``section.key=value``, the value read as TOML, or as a string where it is none; ``mainshock.NAME.key=value``
        reaches one mainshock. Paths are relative to the working folder.

    Returns
    -------
    Study

    Raises
    ------
    StudyError
        One line: file, section, key, value, what to do.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; write one or name another") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read as a study file: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: is not TOML: {error}") from None
    _anchor_paths(raw, path.resolve().parent)
    for setting in settings:
        _apply(raw, setting)
    return study_from_dict(raw, origin=str(path))


def study_from_dict(raw: Mapping[str, Any], *, origin: str = "study") -> Study:
    """Validate a study given as nested mappings; `origin` stands before every message."""
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise StudyError(f"{origin}: {explain(error, Study, raw)}") from None


def _anchor_paths(table: Any, folder: Path) -> None:
    """Make every path in a raw study absolute, in place."""
    for section in _tables(table):
        for key in ("source", *PATH_KEYS):
            if isinstance(section.get(key), str):
                section[key] = _anchored(key, section[key], folder)


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _tables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tables(inner)


def _anchored(key: str, value: str, folder: Path) -> str:
    if key != "source":
        return str(folder / _from_home(value))
    scheme, colon, rest = value.partition(":")
    if colon and scheme in PATH_SCHEMES and rest:
        return f"{scheme}:{folder / _from_home(rest)}"
    return value


def _from_home(text: str) -> Path:
    """Return a path with ~ written out; one of a user that is not known stays, and is not found later."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _apply(raw: dict[str, Any], setting: str) -> None:
    """Apply one ``section.key=value`` to a raw study."""
    dotted, equals, text = setting.partition("=")
    keys = [part.strip() for part in dotted.split(".")]
    if not equals or len(keys) < 2 or not all(keys):
        raise StudyError(f"--set {setting}: write it as section.key=value, for example windows.hours=[2,24]")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table: Any = raw
    for depth, key in enumerate(keys[:-1]):
        table = _descend(table, key, setting, ".".join(keys[: depth + 1]))
    if not isinstance(table, dict):
        raise StudyError(f"--set {setting}: {'.'.join(keys[:-1])} is no section; write section.key=value")
    if isinstance(value, str):
        value = (
            _anchored(keys[-1], value, Path.cwd()) if keys[-1] in ("source", "path", "weights", "archive") else value
        )
    table[keys[-1]] = value


def _descend(table: Any, key: str, setting: str, where: str) -> Any:
    if isinstance(table, list):
        for item in table:
            if isinstance(item, dict) and item.get("name") == key:
                return item
        known = [str(item.get("name")) for item in table if isinstance(item, dict)]
        raise StudyError(f"--set {setting}: the study has no {where}; {nearest(key, known)}")
    if not isinstance(table, dict):
        raise StudyError(f"--set {setting}: {where} is no section; write section.key=value")
    return table.setdefault(key, {})


# --- writing and naming ----------------------------------------------------------------------------------------------


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _plain(study: Study) -> dict[str, Any]:
    """Return the study as TOML can hold it: no nulls, times in UTC, whole numbers without a point."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if v is not None}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
            return int(value)
        return value

    return {k: v for k, v in plain(study.model_dump()).items() if v not in ({}, [])}


def resolved_toml(study: Study) -> str:
    """Return the study as TOML with every default written out."""
    import tomli_w

    return tomli_w.dumps(_plain(study))


def _portable(study: Study) -> dict[str, Any]:
    """Return the study with file names in place of paths, so that its name does not depend on where it lies."""
    plain: dict[str, Any] = json.loads(json.dumps(_plain(study), default=_iso))
    for table in _tables(plain):
        for key in PATH_KEYS:
            if key in table:
                table[key] = Path(table[key]).name
        scheme, colon, rest = str(table.get("source", "")).partition(":")
        if colon and scheme in PATH_SCHEMES:
            table["source"] = f"{scheme}:{Path(rest).name}"
    return plain


def study_fingerprint(study: Study) -> str:
    """Return 16 hexadecimal digits that name a study: every option, but not the folder its files lie in."""
    text = json.dumps(_portable(study), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed_keys(old: Study, new: Study) -> list[str]:
    """Return the keys in which two studies differ, dotted, with both values.

    Examples
    --------
    >>> a = {"study": {"name": "x", "start": "2016-01-01T00:00:00Z", "end": "2017-01-01T00:00:00Z",
    ...      "region": {"min_latitude": 1, "max_latitude": 2, "min_longitude": 1, "max_longitude": 2}},
    ...      "mainshock": [{"name": "M", "time": "2016-06-01T00:00:00Z", "magnitude": 6}]}
    >>> changed_keys(study_from_dict(a), study_from_dict(a | {"windows": {"step_h": 2}}))
    ['windows.step_h (1 → 2)']
    """
    before, after = (dict(_leaves(_portable(s))) for s in (old, new))
    keys = sorted(before.keys() | after.keys())
    return [f"{k} ({before.get(k, 'none')} → {after.get(k, 'none')})" for k in keys if before.get(k) != after.get(k)]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}.{inner.get('name', index)}")
    else:
        yield prefix, str(value)
