"""The command line: parses, prints, sets the exit status; knows no science. Importing it registers every command."""

from seisprobe.cli import studies, worlds, waveforms  # isort: skip  (the order of --help)
from seisprobe.cli.shell import app, main

__all__ = ["app", "main", "studies", "waveforms", "worlds"]
