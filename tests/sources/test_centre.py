"""What names a data centre, what opens restricted data, and which answers are believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from obspy import Trace

from seisprobe.errors import InputError, StudyError
from seisprobe.sources.centre import Centre, Line, checked_service, credentials
from seisprobe.sources.retry import NoAnswerError, Patience
from support.dataselect_server import WaveformCentre
from support.fdsn_server import Answer
from support.waveforms import make_stream, write_mseed

QUICK = Patience(attempts=3, pause_s=0.001, longest_pause_s=0.01, timeout_s=5.0)
CODES = ("IV", "NRCA", "", "HHZ")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("SEISPROBE_FDSN_USER", "SEISPROBE_FDSN_PASSWORD", "SEISPROBE_EIDA_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    """Return a minute of one channel as miniSEED."""
    return write_mseed(tmp_path / "x", make_stream(seconds=60.0, components="Z", rate_hz=20.0)).read_bytes()


def minute() -> Line:
    start_us = make_stream(seconds=1.0)[0].stats.starttime.ns // 1000
    return Line(CODES, start_us, start_us + 60_000_000)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("INGW", "no such data centre; did you mean 'INGV'"),
        ("https://", "not an address"),
        ("https://me:word@example.org", "an address with a password in it"),
    ],
)
def test_a_service_that_is_none_is_one_line(service: str, said: str) -> None:
    with pytest.raises(StudyError, match=said) as caught:
        checked_service(service)
    assert "word@" not in str(caught.value)


def test_half_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEISPROBE_FDSN_USER", "probe")
    with pytest.raises(InputError, match="SEISPROBE_FDSN_PASSWORD is not set"):
        credentials("INGV")


def test_without_secrets_there_are_none() -> None:
    assert credentials("INGV") is None


@pytest.mark.parametrize("of_file", [False, True])
def test_a_token_that_is_none_is_refused_and_not_repeated(
    of_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret-by-mistake")
    monkeypatch.setenv("SEISPROBE_EIDA_TOKEN", str(tmp_path / "token") if of_file else "s3cret-by-mistake")
    with pytest.raises(InputError, match="SEISPROBE_EIDA_TOKEN: no EIDA token") as caught:
        credentials("INGV")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("framing", "requests"), [("length", 1), ("bare", 1)])
def test_a_whole_answer_is_asked_for_once(framing: str, requests: int, body: bytes) -> None:
    with WaveformCentre(lambda _: Answer(204), lambda _: Answer(200, body), framing=framing) as server:
        records, damaged = Centre(server.url, patience=QUICK).records([minute()])
    assert (sum(record.samples for record in records), damaged) == (1200, 0)
    assert len(server.asked) == requests


@pytest.mark.parametrize(("framing", "requests"), [("length", 1), ("bare", 4)])
def test_what_lacks_is_asked_for_again_only_where_the_end_of_an_answer_cannot_be_told(
    framing: str, requests: int, body: bytes
) -> None:
    with WaveformCentre(lambda _: Answer(204), lambda _: Answer(200, body[:1024]), framing=framing) as server:
        records, _ = Centre(server.url, patience=QUICK).records([minute()])
    assert len(records) == 2
    assert len(server.asked) == requests


@pytest.mark.parametrize(("answer", "requests"), [(Answer(204), 2), (Answer(200), 2)])
def test_nothing_is_believed_when_it_is_said_twice(answer: Answer, requests: int) -> None:
    with WaveformCentre(lambda _: Answer(204), lambda _: answer) as server:
        assert Centre(server.url, patience=QUICK).records([minute()]) == ([], 0)
    assert len(server.asked) == requests


def test_an_answer_that_is_no_miniseed_is_none(body: bytes) -> None:
    with (
        WaveformCentre(lambda _: Answer(204), lambda _: Answer(200, b"<html>later</html>")) as server,
        pytest.raises(NoAnswerError, match="holds no miniSEED record"),
    ):
        Centre(server.url, patience=QUICK).records([minute()])


def test_damage_is_believed_when_it_comes_twice(body: bytes) -> None:
    answers = iter([body[:512] + b"\xff" * 512, body[:512] + b"\xfe" * 512, body[:512] + b"\xfe" * 512])
    with WaveformCentre(lambda _: Answer(204), lambda _: Answer(200, next(answers))) as server:
        records, damaged = Centre(server.url, patience=QUICK).records([minute()])
    assert (len(records), damaged) == (1, 512)


def test_records_of_other_channels_are_left_out(body: bytes, tmp_path: Path) -> None:
    other = Trace(np.zeros(100, np.int32), {"network": "IV", "station": "NRCA", "channel": "HHN"})
    other.stats.starttime += minute().start_us / 1e6
    both = body + write_mseed(tmp_path / "y", [other]).read_bytes()
    with WaveformCentre(lambda _: Answer(204), lambda _: Answer(200, both)) as server:
        records, _ = Centre(server.url, patience=QUICK).records([minute()])
    assert {record.codes for record in records} == {CODES}
