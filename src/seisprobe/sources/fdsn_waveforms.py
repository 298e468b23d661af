"""Waveforms of FDSN data centres, fetched into an SDS archive: `fdsn:INGV`, or `fdsn:` and an address.

A unit of work is a station-day; some make one request, some requests run at the same time. A fetch may be killed at
any moment: the next goes on where it stopped and ends with the same files. What the archive held before is kept, each
sample once (`archive` says how it looks).
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seisprobe.errors import SourceError
from seisprobe.sources.archive import channel_codes, day_us, first_lacking, hold, is_whole, store
from seisprobe.sources.centre import Centre, ForbiddenError, Line, checked_service, credentials
from seisprobe.sources.fdsn_stations import Wanted, known_channels, wanted_days
from seisprobe.sources.retry import Patience
from seisprobe.sources.waveforms import Query, StationDay

__all__ = ["Fetched", "fetch_waveforms", "plan_fetch"]

REQUEST_BYTES = 64e6
FAILURES_IN_A_ROW = 3
NAMED = 3
KEPT_NOTICE = "what was fetched is kept: run again to continue"
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Parameters
    ----------
    days : int
        Station-days that are in the archive now, of those asked for.
    kept : int
        Of them, those that were there before.
    empty : int
        Of them, those for which no band came with three components.
    received_bytes : int
        Sent by the data centre, unpacked.
    problems : tuple of str
        One line each: restricted stations, bytes that are no records.
    """

    days: int
    kept: int
    empty: int
    received_bytes: int
    problems: tuple[str, ...]


def plan_fetch(
    service: str, query: Query, archive: Path, *, days: Collection[str] | None = None, patience: Patience | None = None
) -> tuple[list[StationDay], float]:
    """Return the station-days that a fetch would take, and about how many bytes lack in the archive.

    Asks the station service, unless it was asked the same before, and fetches no waveforms.

    Parameters
    ----------
    service, query, archive, days, patience
        As for `fetch_waveforms`.

    Returns
    -------
    units : list of StationDay
        Sorted; the band of first choice.
    lacking_bytes : float

    Raises
    ------
    StudyError, InputError, SourceError, StorageError
        As `fetch_waveforms`.
    """
    centre = Centre(checked_service(service), patience=patience or Patience())
    choices = list(wanted_days(known_channels(centre, query, archive), query, days))
    lacking = [first_lacking(archive, of_day, centre.identity)[0] for of_day in choices]
    return sorted(of_day[0].unit for of_day in choices), sum(want.about_bytes for want in lacking if want)


def fetch_waveforms(
    service: str,
    query: Query,
    archive: Path,
    *,
    days: Collection[str] | None = None,
    parallel: int = 2,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch station metadata and waveforms into an archive, all that is not there yet.

    Parameters
    ----------
    service : str
        A data centre's name (``INGV``) or address: what stands behind ``fdsn:``.
    query : Query
        With start and end. Whole UTC days are fetched.
    archive : Path
        Folder of an SDS archive, made if it is not there.
    days : collection of str, optional
        Only these UTC days, "2016-10-30": those that some window touches.
    parallel : int
        Requests at the same time, no more.
    patience : Patience, optional
        How often to ask, and how long to wait.
    progress : callable, optional
        Is told the fraction done and what happens, in the thread of the caller.

    Returns
    -------
    Fetched

    Raises
    ------
    StudyError
        The service is neither a known name nor an address.
    InputError
        No start or end, or no station fits; half of a name and password in the environment.
    SourceError
        The data centre does not answer, or not for some station-days; what was fetched is kept.
    BusyError
        Another process fetches into this archive.
    StorageError
        The archive cannot be written.
    """
    name = checked_service(service)
    secret = credentials(name)
    events: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def connect() -> Centre:
        return Centre(name, patience=patience or Patience(), secret=secret, tell=events.put)

    with hold(archive):
        channels = known_channels(connect(), query, archive)
        work = _Work(archive, f"fdsn:{name}", list(wanted_days(channels, query, days)))
        _run(work, connect, events, parallel, progress or (lambda *_: None))
        return work.outcome()


@dataclass
class _Work:
    """The station-days to fetch, shared by the threads that fetch them."""

    archive: Path
    source: str
    choices: list[list[Wanted]]
    kept: int = 0
    empty: int = 0
    done: int = 0
    received: int = 0
    stopped: bool = False
    error: BaseException | None = None
    problems: list[str] = field(default_factory=list)
    failed: list[tuple[Wanted, SourceError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.storing = threading.Lock()
        self._todo: deque[tuple[Wanted, list[Wanted]]] = deque()
        self._alone: set[StationDay] = set()  # asked for by themselves, since asking together failed
        self._closed: set[tuple[str, str]] = set()
        self._failures = self._refused = 0
        self._began = time.monotonic()
        for of_day in self.choices:
            want, whole = first_lacking(self.archive, of_day, self.source)
            if want is not None:
                self._todo.append((want, of_day))
            else:
                self.kept += 1
                self.empty += not whole
        self.lacking = len(self._todo)

    def take(self) -> list[tuple[Wanted, list[Wanted]]]:
        """Return the next station-days that make one request together, none at the end."""
        with self._lock:
            batch: list[tuple[Wanted, list[Wanted]]] = []
            size = 0.0
            while self._todo and not self.stopped:
                want = self._todo[0][0]
                alone = want.unit in self._alone
                if batch and (alone or size + want.about_bytes > REQUEST_BYTES):
                    break
                size += want.about_bytes
                item = self._todo.popleft()
                if (want.unit.network, want.unit.station) in self._closed:
                    self.done += 1
                    self._refused += 1
                    continue
                batch.append(item)
                if alone:
                    break
            return batch

    def finish(self, want: Wanted, choices: list[Wanted], came: Collection[str], received: int) -> str:
        """Note that a station-day was stored; return what to tell of it."""
        with self._lock:
            self._failures = 0
            self.received += received
            whole = is_whole(want.unit, came)
            left = choices[choices.index(want) :]
            following = None if whole else first_lacking(self.archive, left, self.source)[0]
            if following is not None and following.unit != want.unit:
                self._todo.appendleft((following, choices))
                return f"{want.unit.key}: {_what_came(came)}; next {following.unit.band}"
            self.done += 1
            self.empty += not whole
            return f"{want.unit.key}: {_what_came(came)}; {self._remaining()}"

    def _remaining(self) -> str:
        elapsed_s = time.monotonic() - self._began
        left_s = elapsed_s / self.done * (self.lacking - self.done)
        said = f"{self.done} of {self.lacking} station-days, {self.received / 1e6:.1f} MB"
        return f"{said}, about {_duration(left_s)} left" if self.done < self.lacking else said

    @property
    def fraction(self) -> float:
        """How much of what lacked is done."""
        return self.done / self.lacking if self.lacking else 1.0

    def close(self, want: Wanted) -> None:
        """Note that a station is restricted: its other days are not asked for."""
        station = (want.unit.network, want.unit.station)
        with self._lock:
            self.done += 1
            self._refused += 1
            if station not in self._closed:
                self._closed.add(station)
                self.problems.append(
                    f"{'.'.join(station)}: restricted; set SEISPROBE_FDSN_USER and SEISPROBE_FDSN_PASSWORD, or "
                    "SEISPROBE_EIDA_TOKEN, if you may have it"
                )

    def put_back(self, batch: Sequence[tuple[Wanted, list[Wanted]]], error: SourceError | None = None) -> None:
        """Note that a request failed: what was in it is asked for one by one, or given up where it was alone."""
        with self._lock:
            self._failures += error is not None
            if error is not None and len(batch) == 1:
                self.failed.append((batch[0][0], error))
                self.done += 1
            else:
                self._alone |= {want.unit for want, _ in batch}
                self._todo.extend(batch)
            if error is not None and self._failures >= FAILURES_IN_A_ROW:
                self.stop(SourceError(f"{str(error).removesuffix(KEPT_NOTICE).rstrip('; ')}; {KEPT_NOTICE}"))

    def stop(self, error: BaseException | None = None) -> None:
        """Let the threads end after what they have in hand."""
        self.error = self.error or error
        self.stopped = True

    def outcome(self) -> Fetched:
        """Return what was done; raise what went wrong."""
        if self.error is not None:
            raise self.error
        if self.failed:
            named = ", ".join(want.unit.key for want, _ in self.failed[:NAMED])
            more = f" and {len(self.failed) - NAMED} more" if len(self.failed) > NAMED else ""
            raise SourceError(f"not fetched: {named}{more}: {self.failed[0][1]}; {KEPT_NOTICE}")
        return Fetched(len(self.choices) - self._refused, self.kept, self.empty, self.received, tuple(self.problems))


def _duration(seconds: float) -> str:
    """Return a duration in two units.

    Examples
    --------
    >>> [_duration(seconds) for seconds in (9.6, 200, 40_000, 300_000)]
    ['10 s', '3 min 20 s', '11 h 6 min', '3 d 11 h']
    """
    whole = round(seconds)
    for size, name, inner, inner_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // inner} {inner_name}"
    return f"{whole} s"


def _what_came(came: Collection[str]) -> str:
    return ", ".join(sorted(came)) or "nothing"


def _run(
    work: _Work,
    connect: Callable[[], Centre],
    events: queue.SimpleQueue[str | None],
    parallel: int,
    progress: Progress,
) -> None:
    """Fetch in some threads, and tell in this one.

    The threads are daemons: at Ctrl-C nobody waits for an answer that takes two minutes. Files are whole or not there.
    """

    def fetch() -> None:
        try:
            _fetch(work, connect(), events.put)
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            work.stop(error)
        finally:
            events.put(None)

    running = max(1, min(parallel, work.lacking))
    for _ in range(running):
        threading.Thread(target=fetch, daemon=True).start()
    try:
        while running:
            said = events.get()
            if said is None:
                running -= 1
            else:
                progress(work.fraction, said)
    finally:
        with work.storing:  # so that no thread writes after this, should the caller go on
            work.stop()


def _fetch(work: _Work, centre: Centre, tell: Callable[[str], Any]) -> None:
    """Fetch one batch after the other until none is left."""
    while batch := work.take():
        before = centre.received
        lines = [Line(codes, *day_us(want.unit)) for want, _ in batch for codes in channel_codes(want)]
        try:
            records, damaged = centre.records(lines)
        except ForbiddenError:
            if len(batch) == 1:
                work.close(batch[0][0])
            else:
                work.put_back(batch)
            continue
        except SourceError as error:
            tell(str(error))
            work.put_back(batch, error)
            continue
        if damaged:
            work.problems.append(f"{lines[0]}: {damaged} bytes of the answer are no miniSEED records; left out")
        for want, choices in batch:
            with work.storing:
                if work.stopped:
                    return
                came = store(work.archive, want, records, work.source)
            received, before = centre.received - before, centre.received
            tell(work.finish(want, choices, came, received))
