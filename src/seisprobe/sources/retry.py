"""Asking a data centre until it answers: what to try again, how long to wait, what is final.

ObsPy's client asks once. Around it, `keep_asking` tries again what may pass (429, 500, 502, 503, 504, connections that
drop, time-outs, answers that end in the middle), waits longer every time or as long as the server says, takes 204 for
"none", and ends with one line. It knows nothing of what is asked for.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.request import BaseHandler, Request

import pandas as pd

from seisprobe.errors import SourceError

__all__ = ["CutShortError", "Listener", "NoAnswerError", "Patience", "TooMuchError", "keep_asking"]

PASSING = frozenset({408, 429, 500, 502, 503, 504})
SAID_CHARACTERS = 300


@dataclass(frozen=True)
class Patience:
    """How long to keep asking.

    Parameters
    ----------
    attempts : int
        How often one request is sent before giving up.
    pause_s : float
        First pause; each further one is twice as long.
    longest_pause_s : float
        Pauses grow no longer than this, also where the server says so.
    timeout_s : float
        Silence after which a request counts as lost.
    """

    attempts: int = 7
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    timeout_s: float = 120.0

    def pause_after(self, attempt: int, asked_s: float = 0.0) -> float:
        """Return the pause after the attempt of this number (from 0), at least what the server asked for.

        Examples
        --------
        >>> [Patience(pause_s=1.0).pause_after(attempt) for attempt in (0, 1, 2, 10)]
        [1.0, 2.0, 4.0, 60.0]
        >>> Patience(pause_s=1.0).pause_after(0, asked_s=30.0)
        30.0
        """
        return min(max(self.pause_s * 2.0**attempt, asked_s), max(self.longest_pause_s, self.pause_s))


class NoAnswerError(SourceError):
    """The service did not answer within the patience; asking later may help."""


class TooMuchError(Exception):
    """The request is for more than the service gives at once; its text is what the server said."""


class CutShortError(Exception):
    """An answer that ends in the middle, or is no answer at all; its text says which."""


class Listener(BaseHandler):
    """Remembers status and headers of the last response, which ObsPy's client does not hand on.

    Add it to the client's opener; without it, nothing is known of how an answer was framed.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget the last response; call before each request."""
        self.status: int | None = None
        self._headers: Any = {}

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002
        """Take note of a response (called by urllib)."""
        self.status, self._headers = response.status, response.headers
        return response

    https_response = http_response

    @property
    def framed(self) -> bool:
        """Whether the end of the last answer can be told from a dropped connection."""
        chunked = "chunked" in self._headers.get("Transfer-Encoding", "").lower()
        return chunked or "Content-Length" in self._headers or self._headers.get("Content-Encoding") == "gzip"

    @property
    def wait_s(self) -> float:
        """How long the last answer asks to wait (its Retry-After, in seconds or as a date), 0 where it does not."""
        text = (self._headers.get("Retry-After") or "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        try:
            return max(0.0, float((parsedate_to_datetime(text) - pd.Timestamp.now("UTC")).total_seconds()))
        except (TypeError, ValueError):
            return 0.0


def keep_asking(
    request: Callable[[], bytes],
    *,
    where: str,
    patience: Patience,
    listener: Listener,
    tell: Callable[[str], None],
) -> bytes | None:
    """Send a request until it is answered.

    Parameters
    ----------
    request : callable
        Asks once and returns the body; raises what ObsPy's client raises, or `CutShortError`.
    where : str
        Service and what is asked for, for messages.
    patience : Patience
    listener : Listener
        Hears the client's responses.
    tell : callable
        Is told of each attempt that failed.

    Returns
    -------
    bytes or None
        None where the service has nothing (204).

    Raises
    ------
    TooMuchError
        When the service refuses a request of this size.
    SourceError
        When the service refuses for good.
    NoAnswerError
        When it does not answer within the patience.
    """
    from obspy.clients.fdsn.header import FDSNException

    said = ""
    for attempt in range(patience.attempts):
        listener.forget()
        try:
            return request()
        except (FDSNException, CutShortError, HTTPException, OSError, EOFError, zlib.error) as error:
            said = what_was_said(error)
            status = getattr(error, "status_code", None) or listener.status
            if status == 204:
                return None
            _raise_if_final(status, said, where)
        if attempt + 1 < patience.attempts:
            pause_s = patience.pause_after(attempt, listener.wait_s)
            tell(f"{said}; attempt {attempt + 2} of {patience.attempts} in {pause_s:g} s")
            time.sleep(pause_s)
    raise NoAnswerError(f"{where}: no answer in {patience.attempts} attempts, at last: {said}")


def _raise_if_final(status: int | None, said: str, where: str) -> None:
    if status is None or status < 400 or status in PASSING:
        return
    if status == 400 and said == "Bad Request":
        return  # the words behind it were lost on the way, and may have been that it is too much
    # USGS refuses what is too large with 400 and these words, instead of 413.
    if status == 413 or (status == 400 and re.search(r"exceed.*limit|too many", said, re.IGNORECASE)):
        raise TooMuchError(said)
    raise SourceError(f"{where}: refused with status {status}: {said}; check the source and what is asked for")


def what_was_said(error: BaseException) -> str:
    r"""Return an error as one short line, without ObsPy's frame around what the server said.

    Examples
    --------
    >>> what_was_said(ValueError("Bad request.\nHTTP Status code: 400\nDetailed response of server:\n\nno such box"))
    'no such box'
    >>> what_was_said(OSError("Unknown Error (URLError): <urlopen error [Errno 111] Connection refused>"))
    'Connection refused'
    """
    text = str(error).rpartition("Detailed response of server:")[2].strip() or str(error)
    text = re.sub(r"^Unknown Error \(\w+\): ", "", text)
    text = re.sub(r"<urlopen error (?:\[Errno -?\d+\] )?(.*)>", r"\1", text)
    text = " ".join(re.sub(r"<[^<>]*>", " ", text).split()) or type(error).__name__
    return text if len(text) <= SAID_CHARACTERS else f"{text[:SAID_CHARACTERS]}…"
