"""Builds the agent from the settings: its tools, prompt and limits. All front ends build their agent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from gptoss_tui import patch
from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.agents_md import Guide, find_guides, told
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.notify import Notifier
from gptoss_tui.agent.policy.book import RuleBook
from gptoss_tui.agent.policy.modes import Mode
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.agent.skill_reader import SkillReader
from gptoss_tui.agent.skills import Skill, find_skills, own_skill_folders, told_skills
from gptoss_tui.agent.structured import AnswerSchema
from gptoss_tui.engine.types import Engine, SamplingParams
from gptoss_tui.harmony.tokenizer import Tokenizer, load_tokenizer
from gptoss_tui.settings import Settings, config_path
from gptoss_tui.tools.base import BuiltinTools, FunctionTool, Workspace
from gptoss_tui.tools.browser.choose import choose_backend
from gptoss_tui.tools.browser.tool import Browser
from gptoss_tui.tools.declarations import APPLY_PATCH
from gptoss_tui.tools.edit_file import EditFileTool
from gptoss_tui.tools.edits import WritePlan
from gptoss_tui.tools.mcp.config import ServerConfig, load_servers
from gptoss_tui.tools.mcp.tools import mcp_servers
from gptoss_tui.tools.python.tool import Python
from gptoss_tui.tools.read_file import ReadFileTool
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.update_plan import UpdatePlanTool
from gptoss_tui.tools.workspace import open_workspace
from gptoss_tui.undo import UndoStore


def build_agent(
    settings: Settings,
    engine: Engine,
    tokenizer: Tokenizer,
    *,
    mode: Mode | None = None,
    allow_all: bool = False,
    session_store: SessionStore | None = None,
    saves: bool = True,
    servers: Sequence[ServerConfig] = (),
    answer: AnswerSchema | None = None,
) -> Agent:
    """Build an agent for `settings.workspace` on `engine`, which need not be loaded yet.

    Sessions are saved in `session_store` (by default the user's), or nowhere without `saves`. `allow_all` allows nearly
    everything without asking (see `Approvals`). `servers` are MCP servers besides those that the user configured, and
    `answer` is the schema of all final messages. Raises UsageError if the workspace or the browser's folder is none.
    """
    workspace = open_workspace(settings.workspace)
    store = UndoStore(workspace.root)
    return Agent(
        engine,
        tokenizer,
        build_registry(settings, workspace, store.apply, servers),
        workspace=workspace.root,
        effort=settings.reasoning_effort,
        sampling=replace(default_sampling(settings), max_tokens=None),
        developer_message=lambda: developer_message(settings, workspace.root),
        skills=lambda: skills(settings, workspace.root),
        notifier=Notifier(settings.notify, workspace.root) if settings.notify else None,
        current_date=date.today().isoformat(),
        approvals=build_approvals(workspace, mode or settings.mode, allow_all=allow_all),
        session_store=(session_store or SessionStore()) if saves else None,
        undo_store=store,
        context_limit=settings.context,
        limits=build_limits(settings),
        compact_at=settings.compacts_at,
        raw=settings.raw,
        constraints=build_constraints(settings, answer),
    )


def developer_message(settings: Settings, workspace: Path) -> str | None:
    """The current developer message in addition to the app's own: the user's message, AGENTS.md and skills."""
    said = (told(guides(settings, workspace), settings.developer_message), told_skills(skills(settings, workspace)))
    return "\n\n".join(part for part in said if part) or None


def guides(settings: Settings, workspace: Path) -> tuple[Guide, ...]:
    """The AGENTS.md files that the model is told about."""
    return find_guides(workspace, config_path().parent) if settings.reads_agents_md else ()


def skills(settings: Settings, workspace: Path) -> tuple[Skill, ...]:
    """The skills that the model may use."""
    return find_skills(workspace, own_skill_folders(config_path().parent)) if settings.tells_skills else ()


def followed(settings: Settings, workspace: Path) -> tuple[str, ...]:
    """What is added to the developer message, in words for the user: `AGENTS.md`, `2 skills (/skills)`."""
    count = sum(not skill.asked_only for skill in skills(settings, workspace))
    known = (f"{count} {'skill' if count == 1 else 'skills'} (/skills)",) if count else ()
    return (*(guide.label for guide in guides(settings, workspace)), *known)


def default_sampling(settings: Settings) -> SamplingParams:
    """The default sampling parameters: the settings, and the best temperature for the model where they have none.

    gpt-oss is made for temperature 1.0; nano is so small that it works best with greedy decoding.
    """
    return settings.sampling(0.0 if settings.is_nano else 1.0)


def build_limits(settings: Settings) -> Limits:
    """The limits of each turn."""
    return Limits(
        tool_calls=settings.max_tool_calls,
        tokens=settings.max_tokens,
        runaways=settings.runaways,
        repeats=settings.repeated_calls,
        repeated_tokens=settings.repeated_tokens,
        reasoning_tokens=settings.reasoning_tokens,
    )


def build_constraints(settings: Settings, answer: AnswerSchema | None) -> Constraints:
    """What restricts the tokens of the model; `answer` is the schema of all final messages."""
    return Constraints(settings.constrain_headers, answer, settings.strict_arguments, settings.grounds_patches)


def build_approvals(workspace: Workspace, mode: Mode | None = None, *, allow_all: bool = False) -> Approvals:
    """The approvals in `workspace`, with the rules that are saved for it.

    Without a `mode`, it is the one in the workspace's file if the user trusts that file, and otherwise `ask`.
    """
    book = RuleBook(workspace.root)
    return Approvals(mode or book.suggested_mode or "ask", book=book, allow_all=allow_all)


def build_registry(
    settings: Settings, workspace: Workspace, write: WritePlan = patch.apply, servers: Sequence[ServerConfig] = ()
) -> ToolRegistry:
    """The tools that `settings` enable, in the order in which the model is told about them. Raises UsageError.

    Files are edited through `write`. `servers` are MCP servers in addition to those that the user configured.
    """
    builtin: list[BuiltinTools] = []
    if settings.python:
        builtin.append(make_python(settings, workspace.root if settings.python_workspace else None))
    if settings.browser:
        builtin.append(make_browser(settings))
    functions = workspace_tools(workspace, edit=settings.apply_patch, write=write)
    if settings.tells_skills:
        functions = tuple(_reading_skills(tool, settings, workspace) for tool in functions)
    if settings.offers_edit_file:
        functions = (*functions, EditFileTool(workspace, write))
    if settings.offers_shell:
        patches = next((tool for tool in functions if tool.name == APPLY_PATCH.name), None)
        functions = (*functions, ShellTool(workspace, patches))
    if settings.offers_plan:
        functions = (*functions, UpdatePlanTool())
    # The built-in model was trained with a fixed set of tools and is too small to use others by their description.
    connected = () if settings.is_nano else mcp_servers((*load_servers(), *servers))
    return ToolRegistry(functions, builtin, connected)


def _reading_skills(tool: FunctionTool, settings: Settings, workspace: Workspace) -> FunctionTool:
    if not isinstance(tool, ReadFileTool):
        return tool
    return SkillReader(tool, lambda: [skill.folder for skill in skills(settings, workspace.root)])


def make_python(settings: Settings, readable: Path | None) -> Python:
    """The Python tool of one conversation, which can read the folder `readable` if it is given."""
    return Python(settings.python_sandbox, settings.python_image, stateful=settings.python_stateful, workspace=readable)


def make_browser(settings: Settings) -> Browser:
    """The browser of one conversation. Raises UsageError when its backend lacks a key or an address."""
    return Browser(choose_backend(settings), _count_tokens)


def _count_tokens(text: str) -> int:
    return len(load_tokenizer().encode(text))
