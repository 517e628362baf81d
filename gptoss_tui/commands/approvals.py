"""`gptoss-tui approvals`: lists and revokes the approval rules of a workspace."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptoss_tui.agent.policy.book import RuleBook


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its subcommands."""
    parser = subparsers.add_parser(
        "approvals",
        help="list or revoke approval rules",
        description="List or revoke the rules that answer approvals for you. Answering `always` creates one.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, approvals_action=_list, workspace=".", json=False)
    actions = parser.add_subparsers(dest="action", metavar="[ACTION]", help="without one: list")
    listing = actions.add_parser(
        "list",
        help="list the rules of a workspace",
        description="List the rules that apply in a workspace.",
        allow_abbrev=False,
    )
    _add_folder(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object per line")
    listing.set_defaults(run=run, approvals_action=_list)
    revoking = actions.add_parser(
        "revoke", help="revoke a rule", description="Revoke a rule of a workspace.", allow_abbrev=False
    )
    revoking.add_argument("rule", metavar="ID", help="id of the rule, from `list`")
    _add_folder(revoking)
    revoking.set_defaults(run=run, approvals_action=_revoke)


def run(args: argparse.Namespace) -> int:
    """Run the parsed action. Raises UsageError or PolicyError."""
    from gptoss_tui.agent.policy.book import RuleBook
    from gptoss_tui.tools.workspace import open_workspace

    book = RuleBook(open_workspace(Path(args.workspace)).root)
    action: Callable[[argparse.Namespace, RuleBook], int] = args.approvals_action
    return action(args, book)


def _list(args: argparse.Namespace, book: RuleBook) -> int:
    from gptoss_tui.agent.policy.book import describe_rule
    from gptoss_tui.sanitize import to_terminal_line

    for problem in book.problems:
        raise problem
    for rule in book.rules:
        if args.json:
            print(json.dumps(asdict(rule)))
        else:
            where = to_terminal_line(rule.place) or f"allowed {rule.created.replace('T', ' ')[:16]}"
            print(f"{rule.id}  {to_terminal_line(describe_rule(rule))}  ({where})")
    if not book.rules and not args.json:
        print("There are no rules here; the approval mode decides.")
    return 0


def _revoke(args: argparse.Namespace, book: RuleBook) -> int:
    from gptoss_tui.agent.policy.book import describe_rule
    from gptoss_tui.sanitize import to_terminal_line

    rule = book.revoke(args.rule)
    print(f"Revoked: {to_terminal_line(describe_rule(rule))}")
    return 0


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-C", "--workspace", default=".", metavar="DIR", help="the workspace (default: this folder)")
