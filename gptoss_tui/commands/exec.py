"""`gptoss-tui exec`: runs one turn without a screen. The answer goes to stdout, progress to stderr."""

from __future__ import annotations

import argparse
import sys
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptoss_tui.commands.approve import add_approve_flag
from gptoss_tui.commands.flags import add_chat_flags, add_session_flags, session_from, settings_from
from gptoss_tui.commands.stdin import piped_text, read_stdin
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.sanitize import fenced, to_terminal_line
from gptoss_tui.settings import APPROVE_MODES

if TYPE_CHECKING:
    from gptoss_tui.agent.agent import Agent
    from gptoss_tui.agent.events import TurnEnd, TurnFinished
    from gptoss_tui.agent.structured import AnswerSchema
    from gptoss_tui.commands.exec_output import Output
    from gptoss_tui.settings import Settings

FAILED: Final = 1
NEEDS_APPROVAL: Final = 3
INTERRUPTED: Final = 130

_CODES: Final[dict[TurnEnd, int]] = {"done": 0, "failed": FAILED, "limit": FAILED, "interrupted": INTERRUPTED}

_STDIN: Final = "From standard input:"
"""Marks piped input as data: the user may not have written it, so its instructions are not the user's."""

_NOBODY: Final = "Nobody is here to be asked. Go on without it."

_EPILOG = """\
exit codes: 0 done, 1 failed or reached a limit, 2 usage error, 3 needs an approval that was not given (never with
--deny), 130 interrupted. With --output-schema, 0 means that the answer is complete and matches the schema. A schema
that is invalid or cannot be fully enforced is a usage error. docs/events.md describes the events of --json."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "exec",
        help="run one turn without a screen",
        description="Give PROMPT to the agent and print its answer. Progress goes to stderr.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="the message; piped input is added below it as data, or is the message if there is none (also: -)",
    )
    _add_flags(parser)
    add_session_flags(parser)
    parser.add_argument("--fork", action="store_true", help="with --resume or --continue: go on in a copy")
    parser.add_argument("--ephemeral", action="store_true", help="do not save the conversation")
    add_chat_flags(parser)
    parser.set_defaults(run=run)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what only `exec` has: its output, and what takes the place of a person who could be asked."""
    parser.add_argument("--json", action="store_true", help="print events as JSON, one per line, instead of the answer")
    add_approve_flag(parser)
    parser.add_argument(
        "--deny",
        action="store_true",
        help="deny what --approve does not allow and go on without it, instead of ending the turn",
    )
    parser.add_argument("-o", "--output-last-message", metavar="FILE", help="also write the complete answer to FILE")
    parser.add_argument(
        "--output-schema", metavar="FILE", help="make the answer JSON that matches the JSON schema in FILE"
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """The task of one run of the command.

    `session` is the conversation to continue, or to continue in a copy with `fork`. `approve` is a key of
    `APPROVE_MODES`; as there is no one to ask, what it does not cover is denied with `deny`, and ends the turn without.
    `saves` says whether the conversation is saved.
    """

    settings: Settings
    prompt: str
    approve: str
    deny: bool
    session: str | None
    fork: bool
    saves: bool
    schema: AnswerSchema | None


def run(args: argparse.Namespace) -> int:
    """Run the turn and return the exit code."""
    import asyncio

    from gptoss_tui.commands.answer_file import AnswerFile
    from gptoss_tui.commands.exec_output import make_output

    job = _job(args)
    exact = job.schema is not None
    file = AnswerFile(Path(args.output_last_message).expanduser(), exact=exact) if args.output_last_message else None
    output = make_output(
        as_json=args.json,
        raw=job.settings.raw,
        show_pages=job.settings.show_browser_results,
        exact=exact,
        stops=not job.deny,
        answer=file,
    )
    try:
        code = asyncio.run(_exec(job, output))
    except UsageError:
        raise
    except GptOssError as error:
        output.failed(error)
        raise
    except KeyboardInterrupt:  # while the model was loading, so there is no turn to interrupt
        from gptoss_tui.agent.events import TurnFinished

        output.show(TurnFinished(reason="interrupted"))
        return INTERRUPTED
    if file is not None:
        file.write()
    return code


def _job(args: argparse.Namespace) -> _Job:
    """The task that the flags describe. Raises UsageError, SessionError or GrammarError."""
    settings = settings_from(args)
    prompt = _prompt(args.prompt, settings.workspace)
    session = session_from(args, settings)
    if args.fork and session is None:
        raise UsageError("--fork needs a conversation to copy", hint="add --continue or --resume ID")
    if args.ephemeral and session is not None:
        raise UsageError("--ephemeral cannot be combined with --resume or --continue", hint="leave one out")
    schema = _schema(args.output_schema, settings)
    return _Job(settings, prompt, args.approve, args.deny, session, args.fork, not args.ephemeral, schema)


def _prompt(given: str | None, workspace: Path) -> str:
    if given is not None and given != "-":
        given = _expanded(given, workspace)
        piped = piped_text()
        prompt = f"{given}\n\n{_STDIN}\n{fenced(piped)}" if given.strip() and piped.strip() else given
    else:
        prompt = "" if sys.stdin.isatty() else read_stdin()
    if not prompt.strip():
        raise UsageError("There is no prompt", hint="give PROMPT, or text on stdin")
    return prompt


def _expanded(given: str, workspace: Path) -> str:
    """Expand a call of a saved prompt to its message. Raises UsageError when there is no such prompt."""
    if not given.startswith("/"):
        return given
    from gptoss_tui.agent.saved_prompts import find_prompt, was_shown
    from gptoss_tui.agent.slash import parse_call

    call = parse_call(given)
    if call is None:
        return given
    prompt = find_prompt(call.name, workspace)
    if prompt is None:
        hint = "only saved prompts go here; a space before the / sends it as a message"
        raise UsageError(f"There is no prompt /{to_terminal_line(call.name)}", hint=hint)
    if not was_shown(prompt, workspace):
        rows = "\n".join(f"  {row}" for row in prompt.text.split("\n"))
        print(f"note: /{prompt.name} is the project's ({prompt.place}):\n{rows}", file=sys.stderr, flush=True)
    return prompt.fill(call.argument)


def _schema(file: str | None, settings: Settings) -> AnswerSchema | None:
    """Read the schema of the answer. Raises GrammarError, and UsageError when the file cannot be read."""
    if file is None:
        return None
    from gptoss_tui.agent.structured import read_answer_schema

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The schema cannot be read: {error}") from error
    # nano was not trained with response formats in its prompt, and is confused by them.
    return read_answer_schema(text, told=not settings.is_nano)


async def _exec(job: _Job, output: Output) -> int:
    from gptoss_tui.agent.factory import build_agent, build_approvals, build_registry
    from gptoss_tui.commands.loading import loaded_engine
    from gptoss_tui.harmony.tokenizer import load_tokenizer
    from gptoss_tui.tools.workspace import open_workspace

    # Find mistakes in the settings before a model is loaded.
    settings = job.settings
    workspace = open_workspace(settings.workspace)
    build_registry(settings, workspace)
    for problem in build_approvals(workspace).book.problems:
        raise problem
    tokenizer = load_tokenizer()
    async with loaded_engine(settings.engine_spec()) as (engine, _):
        agent = build_agent(
            settings,
            engine,
            tokenizer,
            mode=APPROVE_MODES[job.approve],
            allow_all=job.approve == "all",
            saves=job.saves,
            answer=job.schema,
        )
        try:
            if job.session is None:
                _say_guides(settings, workspace.root)
            else:
                _go_on(agent, job.session, output, fork=job.fork)
            return await _run_turn(agent, job, output)
        finally:
            agent.close()


def _say_guides(settings: Settings, workspace: Path) -> None:
    """Print which skills and AGENTS.md files the model gets in addition to the prompt."""
    from gptoss_tui.agent.factory import guides, skills

    if known := ", ".join(skill.name for skill in skills(settings, workspace) if not skill.asked_only):
        print(f"note: knows the skills {known} (--no-skills: none)", file=sys.stderr, flush=True)
    if followed := ", ".join(guide.label for guide in guides(settings, workspace)):
        print(f"note: follows {followed} (--no-agents-md: none)", file=sys.stderr, flush=True)


def _go_on(agent: Agent, session: str, output: Output, *, fork: bool) -> None:
    """Resume a saved conversation, or a copy of it. Raises SessionError or UsageError."""
    from gptoss_tui.agent.events import Notice

    for notice in agent.resume(session).notices:
        output.show(Notice(text=notice))
    if fork:
        agent.fork()


async def _run_turn(agent: Agent, job: _Job, output: Output) -> int:
    """Run one turn to its end and return the exit code. An approval request ends the turn, or is denied with `deny`."""
    from gptoss_tui.agent.commands import Decision
    from gptoss_tui.agent.events import ApprovalRequest, TurnFinished
    from gptoss_tui.commands.exec_signals import interrupted_by_signals

    code = FAILED
    unanswered = False
    with interrupted_by_signals(agent.interrupt) as told:
        async with aclosing(agent.submit(job.prompt)) as events:
            async for event in events:
                if isinstance(event, TurnFinished):
                    event = _told(event if job.schema is None else _checked(event, job.schema), job)
                output.show(event)
                if isinstance(event, ApprovalRequest) and job.deny:
                    agent.decide(event.item_id, Decision("deny", event.digest, _NOBODY))
                elif isinstance(event, ApprovalRequest):
                    unanswered = True
                    agent.interrupt()
                elif isinstance(event, TurnFinished):
                    code = _CODES[event.reason]
    if told:
        return 128 + told[0]
    return NEEDS_APPROVAL if unanswered else code


def _told(event: TurnFinished, job: _Job) -> TurnFinished:
    """The end of the turn with a hint about what can be done on the command line."""
    from gptoss_tui.commands.exec_hints import hint_about_nano, hint_for_exec

    hint = hint_for_exec(event.hint, saved=job.saves, resumed=job.session is not None)
    return replace(event, hint=hint or (hint_about_nano(event.answer) if job.settings.is_nano else ""))


def _checked(event: TurnFinished, schema: AnswerSchema) -> TurnFinished:
    """Turn the end of a finished turn into a failure if its answer does not match the schema."""
    problem = schema.problem(event.answer) if event.reason == "done" else None
    if problem is None:
        return event
    return replace(event, reason="failed", error=f"The answer is not what the schema asks for: {problem}")
