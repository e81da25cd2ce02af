"""A folder as a shelf: what was put is got, whole or not at all; trouble with the folder is nobody's trouble."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rollback_console.observe.shelf import FolderShelf


def test_what_was_put_is_got_by_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "baselines"
    FolderShelf(folder).put("hours-1", b"abc")
    FolderShelf(folder).put("hours-1", b"def")
    assert FolderShelf(folder).get("hours-1") == b"def"
    assert FolderShelf(folder).get("hours-2") is None
    assert [path.name for path in folder.iterdir()] == ["hours-1"], "nothing half-written stays"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "hours-1").stat().st_mode) == 0o600


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    FolderShelf(tmp_path / "a", writes=False).put("hours-1", b"abc")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = FolderShelf(tmp_path / "file" / "baselines")
    shelf.put("hours-1", b"abc")
    assert shelf.get("hours-1") is None
    (tmp_path / "hours-1").mkdir()
    FolderShelf(tmp_path).put("hours-1", b"abc")
    assert FolderShelf(tmp_path).get("hours-1") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "hours-1"]


def test_what_nobody_asked_for_in_a_month_is_let_go(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    shelf.put("old", b"1")
    shelf.put("asked", b"2")
    for name in ("old", "asked"):
        os.utime(tmp_path / name, (0.0, 0.0))
    assert shelf.get("asked") == b"2"
    FolderShelf(tmp_path).put("new", b"3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked", "new"]


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "x" * 201])
def test_a_key_is_no_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        FolderShelf(tmp_path).get(key)
    with pytest.raises(ValueError, match="no key"):
        FolderShelf(tmp_path).put(key, b"")
