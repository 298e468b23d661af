"""Waiting: longer every time, as long as the server says, never beyond reason."""

from __future__ import annotations

from email.utils import format_datetime

import pandas as pd
import pytest

from seisprobe.sources.retry import Listener, Patience


def test_pauses_double_up_to_the_longest() -> None:
    patience = Patience(pause_s=0.5, longest_pause_s=3.0)
    assert [patience.pause_after(attempt) for attempt in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_all_pauses_together_keep_a_user_without_network_waiting_a_minute_at_most() -> None:
    patience = Patience()
    assert sum(patience.pause_after(attempt) for attempt in range(patience.attempts - 1)) <= 65.0


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [("0", 0.0), ("17", 17.0), (" 2.5 ", 2.5), ("-3", 0.0), ("soon", 0.0), ("", 0.0), (None, 0.0)],
)
def test_the_server_s_wish_is_read_in_seconds(text: str | None, wait_s: float) -> None:
    listener = Listener()
    listener._headers = {} if text is None else {"Retry-After": text}
    assert listener.wait_s == wait_s


@pytest.mark.parametrize(("ahead_s", "low", "high"), [(90, 80.0, 90.0), (-90, 0.0, 0.0)])
def test_the_server_s_wish_is_read_as_a_date(ahead_s: int, low: float, high: float) -> None:
    listener = Listener()
    then = pd.Timestamp.now("UTC").to_pydatetime() + pd.Timedelta(seconds=ahead_s).to_pytimedelta()
    listener._headers = {"Retry-After": format_datetime(then, usegmt=True)}
    assert low <= listener.wait_s <= high
