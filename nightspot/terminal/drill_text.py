"""How a drill is shown: what is tried, how far it is, its grade with the reasons, and a table of the kills."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightspot.drill.grades import Grade
from nightspot.drill.lives import WORDS, Life
from nightspot.drill.report import DrillReport, KillReport, moment_in_words
from nightspot.terminal.lines import paragraph, plain_table

NOT_KNOWN = "-"
_STYLES = {Grade.EXACT: "green", Grade.INEXACT: "yellow", Grade.NOT: "red"}


def show_header(console: Console, job: str, file: str, kills: int, seed: int) -> None:
    """What is about to happen, and which parts of it are real."""
    paragraph(console, "Real", "the training command, its processes, signals, files, checkpoints and model.")
    paragraph(console, "Simulated", "SageMaker's container, and what S3 has kept when a machine is gone.")
    paragraph(console, "Job", f"{job} ({file}): once undisturbed, then with {kills} kills (seed {seed}).")
    console.print()


class DrillProgress:
    """Says how far a drill has come: a line per process that is over, and on a terminal which one runs now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("the undisturbed training") if console.is_terminal else None

    def __enter__(self) -> DrillProgress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def life(self, name: str, number: int, life: Life, done: int, total: int) -> None:
        """One process is over, the `done`th of probably `total`."""
        show_life(self._console, name, number, life, f"{done} of {total}")
        if self._status is not None:
            self._status.update(f"{done + 1} of {max(done + 1, total)}")


def show_life(console: Console, name: str, number: int, life: Life, count: str = "") -> None:
    """One line per life that is over; `count` says how many are, such as "3 of 7"."""
    steps = f"{len(life.seen.steps)} steps, " if life.seen.steps else ""
    did = f"{steps}{life.save_count} saves in {life.seconds:.1f} s"
    if life.kill is not None:
        how = f"{WORDS[life.kill.kind]}: {moment_in_words(life, life.kill)}"
    elif life.too_long:
        how = "ended by the drill: it took too long"
    else:
        how = f"exit code {life.exit_code}"
    text = f"  {count + '  ' if count else ''}{name}, life {number}: {did}, {how}"
    console.print(Text(text, style="dim"), soft_wrap=True)


def show_report(console: Console, report: DrillReport) -> None:
    """The kills, the outcome, why, and what else was seen."""
    if report.kills:
        console.print()
        console.print(kills_table(report))
    console.print()
    style = _STYLES[report.outcome]
    verdict = Text(report.outcome.value, style=f"bold {style}")
    console.print(verdict.append(f"  {report.job}: {report.claim}", style="not bold default"), soft_wrap=True)
    for reason in report.reasons:
        paragraph(console, "  because", reason, style)
    for note in report.notes:
        paragraph(console, "  note", note)


def kills_table(report: DrillReport) -> Table:
    """One row per kill that landed."""
    table = plain_table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("kill", no_wrap=True)
    table.add_column("moment", min_width=18)
    table.add_column("resumed\nfrom", justify="right")
    table.add_column("lost", justify="right")
    table.add_column("restore", justify="right")
    table.add_column("verdict", min_width=10)
    for kill in report.kills:
        table.add_row(*_row(kill))
    return table


def _row(kill: KillReport) -> tuple[str | Text, ...]:
    styles = {"failed": "red", "inexact": "yellow", "ok": "green"}
    style = next((colour for word, colour in styles.items() if kill.verdict.startswith(word)), "dim")
    return (
        str(kill.number),
        WORDS[kill.kind],
        kill.moment,
        {None: NOT_KNOWN, 0: "start"}.get(kill.resumed_from, f"step {kill.resumed_from}"),
        _lost(kill),
        NOT_KNOWN if kill.restore_seconds is None else _seconds(kill.restore_seconds),
        Text(kill.verdict, style=style),
    )


def _lost(kill: KillReport) -> str:
    if kill.lost_steps is None:
        return NOT_KNOWN
    steps = f"{kill.lost_steps} step{'' if kill.lost_steps == 1 else 's'}"
    if not kill.lost_seconds:
        return steps
    return f"{steps}, {_seconds(kill.lost_seconds)}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
