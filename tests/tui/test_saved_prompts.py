"""Saved prompts and skills in the app: what is offered, what is shown first, and what is sent."""

from __future__ import annotations

from pathlib import Path

from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, screen
from tests.tui.test_commands import WIDE, command, folder, make, picker, ready, say, says

__all__ = ["folder"]


async def test_a_prompt_of_the_project_is_shown_before_its_first_use(folder: Path) -> None:
    file = folder / ".claude" / "commands" / "fix.md"
    file.parent.mkdir(parents=True)
    file.write_text("---\ndescription: mend an issue\nallowed-tools: Bash\n---\nMend issue $1.\x1b[2J")
    app, backend = make(folder, says("Done."), says("Done."), says("Done."))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press(*"/fi")
        await until(pilot, lambda: "Mend an issue (.claude/commands/fix.md)" in screen(app))
        await pilot.press("escape", "ctrl+u")
        await command(pilot, "/fix 7")
        await picker(pilot, app, "/fix is the project's: .claude/commands/fix.md")
        assert "Mend issue $1.␛[2J" in screen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert backend.agents[-1].turns() == ()
        await command(pilot, "/fix 7")
        await picker(pilot, app, "Send it")
        await pilot.press("enter")
        await until(pilot, lambda: "Done." in conversation(app) and "───" in conversation(app), tries=1000)
        assert backend.agents[-1].turns()[-1].text == "Mend issue 7.␛[2J"
        await say(pilot, app, "/fix 8")
        assert backend.agents[-1].turns()[-1].text == "Mend issue 8.␛[2J"
        file.write_text("Delete issue $1.")
        await command(pilot, "/fix 9")
        await picker(pilot, app, "Delete issue $1.")
        await pilot.press("down", "enter")
        await until(pilot, lambda: composer(app).text == "Delete issue 9.")
        assert len(backend.agents[-1].turns()) == 2


async def test_skills_are_listed_and_asked_for(folder: Path) -> None:
    file = folder / ".agents" / "skills" / "review" / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text("---\nname: review\ndescription: Looks for mistakes.\n---\nLook twice.\n")
    app, backend = make(folder, says("Done."))
    backend.settings = type(backend.settings)(workspace=folder, skills=True)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await command(pilot, "/skills")
        await picker(pilot, app, "Looks for mistakes.")
        await pilot.press("enter")
        asked = "Use the skill review (.agents/skills/review/SKILL.md): "
        await until(pilot, lambda: composer(app).text == asked)
        await pilot.press("ctrl+u")
        await say(pilot, app, "/skills review the last commit")
        assert backend.agents[-1].turns()[-1].text == f"{asked}the last commit"
        await command(pilot, "/skills nothing")
        await until(pilot, lambda: "There is no skill 'nothing'" in conversation(app))
