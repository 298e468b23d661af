"""Who does the work: this process, several of this machine, or a dask cluster. To add one, write one function.

Work is a function from units to results, in their order; it may take the next unit before it gives the last result, so
that reading goes on while encoding does. An executor shares units out to such functions and gives results back in any
order. A unit that was in the hands of a worker that died is given to another one.
"""

from __future__ import annotations

import logging
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from seisprobe.errors import InputError, SeisprobeError
from seisprobe.seisclip import require

__all__ = ["Executor", "Work", "choose_executor", "dask_cluster", "processes", "serial"]

Work = Callable[[Iterable[Any]], Iterator[Any]]
Executor = Callable[[Work, Sequence[Any]], Iterator[Any]]
_AHEAD = 2  # units in a worker's hands: one is encoded, the next one read
_BATCH = 4  # units a task of dask
_TRIES = 3


def choose_executor(workers: int = 1, scheduler: str | None = None) -> Executor:
    """Return the executor that a command line names.

    Parameters
    ----------
    workers : int
        Processes of this machine; 1: this one.
    scheduler : str, optional
        Address of a dask scheduler, ``tcp://host:8786``; ``"local"``: a dask cluster of `workers` processes here.

    Raises
    ------
    InputError
        Less than one worker, or another address.

    Examples
    --------
    >>> choose_executor() is serial
    True
    >>> choose_executor(scheduler="host:8786")
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: scheduler = 'host:8786': give an address such as tcp://host:8786, or local
    """
    if workers < 1:
        raise InputError(f"workers = {workers}: give 1 or more")
    if scheduler is None:
        return serial if workers == 1 else processes(workers)
    if scheduler != "local" and not scheduler.startswith(("tcp://", "tls://", "ucx://")):
        raise InputError(f"scheduler = {scheduler!r}: give an address such as tcp://host:8786, or local")
    return dask_cluster(None if scheduler == "local" else scheduler, workers)


def serial(work: Work, units: Sequence[Any]) -> Iterator[Any]:
    """Do it here.

    Examples
    --------
    >>> list(serial(lambda units: (unit + 1 for unit in units), [1, 2]))
    [2, 3]
    """
    return work(units)


# --- processes of this machine --------------------------------------------------------------------------------------


def processes(workers: int) -> Executor:
    """Return an executor of `workers` spawned processes.

    A worker that dies is replaced; a unit that was in work when three of them died ends the run with an error.

    Examples
    --------
    >>> callable(processes(2))
    True
    """
    return partial(_run_processes, workers)


@dataclass
class _Worker:
    process: Any
    pipe: Any
    in_hand: deque[int] = field(default_factory=deque)


def _run_processes(workers: int, work: Work, units: Sequence[Any]) -> Iterator[Any]:
    from multiprocessing.connection import wait

    waiting = deque(range(len(units)))
    deaths: Counter[int] = Counter()
    team = {id(worker): worker for worker in (_hire(work) for _ in range(min(workers, len(units))))}
    try:
        while waiting or any(worker.in_hand for worker in team.values()):
            for worker in team.values():
                _feed(worker, waiting, units)
            by_pipe = {worker.pipe: worker for worker in team.values()}
            for pipe in wait(list(by_pipe)):
                worker = by_pipe[pipe]
                answer = _receive(worker)
                if answer is None:
                    _take_back(worker, waiting, deaths)
                    del team[id(worker)]
                    hired = _hire(work)
                    team[id(hired)] = hired
                    continue
                fine, value = answer
                if not fine:
                    raise value
                worker.in_hand.popleft()
                _feed(worker, waiting, units)
                yield value
    finally:
        for worker in team.values():
            worker.process.terminate()
        for worker in team.values():
            worker.process.join()
            worker.pipe.close()


def _hire(work: Work) -> _Worker:
    from multiprocessing import get_context

    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    with _deaf_children():
        process.start()
    theirs.close()  # so that its death closes the pipe
    return _Worker(process, ours)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Ctrl-C is for the process that hires: what is started meanwhile never hears it, not even while it imports."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _feed(worker: _Worker, waiting: deque[int], units: Sequence[Any]) -> None:
    while waiting and len(worker.in_hand) < _AHEAD:
        worker.in_hand.append(waiting.popleft())
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: the next answer says so
            worker.pipe.send(units[worker.in_hand[-1]])


def _receive(worker: _Worker) -> tuple[bool, Any] | None:
    """Whether it went well, and the result or error; None where the worker is dead."""
    try:
        answer: tuple[bool, Any] = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.pipe.close()
        worker.process.join()
        return None
    return answer


def _take_back(worker: _Worker, waiting: deque[int], deaths: Counter[int]) -> None:
    if worker.in_hand:
        deaths[worker.in_hand[0]] += 1
        if deaths[worker.in_hand[0]] >= _TRIES:
            raise SeisprobeError(
                f"{_TRIES} workers died one after another on the same work (exit status {worker.process.exitcode}; "
                "−9 is often lack of memory): run again with fewer workers; what was done is kept"
            )
    waiting.extendleft(reversed(worker.in_hand))


def _serve(work: Work, pipe: Any) -> None:
    """Main function of a worker process: units come in, results go out, until the other end closes."""
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            for result in work(iter(pipe.recv, None)):
                pipe.send((True, result))
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 — it goes on in the process that hired this one
            pipe.send((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    if not isinstance(error, SeisprobeError):
        error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 — our own bytes
    except Exception:  # noqa: BLE001 — whatever is wrong with it, its text can be sent
        return SeisprobeError(f"{type(error).__name__}: {error}")
    return error


# --- dask ----------------------------------------------------------------------------------------------------------


def dask_cluster(address: str | None = None, workers: int = 2) -> Executor:
    """Return an executor on a dask cluster.

    Workers need the folders of data, weights and output under the same paths. A unit in the hands of a worker that died
    goes to another one; dask itself gives up after a few deaths (``distributed.scheduler.allowed-failures``).

    Parameters
    ----------
    address : str, optional
        ``tcp://host:8786``; None: a cluster of this machine for the time of the run.
    workers : int
        Processes of the cluster of this machine.

    Examples
    --------
    >>> callable(dask_cluster("tcp://host:8786"))
    True
    """
    return partial(_run_dask, address, workers)


def _run_dask(address: str | None, workers: int, work: Work, units: Sequence[Any]) -> Iterator[Any]:
    distributed = require("distributed", "cluster")
    with ExitStack() as stack:
        if address is None:
            options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
            with _deaf_children():
                cluster = distributed.LocalCluster(workers, silence_logs=logging.CRITICAL, **options)
            address = stack.enter_context(cluster).scheduler_address
        client = stack.enter_context(_connect(distributed, address))
        batches = [units[first : first + _BATCH] for first in range(0, len(units), _BATCH)]
        futures = client.map(partial(_all, work), batches, pure=False)
        stack.callback(client.cancel, futures)
        try:
            for future in distributed.as_completed(futures):
                yield from future.result()
        except distributed.KilledWorker as error:
            raise SeisprobeError(f"dask gave up: {error}; run again, what was done is kept") from None


def _connect(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=30)
    except (OSError, ValueError) as error:
        raise SeisprobeError(f"no dask scheduler answers at {address} ({error}); start one, or change it") from None


def _all(work: Work, units: Sequence[Any]) -> list[Any]:
    return list(work(units))
