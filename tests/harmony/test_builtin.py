from __future__ import annotations

from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.messages import SystemContent
from gptoss_tui.harmony.render import render_system


def test_browser_says_where_its_pages_come_from() -> None:
    namespace = browser_namespace("demo pages")
    assert namespace.description is not None
    lines = namespace.description.split("\n")
    assert lines[0] == "Tool for browsing."
    assert lines[-1] == "sources=demo pages"
    assert namespace.description.count("sources=") == 1
    assert [f.name for f in namespace.functions] == ["search", "open", "find"]


def test_python_is_free_text() -> None:
    namespace = python_namespace()
    assert namespace.functions == ()
    assert "stateful Jupyter" in (namespace.description or "")


def test_both_stand_in_the_system_message_in_order() -> None:
    tools = (python_namespace(), browser_namespace("web"))
    text = render_system(SystemContent(tools=tools), has_functions=False)
    assert text.index("## browser") < text.index("type search = (_: {") < text.index("## python")
