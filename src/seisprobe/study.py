"""study.toml as frozen models: read strictly, written back resolved, named by a fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from seisprobe.errors import StudyError, nearest
from seisprobe.options import Options, explain
from seisprobe.sections import (
    AblationOptions,
    CatalogOptions,
    EncoderOptions,
    EvaluationOptions,
    Mainshock,
    MainshockOptions,
    ModalityOptions,
    SegmentOptions,
    StudyOptions,
    TableOptions,
    WaveformOptions,
    WindowOptions,
    iso_time,
)

__all__ = [
    "Study",
    "changed_keys",
    "is_open",
    "load_study",
    "resolved_toml",
    "settle_encoder",
    "study_fingerprint",
    "study_from_dict",
]

OPEN = {"precision": "auto", "backend": "auto", "threads": 0}  # of [encoder]: what a machine decides, once
PATH_KEYS = ("path", "weights", "archive")
PATH_SCHEMES = ("file", "sds", "mseed", "instance")


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
    mainshock: tuple[Mainshock, ...] = ()
    mainshocks: MainshockOptions = MainshockOptions()
    windows: WindowOptions = WindowOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    modality: tuple[ModalityOptions, ...] = ()
    waveforms: WaveformOptions | None = None
    segments: SegmentOptions | None = None
    encoder: EncoderOptions | None = None
    table: tuple[TableOptions, ...] = ()
    ablation: AblationOptions | None = None

    @property
    def mc(self) -> float:
        """The study's one magnitude of completeness; NaN in a study of tables alone."""
        return self.catalog.completeness if self.catalog else math.nan

    @model_validator(mode="after")
    def _waveforms_whole(self) -> Study:
        """With waveforms, a study has segments and an encoder; without, they would be read by nobody."""
        for name, model in (("segments", SegmentOptions), ("encoder", EncoderOptions)):
            if self.waveforms is None and getattr(self, name) is not None:
                raise ValueError(f"[{name}] stands without [waveforms]; add it, or leave [{name}] out")
            if self.waveforms is not None and getattr(self, name) is None:
                object.__setattr__(self, name, model())
        return self

    @model_validator(mode="after")
    def _tables_apart(self) -> Study:
        names = [table.name for table in self.table]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"[[table]] name = '{name}' stands twice; names tell tables apart")
        return self

    @model_validator(mode="after")
    def _mainshocks_in_order(self) -> Study:
        if not self.mainshock and self.mainshocks.rule is None:
            raise ValueError("has no mainshock; add [[mainshock]] tables, or [mainshocks] rule = {min_magnitude = …}")
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
    plain: dict[str, Any] = json.loads(json.dumps(_plain(study), default=iso_time))
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


def settle_encoder(study: Study, other: Study) -> Study:
    """Return a study in which what of the encoder is left open ("auto", 0 threads) is as another study has it.

    Examples
    --------
    >>> a = {"study": {"name": "x", "start": "2016-01-01T00:00:00Z", "end": "2017-01-01T00:00:00Z",
    ...      "region": {"min_latitude": 1, "max_latitude": 2, "min_longitude": 1, "max_longitude": 2}},
    ...      "waveforms": {"source": "fdsn:INGV"},
    ...      "mainshock": [{"name": "M", "time": "2016-06-01T00:00:00Z", "magnitude": 6}]}
    >>> settled = study_from_dict(a | {"encoder": {"precision": "float32"}})
    >>> settle_encoder(study_from_dict(a), settled).encoder.precision
    'float32'
    """
    if study.encoder is None or other.encoder is None:
        return study
    found = {key: getattr(other.encoder, key) for key in _open_keys(study)}
    return study.model_copy(update={"encoder": study.encoder.model_copy(update=found)})


def is_open(study: Study) -> bool:
    """Return whether something of the encoder is still to be settled."""
    return bool(_open_keys(study))


def _open_keys(study: Study) -> list[str]:
    return [key for key, value in OPEN.items() if study.encoder and getattr(study.encoder, key) == value]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}.{inner.get('name', index)}")
    else:
        yield prefix, str(value)
