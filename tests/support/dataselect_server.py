"""A data centre of waveforms on loopback: a real FDSN dataselect server behind a proxy that spoils its answers.

`RealServer` is portable-fdsnws-dataselect over an SDS archive, as other data centres run it. `WaveformCentre` passes
requests on to it, answers the station service itself, and injects faults: those of connections and status
(`fdsn_server.Faults`) and those of content (`Spoiler`).
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from obspy import Stream, UTCDateTime
from obspy.core.inventory import Channel, Inventory, Network, Station

from support.fdsn_server import STATUS_FAULTS, Answer, Asked, Faults, FdsnServer, _Handler, _Http, refusal

RECORD_BYTES = 512


def lacking_server() -> str:
    """Return why the real server cannot run here, "" where it can."""
    if importlib.util.find_spec("portable_fdsnws_dataselect") is None:
        return "portable-fdsnws-dataselect is not installed (the extra test of this project installs it)"
    return "" if _indexer() else "mseedindex is not installed (the extra test of this project installs it)"


def _indexer() -> str | None:
    return shutil.which("mseedindex", path=str(Path(sys.executable).parent)) or shutil.which("mseedindex")


class RealServer:
    """portable-fdsnws-dataselect in a process of its own, over the files of an SDS archive.

    Parameters
    ----------
    archive : Path
    folder : Path
        For its index, settings and log.
    request_limit : int
        Requests for more bytes are refused with 413; 0: none is.
    """

    def __init__(self, archive: Path, folder: Path, *, request_limit: int = 0) -> None:
        self.archive, self.folder, self.request_limit = archive, folder, request_limit
        self.url = ""

    def __enter__(self) -> RealServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = sorted(str(path) for path in self.archive.rglob("*.D.*") if path.is_file())
        index = self.folder / "index.sqlite"
        subprocess.run([str(_indexer()), "-sqlite", str(index), *files], check=True, capture_output=True)
        with sqlite3.connect(index) as database:
            # With the index by hours, a request that ends in the last of them comes back empty.
            database.execute("UPDATE tsindex SET timeindex=NULL")
        database.close()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = self.folder / "server.ini"
        settings.write_text(
            f"[index_db]\npath = {index}\ntable = tsindex\n"
            f"[server]\ninterface = 127.0.0.1\nport = {port}\nrequest_limit = {self.request_limit}\n"
        )
        start = "from portable_fdsnws_dataselect.server import main; main()"
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-c", start, str(settings)], stdout=log, stderr=log)
        self.url = f"http://127.0.0.1:{port}"
        self._wait()
        return self

    def _wait(self) -> None:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/fdsnws/dataselect/1/version", timeout=5).read()
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.folder / "server.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def __call__(self, body: str) -> Answer:
        """Return what the server answers to a bulk request."""
        request = urllib.request.Request(f"{self.url}/fdsnws/dataselect/1/query", data=body.encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, refused.read())


def selection(body: str) -> list[tuple[str, UTCDateTime, UTCDateTime]]:
    """Return the lines of a bulk request: "NET.STA.LOC.CHA", start, end."""
    lines = [line.split() for line in body.splitlines() if line.strip() and "=" not in line]
    return [
        (".".join([net, sta, "" if loc == "--" else loc, cha]), UTCDateTime(start), UTCDateTime(end))
        for net, sta, loc, cha, start, end in lines
    ]


class Spoiler:
    """A dataselect service that hands on another's answers, and spoils some of them, by seed.

    Parameters
    ----------
    service : callable
        The other: body of a bulk request → answer.
    archive : Path
        Its files, all of records of `RECORD_BYTES`.
    seed : int
    share : float
        Of answers that are spoilt.
    kinds : sequence of str
        ``untrimmed``: whole records, also where they reach over the edges; ``wrong``: records of other times, channels
        and stations besides, and instead of "none"; ``204``: "none", though there is something (never twice for
        the same question).
    largest_s : float, optional
        Requests for more channel-seconds are refused with 413.
    """

    def __init__(
        self,
        service: Callable[[str], Answer],
        archive: Path,
        *,
        seed: int = 0,
        share: float = 0.0,
        kinds: Sequence[str] = ("untrimmed", "wrong", "204"),
        largest_s: float | None = None,
    ) -> None:
        self.service, self.share, self.kinds, self.largest_s = service, share, kinds, largest_s
        self.spoilt: Counter[str] = Counter()
        self._rng = np.random.default_rng([seed, 7])
        self._records = list(_records(archive))
        self._denied: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, body: str) -> Answer:
        lines = selection(body)
        if self.largest_s is not None and sum(end - start for _, start, end in lines) > self.largest_s:
            self.spoilt["413"] += 1
            return refusal(413, "the request is too large")
        answer = self.service(body)
        with self._lock:
            kind = str(self._rng.choice(self.kinds)) if self._rng.random() < self.share else ""
            if kind == "204" and (body in self._denied or answer.status != 200):
                kind = ""
            if answer.status not in (200, 204) or not kind or (kind == "untrimmed" and answer.status == 204):
                return answer
            self.spoilt[f"{kind} for none" if answer.status == 204 else kind] += 1
            if kind == "204":
                self._denied.add(body)
                return Answer(204)
            if kind == "untrimmed":
                return Answer(200, b"".join(data for data, meets in self._meeting(lines) if meets))
            return Answer(200, self._with_others(answer.body, lines))

    def _meeting(self, lines: list[tuple[str, UTCDateTime, UTCDateTime]]) -> Iterable[tuple[bytes, bool]]:
        for codes, start, end, data in self._records:
            yield data, any(codes == of and start <= until and end >= since for of, since, until in lines)

    def _with_others(self, body: bytes, lines: list[tuple[str, UTCDateTime, UTCDateTime]]) -> bytes:
        others = [data for data, meets in self._meeting(lines) if not meets]
        chosen = [others[i] for i in self._rng.integers(0, len(others), 3)]
        cut = RECORD_BYTES * int(self._rng.integers(0, len(body) // RECORD_BYTES + 1))
        return body[:cut] + b"".join(chosen) + body[cut:]


def _records(archive: Path) -> Iterable[tuple[str, UTCDateTime, UTCDateTime, bytes]]:
    from pymseed import MS3Record, sourceid2nslc

    for path in sorted(archive.rglob("*.D.*")):
        for record in MS3Record.from_file(str(path)):
            codes = ".".join(sourceid2nslc(record.sourceid))
            yield codes, UTCDateTime(ns=record.starttime), UTCDateTime(ns=record.endtime), bytes(record.record)


class RecordFaults(Faults):
    """Faults that cut miniSEED anywhere, or (what is hardest to notice) between two records."""

    def place(self, body: bytes) -> int:
        """Return where a body is cut."""
        with self._lock:
            whole = len(body) // RECORD_BYTES
            if whole > 1 and self.rng.random() < 0.5:
                return RECORD_BYTES * int(self.rng.integers(1, whole))
            return int(self.rng.integers(0, len(body)))


def inventory_of(stream: Stream, *, start: str = "2010-01-01", end: str | None = None) -> Inventory:
    """Return station metadata (channel level) for all channels of a stream; stations stand 0.1° apart, from 42.0 N."""
    networks: dict[str, dict[str, set[tuple[str, str, float]]]] = {}
    for trace in stream:
        s = trace.stats
        networks.setdefault(s.network, {}).setdefault(s.station, set()).add((s.location, s.channel, s.sampling_rate))
    opened, closed = UTCDateTime(start), UTCDateTime(end) if end else None
    number = 0
    out = []
    for code, stations in sorted(networks.items()):
        members = []
        for station, channels in sorted(stations.items()):
            place = {"latitude": round(42.0 + 0.1 * number, 1), "longitude": 13.0, "elevation": 500.0}
            number += 1
            members.append(
                Station(
                    station,
                    **place,
                    channels=[
                        Channel(name, loc, **place, depth=0.0, sample_rate=rate, start_date=opened, end_date=closed)
                        for loc, name, rate in sorted(channels)
                    ],
                )
            )
        out.append(Network(code, members))
    return Inventory(out, source="test")


class StationService:
    """A station service that holds an inventory, and answers with all of it or with what was asked for."""

    def __init__(self, inventory: Inventory, *, exact: bool = True) -> None:
        self.inventory, self.exact = inventory, exact

    def __call__(self, query: Mapping[str, str]) -> Answer:
        import io

        found = self.inventory
        if self.exact:
            found = Inventory(source="test")
            for network in query["network"].split(","):
                for station in query["station"].split(","):
                    for channel in query["channel"].split(","):
                        found += self.inventory.select(network=network, station=station, channel=channel)
        if not found.networks:
            return Answer(204)
        body = io.BytesIO()
        found.write(body, format="STATIONXML")
        return Answer(200, body.getvalue())


class WaveformCentre(FdsnServer):
    """Station and dataselect services at one address, with faults.

    Parameters
    ----------
    station : callable
        Query → answer.
    dataselect : callable
        Body of a bulk request → answer.
    password : str, optional
        With it, ``queryauth`` asks for the user "probe" by HTTP digest.
    **rest
        As for FdsnServer.
    """

    def __init__(
        self,
        station: Callable[[Mapping[str, str]], Answer],
        dataselect: Callable[[str], Answer],
        *,
        password: str = "",
        **rest: Any,
    ) -> None:
        super().__init__({"station": station}, **rest)
        self.dataselect, self.password = dataselect, password

    def start(self) -> WaveformCentre:
        with self._lock:
            self._http = _Http(("127.0.0.1", self._port), _PostHandler)
            self._http.owner = self
            self._port = self._http.server_address[1]
            threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def outcomes(self, service: str = "dataselect") -> Counter[str]:
        """Count what became of the requests to a service."""
        return Counter(asked.outcome for asked in self.asked if asked.service == service)


class _PostHandler(_Handler):
    def do_POST(self) -> None:
        owner = self.server.owner
        assert isinstance(owner, WaveformCentre)
        self.close_connection = True
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if owner.down_after is not None and len(owner.asked) >= owner.down_after:
            owner.stop()
            self._reset()
            return
        fault = owner.faults.draw()
        if self.path.endswith("queryauth") and not self._knows(owner.password):
            challenge = {"WWW-Authenticate": 'Digest realm="FDSN", nonce="1", algorithm=MD5, qop="auth"'}
            answer, fault = Answer(401, b"who is it?", challenge), ""
        elif fault in STATUS_FAULTS:
            answer = Answer(int(fault), b"come back later", {"Retry-After": "0"} if fault == "429" else {})
        elif fault == "page":
            answer = Answer(200, b"<html><body>The service is being maintained.</body></html>\n")
        else:
            answer = owner.dataselect(body)
        whole = fault in {"", "linger"}
        owner.asked.append(Asked("dataselect", {"body": body}, str(answer.status) if whole else fault))
        self._deliver(answer, fault)

    def _knows(self, password: str) -> bool:
        """Whether the request carries the right answer to the challenge (RFC 7616, qop auth)."""
        from hashlib import md5
        from urllib.request import parse_http_list, parse_keqv_list

        kind, _, rest = self.headers.get("Authorization", "").partition(" ")
        if kind != "Digest":
            return False
        said = parse_keqv_list(parse_http_list(rest))
        ha1, ha2 = (
            md5(text.encode()).hexdigest() for text in (f"probe:FDSN:{password}", f"POST:{said.get('uri', '')}")
        )
        expected = f"{ha1}:{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}:{ha2}"
        return said["response"] == md5(expected.encode()).hexdigest()
