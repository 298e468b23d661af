"""The sections of a study file, one frozen model each, with every key and its default.

A source, modality, background or score declares its own options beside its function; this file knows none of them.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from seisprobe.errors import nearest
from seisprobe.options import Options

__all__ = [
    "AblationOptions",
    "CatalogOptions",
    "EncoderOptions",
    "EvaluationOptions",
    "Mainshock",
    "MainshockOptions",
    "MainshockRule",
    "ModalityOptions",
    "PrimaryOptions",
    "Region",
    "SegmentOptions",
    "StudyOptions",
    "TableOptions",
    "WaveformOptions",
    "WindowOptions",
    "iso_time",
]

LAYOUTS = ("until-event", "at-lead")
SHORTEST_STEP_H = 1 / 60
LONGEST_H = 87_600.0  # ten years: no window, gap or embargo that makes sense is longer, and times stay within 64 bits
NAME_PATTERN = re.compile(r"[\w][\w .+()-]{0,63}")
LEAST_HISTORY, MOST_HISTORY = 3, 60  # days before a window that say what is usual
FOLDER_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def iso_time(time: datetime) -> str:
    """Return a UTC time as a study writes it.

    Examples
    --------
    >>> iso_time(datetime(2016, 10, 30, 6, 40, 17, tzinfo=UTC))
    '2016-10-30T06:40:17Z'
    """
    return time.isoformat().replace("+00:00", "Z")


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


def _is_history(value: int) -> int:
    if value and not LEAST_HISTORY <= value <= MOST_HISTORY:
        raise ValueError(f"is 0 (no z-score) or {LEAST_HISTORY} to {MOST_HISTORY} days")
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
            raise ValueError(f"start {iso_time(self.start)} is not before end {iso_time(self.end)}")
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


class MainshockRule(Options):
    """``[mainshocks] rule``: which events of the catalog are mainshocks, going forward in time.

    Nothing that comes after an event decides about it: a foreshock is a mainshock until a larger one follows.
    """

    min_magnitude: Magnitude
    min_gap_days: Annotated[float, Field(ge=0, le=LONGEST_H / 24)] = 0.0
    decluster: Literal["gardner-knopoff", "nearest-neighbour", "none"] = "none"


class MainshockOptions(Options):
    """``[mainshocks]``: the rule that gives them, instead of a list or beside one that must agree with it."""

    rule: MainshockRule | None = None


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


class WaveformOptions(Options):
    """``[waveforms]``: where continuous records come from, and of which stations and channels."""

    source: str
    stations: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    channels: Names = ("HH", "EH", "HN")
    archive: str | None = None


class SegmentOptions(Options):
    """``[segments]``: the grid of one-minute segments, and how many of them stand for a window (PROTOCOL 2)."""

    hop_s: Annotated[int, Field(ge=1, le=60)] = 60
    max_gap_s: Annotated[float, Field(ge=0, lt=60)] = 0.0
    per_window: Annotated[int, Field(ge=2)] = 60
    whole_record: bool = False


class EncoderOptions(Options):
    """``[encoder]``: which network turns segments into vectors, and how it runs."""

    name: str = "seisclip-120"
    weights: str | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    backend: str = "auto"
    batch: Annotated[int, Field(ge=1)] = 64
    threads: Annotated[int, Field(ge=0)] = 0
    dtype: Literal["float16", "float32"] = "float16"


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


class AblationOptions(Options):
    """``[ablation]``: which modalities share the signal; by default all that stand by themselves, primary hours."""

    modalities: Annotated[tuple[str, ...], AfterValidator(_distinct), Field(max_length=6)] = ()
    hours: Positive | None = None


class TableOptions(Options):
    """``[[table]]``: any timed table, one row a time (and group); its modality is ``table:NAME``.

    A time without zone is read in `zone`; without one it is refused. Times that daylight saving leaves out or repeats
    are refused, left out (``drop``), or told apart by their order where rows go back an hour once (``order``). `marks`
    says what a row's time is of the `sampling_s` that it sums up: a row counts once it is complete, so that none of a
    window before a mainshock holds what came after. A window is compared with the same hours of `history_days` days
    before it, 0 for none; where too few of them are covered it has no row.

    Bursts of the layout ``e-obs`` know their own times: `time`, `daylight_saving` and `marks` are refused there.
    """

    name: Annotated[str, AfterValidator(_is_folder_name)]
    path: str
    layout: Literal["columns", "e-obs"] = "columns"
    time: str = "time"
    zone: str | None = None
    daylight_saving: Literal["refuse", "drop", "order"] = "refuse"
    values: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    group: str | None = None
    sampling_s: Annotated[float, Field(ge=0.001, le=366 * 86_400)] | None = None
    marks: Literal["start", "end", "instant"] = "start"
    min_coverage: Annotated[float, Field(gt=0, le=1)] = 0.8
    history_days: Annotated[int, AfterValidator(_is_history)] = 7

    @model_validator(mode="after")
    def _of_its_layout(self) -> TableOptions:
        for key in ("time", "daylight_saving", "marks") if self.layout == "e-obs" else ():
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} = '{value[:80]}': bursts of layout = 'e-obs' know their own times; leave it out"
                )
        return self


class ModalityOptions(BaseModel):
    """``[[modality]]``: a name, and whatever options that modality declares."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: str
