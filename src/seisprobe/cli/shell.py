"""The command line: parses, prints, sets the exit status; knows no science.

Exit status: 0 done, whatever the verdict; 1 failed; 2 command line, study or a file it names is malformed or missing;
130 after SIGINT, 143 after SIGTERM, both resumable by the same command.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from seisprobe import __version__
from seisprobe.errors import SeisprobeError

__all__ = [
    "FolderPath",
    "Fresh",
    "Json",
    "Out",
    "Quiet",
    "Scheduler",
    "Settings",
    "StudyPath",
    "Verbose",
    "Workers",
    "app",
    "main",
    "talking",
]  # fmt: skip

INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    name="seisprobe",
    help="Tests whether seismic data change before large earthquakes, with controls, nulls and power.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]
FolderPath = Annotated[Path, typer.Argument(metavar="DIR", help="A study folder that `run` made.", show_default=False)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override section.key of the study; may repeat.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The study folder.  [default: ./NAME]")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Compute everything again; keep catalog and waveforms.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the verdict alone.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print what is done in detail.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", metavar="tcp://…", help="A dask scheduler, or local.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output, and nothing else.")]


class Stopped(BaseException):
    """SIGINT or SIGTERM: unwinds everything, so that locks and temporary files go.

    Not KeyboardInterrupt: typer catches that one, and what it makes of it depends on its version.
    """

    def __init__(self, status: int) -> None:
        self.status = status


def main() -> None:
    """Run the command line; every failure that a user can meet is one line on standard error."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell sets it for what runs in the background
        signal.signal(signal.SIGINT, _stop)
    try:
        app(standalone_mode=False)
    except SeisprobeError as error:
        _fail(str(error), error.exit_status)
    except Stopped as stopped:
        said = "interrupted" if stopped.status == INTERRUPTED else "terminated"
        _fail(f"{said}; the same command continues where it stopped", stopped.status)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us is gone; nothing is left to be said
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  typer's own exceptions carry their exit status; anything else is ours
        _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> None:
    if isinstance(error, typer.Exit):
        sys.exit(error.exit_code)
    message = getattr(error, "format_message", None)
    if message is not None and "\n" in message():
        typer.echo(message(), err=True)  # no command was given: the help itself
        sys.exit(2)
    if message is not None:
        _fail(f"{message()} (see seisprobe --help)", 2)
    if isinstance(error, MemoryError | OSError):
        _fail(f"{type(error).__name__}: {error}", 1)
    raise error


def _fail(message: str, status: int) -> None:
    typer.echo(f"seisprobe: {message}", err=True)
    sys.exit(status)


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise Stopped(INTERRUPTED if signum == signal.SIGINT else TERMINATED)


@contextmanager
def talking(*, quiet: bool, verbose: bool) -> Iterator[Callable[[float, str], None]]:
    """Print the log to standard error, and a bar for what lasts over two seconds."""
    from tqdm import tqdm

    log = logging.getLogger("seisprobe")
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR if quiet else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    bar = tqdm(
        total=1000,
        delay=2,
        mininterval=1 if sys.stderr.isatty() else 15,
        disable=quiet,
        file=sys.stderr,
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
    )

    def progress(share: float, text: str) -> None:
        bar.set_description_str(text, refresh=False)
        bar.update(round(1000 * share) - bar.n)

    try:
        yield progress
    finally:
        bar.leave = False
        bar.close()
        log.removeHandler(handler)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"seisprobe {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tests whether seismic data change before large earthquakes, with controls, nulls and power."""
