"""A request of every kind, as the tools make them."""

from __future__ import annotations

from gptoss_tui.tools.base import Effect

TWO_FILES = '''\
--- a/src/greet.py
+++ b/src/greet.py
@@ -1,6 +1,7 @@ import sys
 import sys
 
 
 def greet(name: str) -> None:
-    print("hi " + name)
+    """Say hello."""
+    print("hello " + name, file=sys.stderr)
     return None
--- /dev/null
+++ b/docs/greeting.md
@@ -0,0 +1,3 @@
+# Greeting
+
+`greet` says hello.
'''


def edit() -> Effect:
    return Effect(
        "edit",
        "Change 2 files",
        TWO_FILES,
        "diff",
        "d-edit",
        ("src/greet.py", "docs/greeting.md"),
        reach="workspace",
        warnings=("src/greet.py: hunk 1, line 5: matches the file but for indentation",),
    )


def command() -> Effect:
    text = "npm test -- --watch=false && \\\n  grep -rn 'TODO' src | head -20"
    return Effect(
        "command",
        "Run a command",
        text,
        "command",
        "d-command",
        reach="sandbox",
        commands=(("npm", "test", "--", "--watch=false"), ("grep", "-rn", "TODO", "src"), ("head", "-20")),
        details=(("in", "/home/ada/project"), ("sandbox", "bubblewrap: the workspace is writable, no network")),
    )


def python() -> Effect:
    code = "import math\n\nvalues = [math.sqrt(n) for n in range(10)]\nprint(sum(values))  # about 19.3\n"
    details = (("sandbox", "bubblewrap: no network, none of your files"),)
    return Effect("python", "Run Python", code, "code", "d-python", reach="sandbox", details=details)


def url() -> Effect:
    address = "https://docs.example.org/search?q=" + "how+to+sort+a+list+" * 6
    return Effect(
        "url",
        "Open docs.example.org",
        address,
        "url",
        "d-url",
        reach="network",
        hosts=("docs.example.org",),
        must_ask=("104 characters of the address are the model's own: they may carry what it has read",),
    )


def mcp() -> Effect:
    arguments = '{\n  "title": "Greeting is rude",\n  "labels": ["bug"]\n}'
    return Effect(
        "mcp",
        "Call create_issue of tracker",
        arguments,
        "text",
        "d-mcp",
        reach="host",
        mcp=("tracker", "create_issue"),
        details=(("server", "tracker (https://tracker.example.org/mcp)"),),
    )


ALL = {"edit": edit, "command": command, "python": python, "url": url, "mcp": mcp}
