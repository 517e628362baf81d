"""On CI, what is skipped is what may be: a tool or a part that went missing there would hide what its tests find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "GPTOSS_TUI_SKIPS"
"""Names a file with the beginnings of the reasons that count, one a line. Without it anything may be skipped."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything was skipped for another reason. With several processes, the first one knows of all."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if VARIABLE not in os.environ or reporter is None or hasattr(session.config, "workerinput"):
        return
    allowed = tuple(filter(None, Path(os.environ[VARIABLE]).read_text().splitlines()))
    skipped = {str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", ())}
    if unexpected := sorted(reason for reason in skipped if not reason.startswith(allowed)):
        reporter.write_line(f"\n{VARIABLE} does not allow:", red=True)
        for reason in unexpected:
            reporter.write_line(f"  {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
