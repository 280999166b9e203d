"""The command line: what can be typed, and where it is. A module is imported when its command is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nightspot import __version__
from nightspot.cli import completion

__all__ = ["COMMANDS", "app", "main"]

# The order of the help: by its heading, a command's name, "module:function" below this package, and its first line.
COMMANDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Write jobs": {
        "new": ("new:new", "Write a project into an empty folder: a job and its training."),
        "init": ("init:init", "Write a job file: from a request, a past job, or your answers."),
        "validate": ("new:validate", "Check job files: every mistake with its field and the rule."),
        "schema": ("new:schema", "Print the JSON Schema of job files, for editors."),
    },
    "Try on this machine": {
        "demo": ("night:demo", "Play a night of the example job on this machine."),
        "drill": ("drill:drill", "Kill a training, resume it, compare the results: PASS, INEXACT or FAIL."),
        "local": ("local_serve:app", "What runs on this machine alone; AWS is not asked."),
    },
    "Deploy": {
        "doctor": ("doctor:doctor", "Check everything a run needs, and say how to fix what is wrong."),
        "selftest": (
            "selftest:selftest",
            "Ask AWS about the facts that Nightspot rests on: for cents, in your account.",
        ),
        "facts": ("facts:app", "List what Nightspot believes of AWS, and how each fact is known."),
        "synth": ("deploy:synth", "Make the CloudFormation template of the jobs in jobs/."),
        "deploy": ("deploy:deploy", "Deploy the jobs in jobs/ to your AWS account."),
        "push": ("push:push", "Upload a job's code: the next run of the deployed job trains with it."),
        "smoke": (
            "smoke:smoke",
            "Try a fresh deployment: check it, run a cheap job, check all it leaves.",
        ),
    },
    "Run and watch": {
        "run": ("night:run", "Start a run of a deployed job; with --local, play one here."),
        "jobs": ("jobs:jobs", "List the jobs: schedule, deadline, last run, cost of the month."),
        "runs": ("runs.show:runs", "List runs, newest first: how each ended, cost, savings, margin."),
        "show": ("runs.show:show", "Show a run's record: decisions, attempts, result."),
        "history": (
            "history:history",
            "Show what plans learn from a job's past runs; --forget takes one out.",
        ),
        "watch": ("runs.watch:watch", "Watch a run until it is over."),
        "logs": ("runs.watch:logs", "Print what a run's training job has logged."),
        "stop": ("runs.stop:stop", "Stop a deployed run and its training job, for good."),
        "retry": ("runs.stop:retry", "Start a run that continues from the checkpoint of one that failed."),
        "audit": ("audit:audit", "Check a deployment's runs, jobs and locks; --fix repairs them."),
        "report": ("report:report", "Write a report: of one run, or of a month's costs and savings."),
        "explain": (
            "explain:explain",
            "Say what a failure or a state is, what a run does about it, and what to do.",
        ),
    },
    "Costs and markets": {
        "advise": ("advise:advise", "Is Spot right for this job? The options side by side, in USD."),
        "prices": ("prices:prices", "Show what training costs on-demand and on Spot."),
        "backtest": ("backtest:backtest", "Play many runs with every policy on the same Spot markets."),
    },
    "Shell": {
        "completion": (
            "completion:completion",
            "Print the script that completes commands, options, jobs, runs.",
        ),
    },
}
_LINES = {name: line for section in COMMANDS.values() for name, (_, line) in section.items()}


class _Lazy(Mapping[str, Any]):
    """Typer's command by its name, made at its first use."""

    def __init__(self) -> None:
        self._places = {name: place for section in COMMANDS.values() for name, (place, _) in section.items()}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = self._places[name].partition(":")
            found = getattr(import_module(f"{__name__}.{module}"), attribute)
            if not isinstance(found, typer.Typer):
                alone = typer.Typer(add_completion=False, **_STYLE)
                alone.command(name)(found)
                found = alone
            self._made[name] = typer.main.get_command(found)
            self._made[name].name = name
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Group(TyperGroup):
    """The commands of the table: its help and the completion of names import none of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Lazy()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer has it
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as Typer has it
        return self.commands[cmd_name] if cmd_name in _LINES else None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_plain_words(error)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Typer has it
        widest = max(len(name) for name in _LINES)
        for heading, section in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{widest}}", line) for name, (_, line) in section.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        from typer._click.shell_completion import CompletionItem  # noqa: PLC0415 - where a shell asks

        names = [CompletionItem(n, help=line) for n, line in _LINES.items() if n.startswith(incomplete)]
        return names + super(TyperGroup, self).shell_complete(ctx, incomplete)


def _in_plain_words(error: typer.BadParameter) -> str:
    """What is wrong with an option's value. Typer reads values with pydantic, and hands on its words."""
    from pydantic import ValidationError  # noqa: PLC0415 - where a value is wrong

    from nightspot.job.errors import describe, rule_of  # noqa: PLC0415 - likewise

    found = error.__cause__
    if not isinstance(found, ValidationError):
        return error.message
    while isinstance(found, ValidationError):  # of a repeated option: that of one of its values
        details = found.errors()[0]
        found = details.get("ctx", {}).get("error")
    rule = rule_of(details)
    given = describe(details["input"])
    return rule if found is not None and given in rule else f"{given}: {rule}"


_STYLE: Mapping[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, **_STYLE)


def main() -> None:
    """The installed command `nightspot`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark instead.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    completion.prepare()
    # By this name a shell's script asks, however the command was called.
    app(prog_name=completion.PROGRAM)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def nightspot(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Trains on SageMaker Spot every night and still has the model ready by morning."""
