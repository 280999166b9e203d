"""How a drill is drawn: the curve of the undisturbed training, the killed one over it, and below them every
life as a bar from the step it went on from to the kill."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nightspot.drill.grades import Grade
from nightspot.drill.lives import WORDS, KillKind, Life, Training
from nightspot.drill.report import DrillReport
from nightspot.drill.resumes import by_loss
from nightspot.drill.verdict import DrillEvidence

INCHES = (11.0, 6.6)
DOTS_PER_INCH = 130
_UNDISTURBED, _DISTURBED, _LOST = "#8A8A8A", "#0072B2", "#BFD9EA"
_LOG_FROM = 50.0  # a curve that spans more than this is drawn on a logarithmic scale
_TITLE_CHARACTERS = 110
_TITLE_LINES = 2
_ROOM_FOR_LIVES = 9
_INCHES_PER_LIFE = 0.22
_MOST_INCHES_MORE = 14.0


@dataclass(frozen=True)
class Mark:
    """How a kind of kill is drawn: told apart by its shape where colours are not seen."""

    shape: str
    colour: str


# Okabe and Ito's colours, which the colour-blind tell apart (jfly.uni-koeln.de/color).
MARKS: Mapping[KillKind, Mark] = {
    KillKind.KILL: Mark("X", "#D55E00"),
    KillKind.TERM: Mark("o", "#E69F00"),
    KillKind.DURING_SAVE: Mark("s", "#CC79A7"),
    KillKind.DURING_RESTORE: Mark("v", "#000000"),
    KillKind.UNSYNCED: Mark("D", "#009E73"),
}


def can_draw(evidence: DrillEvidence) -> bool:
    """Whether there is a picture in it: the steps of the training have to be known."""
    return bool(evidence.undisturbed.steps) and bool(evidence.disturbed)


def draw(path: Path, evidence: DrillEvidence, report: DrillReport) -> None:
    """Write the picture to `path`, whose ending says what kind: .png, .svg or .pdf; its folder is made. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metric = metric_of(evidence)
    style: dict[Any, Any] = {"font.size": 10.5, "svg.hashsalt": "nightspot"}
    with mpl.rc_context(style):
        figure = Figure(
            figsize=(INCHES[0], INCHES[1] + _more_inches(evidence)), dpi=DOTS_PER_INCH, layout="constrained"
        )
        FigureCanvasAgg(figure)
        figure.suptitle(title_of(report), x=0.01, ha="left", fontsize=11)
        if metric is None:
            below = figure.subplots()
        else:
            above, below = figure.subplots(
                2, 1, sharex=True, height_ratios=(1.7, 1.0 + _more_inches(evidence) / 2.4)
            )
            draw_curves(above, evidence, metric)
        draw_lives(below, evidence)
        figure.savefig(path)


def metric_of(evidence: DrillEvidence) -> str | None:
    """The metric that is drawn; None where the steps have none."""
    names = {
        name: value for seen in evidence.undisturbed.steps.values() for name, value in seen.metrics.items()
    }
    return by_loss(names)


def draw_curves(axes: Axes, evidence: DrillEvidence, metric: str) -> None:
    """The undisturbed curve, and each life of the killed trainings as a line of its own over it."""
    steps, values = _curve(evidence.undisturbed.lives[0], metric)
    axes.plot(steps, values, color=_UNDISTURBED, linewidth=5.5, alpha=0.55, label="undisturbed")
    label: str | None = "killed and resumed"
    for training in evidence.disturbed:
        for life in training.lives:
            axes.plot(
                *_curve(life, metric), color=_DISTURBED, linewidth=1.5, marker=".", markersize=5, label=label
            )
            label = None
        for kind, step, value in _killed_at(training, metric):
            axes.plot([step], [value], MARKS[kind].shape, color=MARKS[kind].colour, markersize=8.5, zorder=4)
    if values and min(values) > 0 and max(values) > _LOG_FROM * min(values):
        axes.set_yscale("log")
    axes.set_ylabel(metric)
    axes.legend(loc="best", frameon=False)
    _bare(axes)


def draw_lives(axes: Axes, evidence: DrillEvidence) -> None:
    """A row per life, the first on top: pale where its work was lost, and the kill that ended it."""
    rows = [
        (training.lives, n, _name(number, n, evidence))
        for number, training in enumerate(evidence.disturbed, 1)
        for n in range(len(training.lives))
    ]
    shown: dict[KillKind, Any] = {}
    for row, (lives, n, _) in enumerate(rows):
        begin, kept, reached = _stretch(lives, n)
        axes.barh(row, kept - begin, left=begin, height=0.56, color=_DISTURBED)
        axes.barh(row, reached - kept, left=kept, height=0.56, color=_LOST)
        kill = lives[n].kill
        if kill is not None:
            mark = MARKS[kill.kind]
            (shown[kill.kind],) = axes.plot(
                [reached], [row], mark.shape, color=mark.colour, markersize=8.5, zorder=4, clip_on=False
            )
    axes.set_yticks(range(len(rows)), [name for _, _, name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.01 * max(evidence.undisturbed.steps))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step    (dark: done once; pale: lost with the machine and done again)")
    kinds = [kind for kind in KillKind if kind in shown]
    axes.legend(
        [shown[kind] for kind in kinds],
        [WORDS[kind] for kind in kinds],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.28),
        ncols=3,
        frameon=False,
        fontsize=9.5,
    )
    _bare(axes)


def _curve(life: Life, metric: str) -> tuple[list[int], list[float]]:
    points = [(seen.step, seen.metrics.get(metric)) for seen in life.seen.steps]
    known = [(step, value) for step, value in points if value is not None]
    return [step for step, _ in known], [value for _, value in known]


def _killed_at(training: Training, metric: str) -> Iterator[tuple[KillKind, int, float]]:
    """Where on the curve each kill struck: at the last step before it."""
    last: tuple[int, float] | None = None
    for life in training.lives:
        steps, values = _curve(life, metric)
        last = (steps[-1], values[-1]) if steps else last
        if life.kill is not None and last is not None and steps:
            yield life.kill.kind, *last


def _stretch(lives: Sequence[Life], n: int) -> tuple[int, int, int]:
    """From where a life went on, how far of its work was kept, and how far it got."""
    steps = [seen.step for seen in lives[n].seen.steps]
    if not steps:
        saved = max((step for life in lives[:n] for step in life.saved_steps), default=0)
        return saved, saved, saved
    begin, reached = steps[0] - 1, steps[-1]
    # A life that was killed in its restore shows nothing of what was kept.
    after = next((life.first for life in lives[n + 1 :] if life.first is not None), reached + 1)
    return begin, min(reached, max(begin, after - 1)), reached


def _name(training: int, n: int, evidence: DrillEvidence) -> str:
    return f"life {n + 1}" if len(evidence.disturbed) == 1 else f"{training}: life {n + 1}"


def _more_inches(evidence: DrillEvidence) -> float:
    lives = sum(len(training.lives) for training in evidence.disturbed)
    return min(_MOST_INCHES_MORE, _INCHES_PER_LIFE * max(0, lives - _ROOM_FOR_LIVES))


def title_of(report: DrillReport) -> str:
    """The outcome, and why in a line or two."""
    why = report.claim
    if report.outcome is Grade.NOT:
        why = f"{why}: {report.reasons[0]}".replace("`", "")
    lines = textwrap.wrap(f"{report.outcome.value}  {report.job}: {why}", _TITLE_CHARACTERS)
    return "\n".join(lines if len(lines) <= _TITLE_LINES else [*lines[:_TITLE_LINES], "…"])


def _bare(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
