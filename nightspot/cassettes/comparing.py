"""Where a life that was lived again differs from the recorded one, in words; nothing where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, zip_longest

from nightspot.cassettes.life import File, Life, Span, State, life_of
from nightspot.cassettes.model import Cassette

S3_SECONDS = 2.0  # S3's LastModified has whole seconds: what is closer together has no order


@dataclass(frozen=True)
class Tolerance:
    """How much longer or shorter than recorded a status may last."""

    seconds: float = 5.0
    share: float = 0.02

    def allows(self, recorded: float, lived: float) -> bool:
        return abs(lived - recorded) <= self.seconds + self.share * recorded


def differences(recorded: Cassette, lived: Cassette, tolerance: Tolerance | None = None) -> list[str]:
    """One line for each difference. What the recording knows nothing of (events, files, fields) is not compared.

    Raises CassetteError where either has no description.
    """
    before, after = life_of(recorded), life_of(lived)
    return [
        *_states(before.word, after.word),
        *_durations(before.spans, after.spans, tolerance or Tolerance()),
        *_fields(before, after, _known_fields(recorded)),
        *_events(before, after),
        *_files(before.files, after.files),
    ]


def _states(recorded: tuple[State, ...], lived: tuple[State, ...]) -> Iterator[str]:
    for number, (one, other) in enumerate(zip_longest(recorded, lived), 1):
        if one is None or other is None or not _is_same(one, other):
            yield (
                f"state {number} is {other or 'missing'}, and was {one or 'none'};"
                f" recorded {_arrows(recorded)}, simulated {_arrows(lived)}"
            )
            return


def _is_same(one: State, other: State) -> bool:
    return one.secondary == other.secondary and (
        None in {one.status, other.status} or one.status == other.status
    )


def _arrows(word: Iterable[State]) -> str:
    return " -> ".join(map(str, word))


def _durations(recorded: tuple[Span, ...], lived: tuple[Span, ...], tolerance: Tolerance) -> Iterator[str]:
    if [span.secondary for span in recorded] != [span.secondary for span in lived]:
        return
    for number, (one, other) in enumerate(zip(recorded, lived, strict=True), 1):
        if one.seconds is None or other.seconds is None:
            continue
        if not tolerance.allows(one.seconds, other.seconds):
            yield (
                f"state {number} ({one.secondary}) lasts {other.seconds:.0f} s, and lasted {one.seconds:.0f} s"
            )


def _known_fields(recorded: Cassette) -> frozenset[str] | None:
    return None if recorded.knows_fields is None else frozenset(recorded.knows_fields)


def _fields(recorded: Life, lived: Life, known: frozenset[str] | None) -> Iterator[str]:
    for state in recorded.ever.keys() & lived.ever.keys():
        for name in sorted(recorded.ever[state] | lived.ever[state]):
            if known is not None and name not in known:
                continue
            if name in recorded.ever[state] and name not in recorded.always[state]:
                continue  # seen in some answers: both are right
            had, has = name in recorded.always[state], name in lived.always[state]
            if had != has or (not had and name in lived.ever[state]):
                verb = "lacks" if had else "has"
                yield f"in {state} DescribeTrainingJob {verb} {name}, and {'had' if had else 'lacked'} it"


def _events(recorded: Life, lived: Life) -> Iterator[str]:
    if not recorded.events:
        return
    most = max(recorded.events.values())
    for state in sorted(recorded.events.keys() | lived.events.keys()):
        had, has = recorded.events.get(state, 0), lived.events.get(state, 0)
        if (had == 0) != (has == 0) or has > most:
            yield f"{has} events of {state}, and there were {had} (at most {most} of any state)"


def _files(recorded: tuple[File, ...], lived: tuple[File, ...]) -> Iterator[str]:
    if not recorded:
        return
    before, after = _firsts(recorded), _firsts(lived)
    for what in sorted(before.keys() ^ after.keys()):
        kind, key = what
        yield f"{kind} of {key} {'never happens, and did' if what in before else 'happens, and never did'}"
    for one, other in combinations(sorted(before.keys() & after.keys()), 2):
        first, second = sorted((one, other), key=lambda what: before[what])
        if before[second] - before[first] > S3_SECONDS and after[second] < after[first]:
            yield f"{' of '.join(second)} comes before {' of '.join(first)}, and came after it"


def _firsts(files: Iterable[File]) -> dict[tuple[str, str], float]:
    """When each thing first became of each file."""
    found: dict[tuple[str, str], float] = {}
    for file in files:
        found.setdefault((file.kind, file.key), file.at)
    return found
