"""`apply_patch` as the agent drives it: prepared, shown, run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.base import OutdatedCallError, Workspace
from tests.tools.calls import call, result

PATCH = """\
*** Begin Patch
*** Add File: hello.py
+print("hello")
*** Update File: src/util.py
*** Move to: lib/util.py
-VALUE = 1
+VALUE = 2
*** Delete File: empty.txt
*** Update File: README.md
@@
 # Title

-hello world
+bye world
*** End Patch
"""
DONE = "Done!\nA hello.py\nR src/util.py -> lib/util.py\nD empty.txt\nM README.md"


@pytest.fixture
def tool(workspace: Workspace) -> ApplyPatchTool:
    return ApplyPatchTool(workspace)


@pytest.mark.parametrize("wrap", [str, json.dumps, lambda text: json.dumps({"patch": text}), "```\n{}```".format])
async def test_raw_or_wrapped_in_json(tool: ApplyPatchTool, root: Path, wrap: object) -> None:
    assert callable(wrap)
    done = await result(tool, wrap(PATCH))
    assert done.text == DONE
    assert done.ok
    assert (root / "hello.py").read_text() == 'print("hello")\n'
    assert (root / "lib/util.py").read_text() == "VALUE = 2\n"
    assert (root / "README.md").read_text() == "# Title\n\nbye world\n"
    assert not (root / "empty.txt").exists()
    assert not (root / "src/util.py").exists()


async def test_the_effect_shows_what_will_be_written(tool: ApplyPatchTool, root: Path) -> None:
    prepared = await tool.prepare(PATCH)
    effect = prepared.effect
    assert effect is not None
    assert (effect.kind, effect.preview_type, effect.title) == ("edit", "diff", "Change 4 files")
    assert effect.paths == ("hello.py", "src/util.py", "lib/util.py", "empty.txt", "README.md")
    assert effect.warnings == ()
    assert effect.preview == (
        '--- /dev/null\n+++ b/hello.py\n@@ -0,0 +1,1 @@\n+print("hello")\n'
        "diff --git a/src/util.py b/lib/util.py\nrename from src/util.py\nrename to lib/util.py\n"
        "--- a/src/util.py\n+++ b/lib/util.py\n@@ -1,1 +1,1 @@\n-VALUE = 1\n+VALUE = 2\n"
        "diff --git a/empty.txt b/empty.txt\ndeleted file mode 100644\n"
        "--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,3 @@\n # Title\n \n-hello world\n+bye world"
    )
    assert prepared.summary == "apply_patch hello.py, src/util.py -> lib/util.py, empty.txt, README.md"
    assert not (root / "hello.py").exists()
    again = (await tool.prepare(PATCH)).effect
    assert again is not None
    assert again.digest == effect.digest


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("*** Add File: n.txt\n+x", "Create n.txt"),
        ("*** Update File: README.md\n-hello world\n+x", "Change README.md"),
        ("*** Delete File: README.md", "Delete README.md"),
        ("*** Update File: README.md\n*** Move to: R.md", "Move README.md -> R.md"),
    ],
)
async def test_titles(tool: ApplyPatchTool, body: str, title: str) -> None:
    effect = (await tool.prepare(f"*** Begin Patch\n{body}\n*** End Patch")).effect
    assert effect is not None
    assert effect.title == title


async def test_a_loose_match_is_a_warning(tool: ApplyPatchTool) -> None:
    effect = (await tool.prepare("*** Update File: src/app.py\n-print('hello')\n+print('bye')")).effect
    assert effect is not None
    assert effect.warnings == (
        "*** Begin Patch was missing",
        "*** End Patch was missing: the patch may be cut off",
        "src/app.py: hunk 1, line 5: matches the file but for indentation",
    )
    assert "+    print('bye')" in effect.preview


async def test_a_file_that_changed_after_the_preview_is_kept(tool: ApplyPatchTool, root: Path) -> None:
    prepared = await tool.prepare(PATCH)
    (root / "README.md").write_text("mine\n")
    with pytest.raises(OutdatedCallError, match=r"README\.md: the file changed .*\nRead it and send the patch again"):
        await prepared.run(lambda text: None)
    with pytest.raises(ToolError, match="hello world"):
        await prepared.again()
    assert (root / "README.md").read_text() == "mine\n"
    assert not (root / "hello.py").exists()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "The form is:\n*** Begin Patch"),
        ("{}", "no file operation"),
        ("*** Begin Patch\n*** End Patch\n", "no file operation"),
        ("*** Begin Patch\n*** Add File: ../x\n+x\n*** End Patch", "'..' is not allowed"),
        ("*** Begin Patch\n*** Update File: README.md\n-hullo world\n+x\n*** End Patch", "3| hello world"),
    ],
)
async def test_refusals_tell_the_model_what_to_do(tool: ApplyPatchTool, text: str, advice: str) -> None:
    with pytest.raises(ToolError) as caught:
        await call(tool, text)
    assert advice in caught.value.message


async def test_cancelling_waits_for_the_write_to_be_whole(tool: ApplyPatchTool, root: Path) -> None:
    running = asyncio.Event()
    loop = asyncio.get_running_loop()

    def write(plan: patch.Plan) -> None:
        loop.call_soon_threadsafe(running.set)
        patch.apply(plan)

    prepared = await ApplyPatchTool(tool.workspace, write).prepare(PATCH)
    task = asyncio.ensure_future(prepared.run(lambda text: None))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (root / "hello.py").exists()
    assert not (root / "empty.txt").exists()
