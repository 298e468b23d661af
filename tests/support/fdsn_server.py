"""A data centre on loopback: FDSN web services over real HTTP, with faults on demand.

`FdsnServer` speaks HTTP and knows no seismology; a service is a function from a query's parameters to an `Answer`
(`EventService` here). `Faults` draws from a seed what goes wrong with which request.
"""

from __future__ import annotations

import gzip
import http.server
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd

from support.catalog_files import fdsn_text

FRAMINGS = ("length", "chunked", "gzip", "bare")
STATUS_FAULTS = ("429", "500", "502", "503", "504")
FAULTS = (*STATUS_FAULTS, "refuse", "reset", "cut", "cut", "cut", "page", "linger")


@dataclass(frozen=True)
class Answer:
    """What a service answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Service = Callable[[Mapping[str, str]], Answer]


def refusal(status: int, reason: str) -> Answer:
    """Return an error as FDSN services word it."""
    return Answer(status, f"Error {status}: refused\n\n{reason}\n\nUsage details are available\n".encode())


class EventService:
    """An event service (fdsnws-event 1.2, text format) that holds a table of events.

    Parameters
    ----------
    events : DataFrame
        Event table.
    row_limit : int, optional
        More rows than this are refused.
    refuse_with : int
        The status of that refusal: 413, or 400 with the words that USGS uses.
    silent_cap : int, optional
        Answers are cut to this number of rows, and nothing is said.
    more_than_asked : int
        So many events before and after the period, and all of any place and magnitude within it, come as well.
    """

    KNOWN = frozenset(
        {"starttime", "endtime", "minlatitude", "maxlatitude", "minlongitude", "maxlongitude", "minmagnitude", "format"}
    )

    def __init__(
        self,
        events: pd.DataFrame,
        *,
        row_limit: int | None = None,
        refuse_with: int = 413,
        silent_cap: int | None = None,
        more_than_asked: int = 0,
    ) -> None:
        self.events = events
        self.row_limit = row_limit
        self.refuse_with = refuse_with
        self.silent_cap = silent_cap
        self.more_than_asked = more_than_asked

    def __call__(self, query: Mapping[str, str]) -> Answer:
        unknown = sorted(set(query) - self.KNOWN)
        if unknown or query.get("format") != "text":
            return refusal(400, f"unknown parameter or format: {unknown or query.get('format')}")
        rows = np.flatnonzero(self._inside(query))
        if self.more_than_asked:
            rows = self._with_neighbours(query)
        if self.row_limit is not None and len(rows) > self.row_limit:
            return refusal(self.refuse_with, f"{len(rows)} matching events exceeds search limit of {self.row_limit}.")
        if not len(rows):
            return Answer(204)
        # Services list the latest first.
        return Answer(200, fdsn_text(self.events.iloc[rows[::-1][: self.silent_cap]]))

    def _in_period(self, query: Mapping[str, str]) -> np.ndarray:
        start, end = (pd.Timestamp(query[name], tz="UTC") for name in ("starttime", "endtime"))
        # The end counts in, as the specification says.
        return np.array(self.events["time"].between(start, end))

    def _inside(self, query: Mapping[str, str]) -> np.ndarray:
        keep = self._in_period(query)
        for axis in ("latitude", "longitude"):
            low, high = (float(query[f"{side}{axis}"]) for side in ("min", "max"))
            keep &= self.events[axis].between(low, high).to_numpy()
        return np.array(keep & self.events["magnitude"].ge(float(query["minmagnitude"])))

    def _with_neighbours(self, query: Mapping[str, str]) -> np.ndarray:
        rows = np.flatnonzero(self._in_period(query))
        if not len(rows):
            return rows
        first, last = rows[0] - self.more_than_asked, rows[-1] + self.more_than_asked
        return np.arange(max(0, first), min(len(self.events), last + 1))


class Faults:
    """What goes wrong with which request, drawn from a seed.

    Parameters
    ----------
    seed : int
    share : float
        Of requests that something happens to.
    kinds : sequence of str
        ``429`` … ``504``; ``refuse``: the connection is dropped and the next are refused for a while; ``reset``:
        dropped in the middle with a reset; ``cut``: ended in the middle, as after a crash of the server; ``page``: a
        proxy's page in place of the answer; ``linger``: late, but in time; ``slow``: too late, once.
    longest_row : int
        No more faults than this in a row.
    """

    def __init__(
        self, seed: int, *, share: float = 0.4, kinds: Sequence[str] = FAULTS, longest_row: int = 4, slow_s: float = 1.5
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.share = share
        self.kinds = list(kinds)
        self.longest_row = longest_row
        self.slow_s = slow_s
        self._row = 0
        self._lock = threading.Lock()

    def draw(self) -> str:
        """Return what happens to the next request, "" for nothing."""
        with self._lock:
            if not self.kinds or self._row >= self.longest_row or self.rng.random() >= self.share:
                self._row = 0
                return ""
            self._row += 1
            kind = str(self.rng.choice(self.kinds))
            if kind == "slow":
                self.kinds.remove("slow")
            return kind

    def place(self, body: bytes) -> int:
        """Return where a body is cut: anywhere, or (what is hardest to notice) at the end of a line."""
        with self._lock:
            ends = [i + 1 for i, byte in enumerate(body[:-1]) if byte == 10]
            if ends and self.rng.random() < 0.5:
                return int(self.rng.choice(ends))
            return int(self.rng.integers(0, len(body)))


NO_FAULTS = Faults(0, share=0.0)


@dataclass(frozen=True)
class Asked:
    """A request as the server saw it, and what became of it: a fault, or the status of the answer."""

    service: str
    query: Mapping[str, str]
    outcome: str

    @property
    def span(self) -> tuple[str, str]:
        """The period asked for."""
        return self.query["starttime"], self.query["endtime"]


class FdsnServer:
    """FDSN web services at ``http://127.0.0.1:PORT/fdsnws/NAME/1/query``, each request in its own thread.

    Parameters
    ----------
    services : mapping of str to callable
        By name: ``event``, later ``station`` and ``dataselect``.
    faults : Faults
    framing : str
        How the end of an answer can be told: by its ``length``, by ``chunked`` transfer, by ``gzip``, or not at all
        (``bare``: the connection ends).
    down_after : int, optional
        After so many requests the server is gone for good, in the middle of the next.

    Examples
    --------
    >>> with FdsnServer({"event": lambda query: Answer(204)}) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        faults: Faults = NO_FAULTS,
        framing: str = "length",
        down_after: int | None = None,
    ) -> None:
        self.services = dict(services)
        self.faults = faults
        self.framing = framing
        self.down_after = down_after
        self.asked: list[Asked] = []
        self.failures: list[BaseException] = []
        self._port = 0
        self._http: _Http | None = None
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> FdsnServer:
        """Listen; at the same port as before, if it did before."""
        with self._lock:
            self._http = _Http(("127.0.0.1", self._port), _Handler)
            self._http.owner = self
            self._port = self._http.server_address[1]
            threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening: connections are refused from now on."""
        with self._lock:
            if self._http is not None:
                self._http.shutdown()
                self._http.server_close()
                self._http = None

    def refuse_for(self, seconds: float) -> None:
        """Refuse connections for a while."""
        with self._lock:
            self.stop()
            time.sleep(seconds)
            self.start()

    def spans_answered(self) -> list[tuple[str, str]]:
        """Return the periods of the requests that were answered with events or "none", in order."""
        return [asked.span for asked in self.asked if asked.outcome in {"200", "204"}]

    def __enter__(self) -> FdsnServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.failures:
            raise AssertionError("the test's server failed") from self.failures[0]


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a handler may stop the server it runs in
    owner: FdsnServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong here for the end; clients that go away are meant to."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.owner.failures.append(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        owner = self.server.owner
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        parts = address.path.strip("/").split("/")
        service = parts[1] if len(parts) == 4 and parts[0] == "fdsnws" and parts[2:] == ["1", "query"] else ""
        self.close_connection = True
        if owner.down_after is not None and len(owner.asked) >= owner.down_after:
            owner.stop()
            self._reset()
            return
        fault = owner.faults.draw()
        if service not in owner.services:
            answer = refusal(404, f"no such service: {address.path}")
        elif fault in STATUS_FAULTS:
            answer = Answer(int(fault), b"come back later", {"Retry-After": "0"} if fault == "429" else {})
        elif fault == "page":
            answer = Answer(200, b"<html><body>The service is being maintained.</body></html>\n")
        else:
            answer = owner.services[service](query)
        whole = fault in {"", "linger"}
        owner.asked.append(Asked(service, query, str(answer.status) if whole else fault))
        self._deliver(answer, fault)

    def _deliver(self, answer: Answer, fault: str) -> None:
        faults = self.server.owner.faults
        if fault == "refuse":
            self._reset()
            self.server.owner.refuse_for(0.02)
        elif fault == "slow":
            time.sleep(faults.slow_s)
            self._reset()
        elif fault in {"cut", "reset"} and answer.body:
            self._send(answer, faults.place)
            if fault == "reset":
                self._reset()
        elif fault in {"cut", "reset"}:
            self._reset()
        else:
            time.sleep(0.02 if fault == "linger" else 0.0)
            self._send(answer)

    def _send(self, answer: Answer, place: Callable[[bytes], int] | None = None) -> None:
        """Send an answer in the server's framing, cut short at a place if one is given."""
        framing = self.server.owner.framing if answer.status == 200 else "length"
        body = gzip.compress(answer.body) if framing == "gzip" else answer.body
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        for name, value in {
            "length": {"Content-Length": str(len(body))},
            "chunked": {"Transfer-Encoding": "chunked"},
            "gzip": {"Content-Encoding": "gzip"},
            "bare": {},
        }[framing].items():
            if answer.status != 204:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        sent = body if place is None else body[: place(body)]
        if framing == "chunked":
            sent = b"".join(
                b"%x\r\n%b\r\n" % (len(sent[i : i + 700]), sent[i : i + 700]) for i in range(0, len(sent), 700)
            )
            sent += b"" if place else b"0\r\n\r\n"
        self.wfile.write(sent)
        self.wfile.flush()

    def _reset(self) -> None:
        """Drop the connection with a reset instead of an orderly end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
