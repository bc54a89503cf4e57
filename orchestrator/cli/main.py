"""`pdctl`: the table of its commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from orchestrator.cli import globals as common
from orchestrator.cli.errors import CliError, ExitCode
from orchestrator.cli.files import ELSEWHERE, reason
from orchestrator.cli.lazy import Group, LazyGroup, Table, Verb

COMPLETE = "_PDCTL_COMPLETE"
# Errors of a place that is full, whoever writes there.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

COMMANDS: Table = {
    "demo": Verb("orchestrator.cli.demo:demo", "Start a small cluster, ask it, load it, and stop it."),
    "up": Verb("orchestrator.cli.up:up", "Start a cluster."),
    "down": Verb("orchestrator.cli.down:down", "Stop a cluster."),
    "apply": Verb("orchestrator.cli.apply:apply", "Put a changed cluster.yaml in force, or show what it changes."),
    "scale": Verb("orchestrator.cli.scale:scale", "Give a pool more or fewer workers."),
    "get": Group(
        "List workers, pools, requests, policies or events.",
        {
            "workers": Verb("orchestrator.cli.get.workers:workers", "Workers: role, state, load and KV.", "worker"),
            "pools": Verb("orchestrator.cli.get.pools:pools", "Pools: wanted and ready workers.", "pool"),
            "requests": Verb("orchestrator.cli.get.requests:requests", "Requests that run or ended lately.", "request"),
            "policies": Verb(
                "orchestrator.cli.get.policies:policies", "The policy in force for each decision.", "policy"
            ),
            "events": Verb("orchestrator.cli.get.events:events", "What happened, oldest first.", "event"),
        },
    ),
    "describe": Group(
        "Show everything about one worker or request.",
        {
            "worker": Verb("orchestrator.cli.describe.worker:worker", "One worker: engine, load, KV, events."),
            "request": Verb("orchestrator.cli.describe.request:request", "One request: state, workers, stages."),
        },
    ),
    "explain": Group(
        "Say why something went as it did.",
        {"request": Verb("orchestrator.cli.explain:request", "Which workers ran a request, why, and how long.")},
    ),
    "drain": Verb("orchestrator.cli.drain:drain", "Stop new work on a worker and wait for what runs there."),
    "restart": Group(
        "Restart workers one by one without a client noticing.",
        {
            "worker": Verb("orchestrator.cli.restart.worker:worker", "Restart one worker."),
            "pool": Verb("orchestrator.cli.restart.pool:pool", "Restart the workers of a pool one by one."),
            "all": Verb("orchestrator.cli.restart.all:all_workers", "Restart every worker one by one."),
        },
    ),
    "wait": Group(
        "Wait until a worker or the cluster is in a state; exit 1 if it is not in time.",
        {
            "worker": Verb("orchestrator.cli.wait.worker:worker", "Until a worker is ready, drained or dead."),
            "cluster": Verb("orchestrator.cli.wait.cluster:cluster", "Until every pool has all its workers."),
        },
    ),
    "logs": Verb("orchestrator.cli.logs:logs", "Print the log of a worker, the controller or a front door."),
    "set": Group(
        "Change a running cluster.",
        {
            "role": Verb("orchestrator.cli.set.role:role", "Give a worker another role."),
            "policy": Verb("orchestrator.cli.set.policy:policy", "Choose the policy of a decision."),
        },
    ),
    "generate": Verb("orchestrator.cli.generate:generate", "Ask the model and stream its answer."),
    "replay": Verb("orchestrator.cli.replay:replay", "Load an endpoint with a trace and report latencies."),
    "compare": Verb("orchestrator.cli.compare:compare", "Compare reports of replay and simulate."),
    "trace": Group(
        "Describe, convert and generate request traces.",
        {
            "describe": Verb("orchestrator.cli.trace.describe:describe", "Arrivals, lengths, prefixes and tiers."),
            "convert": Verb("orchestrator.cli.trace.convert:convert", "Write a trace or a part of it."),
            "synthesize": Verb("orchestrator.cli.trace.synthesize:synthesize", "Generate a trace and write it."),
        },
    ),
    "simulate": Verb(
        "orchestrator.cli.simulate:simulate", "Simulate a cluster of any size under a workload, with its own policies."
    ),
    "top": Verb("orchestrator.cli.top:top", "Live view of workers and rates."),
    "check": Verb("orchestrator.cli.check:check", "Recount every block, lease and ledger entry."),
    "config": Group(
        "Check and show configuration, and print its schema.",
        {
            "check": Verb("orchestrator.cli.config.check:check", "Validate a cluster.yaml."),
            "schema": Verb("orchestrator.cli.config.schema:schema", "Print the JSON schema of cluster.yaml."),
            "show": Verb("orchestrator.cli.config.show:show", "Print the configuration in force, or that of a file."),
        },
    ),
    "version": Verb("orchestrator.cli.version:version", "Versions of pdctl and of the cluster."),
    "completion": Verb("orchestrator.cli.completion:completion", "Print a completion script for your shell."),
}


class Pdctl(LazyGroup):
    """The root command."""

    table = COMMANDS

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        common.attach(self)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; with `standalone_mode` exit with its code, else return it."""
        common.reset()
        code = int(self._run(args))
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, args: Sequence[str] | None) -> int:
        if COMPLETE in os.environ:
            completion_init()
        try:
            result = super().main(args, prog_name="pdctl", complete_var=COMPLETE, standalone_mode=False)
            sys.stdout.flush()
            return result if isinstance(result, int) else ExitCode.OK
        except CliError as error:
            return _fail(str(error), error.code)
        except typer.TyperException as error:
            return _fail_usage(error)
        except (typer.Abort, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        except BrokenPipeError:
            # The reader (`| head`) has gone: not worth a word, and Python must not complain while it flushes at exit.
            _abandon_stdout()
            return ExitCode.OK
        except OSError as error:
            if error.errno not in FULL:
                return _fail_within(error)
            _abandon_stdout()
            return _fail(f"cannot write {error.filename or 'the output'}: {reason(error)}; {ELSEWHERE}", 1)
        except Exception as error:
            return _fail_within(error)


def _abandon_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail_within(error: Exception) -> int:
    return _fail(f"{type(error).__name__}: {error}; in pdctl itself; run again with -v and report it", 1)


def _fail(message: str, code: int) -> int:
    if common.GLOBALS.verbose:
        import traceback

        traceback.print_exc()
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code


def _fail_usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "pdctl"
    message = " ".join(error.format_message().split()).rstrip(".").replace(": Value error, ", ": ")
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help() if context else message, file=sys.stderr)
        return ExitCode.USAGE
    return _fail(f"{message[:1].lower()}{message[1:]}; {path}; see {path} --help", ExitCode.USAGE)


app = typer.Typer(
    cls=Pdctl,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """Tandem: serve language models on separate prefill and decode workers."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `pdctl` script; never returns."""
    app(args=list(argv) if argv is not None else None)
