"""Files are whole or not there, JSON is strict."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe.errors import StorageError
from seisprobe.storage import read_table, strict_json, write_bytes, write_table

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_json_is_strict_keeps_its_order_and_floats_have_12_digits(value: object) -> None:
    def expected(x: object) -> object:
        if isinstance(x, dict):
            return {k: expected(v) for k, v in x.items()}
        if isinstance(x, list):
            return [expected(v) for v in x]
        if isinstance(x, float):
            return float(f"{x:.12g}") if math.isfinite(x) else None
        return x

    def refuse(name: str) -> float:
        raise AssertionError(name)

    text = strict_json(value)
    back = json.loads(text, parse_constant=refuse)
    assert back == expected(value)
    assert strict_json(back) == text
    if isinstance(value, dict):
        assert list(back) == list(value)


def test_numbers_of_numpy_become_plain() -> None:
    value = {"a": np.int64(3), "b": np.float32(0.5), "c": np.array([1.0, np.nan]), "d": np.bool_(True), "e": (1, 2)}
    assert json.loads(strict_json(value)) == {"a": 3, "b": 0.5, "c": [1.0, None], "d": True, "e": [1, 2]}


def test_a_table_comes_back_with_its_stamp_and_the_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"t": pd.to_datetime([1, 2], unit="us", utc=True).as_unit("us"), "x": [0.1, np.nan], "s": ["", "é"]}
    )
    for name in ("a.parquet", "b.parquet"):
        write_table(tmp_path / name, table, {"study": "abc"})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    found = read_table(tmp_path / "a.parquet")
    assert found is not None
    assert found[1] == {"study": "abc"}
    assert str(found[0]["t"].dtype) == "datetime64[us, UTC]"
    pd.testing.assert_frame_equal(found[0], table, check_dtype=False)


def test_what_is_not_there_or_half_there_is_no_table(tmp_path: Path) -> None:
    assert read_table(tmp_path / "none.parquet") is None
    write_table(tmp_path / "a.parquet", pd.DataFrame({"x": [1]}), {})
    data = (tmp_path / "a.parquet").read_bytes()
    for kept in (0, 3, len(data) // 2, len(data) - 1):
        (tmp_path / "a.parquet").write_bytes(data[:kept])
        assert read_table(tmp_path / "a.parquet") is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "a", b"old")
    write_bytes(tmp_path / "deep" / "a", b"new")
    assert (tmp_path / "deep" / "a").read_bytes() == b"new"
    (tmp_path / "deep" / "b").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        write_bytes(tmp_path / "deep" / "b", b"x")
    with pytest.raises(StorageError, match="cannot be written"):
        write_bytes(tmp_path / "deep" / "a" / "c", b"x")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a", "b"]


def test_a_disk_that_fills_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.txt"
    write_bytes(path, b"older")
    with path.open("rb") as reader:
        write_bytes(path, b"old")
        assert reader.read() == b"older", "a reader of the old file saw it change"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space"):
        write_bytes(path, b"new and longer")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]
