"""The tools that need no model: the browser, Python and patches, and who allows what."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.tools.python.choose import choose_sandbox
from tests.agent.helpers import HELLO_PATCH, files_in, make_engine
from tests.mcp_server.hosts import LEGACY, MODERN, Person, host, text
from tests.sandboxes import missing

BOTH = pytest.mark.parametrize("mode", [LEGACY, MODERN])


async def test_tools_and_arguments_are_those_of_the_reference(work: Path) -> None:
    async with host(make_engine(), work) as one:
        tools = {tool.name: list(tool.input_schema["properties"]) for tool in (await one.list_tools()).tools}
    assert list(tools) == ["search", "open", "find", "python", "apply_patch", "ask"]
    assert set(tools["search"]) == {"query", "topn", "source"}
    assert set(tools["open"]) == {"id", "cursor", "loc", "num_lines", "view_source", "source"}
    assert set(tools["find"]) == {"pattern", "cursor"}
    assert tools["python"] == ["code"]


@pytest.mark.parametrize(("group", "tools"), [("browser", ["search", "open", "find"]), ("python", ["python"])])
async def test_a_server_of_one_namespace_is_that_namespace(work: Path, group: str, tools: list[str]) -> None:
    async with host(make_engine(), work, groups=(group,)) as one:  # type: ignore[arg-type]
        assert one.server_info is not None
        assert one.server_info.name == group
        assert [tool.name for tool in (await one.list_tools()).tools] == tools
        assert one.instructions is not None
        assert len(one.instructions) > 100, "the words that the models were trained with"
        assert (await one.call_tool("ask", {"prompt": "x"})).is_error


@BOTH
async def test_pages_stay_open(work: Path, mode: str) -> None:
    (work / "keys.md").write_text("# Keys\n\nCtrl+O opens a call.\n\x1b[2J\n")
    async with host(make_engine(), work, mode=mode) as one:
        assert "No pages" in text(await one.call_tool("open", {"id": 0}))
        assert text(await one.call_tool("search", {"query": "keys"})).startswith("[0] keys")
        page = text(await one.call_tool("open", {"id": 0}))
        assert page.startswith("[1] Keys")
        assert "\x1b" not in page
        assert "match at L" in text(await one.call_tool("find", {"pattern": "ctrl+o"}))


@BOTH
async def test_a_patch_is_asked_about_and_written(work: Path, mode: str) -> None:
    person = Person()
    async with host(make_engine(), work, person, mode=mode) as one:
        result = await one.call_tool("apply_patch", {"input": HELLO_PATCH})
    assert (result.is_error, text(result)) == (False, "Done!\nA hello.py")
    assert (work / "hello.py").read_text() == "print('hello')\n"
    ((message, choices),) = person.asked
    assert message.startswith("Create hello.py?")
    assert message.endswith("+++ b/hello.py\n@@ -0,0 +1,1 @@\n+print('hello')")
    assert choices == ["allow once", "allow edits of this workspace for this session", "reject"]


@BOTH
@pytest.mark.parametrize("chosen", ["", "reject"])
async def test_what_the_person_does_not_allow_is_not_written(work: Path, mode: str, chosen: str) -> None:
    async with host(make_engine(), work, Person(lambda message, choices: chosen), mode=mode) as one:
        result = await one.call_tool("apply_patch", {"input": HELLO_PATCH})
    assert (result.is_error, text(result)) == (True, "The user did not allow this call.")
    assert not (work / "hello.py").exists()


@BOTH
async def test_a_host_that_cannot_ask_changes_nothing(work: Path, mode: str) -> None:
    async with host(make_engine(), work, mode=mode) as one:
        result = await one.call_tool("apply_patch", {"input": HELLO_PATCH})
    assert result.is_error
    assert "--approve edits" in text(result)
    assert files_in(work) == []


@BOTH
async def test_edits_may_be_allowed_from_the_start(work: Path, mode: str) -> None:
    async with host(make_engine(), work, mode=mode, approve="edits") as one:
        assert not (await one.call_tool("apply_patch", {"input": HELLO_PATCH})).is_error
        outside = await one.call_tool("apply_patch", {"input": HELLO_PATCH.replace("hello.py", "../hello.py")})
        assert outside.is_error
        protected = await one.call_tool("apply_patch", {"input": HELLO_PATCH.replace("hello.py", ".git/hooks/x")})
        assert protected.is_error
    assert files_in(work) == ["hello.py"]


async def test_what_is_allowed_for_the_session_is_asked_once(work: Path) -> None:
    person = Person(lambda message, choices: choices[1])
    async with host(make_engine(), work, person) as one:
        await one.call_tool("apply_patch", {"input": HELLO_PATCH})
        await one.call_tool("apply_patch", {"input": HELLO_PATCH.replace("hello", "other")})
    assert len(person.asked) == 1
    assert (work / "other.py").exists()


@BOTH
async def test_an_answer_is_for_what_was_shown(work: Path, mode: str) -> None:
    """The file changes while the person reads: what is written is what they saw, or they are asked anew."""
    (work / "a.txt").write_text("one\ntwo\nthree\n")
    change = "*** Begin Patch\n*** Update File: a.txt\n@@\n-two\n+2\n*** End Patch"

    def decide(message: str, choices: list[str]) -> str:
        if len(person.asked) == 1:
            (work / "a.txt").write_text("zero\none\ntwo\nthree\n")
            return choices[0]
        return "reject"

    person = Person(decide)
    async with host(make_engine(), work, person, mode=mode) as one:
        result = await one.call_tool("apply_patch", {"input": change})
    assert result.is_error
    assert (work / "a.txt").read_text() == "zero\none\ntwo\nthree\n"


@BOTH
async def test_python_keeps_its_variables(work: Path, mode: str) -> None:
    try:
        await choose_sandbox("bubblewrap", "")
    except Exception as error:
        missing(str(error))
    person = Person()
    async with host(make_engine(), work, person, mode=mode, python_sandbox="bubblewrap") as one:
        assert text(await one.call_tool("python", {"code": "x = 21"})) is not None
        assert text(await one.call_tool("python", {"code": "x * 2"})) == "42\n"
    assert person.asked[1][0].endswith("\nx * 2")


@BOTH
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("no_such_tool", {}),
        ("search", {}),
        ("search", {"query": 5, "other": 1}),
        ("open", {"id": [1]}),
        ("find", {"pattern": ""}),
        ("python", {}),
        ("python", {"code": 3}),
        ("apply_patch", {"input": "no patch"}),
        ("apply_patch", {"patch": HELLO_PATCH}),
        ("ask", {}),
        ("ask", {"prompt": "  "}),
        ("ask", {"prompt": "x", "effort": "endless"}),
    ],
)
async def test_wrong_calls_are_results_that_say_so(
    work: Path, mode: str, tool: str, arguments: dict[str, object]
) -> None:
    async with host(make_engine(), work, Person(), mode=mode, approve="all") as one:
        result = await one.call_tool(tool, arguments)
        assert result.is_error
        assert text(result)
