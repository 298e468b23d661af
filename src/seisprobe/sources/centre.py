"""A data centre's station and dataselect services: one connection, what it is asked, and when an answer is whole.

Passwords and tokens come from the environment alone, and are in no message:

=============================================  ======================================================================
variable                                       what
=============================================  ======================================================================
``SEISPROBE_FDSN_USER``, ``…_FDSN_PASSWORD``   name and password for restricted data (HTTP digest, ``queryauth``)
``SEISPROBE_EIDA_TOKEN``                       an EIDA token, or the path of the file that holds it (sent by https)
=============================================  ======================================================================
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from seisprobe.errors import InputError, SourceError, StudyError, nearest
from seisprobe.sources.records import SECOND_US, Codes, Record, cut_to_period, holes, parse_records
from seisprobe.sources.retry import CutShortError, Listener, Patience, TooMuchError, keep_asking

__all__ = ["Centre", "ForbiddenError", "Line", "checked_service", "credentials"]

USER, PASSWORD, TOKEN = "SEISPROBE_FDSN_USER", "SEISPROBE_FDSN_PASSWORD", "SEISPROBE_EIDA_TOKEN"
# So often an answer has to bring nothing new before it counts that there is nothing: 204, and answers that do not say
# where they end.
EMPTY_ANSWERS = 2
BARE_ANSWERS = 3
SHORTEST_US = 60 * SECOND_US
# Services cut at the period asked for, with times rounded in their own way: a little more is asked for, and cut here.
MARGIN_US = 1000
HOLES_ASKED = 20


class ForbiddenError(Exception):
    """The data are restricted, and what the environment holds does not open them (401, 403)."""


class Line(NamedTuple):
    """A line of a bulk request: one channel, [start, end) in µs since 1970.

    Examples
    --------
    >>> print(Line(("IV", "NRCA", "", "HHZ"), 0, 86_400_000_000))
    IV.NRCA..HHZ 1970-01-01T00:00:00 to 1970-01-02T00:00:00
    """

    codes: Codes
    start_us: int
    end_us: int

    def __str__(self) -> str:
        return f"{'.'.join(self.codes)} {_time(self.start_us)} to {_time(self.end_us)}"


def _time(us: int) -> str:
    import pandas as pd

    return f"{pd.Timestamp(us, unit='us'):%Y-%m-%dT%H:%M:%S}"


def checked_service(service: str, source: str = "[waveforms] source") -> str:
    """Return a data centre's name or base address as ObsPy takes it.

    Parameters
    ----------
    service : str
        ``INGV``, or ``https://webservices.ingv.it``, with or without ``/fdsnws/…``.
    source : str
        What the user wrote it under, for messages.

    Raises
    ------
    StudyError
        When it is neither.

    Examples
    --------
    >>> checked_service("ingv"), checked_service("https://example.org/fdsnws/dataselect/1/")
    ('INGV', 'https://example.org')
    """
    from obspy.clients.fdsn.client import Client
    from obspy.clients.fdsn.header import URL_MAPPINGS

    name = service.strip()
    if "://" not in name:
        if name.upper() in URL_MAPPINGS:
            return name.upper()
        raise StudyError(
            f'{source} = "fdsn:{name}": no such data centre; {nearest(name.upper(), sorted(URL_MAPPINGS))}; or write '
            "an address, fdsn:https://…"
        )
    base = re.sub(r"/fdsnws(/\w+(/\d+(/\w+)?)?)?/?$", "", name.rstrip("/"))
    if "@" in base:
        raise StudyError(f"{source}: an address with a password in it; put them into {USER} and {PASSWORD}")
    if not Client._validate_base_url(base):
        raise StudyError(f'{source} = "fdsn:{name}": not an address; write fdsn:https://host, or a name')
    return base


def credentials(service: str) -> tuple[str, str] | None:
    """Return name and password for restricted data from the environment, None where it holds none.

    Raises
    ------
    InputError
        Half of them, or a token that is none.
    SourceError
        When the data centre takes no token, or not this one.
    """
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if bool(user) != bool(password):
        raise InputError(f"{USER if password else PASSWORD} is not set: set both, name and password, or neither")
    if user or not token:
        return (user, password) if user else None
    from obspy.clients.fdsn import Client
    from obspy.clients.fdsn.header import FDSNException

    client = Client(service, _discover_services=False)
    client.services = {**client.services, "eida-auth": True}
    try:
        user, password = client._resolve_eida_token(token)
    except ValueError as error:
        # ObsPy's words, or those of a file that is no text: either may hold a part of the token.
        raise InputError(f"{TOKEN}: no EIDA token and no file that holds one; get a new one") from error
    except (FDSNException, OSError) as error:
        raise SourceError(f"fdsn:{service}: {TOKEN} was not taken ({type(error).__name__}); get a new one") from None
    return user, password


class Centre:
    """A connection to a data centre; threads take one each.

    Parameters
    ----------
    service : str
        As from `checked_service`.
    patience : Patience
    secret : (str, str), optional
        As from `credentials`.
    tell : callable
        Is told of every attempt that failed.

    Attributes
    ----------
    received : int
        Bytes of data so far, as sent (unpacked).
    """

    def __init__(
        self,
        service: str,
        *,
        patience: Patience,
        secret: tuple[str, str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        from obspy.clients.fdsn import Client

        self.identity = f"fdsn:{service}"
        self.received = 0
        self._patience = patience
        self._password = secret[1] if secret else ""
        self._tell = tell
        self._listener = Listener()
        self._parsed: tuple[list[Record], int] = ([], 0)
        # Discovery would cost a request for each service's description and fail where one of them is down.
        self._client = Client(service, timeout=patience.timeout_s, _discover_services=False)
        if secret:
            self._client.set_credentials(*secret)
        # ObsPy hands on no response headers.
        self._client._url_opener.add_handler(self._listener)

    def stations(self, question: Mapping[str, Any]) -> Any:
        """Return the inventory that answers a question of the station service, None where there is none.

        Raises
        ------
        SourceError
            When the service refuses or does not answer.
        """
        from obspy import read_inventory

        found: list[Any] = []

        def request() -> bytes:
            buffer = io.BytesIO()
            self._client.get_stations(**question, filename=buffer)
            try:
                found[:] = [read_inventory(io.BytesIO(buffer.getvalue()), format="STATIONXML")]
            except Exception as error:  # the parser's own and lxml's, of several kinds
                raise CutShortError("an answer that is no StationXML, or ends in the middle") from error
            return buffer.getvalue()

        body = self._keep_asking(request, "stations")
        return found[0] if body is not None and found else None

    def records(self, lines: Sequence[Line]) -> tuple[list[Record], int]:
        """Return all that the data centre holds of some channels and periods.

        Refused requests are halved; what is not asked for is left out; an answer whose end cannot be told from a
        dropped connection is followed by questions for what lacks, until nothing more comes.

        Parameters
        ----------
        lines : sequence of Line

        Returns
        -------
        records : list of Record
            Each within a line; repeats as sent.
        damaged : int
            Bytes of the answers that are no miniSEED records, however often asked for.

        Raises
        ------
        ForbiddenError
            Restricted data.
        SourceError
            When the service refuses or does not answer (then a NoAnswerError).
        """
        try:
            records, damaged, final = self._answer(lines)
        except TooMuchError as error:
            return self._halved(lines, str(error))
        nothing_new = 0
        while not final and nothing_new < BARE_ANSWERS and (lacking := _lacking(lines, records)):
            try:
                more, _, final = self._answer(lacking)
            except TooMuchError as error:
                more, final = self._halved(lacking, str(error))[0], True
            nothing_new = 0 if more else nothing_new + 1
            records = records + more
        return records, damaged

    def _answer(self, lines: Sequence[Line]) -> tuple[list[Record], int, bool]:
        """Ask with patience; return what came, bytes that are no records, and whether it is known to be all.

        That there is nothing is believed when it is said again.
        """
        where = f"{self.identity}: {lines[0]}" + (f" and {len(lines) - 1} more" if len(lines) > 1 else "")
        empty = 0
        while not (body := self._keep_asking(self._request(lines), where)):
            empty += 1
            # Some say 200 and send nothing, which may also be all that came before the connection dropped.
            bare = self._listener.status == 200 and not self._listener.framed
            if empty >= (BARE_ANSWERS if bare else EMPTY_ANSWERS):
                return [], 0, True
        self.received += len(body)
        records, damaged = self._parsed
        framed = self._listener.framed
        # Where the end cannot be told, a cut record is cut on the way, and asked for again as lacking.
        return _within(lines, records), damaged if framed else 0, framed

    def _halved(self, lines: Sequence[Line], said: str) -> tuple[list[Record], int]:
        """Ask for two halves of what was too much: of the list, of a single line its time."""
        middle = len(lines) // 2
        halves = [lines[:middle], lines[middle:]]
        if len(lines) == 1:
            codes, start_us, end_us = lines[0]
            if end_us - start_us <= SHORTEST_US:
                raise SourceError(f"{self.identity}: refuses even {lines[0]} as too much: {said}")
            cut_us = (start_us + end_us) // 2 // SECOND_US * SECOND_US
            halves = [[Line(codes, start_us, cut_us)], [Line(codes, cut_us, end_us)]]
        answers = [self.records(half) for half in halves]
        return [record for records, _ in answers for record in records], sum(damaged for _, damaged in answers)

    def _request(self, lines: Sequence[Line]) -> Callable[[], bytes]:
        """Return a function that asks once and returns an answer of records and nothing else.

        Where the answer says how long it is, bytes that are no records may have been spoilt on the way; when they come
        a second time, the data centre has them so.
        """
        from obspy import UTCDateTime

        bulk = [
            (*line.codes, UTCDateTime(ns=(line.start_us - MARGIN_US) * 1000), UTCDateTime(ns=line.end_us * 1000))
            for line in lines
        ]
        last = b""

        def request() -> bytes:
            nonlocal last
            buffer = io.BytesIO()
            self._client.get_waveforms_bulk(bulk, filename=buffer)
            body = buffer.getvalue()
            self._parsed = parse_records(body)
            damaged = self._parsed[1]
            if body and damaged == len(body):
                raise CutShortError("an answer that holds no miniSEED record")
            if damaged and self._listener.framed and body != last:
                last = body
                raise CutShortError(f"{damaged} bytes of an answer are no miniSEED record")
            return body

        return request

    def _keep_asking(self, request: Callable[[], bytes], where: str) -> bytes | None:
        from obspy.clients.fdsn.header import FDSNForbiddenException, FDSNUnauthorizedException

        def asked() -> bytes:
            try:
                return request()
            except (FDSNForbiddenException, FDSNUnauthorizedException) as error:
                raise ForbiddenError(str(error.status_code)) from None

        try:
            return keep_asking(
                asked,
                where=where,
                patience=self._patience,
                listener=self._listener,
                tell=lambda said: self._tell(self._open_words(f"{where}: {said}")),
            )
        except SourceError as error:
            raise type(error)(self._open_words(str(error))) from None

    def _open_words(self, text: str) -> str:
        """Return what a service said, without the password, should it have repeated that."""
        return text.replace(self._password, "…") if self._password else text


def _within(lines: Sequence[Line], records: Sequence[Record]) -> list[Record]:
    """Return what of the records was asked for, cut to the lines' periods."""
    wanted: dict[Codes, list[Line]] = {}
    for line in lines:
        wanted.setdefault(line.codes, []).append(line)
    return [
        piece
        for record in records
        for line in wanted.get(record.codes, [])
        if record.start_us < line.end_us and record.end_us > line.start_us - MARGIN_US
        for piece in cut_to_period(record, line.start_us, line.end_us)
    ]


def _lacking(lines: Sequence[Line], records: Sequence[Record]) -> list[Line]:
    """Return the periods of the lines in which no sample came; many small ones as one."""
    lacking = []
    for line in lines:
        there = [record for record in records if record.codes == line.codes and record.start_us < line.end_us]
        found = holes((record for record in there if record.end_us > line.start_us), line.start_us, line.end_us)
        if len(found) > HOLES_ASKED:
            found = [(found[0][0], found[-1][1])]
        lacking += [Line(line.codes, start_us, end_us) for start_us, end_us in found]
    return lacking
