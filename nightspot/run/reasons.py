"""Why a decision is taken: the closed list of reasons, and the one place where a decision becomes a sentence.

A step has a reason and its figures; `sentence` words both. A figure's name says its unit: `_seconds`, `_usd`, and
`_at` for a time (ISO 8601, UTC). Every other figure is a text, a count, or true or false. One that a decision does
not need is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from nightspot.formats import figures as written
from nightspot.formats.figures import format_duration

FAR_AHEAD = timedelta(hours=12)

Figure = bool | int | float | str | None
Figures = Mapping[str, Figure]


class Reason(StrEnum):
    """Why a decision was taken. Closed: counted, filtered and tested by; the sentence is for people."""

    # Starts.
    WAIT_FOR_SPOT = "wait_for_spot"
    ON_DEMAND_ONLY = "on_demand_only"
    NO_SPOT_LEFT = "no_spot_left"
    NO_ON_DEMAND = "no_on_demand"  # and the waits for Spot after it
    # Starts of on-demand, and the stops of Spot before them.
    LAST_SAFE_MOMENT = "last_safe_moment"
    PATIENCE_OVER = "patience_over"
    THRASHING = "thrashing"
    TOO_SLOW = "too_slow"
    RESUME_BROKEN = "resume_broken"
    # An open training job.
    NOT_SHOWN_YET = "not_shown_yet"
    ASK_AGAIN = "ask_again"
    IN_DOUBT = "in_doubt"
    WAITING = "waiting"
    STARTING = "starting"
    ON_TRACK = "on_track"
    FALLING_BEHIND = "falling_behind"
    LATE = "late"
    UPLOADING = "uploading"
    BUDGET_USED_UP = "budget_used_up"
    GAVE_UP_WAITING = "gave_up_waiting"
    STOPPING = "stopping"
    STOP_REFUSED = "stop_refused"
    STOP_OVERDUE = "stop_overdue"
    # No training job is open.
    WAITING_FOR_TURN = "waiting_for_turn"
    BACK_OFF = "back_off"
    # Ends.
    COMPLETED = "completed"
    REFUSED = "refused"
    REPLACED = "replaced"
    STOP_REQUESTED = "stop_requested"
    STOPPED_BY_PERSON = "stopped_by_person"
    USER_FAULT = "user_fault"
    NOT_CAPACITY = "not_capacity"
    NO_PROGRESS = "no_progress"
    PAID_TIME_USED_UP = "paid_time_used_up"
    REPEATED_FAULT = "repeated_fault"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    GAVE_UP = "gave_up"
    NO_RUNG_LEFT = "no_rung_left"
    BUDGET_TOO_SMALL = "budget_too_small"
    NO_AFFORDABLE_RUNG = "no_affordable_rung"
    FALLBACK_FORBIDDEN = "fallback_forbidden"
    EXECUTION_ENDED = "execution_ended"


def sentence(reason: Reason, figures: Figures, at: datetime | None = None) -> str:
    """The decision in words; `at`: when it was taken, which spares its times the date.

    Raises KeyError, naming the figure, where the reason needs one that is not there.
    """
    template = SENTENCES[reason]
    if "on_demand_type" in figures:  # such a start is said alike, whatever brought it
        template = _START_ON_DEMAND
    elif callable(template):
        template = template(figures)
    return f"{{unseen}}{template}{{not_shown}}{{left_out}}".format_map(_Words(figures, at))


def clock(moment: datetime, beside: datetime | None = None) -> str:
    """ "08:00 UTC", with its day where that is not the one of `beside`, or where it is far ahead of it."""
    is_far = beside is not None and moment - beside > FAR_AHEAD
    return f"{written.day(moment)}, {written.clock(moment)}" if is_far else written.clock(moment, beside)


class _Words(Mapping[str, str]):
    """The figures as a sentence has them, and the phrases that are made of several or of none."""

    def __init__(self, figures: Figures, at: datetime | None) -> None:
        self._figures, self._at = figures, at

    def __getitem__(self, name: str) -> str:
        phrase = _PHRASES.get(name)
        if phrase is not None:
            template = phrase(self._figures)
            return template.format_map(self) if template else ""
        value = self._figures[name]
        if name.endswith("_seconds"):
            return format_duration(_number(value))
        if name.endswith("_usd"):
            return f"${_number(value):,.2f}"
        if name.endswith("_at"):
            return clock(datetime.fromisoformat(str(value)), self._at)
        # A count may have become a float on its way through the state machine.
        return str(int(value)) if isinstance(value, float) else str(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)


def _number(value: Figure) -> float:
    return float(value or 0)


def _if(name: str, template: str, otherwise: str = "") -> Callable[[Figures], str]:
    """`template` where there is a figure `name`, and it is not false."""

    def phrase(figures: Figures) -> str:
        value = figures.get(name)
        return otherwise if value is None or value is False else template

    return phrase


def _after(figures: Figures) -> str:
    """What the decision follows, where it follows a failure or a start in doubt."""
    if "after_failure" in figures:
        return "{after_rung} ended as {failure}{said}; "
    return "{doubt}; " if "training_job_name" in figures else ""


def _waiting(figures: Figures) -> str:
    if figures["state"] == "training":
        return "{rung}{progress} is slower than on-demand"
    if figures["state"] == "starting":
        return "Spot is starting"
    if figures.get("interruptions"):
        return "Spot was interrupted {waited_seconds} ago"
    return "No Spot capacity for {waited_seconds}"


_DOING = {"training": "", "starting": ", starting", "waiting": ", without capacity for {waited_seconds}"}

_PHRASES: Mapping[str, Callable[[Figures], str]] = {
    "unseen": _if("unseen_since_at", "SageMaker has not answered since {unseen_since_at}. "),
    "not_shown": _if("is_not_shown", " SageMaker does not show its training job yet."),
    "left_out": _if("rungs_left_out", " Left out: {rungs_left_out}."),
    "after": _after,
    "failure": lambda figures: str(figures["after_failure"]).replace("_", " "),
    # A failure's own text may hold braces: it is a figure, and no template.
    "said": _if("after_text", ": {after_text}"),
    "doubt": _if(
        "doubt",
        "SageMaker did not take the request for {training_job_name} ({doubted})",
        "SageMaker does not show {training_job_name}",
    ),
    "doubted": lambda figures: str(figures["doubt"]).replace("_", " "),
    "progress": lambda figures: " (step {step}{of_steps} is safe)" if "step" in figures else "",
    # A script that counts in another unit than before looks the same.
    "fell": _if("furthest_step", ": step numbers fell from {furthest_step} to {step}"),
    "of_steps": _if("total_steps", " of {total_steps}"),
    "budget": lambda figures: (
        "the month's last {budget_usd}" if figures["budget_of"] == "month" else "the run's {budget_usd}"
    ),
    "over_budget": _if(
        "types_over_budget", " The worst case of {types_over_budget} does not fit into {budget}."
    ),
    "paid_time": _if(
        "paid_left_seconds", " MaxRuntimeInSeconds leaves {paid_left_seconds} of paid time for it."
    ),
    "promise": _if("is_late", "late, but nothing is faster", "in time for {deadline_at}"),
    "waiting": _waiting,
    "until": _if("must_start_at", "waiting until {leave_at}: "),
    "must_start": _if(
        "must_start_at",
        "on-demand must start by {must_start_at} to finish by {deadline_at}",
        "it must start by {leave_at} to finish by {deadline_at}",
    ),
    "doing": lambda figures: _DOING[str(figures["state"])],
    "times": lambda figures: "once" if figures["refusals"] == 1 else "{refusals} times",
    "pause": _if("wait_seconds", " in {wait_seconds}"),
}

_WORK_LEFT = "{left_seconds} to the deadline, {work_left_seconds} of work left at most"
_START_ON_DEMAND = (
    f"{{after}}{_WORK_LEFT}: on-demand {{on_demand_type}}, {{promise}}.{{over_budget}}{{paid_time}}"
)
_EXPECTED = "{rung}{progress}, expected {finish_at}"
_NOT_CAPACITY = "{after}not a capacity problem: no retry, no on-demand."


def _expected(figures: Figures) -> str:
    """A training job that is left to finish, in time or late."""
    expected = "{rung}{doing}{progress}, expected {finish_at}, due {deadline_at}"
    if figures["is_late"]:
        return f"Late: {expected}; nothing is faster."
    slower = "; slower than on-demand, which takes over at {leave_at} at the latest"
    return f"On track: {expected}{slower if 'leave_at' in figures else ''}."


def _patience_over(figures: Figures) -> str:
    if figures["market"] == "on_demand":
        return "{rung} has waited {waited_seconds} for capacity; {next_type} may have some."
    return "{waiting} ({type}); {next_rung} may have capacity."


def _no_on_demand(figures: Figures) -> str:
    """Spot is asked as well: whoever has a machine first."""
    if "rung" in figures:
        return "{waiting}, and on-demand had none; {next_rung} is asked again at {until_at}."
    return "{after}no on-demand capacity, so Spot {type} is asked as well, until {until_at}."


def _resume_broken(figures: Figures) -> str:
    """On-demand takes over at once; but not from a training job that is done before it could be."""
    broken = "{rung} did not continue from its checkpoint{fell}"
    if figures["state"] != "training":
        return f"{broken} and has no machine; {{next_rung}} takes over."
    if not figures["is_in_time"]:
        late = "{next_rung} would not be in time; expected {finish_at}."
        return f"{broken}, and {late}"
    return f"{broken}; {{next_rung}} is still in time, from the beginning."


SENTENCES: Mapping[Reason, str | Callable[[Figures], str]] = {
    Reason.WAIT_FOR_SPOT: (
        f"{{after}}{_WORK_LEFT}: wait for Spot {{type}} until {{leave_at}}.{{over_budget}}"
    ),
    Reason.ON_DEMAND_ONLY: _START_ON_DEMAND,
    Reason.NO_SPOT_LEFT: _START_ON_DEMAND,
    Reason.NO_ON_DEMAND: _no_on_demand,
    Reason.LAST_SAFE_MOMENT: "{waiting}; {must_start}.",
    Reason.PATIENCE_OVER: _patience_over,
    Reason.THRASHING: (
        "{rung} was interrupted {interruptions} times without a new checkpoint{progress}; next is {next_rung}."
    ),
    Reason.TOO_SLOW: (
        f"Too slow: {_EXPECTED}, due {{deadline_at}}; on-demand is still in time from the checkpoint."
    ),
    Reason.RESUME_BROKEN: _resume_broken,
    Reason.NOT_SHOWN_YET: "SageMaker does not show the training job yet.",
    Reason.ASK_AGAIN: "{doubt}; asking again in {wait_seconds}, under the same name.",
    Reason.IN_DOUBT: "{doubt}, and it is asked for no more; it may still show itself.",
    Reason.WAITING: "{waiting}; {until}{must_start}.",
    Reason.STARTING: "{waiting}; {must_start}.",
    Reason.ON_TRACK: _expected,
    Reason.FALLING_BEHIND: (
        f"Falling behind: {_EXPECTED}, after the deadline; on-demand can still take over for {{slack_seconds}}."
    ),
    Reason.LATE: _expected,
    Reason.UPLOADING: "{rung}{progress} uploads its model, and is left to finish.",
    Reason.BUDGET_USED_UP: (
        "{rung}{progress}: {spent_usd} of {budget} are spent, and the rest pays for no more than the stop."
    ),
    Reason.GAVE_UP_WAITING: (
        "{rung} has waited {waited_seconds} for capacity, long past {deadline_at}; the run gives up."
    ),
    Reason.STOPPING: "The training job is stopping.",
    Reason.STOP_REFUSED: "AWS has refused {times} to stop the training job; asking again{pause}.",
    Reason.STOP_OVERDUE: (
        "The stop asked for at {asked_at} has not taken effect after {waited_seconds}; asking again{pause}."
    ),
    Reason.WAITING_FOR_TURN: "Run {other_run} of the same job is ending; this one takes its place.",
    Reason.BACK_OFF: "{after}asking again in {wait_seconds}.",
    Reason.COMPLETED: "Training job {training_job_name} has completed.",
    Reason.REFUSED: "{text}",
    Reason.REPLACED: "Run {other_run} of the same job takes this one's place.",
    Reason.STOP_REQUESTED: "The run was asked to stop ({by}).",
    Reason.STOPPED_BY_PERSON: _NOT_CAPACITY,
    Reason.USER_FAULT: _NOT_CAPACITY,
    Reason.NOT_CAPACITY: _NOT_CAPACITY,
    Reason.NO_PROGRESS: (
        "{after}its MaxRuntimeInSeconds of {limit_seconds} passed without a new checkpoint{progress}, and the same "
        "again would end alike. Save checkpoints more often, or raise work and MaxRuntimeInSeconds in the job file."
    ),
    Reason.PAID_TIME_USED_UP: (
        "{after}the run's limit of paid time (MaxRuntimeInSeconds {limit_seconds}) is used up{progress}. "
        "Raise MaxRuntimeInSeconds in the job file."
    ),
    Reason.REPEATED_FAULT: "{after}the same again would fail again.",
    Reason.TOO_MANY_ATTEMPTS: "{after}{attempts} attempts are the most of a run.",
    Reason.GAVE_UP: "{after}it is long past {deadline_at}, nothing more is asked for.",
    Reason.NO_RUNG_LEFT: "{after}no rung of the ladder is left.",
    Reason.BUDGET_TOO_SMALL: (
        "{after}{spent_usd} of {budget} are spent and no attempt's worst case fits into the rest."
    ),
    Reason.NO_AFFORDABLE_RUNG: "{after}{budget} leaves no rung that is still in time.",
    Reason.FALLBACK_FORBIDDEN: (
        "{after}Spot can no longer finish by {deadline_at} and the job forbids on-demand."
    ),
    Reason.EXECUTION_ENDED: "{text}",
}
