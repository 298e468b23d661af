"""An event service that fails in every way loses no event and doubles none; an interrupted fetch continues."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from seisprobe.catalog import select_events
from seisprobe.errors import SourceError, StudyError
from seisprobe.sources.fdsn import FdsnSource
from seisprobe.sources.retry import Patience
from support.catalog_files import FDSN_KEEPS, fdsn_text
from support.event_tables import random_events
from support.fdsn_server import FAULTS, FRAMINGS, STATUS_FAULTS, Answer, EventService, Faults, FdsnServer, refusal

QUICK = Patience(attempts=20, pause_s=0.001, longest_pause_s=0.02, timeout_s=1.0)
START, END = pd.Timestamp("2016-01-01", tz="UTC"), pd.Timestamp("2016-12-31", tz="UTC")
REGION = {"min_latitude": 41.5, "max_latitude": 43.5, "min_longitude": 11.5, "max_longitude": 13.5}
QUESTION = {
    "starttime": START,
    "endtime": END,
    **{k.replace("_", ""): v for k, v in REGION.items()},
    "minmagnitude": 1.3,
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def held_events(seed: int, n: int = 200) -> pd.DataFrame:
    """Return events of a larger region, with one at the start, one at a span's edge and one at the end."""
    events = random_events(seed, n, start="2015-12-01", end="2017-01-31")
    for row, time_ in zip((10, n // 2, n - 10), (START, pd.Timestamp("2016-07-01", tz="UTC"), END), strict=True):
        events.loc[row, ["time", "latitude", "longitude", "magnitude"]] = [time_, 42.0, 13.0, 3.0]
    return events.sort_values("time", ignore_index=True)


def asked_for(events: pd.DataFrame) -> pd.DataFrame:
    """Return what the question is about."""
    return select_events(events, start=START, end=END, region=REGION, min_magnitude=QUESTION["minmagnitude"])


def assert_equal(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare the columns that the text format holds, exactly."""
    pd.testing.assert_frame_equal(got[[*FDSN_KEEPS]], expected[[*FDSN_KEEPS]], check_exact=True)


@pytest.fixture(params=FRAMINGS)
def framing(request: pytest.FixtureRequest) -> str:
    """Return each way in which an answer says where it ends."""
    return str(request.param)


# --- nothing lost, nothing twice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_nothing_is_lost_and_nothing_comes_twice(seed: int, tmp_path: Path) -> None:
    events = held_events(seed)
    service = EventService(
        events,
        row_limit=15 if seed % 3 else None,
        refuse_with=413 if seed % 2 else 400,
        silent_cap=None if seed % 3 else 10,
        more_than_asked=seed % 3,
    )
    kinds = FAULTS if seed % 5 else [*FAULTS, "slow"]
    with FdsnServer(
        {"event": service}, faults=Faults(seed, share=0.5, kinds=kinds), framing=FRAMINGS[seed % 4]
    ) as server:
        source = FdsnSource(server.url, parts=tmp_path / "parts", patience=QUICK, row_cap=10)
        catalog = source.get_events(**QUESTION)
    assert_equal(catalog.events, asked_for(events))
    assert catalog.dropped == {}
    outcomes = Counter(asked.outcome for asked in server.asked)
    assert sum(outcomes.values()) - outcomes["200"] - outcomes["204"] >= 4, "the seed made no faults: nothing was shown"
    answered = Counter(server.spans_answered())
    assert max(answered.values()) == 1 or server.framing == "bare"


@pytest.mark.parametrize("kind", [*STATUS_FAULTS, "refuse", "reset", "cut", "page", "linger"])
def test_each_fault_alone_is_survived(kind: str, framing: str) -> None:
    events = held_events(1, 80)
    faults = Faults(3, share=0.7, kinds=[kind], longest_row=2)
    with FdsnServer({"event": EventService(events)}, faults=faults, framing=framing) as server:
        catalog = FdsnSource(server.url, patience=QUICK, span_months=6).get_events(**QUESTION)
    assert kind in {asked.outcome for asked in server.asked} or kind == "linger"
    assert_equal(catalog.events, asked_for(events))


def test_an_answer_that_comes_too_late_is_asked_for_again() -> None:
    events = held_events(1, 80)
    patience = Patience(attempts=3, pause_s=0.001, timeout_s=0.3)
    faults = Faults(3, share=1.0, kinds=["slow"])
    with FdsnServer({"event": EventService(events)}, faults=faults) as server:
        catalog = FdsnSource(server.url, patience=patience, span_months=12).get_events(**QUESTION)
    assert [asked.outcome for asked in server.asked] == ["slow", "200"]
    assert_equal(catalog.events, asked_for(events))


def test_a_healthy_service_is_asked_once_a_span_and_for_nothing_else(framing: str) -> None:
    with FdsnServer({"event": EventService(held_events(1))}, framing=framing) as server:
        FdsnSource(server.url, patience=QUICK).get_events(**QUESTION)
    spans = [asked.span[0][:10] for asked in server.asked]
    quarters = ["2016-01-01", "2016-04-01", "2016-07-01", "2016-10-01"]
    assert spans == (quarters if framing != "bare" else [quarter for quarter in quarters for _ in range(3)])


def test_a_quiet_region_is_an_empty_catalog() -> None:
    with FdsnServer({"event": EventService(held_events(1))}) as server:
        catalog = FdsnSource(server.url, patience=QUICK).get_events(**{**QUESTION, "minmagnitude": 9.0})
    assert len(catalog.events) == 0
    assert catalog.events["time"].dtype == "datetime64[us, UTC]"
    assert {asked.outcome for asked in server.asked} == {"204"}


def test_an_empty_answer_with_its_length_means_none() -> None:
    with FdsnServer({"event": lambda query: Answer(200, b"")}) as server:
        assert len(FdsnSource(server.url, patience=QUICK).get_events(**QUESTION).events) == 0


def test_what_was_not_asked_for_is_left_out_and_said() -> None:
    events = held_events(2)
    with FdsnServer({"event": EventService(events, more_than_asked=3)}) as server:
        catalog = FdsnSource(server.url, patience=QUICK).get_events(**QUESTION)
    assert_equal(catalog.events, asked_for(events))
    assert "row(s) that were not asked for left out" in catalog.notes[0]


def test_rows_that_cannot_be_used_are_counted() -> None:
    events = held_events(2)
    text = fdsn_text(asked_for(events)).replace(b"|1.3|", b"|--|").replace(b"|earthquake\n", b"|quarry blast\n", 1)
    whole_year = FdsnServer({"event": lambda query: Answer(200, text)})
    with whole_year as server:
        catalog = FdsnSource(server.url, patience=QUICK, span_months=12).get_events(**QUESTION)
    without = int(asked_for(events)["magnitude"].eq(1.3).sum())
    assert catalog.dropped["not_an_earthquake"] == 1
    assert catalog.dropped["no_magnitude"] == without > 0
    assert len(catalog.events) == len(asked_for(events)) - 1 - without
    assert any("magnitude '--'" in note for note in catalog.notes)


def test_names_in_latin_1_do_no_harm() -> None:
    events = held_events(2)
    service = EventService(events)
    with FdsnServer({"event": lambda q: Answer(200, service(q).body.decode().encode("latin-1"))}) as server:
        assert_equal(FdsnSource(server.url, patience=QUICK).get_events(**QUESTION).events, asked_for(events))


# --- too much --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [413, 400])
def test_too_much_is_halved_and_not_asked_again_in_that_size(status: int) -> None:
    events = held_events(4)
    service = EventService(events, row_limit=12, refuse_with=status)
    with FdsnServer({"event": service}) as server:
        assert_equal(FdsnSource(server.url, patience=QUICK).get_events(**QUESTION).events, asked_for(events))
    assert max(Counter(asked.span for asked in server.asked).values()) == 1


@pytest.mark.parametrize("framing_", ["length", "bare"])
def test_an_answer_cut_silently_at_a_round_number_is_halved(framing_: str) -> None:
    events = held_events(4)
    with FdsnServer({"event": EventService(events, silent_cap=20)}, framing=framing_) as server:
        source = FdsnSource(server.url, patience=QUICK, row_cap=20)
        assert_equal(source.get_events(**QUESTION).events, asked_for(events))


def test_more_within_a_minute_than_the_service_gives_is_an_error() -> None:
    events = held_events(4, 60)
    events["time"] = pd.date_range("2016-05-05T05:05:05", periods=60, freq="100ms", tz="UTC").as_unit("us")
    with FdsnServer({"event": EventService(events, row_limit=10)}) as server:
        source = FdsnSource(server.url, patience=QUICK)
        with pytest.raises(SourceError, match=r"more events from 2016-05-05T05:0\S+ to \S+ than the service gives"):
            source.get_events(**{**QUESTION, "minmagnitude": -1.0})


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_final_and_says_what_the_server_said(status: int) -> None:
    service = {"event": lambda query: refusal(status, "minmagnitude: no such\nparameter here")}
    with FdsnServer(service) as server, pytest.raises(SourceError) as error:
        FdsnSource(server.url, patience=QUICK).get_events(**QUESTION)
    message = str(error.value)
    assert f"{server.url}/fdsnws/event/1/query: events from 2016-01-01T00:00:00 to 2016-04-01T00:00:00" in message
    assert f"refused with status {status}" in message
    assert "minmagnitude: no such parameter here" in message
    assert "\n" not in message
    assert len(server.asked) == 1


def test_a_server_without_an_event_service_is_named() -> None:
    with FdsnServer({}) as server, pytest.raises(SourceError, match=r"status 404: .*no such service"):
        FdsnSource(server.url, patience=QUICK).get_events(**QUESTION)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(503, b"closed for the night"), "at last: Service Unavailable closed for the night"),
        (Answer(200, b"<html>log in first</html>"), "at last: an answer that is no event text: ' log in first '"),
        (Answer(200, fdsn_text(held_events(1, 30))[:-90]), r"ends in the middle, in row \d+"),
    ],
)
def test_a_service_that_never_answers_ends_in_one_line(answer: Answer, said: str) -> None:
    patience = Patience(attempts=3, pause_s=0.001, timeout_s=1.0)
    with FdsnServer({"event": lambda query: answer}) as server, pytest.raises(SourceError, match=said) as error:
        FdsnSource(server.url, patience=patience).get_events(**QUESTION)
    assert "no answer in 3 attempts" in str(error.value)
    assert len(server.asked) == 3


def test_an_empty_answer_that_does_not_say_that_it_is_whole_is_no_answer() -> None:
    patience = Patience(attempts=2, pause_s=0.001)
    said = "no answer in 2 attempts, at last: an empty answer"
    empty = FdsnServer({"event": lambda query: Answer(200, b"")}, framing="bare")
    with empty as server, pytest.raises(SourceError, match=said):
        FdsnSource(server.url, patience=patience).get_events(**QUESTION)


def test_a_server_that_is_down_names_its_address_and_that_parts_are_kept(tmp_path: Path) -> None:
    server = FdsnServer({}).start()
    server.stop()
    patience = Patience(attempts=2, pause_s=0.001)
    with pytest.raises(SourceError) as error:
        FdsnSource(server.url, parts=tmp_path, patience=patience).get_events(**QUESTION)
    assert f"{server.url}/fdsnws/event/1/query" in str(error.value)
    assert "no answer in 2 attempts, at last: Connection refused; what was fetched is kept: run again to continue" in (
        str(error.value)
    )


def test_the_server_decides_how_long_to_wait_within_reason() -> None:
    answers = iter([Answer(429, b"slow down", {"Retry-After": "0.2"}), Answer(503, b"", {"Retry-After": "86400"})])
    patience = Patience(attempts=3, pause_s=0.001, longest_pause_s=0.3)
    with FdsnServer({"event": lambda query: next(answers, Answer(204))}) as server:
        told: list[str] = []
        source = FdsnSource(server.url, patience=patience, span_months=12, progress=lambda _, text: told.append(text))
        source.get_events(**QUESTION)
    assert "slow down; attempt 2 of 3 in 0.2 s" in told[0]
    assert "attempt 3 of 3 in 0.3 s" in told[1]


@pytest.mark.parametrize("name", ["INGW", "", "not an address", "http://", "http://no host/"])
def test_what_is_no_data_centre_is_refused_at_once(name: str) -> None:
    with pytest.raises(StudyError, match=r"no such data centre|not an address") as error:
        FdsnSource(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("service", "identity", "address"),
    [
        ("ingv", "fdsn:INGV", "https://webservices.ingv.it/fdsnws/event/1/query"),
        ("EARTHSCOPE+USGS", "fdsn:EARTHSCOPE+USGS", "https://earthquake.usgs.gov/fdsnws/event/1/query"),
        ("http://127.0.0.1:8080/", "fdsn:http://127.0.0.1:8080", "http://127.0.0.1:8080/fdsnws/event/1/query"),
        (
            "http://127.0.0.1:8080/fdsnws/event/1/query",
            "fdsn:http://127.0.0.1:8080",
            "http://127.0.0.1:8080/fdsnws/event/1/query",
        ),
    ],
)
def test_names_and_addresses_lead_to_the_service_without_a_request(service: str, identity: str, address: str) -> None:
    source = FdsnSource(service)
    assert source.identity == identity
    assert source._address() == address


# --- continuing ------------------------------------------------------------------------------------------------------


def test_progress_is_told_of_every_span_and_of_what_failed(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    faults = Faults(1, share=0.9, kinds=["503"], longest_row=1)
    with FdsnServer({"event": EventService(held_events(1))}, faults=faults) as server:
        FdsnSource(
            server.url, patience=QUICK, progress=lambda fraction, text: told.append((fraction, text))
        ).get_events(**QUESTION)
    done = [(fraction, text) for fraction, text in told if "events" in text]
    assert [round(fraction, 2) for fraction, _ in done] == [0.25, 0.5, 0.75, 1.0]
    assert sum(int(text.split()[-2]) for _, text in done) == len(asked_for(held_events(1)))
    assert any("come back later; attempt 2 of 20" in text for _, text in told)
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


@pytest.mark.parametrize("finished", [1, 3, 7, 11])
def test_a_fetch_that_ended_in_the_middle_asks_only_for_what_lacks(finished: int, tmp_path: Path) -> None:
    events = held_events(6, 300)
    service = EventService(events, row_limit=12)
    with FdsnServer({"event": service}, down_after=finished) as server:
        with pytest.raises(SourceError, match="what was fetched is kept: run again to continue"):
            FdsnSource(server.url, parts=tmp_path, patience=Patience(3, 0.001, timeout_s=1.0)).get_events(**QUESTION)
        before = list(server.asked)
        server.down_after = None
        server.start()
        second = FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
        after = server.asked[len(before) :]
        assert_equal(second.events, asked_for(events))
        done = {asked.span for asked in before if asked.outcome in {"200", "204"}}
        assert not done & {asked.span for asked in after}
        # A size that was too much is asked for again only where no piece of it was finished.
        again = {asked.span for asked in before} & {asked.span for asked in after}
        assert all(not any(a <= start and end <= b for start, end in done) for a, b in again)
        server.asked.clear()
        third = FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
        assert server.asked == []
        assert_equal(third.events, asked_for(events))


def test_a_fetch_killed_in_the_middle_continues(tmp_path: Path) -> None:
    events = held_events(6)
    code = (
        "import json, sys, pandas as pd\nfrom pathlib import Path\nfrom seisprobe.sources import open_event_source\n"
        "url, parts, question = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])\n"
        "times = {k: pd.Timestamp(question.pop(k)) for k in ('starttime', 'endtime')}\n"
        "open_event_source('fdsn:' + url, folder=Path(), parts=parts).get_events(**times, **question)\n"
    )
    faults = Faults(0, share=1.0, kinds=["linger"], longest_row=10**6)
    with FdsnServer({"event": EventService(events, row_limit=3)}, faults=faults) as server:
        question = json.dumps(QUESTION, default=str)
        process = subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path), question])
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("*.txt"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kept = {path.name for path in tmp_path.glob("*.txt")}
        assert len(kept) >= 5
        times = {path: (tmp_path / path).stat().st_mtime_ns for path in kept}
        server.asked.clear()
        catalog = FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
    assert_equal(catalog.events, asked_for(events))
    assert len(server.asked) > 5
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in kept} == times


def test_answers_to_another_question_or_of_another_service_are_not_mixed_in(tmp_path: Path) -> None:
    events, others = held_events(6), held_events(7)
    with FdsnServer({"event": EventService(events)}) as one, FdsnServer({"event": EventService(others)}) as two:
        FdsnSource(one.url, parts=tmp_path, patience=QUICK).get_events(**{**QUESTION, "minmagnitude": 4.0})
        FdsnSource(two.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
        catalog = FdsnSource(one.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
    assert_equal(catalog.events, asked_for(events))


def test_a_longer_period_asks_only_for_the_spans_that_it_adds(tmp_path: Path) -> None:
    events = held_events(6)
    with FdsnServer({"event": EventService(events)}) as server:
        source = FdsnSource(server.url, parts=tmp_path, patience=QUICK)
        source.get_events(**{**QUESTION, "endtime": pd.Timestamp("2016-07-01", tz="UTC")})
        server.asked.clear()
        assert_equal(source.get_events(**QUESTION).events, asked_for(events))
    assert [asked.span[0][:10] for asked in server.asked] == ["2016-07-01", "2016-10-01"]


def test_a_span_that_is_not_over_is_not_kept(tmp_path: Path) -> None:
    tomorrow = pd.Timestamp.now("UTC").floor("D") + pd.Timedelta(days=1)
    question = {**QUESTION, "starttime": tomorrow - pd.Timedelta(days=400), "endtime": tomorrow}
    with FdsnServer({"event": EventService(held_events(6))}) as server:
        for _ in range(2):
            server.asked.clear()
            FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**question)
    assert len(server.asked) == 1
    assert server.asked[0].span[1][:10] == f"{tomorrow:%Y-%m-%d}"


def test_a_part_damaged_on_disk_is_fetched_again(tmp_path: Path) -> None:
    events = held_events(6)
    with FdsnServer({"event": EventService(events)}) as server:
        FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
        damaged = sorted(tmp_path.glob("*.txt"))[1]
        damaged.write_bytes(damaged.read_bytes()[:-100])
        server.asked.clear()
        catalog = FdsnSource(server.url, parts=tmp_path, patience=QUICK).get_events(**QUESTION)
    assert_equal(catalog.events, asked_for(events))
    assert len(server.asked) == 1
