"""Catalogs from FDSN event services: `fdsn:INGV`, or `fdsn:` and a service's address.

The period is asked for span by span, in text format. A span that is too much for the service is halved. Each finished
span is kept as a file as the service sent it, so that an interrupted fetch continues where it stopped. Services return
more than asked, and other than asked: everything is trimmed to the question.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from seisprobe.catalog import EVENT_COLUMNS, Catalog, select_events
from seisprobe.errors import DataFileError, SourceError, StudyError
from seisprobe.sources.centre import checked_service
from seisprobe.sources.files import FDSN_HEADER
from seisprobe.sources.layouts import FDSN, catalog_of, find_columns, parse_times, split_header
from seisprobe.sources.reading import read_delimited
from seisprobe.sources.retry import CutShortError, Listener, NoAnswerError, Patience, TooMuchError, keep_asking
from seisprobe.sources.spans import Parts, Span, calendar_spans

__all__ = ["FdsnSource", "open_source"]

AGREEING_ANSWERS = 3
SHORTEST_SPAN = pd.Timedelta(minutes=1)
KEPT_NOTICE = "what was fetched is kept: run again to continue"


class FdsnSource:
    """Events from an FDSN event service.

    Parameters
    ----------
    service : str
        A name that ObsPy knows (``INGV``) or an address (``https://webservices.ingv.it``).
    parts : Path, optional
        Folder for finished spans; without it an interrupted fetch starts again.
    progress : callable, optional
        Is told the fraction done and what happens, for every span and every attempt that failed.
    patience : Patience, optional
        How often to ask, and how long to wait.
    row_cap : int
        An answer of a whole multiple of this many rows may have been cut by the service at a limit of its own (they
        lie at 1,000, 10,000, 20,000 …): its span is halved.
    span_months : int
        Length of a span before any halving, in calendar months.

    Attributes
    ----------
    identity : str
        ``fdsn:`` and the service's name or address.

    Raises
    ------
    StudyError
        When `service` is neither a known name nor an address.

    Examples
    --------
    >>> FdsnSource("ingv").identity
    'fdsn:INGV'
    """

    def __init__(
        self,
        service: str,
        *,
        parts: Path | None = None,
        progress: Callable[[float, str], None] | None = None,
        patience: Patience | None = None,
        row_cap: int = 1000,
        span_months: int = 3,
    ) -> None:
        self._service = checked_service(service, "[catalog] source")
        self.identity = f"fdsn:{self._service}"
        self._parts = parts
        self._progress = progress or (lambda *_: None)
        self._patience = patience or Patience()
        self._row_cap = row_cap
        self._span_months = span_months
        self._listener = Listener()
        self._client: Any = None

    def get_events(
        self,
        *,
        starttime: pd.Timestamp,
        endtime: pd.Timestamp,
        minlatitude: float,
        maxlatitude: float,
        minlongitude: float,
        maxlongitude: float,
        minmagnitude: float,
    ) -> Catalog:
        """Return the events in [starttime, endtime), in the region (edges included), of at least a magnitude.

        Parameters
        ----------
        starttime, endtime : Timestamp
            Aware.
        minlatitude, maxlatitude, minlongitude, maxlongitude : float
            Degrees.
        minmagnitude : float

        Returns
        -------
        Catalog
            Without events where the service has none.

        Raises
        ------
        SourceError
            When the service refuses or does not answer; the spans that were finished are kept.
        """
        question = {
            "minlatitude": float(minlatitude),
            "maxlatitude": float(maxlatitude),
            "minlongitude": float(minlongitude),
            "maxlongitude": float(maxlongitude),
            "minmagnitude": float(minmagnitude),
        }
        whole = Span(starttime.tz_convert("UTC"), endtime.tz_convert("UTC"))
        tables, outside = [], 0
        for span, body in self._answers(whole, question):
            rows = read_rows(body, self.identity)
            inside = rows["time"].isna() | ((rows["time"] >= span.start) & (rows["time"] < span.end))
            outside += int((~inside).sum())
            tables.append(rows.loc[inside])
            fraction = (span.end - whole.start) / (whole.end - whole.start)
            self._progress(float(fraction), f"{self.identity}: {span}: {int(inside.sum())} events")
        return _trimmed(tables, whole, question, self.identity, outside)

    def _answers(self, whole: Span, question: Mapping[str, float]) -> Iterator[tuple[Span, bytes]]:
        """Yield every span of the period in order of time, with the service's answer."""
        kept = Parts(self._parts, {"service": self.identity, **question})
        todo = list(reversed(calendar_spans(whole, self._span_months)))
        while todo:
            span = todo.pop()
            body = _whole_or_none(kept.read(span))
            if body is None and not kept.has_pieces_of(span):
                body = self._ask(span, question, whole)
                if body is not None:
                    kept.write(span, body)
            if body is None:
                todo.extend(reversed(self._halves(span)))
            else:
                yield span, body

    def _halves(self, span: Span) -> tuple[Span, Span]:
        if span.end - span.start <= SHORTEST_SPAN:
            raise SourceError(
                f"{self.identity}: more events from {span} than the service gives at once; raise [catalog] "
                "min_magnitude or take a smaller region"
            )
        return span.halves()

    def _ask(self, span: Span, question: Mapping[str, float], whole: Span) -> bytes | None:
        """Return the service's answer for a span, or None where it is too much for one request."""
        fraction = float((span.start - whole.start) / (whole.end - whole.start))
        try:
            body = keep_asking(
                self._request(span, question),
                where=f"{self._address()}: events from {span}",
                patience=self._patience,
                listener=self._listener,
                tell=lambda said: self._progress(fraction, f"{self.identity}: {span}: {said}"),
            )
        except TooMuchError:
            return None
        except NoAnswerError as error:
            raise SourceError(f"{error}; {KEPT_NOTICE if self._parts else 'run again later'}") from error
        body = body or f"{FDSN_HEADER}\n".encode()
        rows = count_rows(body)
        return None if rows and rows % self._row_cap == 0 else body

    def _request(self, span: Span, question: Mapping[str, float]) -> Callable[[], bytes]:
        """Return a function that asks for a span once and returns an answer known to be whole.

        Where neither length, chunks nor gzip show where an answer ends, a connection dropped at the end of a line
        looks like a whole answer: there, an answer counts when it came `AGREEING_ANSWERS` times running and none was
        longer.
        """
        last, longest, times = b"", 0, 0

        def request() -> bytes:
            nonlocal last, longest, times
            for _ in range(AGREEING_ANSWERS):
                body = self._fetch(span, question)
                check_whole(body, framed=self._listener.framed)
                times = times + 1 if body == last else 1
                last, longest = body, max(longest, len(body))
                if self._listener.framed or (times >= AGREEING_ANSWERS and len(body) == longest):
                    return body
            raise CutShortError("answers to the same question differ, and none says how long it is")

        return request

    def _fetch(self, span: Span, question: Mapping[str, float]) -> bytes:
        from obspy import UTCDateTime

        buffer = io.BytesIO()
        client = self._connected()
        client.get_events(
            starttime=UTCDateTime(span.start.isoformat()),
            endtime=UTCDateTime(span.end.isoformat()),
            format="text",
            filename=buffer,
            **question,
        )
        return buffer.getvalue()

    def _connected(self) -> Any:
        if self._client is None:
            from obspy.clients.fdsn import Client

            # Discovery would cost a request for each service's description and fail where one of them is down.
            self._client = Client(self._service, timeout=self._patience.timeout_s, _discover_services=False)
            # Without discovery ObsPy does not know that event services can answer in text.
            text = {"format": {"default_value": "xml", "type": str, "required": False}}
            self._client.services = {"event": self._client.services["event"] | text}
            # ObsPy hands on no response headers.
            self._client._url_opener.add_handler(self._listener)
        return self._client

    def _address(self) -> str:
        return str(self._connected()._build_url("event", "query"))


def open_source(
    rest: str,
    *,
    folder: Path,  # noqa: ARG001  every opener takes the same; a service is no file
    columns: Mapping[str, str] | None = None,
    parts: Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> FdsnSource:
    """Open ``fdsn:NAME`` or ``fdsn:ADDRESS``.

    Raises
    ------
    StudyError
        When the name is unknown, the address is none, or `columns` are given.
    """
    if columns:
        raise StudyError(f'[catalog] columns: not for source = "fdsn:{rest}", whose columns are known; leave them out')
    return FdsnSource(rest, parts=parts, progress=progress)


def count_rows(body: bytes) -> int:
    r"""Return the number of rows under the header of an answer in FDSN text.

    Examples
    --------
    >>> count_rows(b"#EventID|Time\n1|2016-10-30T06:40:17\n")
    1
    """
    return max(0, sum(1 for line in body.splitlines() if line.strip()) - 1)


def check_whole(body: bytes, *, framed: bool) -> None:
    r"""Refuse an answer that ends in the middle, or is no FDSN event text.

    Parameters
    ----------
    body : bytes
    framed : bool
        The answer's length is known from its headers, and right.

    Raises
    ------
    CutShortError

    Examples
    --------
    >>> check_whole(b"#EventID|Time|Latitude|Longitude|Magnitude\n1|2016-10-30T06:40:17|42.8", framed=True)
    Traceback (most recent call last):
    seisprobe.sources.retry.CutShortError: an answer that ends in the middle, in row 1
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if not lines:
        if framed:
            return
        raise CutShortError("an empty answer")
    header = lines[0].decode("utf-8", "replace")
    names = split_header(header)[1]
    try:
        find_columns(names, {}, origin="")
    except DataFileError:
        raise CutShortError(f"an answer that is no event text: '{header[:80]}'") from None
    if len(lines) > 1 and lines[-1].count(b"|") + 1 < len(names):
        raise CutShortError(f"an answer that ends in the middle, in row {len(lines) - 1}")


def _whole_or_none(body: bytes | None) -> bytes | None:
    """Return a kept answer, or None where it was damaged on disk and has to be fetched again."""
    if body is None:
        return None
    try:
        check_whole(body, framed=True)
    except CutShortError:
        return None
    return body


def read_rows(body: bytes, origin: str) -> pd.DataFrame:
    r"""Return the rows of an answer in FDSN text: event columns as text, and ``time`` as aware datetimes.

    Parameters
    ----------
    body : bytes
    origin : str
        Service, for messages.

    Returns
    -------
    DataFrame
        With ``time_text``, the time as sent.

    Examples
    --------
    >>> body = b"#EventID|Time|Latitude|Longitude|Magnitude\n1|2016-10-30T06:40:17.32|42.83|13.11|6.5\n"
    >>> read_rows(body, "example")["time"].tolist()
    [Timestamp('2016-10-30 06:40:17.320000+0000', tz='UTC')]
    """
    if not body.strip():
        body = f"{FDSN_HEADER}\n".encode()
    try:
        table, _ = read_delimited(io.BytesIO(body), {}, origin=origin, notes=[])
    except UnicodeDecodeError:
        table, _ = read_delimited(io.BytesIO(body), {}, origin=origin, encoding="latin-1", notes=[])
    table["time_text"] = table["time"].astype("str")
    table["time"] = parse_times(table["time_text"])[0]
    return table


def _trimmed(
    tables: list[pd.DataFrame], whole: Span, question: Mapping[str, float], origin: str, outside: int
) -> Catalog:
    """Return the catalog of all spans, trimmed to the question; `outside` rows are left out already."""
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if rows.empty:
        return Catalog(_no_events())
    rows["row_number"] = range(1, len(rows) + 1)
    try:
        catalog = catalog_of(rows, layout=FDSN, origin=origin, row_word="row")
    except DataFileError as error:
        raise SourceError(str(error)) from error
    region = {f"{key[:3]}_{key[3:]}": value for key, value in question.items() if key != "minmagnitude"}
    events = select_events(
        catalog.events, start=whole.start, end=whole.end, region=region, min_magnitude=question["minmagnitude"]
    )
    outside += len(catalog.events) - len(events)
    notes = [f"{origin}: {outside} row(s) that were not asked for left out"] if outside else []
    return Catalog(events, catalog.dropped, (*notes, *catalog.notes))


def _no_events() -> pd.DataFrame:
    one = {"time": ["1970-01-01T00:00:00Z"], "latitude": ["0"], "longitude": ["0"], "magnitude": ["0"]}
    one |= {"row_number": ["1"]}
    return catalog_of(pd.DataFrame(one), layout=FDSN, origin="").events.iloc[:0][[*EVENT_COLUMNS]]
