"""Executors: every unit once, whoever dies; errors as they were raised; nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from seisprobe.embedding.executors import choose_executor, processes, serial
from seisprobe.errors import InputError, SeisprobeError, StorageError
from support.executing import double, hanging_error, who


def test_serial_and_processes_do_every_unit_once() -> None:
    assert list(serial(double, range(5))) == [0, 2, 4, 6, 8]
    assert sorted(processes(2)(double, range(9))) == list(range(0, 18, 2))


def test_processes_share_the_work_and_none_of_it_is_done_here() -> None:
    pids = list(processes(2)(who, range(12)))
    assert len(pids) == 12
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


def test_there_are_no_more_workers_than_units() -> None:
    assert len(set(processes(4)(who, [1]))) == 1
    assert list(processes(4)(who, [])) == []


def test_units_in_the_hands_of_a_worker_that_is_killed_go_to_another(tmp_path: Path) -> None:
    units = [1, 2, f"die:{tmp_path / 'died'}", 3, 4, 5, 6]
    found = list(processes(2)(double, units))
    assert (tmp_path / "died").exists()
    assert sorted(map(str, found)) == sorted(map(str, [2, 4, 6, 8, 10, 12, "survived"]))


def test_work_that_kills_every_worker_ends_the_run_with_one_line() -> None:
    with pytest.raises(SeisprobeError, match=r"3 workers died .*exit status -9; .*run again with fewer workers"):
        list(processes(2)(double, [1, "always die", 2]))
    assert multiprocessing.active_children() == []


def test_an_error_in_a_worker_is_raised_here_as_it_was() -> None:
    with pytest.raises(StorageError, match="part 3: cannot be written: No space left on device"):
        list(processes(2)(double, [1, "fail", 2]))
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        list(processes(1)(double, ["bug"]))
    assert "executing.py" in caught.value.__notes__[0]  # where it happened, for whoever mends it
    assert multiprocessing.active_children() == []


def test_an_error_while_the_next_unit_is_awaited_does_not_hang() -> None:
    with pytest.raises(ValueError, match="failed while a unit was awaited"):
        list(processes(1)(hanging_error, [1]))


def test_a_run_that_is_left_stops_its_workers() -> None:
    running = processes(2)(who, range(100))
    next(running)
    assert len(multiprocessing.active_children()) == 2
    running.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, -1])
def test_less_than_one_worker_is_refused(workers: int) -> None:
    with pytest.raises(InputError, match=f"workers = {workers}: give 1 or more"):
        choose_executor(workers)


def test_a_dask_scheduler_that_does_not_answer_is_one_line() -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    from seisprobe.embedding import executors

    class Quick:
        @staticmethod
        def Client(address: str, timeout: float):  # the same client, not waited for so long
            from distributed import Client

            return Client(address, timeout=0.3)

    with pytest.raises(SeisprobeError, match=r"no dask scheduler answers at tcp://127.0.0.1:9 .*; start one"):
        executors._connect(Quick, "tcp://127.0.0.1:9")
