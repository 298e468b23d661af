"""Many worlds: rates are counted right, an interrupted run continues, a killed one leaves no worker behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seisprobe.calibration import Request, binomial_interval, calibrate, rate_lines, summarise
from seisprobe.errors import FolderError, StudyError
from seisprobe.evaluation.power import critical_auc


def row_of(p: float, *, merged: bool = False, word: str = "INCONCLUSIVE", auc: float = 0.5) -> dict[str, object]:
    names = ("p_pseudo", "p_adjusted", "p_adjusted_least", "p_pseudo_uniform", "p_shift_uniform", "naive_shuffle")
    return dict.fromkeys(names, p) | {"naive_delong": p, "merged": merged, "word": word, "auc_uniform": auc}


def test_rates_are_counted_apart_for_blocks_apart_and_merged():
    rows = [row_of(0.05), row_of(0.051), row_of(0.01, merged=True, word="SUGGESTIVE"), row_of(0.9, merged=True)]
    rows[3]["p_pseudo"] = None
    found = summarise(Request("stationary", 4), rows)
    rate = found["rates"]["p_pseudo"]
    assert (rate["k"], rate["n"]) == (2, 3)
    assert (rate["low"], rate["high"]) == binomial_interval(2, 3)
    assert found["words"] == {"INCONCLUSIVE": 3, "SUGGESTIVE": 1}
    assert found["blocks_merged"]["rates"]["p_pseudo"]["k"] == 1
    assert found["blocks_apart"]["rates"]["p_shift"] | {"low": 0, "high": 0} == {"k": 1, "n": 2, "low": 0, "high": 0}
    assert found["rates"]["word_detected_or_suggestive"]["k"] == 1
    assert any("p_pseudo" in line for line in rate_lines(found))


def seen_row(p: float, word: str, rule: int, *, station: str = "A", auc: float = 0.9) -> dict[str, object]:
    found = {"p_pseudo": p, "p_pseudo_uniform": p, "word": word, "rule": rule, "merged": False}
    return found | {"changed_station": station, "stations_uniform": {"A": auc, "B": 0.4}, "auc_uniform": 0.5}


def test_words_of_waveform_worlds_are_counted_where_the_cell_is_significant():
    rows = [
        seen_row(0.01, "DETECTED", 6),
        seen_row(0.05, "INCONCLUSIVE", 5),
        seen_row(0.05, "INCONCLUSIVE", 1, station="B"),
        seen_row(0.06, "INCONCLUSIVE", 9, station=""),
        seen_row(0.02, "CONFOUNDED", 2, auc=0.6),
    ]
    found = summarise(Request("gain-unlisted", 5), rows)
    assert (found["kind"], found["worlds"], found["mainshocks"]) == ("gain-unlisted", 5, 6)
    counts = {name: (rate["k"], rate["n"]) for name, rate in found["rates"].items()}
    assert counts["naive"] == (2, 5)
    assert counts["p_pseudo"] == (4, 5)
    assert counts["word_detected"] == (1, 5)
    assert counts["caught_of_significant"] == (2, 4)
    assert found["words"] == {"CONFOUNDED": 1, "DETECTED": 1, "INCONCLUSIVE": 3}
    assert found["significant"] == {
        "CONFOUNDED": 1, "DETECTED": 1, "INCONCLUSIVE": 1, "INCONCLUSIVE by rule 5": 1,
    }  # fmt: skip
    assert any("INCONCLUSIVE by rule 5: 1" in line for line in rate_lines(found))


def test_a_request_knows_its_kinds_and_how_many_mainshocks_they_have():
    assert Request("poisson", 1).mainshocks == 3
    assert Request("gain-unlisted", 1).mainshocks == 6
    assert Request("gain-unlisted", 1, mainshocks=5).mainshocks == 5
    with pytest.raises(StudyError, match="did you mean 'outages'"):
        Request("outage", 1)
    with pytest.raises(StudyError, match="--size 2: gain-unlisted worlds have no rate increase"):
        Request("gain-unlisted", 1, size=2.0)


def test_expected_power_is_that_of_binormal_mainshocks():
    found = summarise(Request("stationary", 2), [row_of(0.04, auc=0.8), row_of(0.5, auc=0.7)])
    power = found["blocks_apart"]["power_uniform"]
    assert power["power"] == 0.5
    rng = np.random.default_rng(0)
    from scipy.special import ndtr, ndtri

    u = ndtr(rng.standard_normal((200_000, 3)) + np.sqrt(2) * ndtri(0.75))
    assert power["expected"] == pytest.approx((u.mean(axis=1) >= critical_auc((1, 1, 1), 0.05)).mean(), abs=0.005)


def test_workers_change_nothing_and_an_interrupted_run_continues(tmp_path):
    request = Request("poisson", 3)
    calibrate(request, tmp_path / "one")
    calibrate(Request("poisson", 1), tmp_path / "two")
    path = tmp_path / "two" / "worlds.jsonl"
    path.write_text(path.read_text() + '{"index": 1, "row": {"cut')  # as a kill leaves it
    calibrate(request, tmp_path / "two", workers=2)
    assert (tmp_path / "one/calibration.json").read_bytes() == (tmp_path / "two/calibration.json").read_bytes()
    assert (tmp_path / "two/calibration.png").stat().st_size > 5000
    with pytest.raises(FolderError, match=r"kind \(poisson → drift\)"):
        calibrate(Request("drift", 3), tmp_path / "two")
    with pytest.raises(StudyError, match="did you mean 'stationary'"):
        Request("stationery", 1)


def test_a_killed_run_leaves_no_worker_behind(tmp_path):
    command = [sys.executable, "-m", "seisprobe", "calibrate", "--kind", "poisson", "--worlds", "500", "--workers", "2",
               "--out", str(tmp_path / "c"), "-q"]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 60
        while len(_session(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(_session(process.pid)) >= 3
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while _session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not _session(process.pid)
    finally:
        for pid in _session(process.pid):
            os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """Living processes of a session, from /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_every_line_of_worlds_is_one_world(tmp_path):
    calibrate(Request("poisson", 2), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "worlds.jsonl").read_text().splitlines() if line]
    assert sorted(entry["index"] for entry in lines) == [0, 1]
