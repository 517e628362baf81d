"""The self-test of the command sandbox: things that must fail inside, tried before any of the model's commands run."""

from __future__ import annotations

import os

from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell.process import Limits, run_process
from gptoss_tui.tools.shell.sandbox import Access, ShellSandbox, filter_program

# None of these changes anything if it succeeds: opening for appending writes nothing.
_PROBES = r"""
found() { echo "ESCAPE $1"; }
opens() { (: >> "$1") 2>/dev/null; }
[ -w /usr ] || [ -w /etc ] || [ -w / ] && found "writes to the system"
opens /proc/sys/kernel/core_pattern && found "configures the kernel"
opens /proc/sysrq-trigger && found "reaches the kernel's keys"
case "$HOME/" in "$PWD"/*|/tmp/) ;; *) [ -w "$HOME" ] && found "writes to the home folder";; esac
status=$(</proc/self/status)
[[ $status =~ CapEff:.0000000000000000 ]] || found "has capabilities"
[[ $status =~ CapBnd:.0000000000000000 ]] || found "could have capabilities"
[[ $status =~ NoNewPrivs:.1 ]] || found "may gain privileges"
[[ $status =~ Seccomp:.2 ]] || found "has no system call filter"
interfaces=0; while read -r line; do case $line in *:*) interfaces=$((interfaces+1));; esac; done < /proc/net/dev
[ "$interfaces" -gt 1 ] && found "has a network"
others=0; for entry in /proc/[0-9]*; do others=$((others+1)); done
[ "$others" -gt 6 ] && found "sees other processes"
[ "$UID" = 0 ] && found "is root"
[ -n "$(echo /run/*.sock)" ] && [ -S /run/docker.sock ] && found "sees the Docker engine"
[ -w . ] || echo "CLOSED"
echo "DONE 12"
"""
_SECONDS = 10.0


async def self_test(sandbox: ShellSandbox) -> int:
    """Run all probes and return their number. Raises SandboxError when any of them succeeded."""
    seccomp = filter_program()
    try:
        launch = sandbox.launch(_PROBES, sandbox.root, Access(), seccomp, ())
        outcome = await run_process(launch, Limits(seconds=_SECONDS), lambda text: None)
    except OSError as error:
        raise SandboxError(f"bubblewrap cannot be started: {error}") from error
    finally:
        os.close(seccomp)
    lines = outcome.text.splitlines()
    escapes = [line.removeprefix("ESCAPE ") for line in lines if line.startswith("ESCAPE ")]
    if escapes:
        raise SandboxError(f"bubblewrap does not hold: a command inside {', '.join(escapes)}")
    done = [line for line in lines if line.startswith("DONE ")]
    if outcome.code != 0 or not done:
        raise SandboxError(f"bubblewrap failed its self-test: {outcome.text.strip()[-300:] or outcome.ending}")
    if "CLOSED" in lines:
        raise SandboxError("the workspace cannot be written inside bubblewrap")
    return int(done[0].split()[1])
