"""Decides how a run's record is shown: what was played, its decisions, its attempts, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from nightspot.formats.figures import MINUTE_SECONDS, format_duration, plain
from nightspot.job.markets import Market
from nightspot.record.sentences import joined, texts_of
from nightspot.run.model import Action
from nightspot.run.pricing import Price, SpotDiscount
from nightspot.terminal.lines import NIGHTSPOT, paragraph, tell

# https://aws.amazon.com/step-functions/pricing/, standard workflows.
USD_PER_STATE_TRANSITION = 0.025 / 1000
NOT_KNOWN = "not known"

Record = Mapping[str, Any]
"""`nightspot.record.summary.summarise`'s shape and what `nightspot.local.stage.staging.facts` adds to it.

A record of an older version lacks some of it; what there is has been checked by
`nightspot.local.stage.records.read`.
"""


def show_header(console: Console, facts: Record) -> None:
    """What is played, and which parts of it are real. Needs only the facts that are known beforehand."""
    pace = f"1 s = {format_duration(facts['time_scale'])}"
    hours = (
        "Hours of the story are seconds here" if facts["time_scale"] > 1 else "The story takes its real time"
    )
    paragraph(
        console,
        "Simulated",
        "SageMaker, its Spot market, S3, DynamoDB, EventBridge, and the interpreter of Step Functions (moto).",
    )
    paragraph(
        console,
        "Real",
        "the workflow file, the Lambda handlers, the training process, its checkpoints and model. "
        f"{hours}: {pace}.",
    )
    paragraph(console, "Job", f"{facts.get('job')} ({facts.get('job_file')}): {', '.join(_plan(facts))}.")
    paragraph(console, "Night", f"{facts.get('night')}: {facts.get('story')}")
    if facts.get("overrides"):
        paragraph(console, "This run", f"{overrides_in_words(facts['overrides'])}.")
    console.print()


def _plan(facts: Record) -> Iterator[str]:
    # Records of older versions have the work that was done in the place of the work that was expected.
    if facts.get("expected_work_seconds") is not None:
        yield f"{format_duration(facts['expected_work_seconds'])} of work expected"
    began, due = facts.get("story_started_at") or facts.get("started_at"), facts.get("deadline")
    if began is not None:
        yield f"start {_moment(began):%Y-%m-%d %H:%M} UTC"
    if due is not None:
        yield f"model due by {_clock(_moment(due), _moment(began or due))}"


def overrides_in_words(overrides: Record) -> str:
    """What a run does otherwise than its job file says: "deadline: 6h; budget: per_run_usd 50"."""
    return "; ".join(f"{name}: {_in_words(value)}" for name, value in overrides.items())


def _in_words(value: Any) -> str:
    """An override's value as a person would write it."""
    if isinstance(value, dict):
        if "instance_type" in value:
            speed = f" (speed {_in_words(value['speed'])})" if "speed" in value else ""
            return f"{value['instance_type']}{speed}"
        if isinstance(value.get("within"), int):
            return f"within {format_duration(value['within'])}"
        return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", then ".join(_in_words(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_decisions(console: Console, record: Record) -> None:
    """Every decision with its time (UTC) and its `because`."""
    attempts = iter(record.get("attempts") or [])
    for step in record.get("steps") or []:
        action = Action(step["action"])
        what, fallback = "", False
        if action is Action.START and (attempt := next(attempts, None)) is not None:
            on_demand = attempt["market"] == Market.ON_DEMAND.value
            fallback = on_demand and record["spot_first"]
            market = "on-demand" if on_demand else "Spot"
            what = f"{market} {attempt['instance_type']} as job {attempt['number']}"
        elif action is Action.FINISH:
            what = record["outcome"]
        text = in_words(action, step["because"], what=what, fallback=fallback)
        tell(console, _moment(step["at"]), NIGHTSPOT, text, style_of(action, fallback=fallback))


def attempts_table(record: Record) -> Table:
    """One row per training job, useless ones included."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    for heading in ("market", "instance type"):
        table.add_column(heading, no_wrap=True)
    for heading in ("waited", "trained", "billed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("inter-\nrupted", justify="right")
    table.add_column("resumed\nfrom", justify="right")
    table.add_column("ended as", min_width=10)
    table.add_column("cost", justify="right", no_wrap=True)
    for attempt in record["attempts"]:
        table.add_row(*_row(attempt))
    return table


def _row(attempt: Record) -> tuple[str, ...]:
    resumed, interruptions = attempt.get("resumed_from_step"), attempt.get("interruptions")
    return (
        str(attempt["number"]),
        "on-demand" if attempt["market"] == Market.ON_DEMAND.value else "Spot",
        plain(attempt["instance_type"]),
        _narrow(attempt.get("waited_seconds")),
        _narrow(attempt.get("trained_seconds")),
        _narrow(attempt.get("billable_seconds")),
        f"{interruptions} x" if interruptions else "-",
        "-" if resumed is None else f"step {resumed}",
        _ending(attempt),
        _usd(attempt.get("cost_usd")),
    )


def show_outcome(console: Console, record: Record) -> None:
    """The attempts and what they came to, in sentences."""
    if record["attempts"]:
        console.print()
        console.print(attempts_table(record))
    console.print()
    good = record["deadline_met"]
    remarks = texts_of(record)
    paragraph(
        console,
        "Model",
        _model(record),
        "bold red" if not good else "bold yellow" if remarks else "bold green",
    )
    for title, text in _sums(record):
        paragraph(console, title, text)


def show_record_at(console: Console, path: str, command: str) -> None:
    """Where the record lies, and how to see it again."""
    paragraph(console, "Record", f"{path}; again: {command}")


def _model(record: Record) -> str:
    if record["outcome"] != "succeeded":
        why = record["because"] or record.get("cause") or "the workflow ended without a word."
        return f"none tonight ({record['outcome']}). {why}"
    but = f", but {joined(remarks)}" if (remarks := texts_of(record)) else ""
    if record["ended_at"] is None or record["margin_seconds"] is None or record.get("deadline") is None:
        return f"ready{but}."
    ended, margin = _moment(record["ended_at"]), record["margin_seconds"]
    when = "before" if margin >= 0 else "AFTER"
    deadline = _clock(_moment(record["deadline"]), ended)
    return f"ready at {ended:%H:%M} UTC, {_duration(abs(margin))} {when} the deadline at {deadline}{but}."


def _sums(record: Record) -> Iterator[tuple[str, str]]:
    resumes = [a for a in record["attempts"] if a.get("resume")]
    if resumes:
        yield "Resume", "; ".join(_resume(attempt) for attempt in resumes) + "."
    yield "Cost", _cost(record)
    yield "Prices", _prices(record)
    if record.get("metrics"):
        metrics = record["metrics"].items()
        text = ", ".join(f"{name.replace('_at_', '@')} {_metric(value)}" for name, value in metrics)
        when = "of the model" if record["outcome"] == "succeeded" else "at the last checkpoint that is safe"
        yield "Quality", f"{text} ({when})."
    if record.get("model_artifact"):
        yield "Artefact", f"{record['model_artifact']} (in the simulated S3, which is gone with the night)."
    transitions = record.get("state_transitions")
    if transitions is not None:
        usd = transitions * USD_PER_STATE_TRANSITION
        yield "Workflow", f"{transitions} state transitions: ${usd:.4f} at $0.025 per 1,000."
    if record.get("scratch"):
        yield (
            "Logs",
            f"training: {record['scratch']}/logs, Lambda functions: {record['scratch']}/functions.log.",
        )


def _metric(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.4f}"


def _resume(attempt: Record) -> str:
    """ "job 2: proven, from step 15"."""
    verdict = attempt["resume"].replace("_", " ")
    step = attempt.get("resumed_from_step")
    where = "" if step is None else f", from step {step}"
    return f"job {attempt['number']}: {verdict}{where}"


def _cost(record: Record) -> str:
    cost, alone = record["cost_usd"], record["on_demand_cost_usd"]
    if cost is None:
        numbers = ", ".join(str(n) for n in record.get("unpriced_attempts", ()))
        return f"{NOT_KNOWN}: attempt {numbers} has no price or no billable time."
    text = f"{_usd(cost)} for all attempts"
    if record["outcome"] != "succeeded":
        return f"{text}."
    if alone is None:
        return f"{text}; what on-demand alone would have cost is {NOT_KNOWN}."
    saved = record["saved_percent"]
    text += f"; on-demand alone would have cost {_usd(alone)}"
    if saved is None:
        return f"{text}."
    return f"{text}: {saved:.1f} % saved." if saved >= 0 else f"{text}: {-saved:.1f} % more than that."


def _prices(record: Record) -> str:
    said = [
        f"{price['instance_type']} ${price['usd_per_hour']:,.2f} an hour on-demand"
        f" ({'assumed' if price.get('assumed') else 'listed'} {price.get('date')})"
        if price.get("usd_per_hour") is not None
        else f"{price['instance_type']} {NOT_KNOWN}"
        for price in record.get("prices", ())
    ]
    if record.get("spot_discount") is not None:
        said.append(f"Spot is simulated at {record['spot_discount']:.0%} less".replace("%", " %"))
    return f"{'; '.join(said) or NOT_KNOWN}."


def _ending(attempt: Record) -> str:
    if attempt.get("failure_class") is not None:
        words: str = attempt["failure_class"].replace("_", " ")
        return words.replace("nightspot", "Nightspot")
    return plain(attempt.get("status") or "not created").lower() if attempt.get("ended_at") else "still open"


def _duration(seconds: float | None) -> str:
    """In the two largest units, without seconds beside minutes."""
    if seconds is None:
        return "-"
    whole = seconds if seconds < MINUTE_SECONDS else seconds // MINUTE_SECONDS * MINUTE_SECONDS
    return format_duration(whole)


def _narrow(seconds: float | None) -> str:
    """`1h 31m`, so that a whole row fits into 100 columns."""
    return _duration(seconds).replace(" min", "m").replace(" d", "d").replace(" h", "h").replace(" s", "s")


def _usd(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"${value:,.2f}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(moment: datetime, beside: datetime) -> str:
    """`08:00 UTC`, with its date where that is not the one of `beside`."""
    day = "" if moment.date() == beside.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M} UTC"


_STYLES: Mapping[Action, str] = {
    Action.START: "bold cyan",
    Action.WATCH: "cyan",
    Action.STOP: "bold yellow",
    Action.PAUSE: "cyan",
    Action.FINISH: "bold cyan",
}
_FALLBACK_STYLE = "bold magenta"


def in_words(action: Action, because: str, *, what: str = "", fallback: bool = False) -> str:
    """`START Spot ml.p4d.24xlarge as job 1: <because>`; `what` is the part after the action.

    What acts is in capitals, what only looks on is not. A fallback is a start that buys on-demand for a job
    that would rather have Spot.
    """
    name = action.value if action in {Action.WATCH, Action.PAUSE} else action.value.upper()
    doing = " ".join(part for part in ("FALLBACK:" if fallback else "", name, what) if part)
    return f"{doing}: {because}"


def style_of(action: Action, *, fallback: bool = False) -> str:
    """rich's style for the line."""
    return _FALLBACK_STYLE if fallback else _STYLES[action]


@dataclass(frozen=True)
class PricedType:
    """What is known of one instance type (ml.…) in one region."""

    instance_type: str
    region: str
    price: Price | None
    discount: SpotDiscount


def show_prices(console: Console, types: list[PricedType], problems: tuple[str, ...], today: date) -> None:
    """One block for each type, then what could not be learnt."""
    for each in types:
        paragraph(console, "type", f"{each.instance_type} in {each.region}", "bold")
        paragraph(console, "on-demand", _price_words(each.price, today))
        for plan in each.price.plans if each.price else ():
            rate = f"${plan.usd_per_hour:,.3f} an hour on-demand, until {plan.ends_at:%Y-%m-%d}"
            room = f"as far as its ${plan.commitment_usd_per_hour:,.2f} an hour go"
            paragraph(console, "Savings Plan", f"{rate}, {room}; never assumed for Spot")
        paragraph(console, "Spot", _discount_words(each.discount))
    for problem in problems:
        paragraph(console, "note", problem, "yellow")


def prices_as_json(types: list[PricedType], problems: tuple[str, ...], today: date) -> dict[str, Any]:
    """`{instance_types, problems}`; a figure is None where nobody knows it. USD, days, and discounts 0..1."""
    return {"instance_types": [_as_json(each, today) for each in types], "problems": list(problems)}


def _as_json(each: PricedType, today: date) -> dict[str, Any]:
    price, discount = each.price, each.discount
    return {
        "instance_type": each.instance_type,
        "region": each.region,
        "usd_per_hour": price.usd_per_hour if price else None,
        "basis": price.basis.value if price else None,
        "price_source": price.origin.value if price else None,
        "source": price.source if price else None,
        "date": price.date.isoformat() if price else None,
        "age_days": (today - price.date).days if price else None,
        "savings_plans": [
            {
                "usd_per_hour": plan.usd_per_hour,
                "commitment_usd_per_hour": plan.commitment_usd_per_hour,
                "ends_at": plan.ends_at.isoformat(),
            }
            for plan in (price.plans if price else ())
        ],
        "spot_discount": {
            "value": round(discount.value, 4),
            "basis": discount.basis.value,
            "source": discount.words,
            "date": discount.date.isoformat(),
        },
    }


def _price_words(price: Price | None, today: date) -> str:
    if price is None:
        return NOT_KNOWN
    return f"${price.usd_per_hour:,.3f} an hour: {price.words(today)}; {price.source}"


def _discount_words(discount: SpotDiscount) -> str:
    return f"about {round(discount.value * 100)} % less, {discount.words} ({discount.date})"
