"""Where the app works, as the composer's edge says it."""

from __future__ import annotations

import os
from pathlib import Path

from gptoss_tui.harmony.effort import Effort
from gptoss_tui.tui.place import MAX_NAME, branch_of, place_of
from gptoss_tui.tui.theme import DARK, Palette
from gptoss_tui.tui.widgets.gauge import composer_edge
from tests.tui.conftest import until
from tests.tui.screen import screen
from tests.tui.scripted_agent import make_app

PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)
EFFORT: Effort = "medium"


def repository(folder: Path, head: str) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head)
    return folder


def test_a_branch_a_commit_and_no_repository(tmp_path: Path) -> None:
    assert place_of(str(repository(tmp_path / "a", "ref: refs/heads/feature/x\n"))) == "a · feature/x"
    assert place_of(str(repository(tmp_path / "b", "0123456789abcdef\n"))) == "b · 01234567"
    assert place_of(str(tmp_path / "nowhere")) == "nowhere"
    assert place_of("") == ""


def test_a_folder_below_and_a_worktree(tmp_path: Path) -> None:
    main = repository(tmp_path / "main", "ref: refs/heads/main")
    (main / "src").mkdir()
    assert branch_of(main / "src") == "main"
    tree = tmp_path / "tree"
    tree.mkdir()
    (main / ".git" / "worktrees" / "tree").mkdir(parents=True)
    (main / ".git" / "worktrees" / "tree" / "HEAD").write_text("ref: refs/heads/other\n")
    (tree / ".git").write_text(f"gitdir: {main}/.git/worktrees/tree\n")
    assert branch_of(tree) == "other"


def test_nothing_that_a_repository_holds_hangs_or_gets_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / ".git")
    assert branch_of(tmp_path / "fifo") == ""
    hostile = repository(tmp_path / "c", "ref: refs/heads/\x1b[31m" + "x" * 500)
    assert place_of(str(hostile)).startswith("c · ␛[31mxx")
    assert len(place_of(str(hostile))) == len("c · ") + MAX_NAME
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".git").write_text("gitdir: \0\n")
    assert branch_of(tmp_path / "d") == ""


def test_the_edge_shows_the_place_where_it_has_room() -> None:
    for width in range(20, 90):
        edge = composer_edge("ask", EFFORT, 0, PALETTE, width, "project · main")
        assert edge.cell_len <= width
        assert ("project · main" in edge.plain) == (width >= 55)
        assert "asks first" in edge.plain


async def test_no_place_is_read_as_markup() -> None:
    app, _ = make_app()
    async with app.run_test(size=(100, 24)) as pilot:
        app.screen._view.show_place(r"x [red]y[/red] [/] \[bold]z $a")  # type: ignore[attr-defined]
        await until(pilot, lambda: r"─  x [red]y[/red] [/] \[bold]z $a ──" in screen(app))
