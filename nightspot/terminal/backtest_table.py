"""How a backtest is shown: what was played, a row per policy, and what the bounds and pooling say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from nightspot.formats.figures import format_duration
from nightspot.job.markets import Market
from nightspot.market.backtest import DEFAULT, LABELS, OMNISCIENT, OURS, Score, needs_to_see_spot
from nightspot.market.samples import SIGMA, BacktestSetting
from nightspot.terminal.lines import paragraph, plain_table

Scores = Mapping[str, Score]

BOUNDS = "Bounds. They cannot be had on SageMaker: nobody sees there whether Spot has come back."
SAME = 0.0005  # costs closer than this, over on-demand, are alike


@dataclass(frozen=True)
class PlayedBacktest:
    """A whole backtest, as it is shown. `zone_by_zone`: what the default policy makes of it without pooling."""

    setting: BacktestSetting
    markets: str  # where they come from, in words
    scores: Scores
    job: str | None = None  # in words, where a job file gave the setting
    zone_by_zone: Score | None = None


def show_header(console: Console, played: PlayedBacktest) -> None:
    """What is simulated, what is real, and under which setting."""
    paragraph(
        console,
        "Simulated",
        "SageMaker, its machines and clocks, and the luck of every run: the same for all policies.",
    )
    paragraph(
        console,
        "Real",
        "each decision of patient, eager and on_demand, made by the code that is deployed (rule.decide).",
    )
    paragraph(console, "Markets", played.markets)
    if played.job:
        paragraph(console, "Job", played.job)
    paragraph(console, "Setting", f"{'; '.join(setting_in_words(played.setting))}.")


def show_scores(console: Console, played: PlayedBacktest) -> None:
    """A row per policy, and what they come to in sentences."""
    scores, default = played.scores, played.scores[DEFAULT]
    console.print()
    console.print(scores_table(scores, [name for name in scores if not needs_to_see_spot(name)]))
    console.print(f"\n{BOUNDS}", style="bold")
    bounds = sorted(filter(needs_to_see_spot, scores), key=lambda name: name == OMNISCIENT)
    console.print(scores_table(scores, bounds, with_headings=False))
    console.print()
    paragraph(console, "Bounds", distance_to_bounds(scores))
    if played.zone_by_zone is not None:
        paragraph(console, "Pooling", worth_of_pooling(default, played.zone_by_zone))
    nights = f"{default.nights:,} for each policy, {played.setting.starts:,} from each market"
    paragraph(console, "Nights", f"{nights}; {default.nights_per_second:,.0f} a second of {DEFAULT}.")


def scores_table(scores: Scores, names: Sequence[str], *, with_headings: bool = True) -> Table:
    """A row per policy, in this order; its columns are as wide in every table."""
    table = plain_table(with_headings=with_headings)
    table.add_column("policy", no_wrap=True, width=19)
    table.add_column("", width=35)
    for heading, width in (
        ("cost over\non-demand", 9),
        ("cost over\nomniscient", 10),
        ("late\nnights", 7),
        ("inter-\nruptions", 9),
        ("on-demand\nh a run", 9),
    ):
        table.add_column(heading, justify="right", no_wrap=True, width=width)
    for name in names:
        table.add_row(*_row(name, scores[name]), style="bold" if name == DEFAULT else "")
    return table


def _row(name: str, score: Score) -> tuple[str, ...]:
    return (
        f"{name} (default)" if name == DEFAULT else name,
        LABELS[name],
        f"{score.cost_ratio:.3f}",
        f"{score.vs_omniscient:.3f}",
        percent(score.late_rate),
        _number(score.interruptions),
        _number(score.on_demand_hours),
    )


def distance_to_bounds(scores: Scores) -> str:
    """What a way back to Spot would be worth: from the default policy to the best rule that has one."""
    ours, best = scores[DEFAULT], best_bound(scores)
    far = max(0.0, ours.cost_ratio - scores[OMNISCIENT].cost_ratio)
    omniscient = f"knowing the whole market beforehand would be worth {_points(far)}"
    if best is None:
        return f"{_capital(omniscient)}."
    gain = ours.cost_ratio - scores[best].cost_ratio
    worth = f"{_points(gain)} ({best})" if gain >= SAME else f"nothing here (best of them: {best})"
    return f"a way back from on-demand to Spot would be worth {worth}; {omniscient}."


def best_bound(scores: Scores) -> str | None:
    """The cheapest rule that must see Spot from on-demand and is no more often late than the default."""
    return _cheapest(scores, [n for n in scores if needs_to_see_spot(n) and n != OMNISCIENT])


def best_rival(scores: Scores) -> str | None:
    """The cheapest rival that needs only what SageMaker shows and is no more often late than the default."""
    return _cheapest(scores, [n for n in scores if not needs_to_see_spot(n) and n not in OURS])


def worth_of_pooling(pooled: Score, alone: Score) -> str:
    """The default policy's costs with and without, and what the comparison leaves out."""
    saved = 1 - pooled.cost_ratio / alone.cost_ratio
    worth = f"{100 * saved:.0f} % less" if saved >= 0 else f"{-100 * saved:.0f} % more"
    return (
        f"with any of the zones {DEFAULT} costs {pooled.cost_ratio:.3f} of on-demand, in each alone "
        f"{alone.cost_ratio:.3f}: {worth}. That flatters: moving a job from one zone to another is not counted as "
        "an interruption."
    )


def setting_in_words(setting: BacktestSetting) -> Sequence[str]:
    """The setting, a phrase for each part that is not left out."""
    spot, on_demand = (format_duration(setting.changeover_of(market)) for market in Market)
    changeover = spot if spot == on_demand else f"{spot} on Spot and {on_demand} on on-demand"
    if setting.random_changeover:
        changeover = f"random, median {changeover} (log-normal, sigma {SIGMA:g})"
    price = (
        "the traces' own prices"
        if setting.spot_ratio is None
        else f"Spot at {setting.spot_ratio:g} of on-demand"
    )
    words = [
        f"{format_duration(setting.work_seconds)} of work, due in {format_duration(setting.window_seconds)}",
        f"change-over {changeover}",
        price,
    ]
    if setting.work_error:
        words.append(f"the true work off by {percent(setting.work_error)} (standard deviation)")
    if setting.checkpoint_seconds > setting.window_seconds:
        words.append("no checkpoints")
    elif setting.checkpoint_seconds:
        words.append(f"a checkpoint every {format_duration(setting.checkpoint_seconds)}")
    else:
        words.append("an interruption loses no work")
    if setting.stop_seconds:
        words.append(f"{format_duration(setting.stop_seconds)} to stop")
    words.append(f"seed {setting.seed}")
    return words


def percent(share: float) -> str:
    """`0.02 %`, `12 %`; plain 0 for none."""
    if not share:
        return "0"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"


def _cheapest(scores: Scores, names: Sequence[str]) -> str | None:
    in_time = [name for name in names if scores[name].late_rate <= scores[DEFAULT].late_rate]
    return min(in_time, key=lambda name: scores[name].cost_ratio, default=None)


def _points(share: float) -> str:
    return f"{100 * share:.1f} % of on-demand's cost"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
