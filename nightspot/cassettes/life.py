"""What a cassette tells of a life, in the terms in which two lives are compared: states, fields, events, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.cassettes.model import Cassette, Entry, Source, seconds_of
from nightspot.formats.statuses import ENDED, Secondary, Status


@dataclass(frozen=True)
class Span:
    """A secondary status, from `start` to `end` in seconds after the creation; `end` None while it lasts."""

    secondary: str
    start: float
    end: float | None

    @property
    def seconds(self) -> float | None:
        return None if self.end is None else self.end - self.start


@dataclass(frozen=True)
class State:
    """TrainingJobStatus and SecondaryStatus; `status` None where no answer showed it."""

    status: str | None
    secondary: str

    def __str__(self) -> str:
        return f"{self.status or '?'}/{self.secondary}"


@dataclass(frozen=True)
class File:
    """Something that became of a file in S3."""

    at: float
    kind: str  # put, delete
    key: str


@dataclass(frozen=True)
class Life:
    """All that is compared. `fields`: by state, the fields that each and that any answer had."""

    spans: tuple[Span, ...]
    word: tuple[State, ...]
    always: Mapping[str, frozenset[str]]
    ever: Mapping[str, frozenset[str]]
    events: Mapping[str, int]  # by state; none where the cassette does not know all of them
    files: tuple[File, ...]
    final: str | None  # the last TrainingJobStatus, where the job is over


def life_of(cassette: Cassette) -> Life:
    """The life that a cassette tells. Raises CassetteError where it has no description."""
    spans = _spans(cassette.description)
    answers = [entry.payload for entry in cassette.of(Source.DESCRIBE)]
    details = [entry.payload["detail"] for entry in cassette.of(Source.EVENT)]
    events = Counter(map(_state_of, details)) if cassette.knows_events else Counter[str]()
    last = str(answers[-1]["TrainingJobStatus"])
    return Life(
        spans=spans,
        word=_word(spans, [*answers, *details], last),
        always=_fields(answers, frozenset.intersection),
        ever=_fields(answers, frozenset.union),
        events=events,
        files=tuple(
            File(entry.t, entry.payload["kind"], entry.payload["key"]) for entry in cassette.of(Source.S3)
        ),
        final=last if last in ENDED else None,
    )


# What a description has of a job that is over, and of no other.
_AT_THE_END = frozenset(
    {
        "FailureReason",
        "ModelArtifacts",
        "TrainingEndTime",
        "TrainingTimeInSeconds",
        "BillableTimeInSeconds",
    }
)


def unfolded(cassette: Cassette) -> Cassette:
    """The cassette with an answer for each status that lies before its first answer.

    A harvested one has the last answer alone; what came before it is read off its transitions.
    """
    described = list(cassette.of(Source.DESCRIBE))
    if not described:
        return cassette
    first = described[0]
    transitions = first.payload["SecondaryStatusTransitions"]
    made: list[Entry] = []
    status = Status.IN_PROGRESS
    for number, transition in enumerate(transitions):
        start = seconds_of(transition.get("StartTime"))
        status = Status.STOPPING if transition["Status"] == Secondary.STOPPING else status
        if start is None or start >= first.t:
            continue
        entered = {key: value for key, value in transition.items() if key != "EndTime"}
        answer = {key: value for key, value in first.payload.items() if key not in _AT_THE_END}
        answer |= {
            "TrainingJobStatus": status.value,
            "SecondaryStatus": transition["Status"],
            "LastModifiedTime": transition["StartTime"],
            "SecondaryStatusTransitions": [*transitions[:number], entered],
        }
        made.append(Entry(t=start, source=Source.DESCRIBE, payload=answer))
    entries = sorted((*cassette.entries, *made), key=lambda entry: entry.t)
    return cassette.model_copy(update={"entries": tuple(entries)})


def _spans(description: Mapping[str, Any]) -> tuple[Span, ...]:
    """The transitions, with repeats of one status merged."""
    spans: list[Span] = []
    for entry in description["SecondaryStatusTransitions"]:
        start, end = seconds_of(entry.get("StartTime")), seconds_of(entry.get("EndTime"))
        secondary = str(entry["Status"])
        if spans and spans[-1].secondary == secondary:
            spans[-1] = Span(secondary, spans[-1].start, end)
        else:
            spans.append(Span(secondary, start if start is not None else _end_of(spans), end))
    return tuple(spans)


def _end_of(spans: list[Span]) -> float:
    return (spans[-1].end or spans[-1].start) if spans else 0.0


def _word(spans: Iterable[Span], seen: Iterable[Mapping[str, Any]], last: str) -> tuple[State, ...]:
    """The statuses beside the secondary ones, each as an answer or an event showed it last."""
    statuses: dict[str, str] = {}
    for answer in seen:
        statuses[str(answer.get("SecondaryStatus"))] = str(answer.get("TrainingJobStatus"))
    word = [State(statuses.get(span.secondary), span.secondary) for span in spans]
    if word:
        word[-1] = State(last, word[-1].secondary)
    return tuple(word)


def _fields(answers: Iterable[Mapping[str, Any]], join: Any) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for answer in answers:
        names = frozenset(answer)
        state = _state_of(answer)
        found[state] = join(found[state], names) if state in found else names
    return found


def _state_of(answer: Mapping[str, Any]) -> str:
    return f"{answer.get('TrainingJobStatus')}/{answer.get('SecondaryStatus')}"
