"""Work for executors, in a module that a spawned process imports at once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(units):
    """Work that doubles numbers; "die:PATH" kills its process unless the file is there, "fail" raises."""
    from seisprobe.errors import StorageError

    for unit in units:
        if isinstance(unit, str) and unit.startswith("die:"):
            marker = Path(unit[4:])
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield "survived"
        elif unit == "always die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif unit == "fail":
            raise StorageError("part 3: cannot be written: No space left on device; free the disk or use another")
        elif unit == "bug":
            raise ZeroDivisionError("a bug")
        else:
            yield 2 * unit


def who(units):
    """Work that says which process does it, slowly."""
    for _ in units:
        time.sleep(0.05)
        yield os.getpid()


def hanging_error(units):
    """Work that reads ahead in a thread, as embedding does, and fails on its only unit."""
    from concurrent.futures import ThreadPoolExecutor

    coming = iter(units)
    reader = ThreadPoolExecutor(1)
    try:
        next(coming)
        reader.submit(next, coming, None)
        raise ValueError("failed while a unit was awaited")
        yield
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
