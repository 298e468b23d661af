"""Movebank's e-obs bursts: ODBA against a loop over samples, text against Python's own int, and what is left out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seisprobe.errors import DataFileError
from seisprobe.sections import TableOptions
from seisprobe.sources import accelerations
from seisprobe.sources.accelerations import in_slots, read_bursts
from seisprobe.sources.burst_numbers import burst_activity, parse_integers
from seisprobe.sources.tables import check_table, read_timed_table
from support.herd import e_obs_text

HERD = (("a", "cow"), ("b", "cow"), ("c", "dog"), ("d", "dog"))


def by_hand(raw: np.ndarray) -> tuple[float, float]:
    """ODBA and VeDBA of one burst (samples, axes), sample by sample."""
    means = [sum(float(x) for x in raw[:, a]) / len(raw) for a in range(raw.shape[1])]
    odba = vedba = 0.0
    for sample in raw:
        dynamic = [float(x) - m for x, m in zip(sample, means, strict=True)]
        odba += sum(abs(d) for d in dynamic)
        vedba += sum(d * d for d in dynamic) ** 0.5
    return odba / len(raw), vedba / len(raw)


def written(folder: Path, text: str, name: str = "e-obs.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("axes", ["XYZ", "XY", "Z"])
def test_the_activity_of_a_burst_is_that_of_a_loop_over_its_samples(tmp_path, axes):
    scale = np.random.default_rng(1).uniform(1, 900, 60)
    text, raw = e_obs_text("2016-10-28T00:00Z", 60, axes=axes, scale=scale)
    bursts = read_bursts(written(tmp_path, text))
    expected = np.array([by_hand(burst) for burst in raw])
    np.testing.assert_allclose(bursts.odba, expected[:, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(bursts.vedba, expected[:, 1], rtol=0, atol=1e-9)
    assert bursts.samples == raw.size


@given(st.lists(st.lists(st.integers(-999_999_999, 999_999_999), max_size=8), min_size=1, max_size=6))
def test_integers_are_those_that_python_reads(rows):
    texts = [(" ".join(map(str, row)) + " ").encode() for row in rows]
    offsets = np.cumsum([0, *map(len, texts)])
    numbers, counts, bad = parse_integers(np.frombuffer(b"".join(texts), np.uint8), offsets)
    assert numbers.tolist() == [x for row in rows for x in row]
    assert counts.tolist() == [len(row) for row in rows]
    assert not bad.any()


@given(st.text(alphabet="0123456789-. xé", max_size=20))
def test_text_that_is_no_row_of_integers_is_marked(text):
    data = (text + " ").encode()
    numbers, counts, bad = parse_integers(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    words = text.split(" ")
    fine = all(word == "" or (word.lstrip("-").isdigit() and word.isascii() and word.count("-") <= 1
                              and not word.strip("0123456789").strip("-") and len(word.lstrip("-")) <= 9
                              and "-" not in word[1:]) for word in words)  # fmt: skip
    assert bad.tolist() == [not fine]
    if fine:
        assert numbers[: counts[0]].tolist() == [int(word) for word in words if word]


def test_bursts_of_other_lengths_and_axes_stand_side_by_side():
    numbers = np.array([0, 0, 6, 8, 1, 3, 5], np.int32)
    odba, vedba = burst_activity(numbers, np.array([4, 3]), np.array([2, 1]))
    assert odba.tolist() == [7.0, pytest.approx(4 / 3)]
    assert vedba.tolist() == [5.0, pytest.approx(4 / 3)]


def test_a_burst_counts_from_its_end(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 4)  # 40 samples at 20 Hz: two seconds
    ends = pd.to_datetime(read_bursts(written(tmp_path, text)).ends_us, unit="us")
    assert ends[0] == pd.Timestamp("2016-10-28T00:00:02")


@pytest.mark.parametrize("hertz", ["0", "-1", "", "inf", "nan", "1e-300", "1e-9", "1e300", "abc"])
def test_a_burst_whose_length_is_not_told_is_left_out(tmp_path, hertz):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8)
    rows = text.splitlines()
    rows[3] = rows[3].replace(",20.0,", f",{hertz},")
    bursts = read_bursts(written(tmp_path, "\n".join(rows)))
    assert bursts.dropped == {"bad_frequency": 1}
    assert len(bursts.odba) == 7
    assert bursts.notes == ("e-obs.csv: 1 burst(s) left out as bad_frequency",)


def test_that_bursts_count_from_their_start_is_said_where_no_frequency_stands(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 4)
    bursts = read_bursts(written(tmp_path, text.replace("eobs:acceleration-sampling-frequency-per-axis", "hertz")))
    assert pd.to_datetime(bursts.ends_us, unit="us")[0] == pd.Timestamp("2016-10-28T00:00:00")
    said = "e-obs.csv: no column 'eobs:acceleration-sampling-frequency-per-axis': bursts count from their start"
    assert [n for n in bursts.notes if "frequency" in n] == [said + ", though they end later"]


@pytest.mark.parametrize("marks", ["start", "end", "instant"])
def test_a_slot_is_known_once_it_is_over_whatever_marks_say(tmp_path, marks):
    path = written(tmp_path, e_obs_text("2016-10-28T00:00Z", 60)[0])
    options = TableOptions(name="herd", path=str(path), layout="e-obs").model_copy(update={"marks": marks})
    assert read_timed_table(options).known_after_us == 900_000_000


@pytest.mark.parametrize(("key", "value"), [("marks", "end"), ("marks", "instant"), ("time", "nope"),
                                            ("daylight_saving", "drop")])  # fmt: skip
def test_options_that_bursts_have_no_use_for_are_refused(key, value):
    with pytest.raises(ValidationError, match=f"{key} = '{value}': bursts of layout = 'e-obs' know their own times"):
        TableOptions(name="herd", path="e-obs.csv", layout="e-obs", **{key: value})


@pytest.mark.parametrize("group", [None, "individual-local-identifier"])
def test_tags_on_no_animal_are_left_out_and_counted(tmp_path, group):
    text, _ = e_obs_text("2016-10-28T00:00Z", 600, animals=HERD)
    shelf, _ = e_obs_text("2016-10-28T00:00:30Z", 300, animals=(("", ""),), seed=1)
    options = {"name": "herd", "layout": "e-obs", "group": group}
    worn = read_timed_table(TableOptions(path=str(written(tmp_path, text)), **options))
    both = written(tmp_path, text + "".join(shelf.splitlines(keepends=True)[1:]), "both.csv")
    table = read_timed_table(TableOptions(path=str(both), **options))
    assert table.groups == worn.groups
    assert (table.values == worn.values).all()
    assert table.dropped == {"no_animal": 300}
    assert table.notes == ("both.csv: 300 burst(s) left out as no_animal",)


@pytest.mark.parametrize("group", [None, "individual-local-identifier"])
def test_a_tag_that_stops_is_named_in_a_herd_too(tmp_path, group):
    rows = e_obs_text("2016-10-28T00:00Z", 400, animals=HERD, every_s=900)[0].splitlines()
    kept = [row for i, row in enumerate(rows) if not row.endswith(",b") or i < 100]
    path = written(tmp_path, "\n".join(kept) + "\n")
    table = read_timed_table(TableOptions(name="herd", path=str(path), layout="e-obs", group=group))
    assert [note for note in table.notes if "stops" in note] == [
        "e-obs.csv: 'b' stops at 2016-10-29T00:15:00Z, before the table's end 2016-11-01T03:45:00Z"
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_export_is_read_as_it_is(tmp_path, pack):
    text, _ = e_obs_text("2016-10-28T00:00Z", 50)
    plain = read_bursts(written(tmp_path, text))
    (tmp_path / "packed").write_bytes(pack(text.encode()))
    assert (read_bursts(tmp_path / "packed").odba == plain.odba).all()


def test_blocks_of_any_size_give_the_same_bursts(tmp_path, monkeypatch):
    text, _ = e_obs_text("2016-10-28T00:00Z", 400, animals=HERD)
    path = written(tmp_path, text)
    whole = read_bursts(path)
    monkeypatch.setattr(accelerations, "BLOCK_BYTES", 5000)
    parts = read_bursts(path)
    assert parts.animals == whole.animals
    assert (parts.odba == whole.odba).all()
    assert (parts.animal == whole.animal).all()


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for bursts in (3000, 30000):
        path = written(tmp_path, e_obs_text("2016-10-28T00:00Z", bursts, every_s=5)[0], f"{bursts}.csv")
        read_bursts(path)
        tracemalloc.start()
        read_bursts(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 100 * 30000  # the blocks of one file; a row a burst, of some ten numbers


def test_bursts_that_cannot_be_used_are_counted_by_reason(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 12, animals=HERD)
    rows = text.splitlines()
    rows[1] = rows[1].replace('"', '"x ', 1)  # not integers
    rows[2] = rows[2].replace(",XYZ,", ",QRS,")
    parts = rows[3].split('"')
    rows[3] = '"'.join([parts[0], parts[1].rsplit(" ", 1)[0], *parts[2:]])  # one number short
    rows[4] = rows[4].replace("2016-10-28", "28 October")
    rows.append(rows[5])
    bursts = read_bursts(written(tmp_path, "\n".join(rows) + "\n"))
    assert bursts.dropped == {"bad_axes": 1, "bad_time": 1, "duplicate": 1, "not_integers": 1, "not_whole": 1}
    assert len(bursts.odba) == 8
    assert len(bursts.notes) == 5


def test_a_herd_in_slots_is_what_a_loop_over_animals_gives(tmp_path):
    rng = np.random.default_rng(3)
    text, raw = e_obs_text("2016-10-28T00:00Z", 600, animals=HERD, scale=rng.uniform(5, 300, 600))
    path = written(tmp_path, text)
    table = read_timed_table(TableOptions(name="herd", path=str(path), layout="e-obs"))
    assert table.columns == ("bos_taurus_odba", "bos_taurus_vedba", "canis_familiaris_odba", "canis_familiaris_vedba",
                             "animal_odba", "animal_vedba", "active_share")  # fmt: skip
    odba = np.array([by_hand(burst)[0] for burst in raw])
    seconds = np.arange(600) * 60.0 + 2.0
    slot, animal = (seconds // 900).astype(int), np.arange(600) % 4
    mean = np.array([[odba[(slot == s) & (animal == a)].mean() for a in range(4)] for s in range(slot.max() + 1)])
    np.testing.assert_allclose(table.values[:, 0], mean[:, :2].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(table.values[:, 4], mean.mean(axis=1), rtol=1e-12)
    share = (mean > np.median(mean, axis=0)).mean(axis=1)
    np.testing.assert_allclose(table.values[:, 6], share, rtol=1e-12)


def test_each_animal_by_itself_where_the_study_asks(tmp_path):
    path = written(tmp_path, e_obs_text("2016-10-28T00:00Z", 600, animals=HERD)[0])
    options = {"name": "herd", "path": str(path), "layout": "e-obs"}
    table = read_timed_table(TableOptions(**options, group="individual-local-identifier"))
    assert table.groups == ("a", "b", "c", "d")
    assert table.columns == ("odba", "vedba")
    slots = in_slots(read_bursts(path), 900.0, by_animal=True)
    assert len(slots.times) == len(table.times)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("eobs:accelerations-raw", "raw"), "no column 'eobs:accelerations-raw'"),
        (lambda t: t.splitlines()[0] + "\n", "it holds no row"),
        (lambda t: t.splitlines()[0], "it holds no row"),
        (lambda t: "", "e-obs.csv: the file is empty"),
        (lambda t: t.replace(",XYZ,", ",,"), "no burst can be read (8 bad_axes)"),
    ],
)
def test_an_export_that_is_none_is_refused_in_one_line(tmp_path, change, said):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8)
    with pytest.raises(DataFileError) as caught:
        read_bursts(written(tmp_path, change(text)))
    assert said in str(caught.value)
    assert "cannot be read further" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_archive_is_refused_wherever_the_damage_is(tmp_path, pack):
    whole = pack(e_obs_text("2016-10-28T00:00Z", 400)[0].encode())
    refused = 0
    for place in range(12, len(whole), len(whole) // 40):
        (tmp_path / "packed").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_bursts(tmp_path / "packed")
        except DataFileError:
            refused += 1
    assert refused >= 39


def test_an_animal_in_latin_1_is_read_by_its_name(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8, animals=(("kühe", "cow"), ("b", "cow")))
    (tmp_path / "e-obs.csv").write_bytes(text.encode("latin-1"))
    bursts = read_bursts(tmp_path / "e-obs.csv")
    assert bursts.animals == ("b", "kühe")
    assert bursts.notes == ("e-obs.csv: not in UTF-8: read as Latin-1",)


@pytest.mark.parametrize("change", [
    lambda t: "\n".join(f'"{"a, b" if i == 0 else 1}",{row}' for i, row in enumerate(t.splitlines())),
    lambda t: t.replace("\n", "\r"),
    lambda t: t.replace("\n", "\r\n"),
    lambda t: "\ufeff" + t,
])  # fmt: skip
def test_headers_and_lines_of_other_makes_are_read(tmp_path, change):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8)
    (tmp_path / "other.csv").write_bytes(change(text).encode())
    assert (read_bursts(tmp_path / "other.csv").odba == read_bursts(written(tmp_path, text)).odba).all()


@pytest.mark.parametrize("rows", [slice(1, 3), slice(1, None, 2), slice(300, None)])
def test_times_with_and_without_a_zone_are_refused_as_in_columns(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(accelerations, "BLOCK_BYTES", 20_000)
    lines = e_obs_text("2016-10-28T00:00Z", 400)[0].splitlines()
    lines[rows] = [line.replace(",acceleration,", "+02:00,acceleration,") for line in lines[rows]]
    with pytest.raises(
        DataFileError, match=r"mixes times with a zone \('2016.*\+02:00'\) and without \('2016"
    ) as caught:
        read_bursts(written(tmp_path, "\n".join(lines)))
    assert "write all in one way" in str(caught.value)


def test_years_that_no_tag_saw_are_bad_times(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8)
    rows = text.splitlines()
    rows[1], rows[2] = rows[1].replace("2016-10-28", "9999-12-31"), rows[2].replace("2016-10-28", "0001-01-01")
    assert read_bursts(written(tmp_path, "\n".join(rows))).dropped == {"bad_time": 2}


def test_an_export_is_checked_by_its_header_alone(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 8)
    options = {"name": "herd", "layout": "e-obs"}
    check_table(TableOptions(path=str(written(tmp_path, text)), **options))
    path = written(tmp_path, text.replace("eobs:accelerations-raw", "raw"), "raw.csv")
    with pytest.raises(DataFileError, match="no column 'eobs:accelerations-raw'"):
        check_table(TableOptions(path=str(path), **options))


def test_a_cut_archive_is_said_to_be_damaged(tmp_path):
    text, _ = e_obs_text("2016-10-28T00:00Z", 400)
    packed = gzip.compress(text.encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataFileError, match=r"cut\.csv\.gz: cannot be read further"):
        read_bursts(tmp_path / "cut.csv.gz")
