"""Every error is one line, has its exit status, and is a builtin error too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seisprobe import errors
from seisprobe.errors import SeisprobeError, nearest

TREE = {
    "SeisprobeError": (1, Exception),
    "InputError": (2, ValueError),
    "StudyError": (2, ValueError),
    "DataFileError": (2, ValueError),
    "FolderError": (2, ValueError),
    "StorageError": (1, OSError),
    "SourceError": (1, OSError),
    "BusyError": (1, RuntimeError),
}


@given(st.text())
def test_a_message_is_one_line_whatever_it_was_made_from(text: str) -> None:
    assert len(str(SeisprobeError(text)).splitlines()) <= 1


@pytest.mark.parametrize("name", TREE)
def test_the_tree_is_as_drawn(name: str) -> None:
    status, builtin = TREE[name]
    kind = getattr(errors, name)
    assert issubclass(kind, SeisprobeError)
    assert issubclass(kind, builtin)
    assert kind("x").exit_status == status
    assert str(kind("what\n  which\tvalue")) == "what which value"
    assert name in (errors.__doc__ or "")


def test_no_error_of_the_package_is_missing_from_the_tree() -> None:
    assert {n for n in errors.__all__ if n[0].isupper()} == set(TREE)


def test_the_nearest_known_word_is_offered_only_where_one_is_near() -> None:
    assert nearest("hour", ["hours", "gap_s"]) == "did you mean 'hours'? (known: hours, gap_s)"
    assert nearest("zzz", ["hours"]) == "known: hours"
    assert nearest("x", []) == "none is known here"
