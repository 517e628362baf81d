"""The index of a folder: it follows the files, and survives what happens to its own file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.errors import UsageError
from gptoss_tui.tools.browser.index import Index, cache_file
from gptoss_tui.tools.browser.local import MAX_BYTES, LocalDocuments


async def titles(backend: LocalDocuments, query: str) -> list[str]:
    return [found.title for found in await backend.search(query, 10)]


async def test_files_that_change_come_and_go(backend: LocalDocuments, folder: Path) -> None:
    assert await titles(backend, "zebra") == []
    (folder / "zoo.md").write_text("# Zoo\n\nA zebra.\n")
    assert await titles(backend, "zebras") == ["Zoo"]
    (folder / "zoo.md").write_text("# Stable\n\nA horse and a ZEBRA.\n")
    assert await titles(backend, "zebra") == ["Stable"]
    (folder / "zoo.md").unlink()
    assert await titles(backend, "zebra") == []


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    read: list[str] = []

    def reader(path: str) -> tuple[str, str]:
        read.append(path)
        return path, f"text of {path}"

    for stamps, expected in (
        ({"a": "1", "b": "1"}, ["a", "b"]),
        ({"a": "1", "b": "1"}, []),
        ({"a": "2", "b": "1", "c": "1"}, ["a", "c"]),
        ({"c": "1"}, []),
    ):
        read.clear()
        index = Index(tmp_path / "index.sqlite")  # as a later run of the program does
        assert index.update(stamps, reader) == len(expected)
        assert read == expected
        assert sorted(hit.path for hit in index.search("text", 10)) == sorted(stamps)


def test_titles_count_more_and_more_words_are_better(tmp_path: Path) -> None:
    texts = {"a": ("Boats", "about lamps"), "b": ("Lamps", "about boats"), "c": ("Cars", "lamps and boats and lamps")}
    index = Index(tmp_path / "index.sqlite")
    index.update(dict.fromkeys(texts, "1"), lambda path: texts[path])
    assert index.search("lamps", 3)[0].path == "b"
    assert len(index.search("lamp", 2)) == 2


@pytest.mark.parametrize("query", ['"', "a AND", "NEAR(", "lamp*", "title:lamp", "-lamp", "(", "\0", "é", "x" * 5000])
def test_queries_are_words_never_syntax(tmp_path: Path, query: str) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.update({"a": "1"}, lambda path: ("Lamp", "a lamp"))
    assert len(index.search(query, 5)) <= 1


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be looked at" * 40])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage)
    index = Index(path)
    index.update({"a": "1"}, lambda path: ("Lamp", "a lamp"))
    assert [hit.title for hit in Index(path).search("lamp", 5)] == ["Lamp"]


def test_without_a_place_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    index = Index(tmp_path / "file" / "index.sqlite")
    index.update({"a": "1"}, lambda path: ("Lamp", "a lamp"))
    assert [hit.title for hit in index.search("lamp", 5)] == ["Lamp"]


async def test_what_is_no_document_is_left_out(backend: LocalDocuments, folder: Path) -> None:
    (folder / "big.md").write_bytes(b"lantern " * (MAX_BYTES // 8 + 1))
    (folder / "binary.txt").write_bytes(b"lantern\0")
    (folder / "code.py").write_text("lantern")
    (folder / ".gitignore").write_text("ignored.md\n")
    (folder / "ignored.md").write_text("lantern")
    os.mkfifo(folder / "pipe.md")
    assert await titles(backend, "lantern") == ["Lantern 4"]


def test_folders_have_indexes_of_their_own(tmp_path: Path) -> None:
    assert cache_file(tmp_path, Path("/a/docs")) != cache_file(tmp_path, Path("/b/docs"))
    with pytest.raises(UsageError, match="not a folder"):
        LocalDocuments(tmp_path / "gone")
