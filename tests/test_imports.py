"""Imports run one way; names promised exist; nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import seisprobe
from support.studies import environment

SOURCE = Path(seisprobe.__file__).parent
# A room may import any room before it. (`__init__` is the door: all of it is loaded lazily.)
ROOMS = (
    "errors", "options", "storage", "sections", "study", "catalog", "declustering", "mainshocks", "etas", "sources",
    "windows", "seisclip", "embedding", "setting", "backgrounds", "vectors", "modalities", "samples", "evaluation",
    "planning", "synthetic", "sensitivity", "result", "folder", "intake", "fetching", "observing", "costs", "report",
    "pipeline", "foretell", "status",
    "simulation", "presets", "demo", "calibration", "training", "cli", "__main__",
)  # fmt: skip
DESIGN = (
    "errors", "study", "catalog", "etas", "sources", "windows", "seisclip", "embedding", "modalities", "evaluation",
    "report", "pipeline", "simulation", "calibration", "training", "cli",
)  # fmt: skip
ALONE = {"seisclip": {"errors"}, "simulation": {"catalog", "etas", "storage", "errors"}}
HEAVY = ("pandas", "numpy", "scipy", "sklearn", "torch", "obspy", "matplotlib", "pydantic", "jinja2")


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, anywhere in it, type checking too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "seisprobe" and rest and not rest[0].startswith("__version"):
                found.add(rest[0])
    return found - {room_of(path)}


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room} has no place in the order of rooms"
    for imported in rooms_imported(path):
        assert ROOMS.index(imported) < ROOMS.index(room), f"{path.name} of {room} imports {imported}"
        assert room not in ALONE or imported in ALONE[room], f"{room} imports {imported}"


def test_the_order_of_rooms_is_the_designs() -> None:
    assert [room for room in ROOMS if room in DESIGN] == list(DESIGN)


def modules() -> list[str]:
    return ["seisprobe", *(m.name for m in pkgutil.walk_packages([str(SOURCE)], "seisprobe."))]


@pytest.mark.parametrize("name", [m for m in modules() if not m.endswith("__main__")])
def test_every_promised_name_exists_and_none_is_promised_twice(name: str) -> None:
    module = importlib.import_module(name)
    promised = getattr(module, "__all__", [])
    assert len(set(promised)) == len(promised)
    for each in promised:
        assert getattr(module, each, None) is not None
    assert set(promised) <= set(dir(module))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = seisprobe.nonsense


@pytest.mark.parametrize(
    "code",
    [
        "import seisprobe; dir(seisprobe)",
        (
            "import sys; sys.argv = ['seisprobe', '--help']\nfrom seisprobe.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass"
        ),
    ],
    ids=["import", "help"],
)
def test_importing_and_asking_for_help_load_nothing_heavy(code: str) -> None:
    code += f"\nimport sys\nheavy = sorted(set({HEAVY!r}) & set(sys.modules))\nprint('loaded:', heavy)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
