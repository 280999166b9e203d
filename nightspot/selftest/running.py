"""Makes the chosen checks, and leaves nothing behind however that ends."""

from __future__ import annotations

import platform
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.cassettes.recording import versions
from nightspot.facts.files import CheckRecord, FactsFile, Observation, account_hash, observation
from nightspot.facts.model import Verdict
from nightspot.facts.registry import FACTS
from nightspot.failures.redaction import redact
from nightspot.selftest.model import Check, NotTriedError, Part, Result, Seen
from nightspot.selftest.workspace import StoppedError, Workspace, code_and_words

# How often the main thread looks for a signal while others work.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Report:
    """A self-test that is over. `file`: what it writes; `interrupted`: a person or a signal ended it."""

    file: FactsFile
    results: tuple[Result, ...]
    interrupted: bool


def worst_usd(checks: Sequence[Check], price: Callable[[str], float]) -> float:
    """The most that these checks can cost."""
    return sum(check.worst_usd(price) for check in checks)


def play(
    workspace: Workspace,
    checks: Sequence[Check],
    *,
    parallel: int = 1,
    on_result: Callable[[Result], None] = lambda _r: None,
) -> Report:
    """Make the checks: A and B one after the other, those of C `parallel` at a time.

    Whatever happens, also SIGINT and SIGTERM, every training job is stopped and all that was made is removed. What
    could not be is in the file's `left_behind`. To be called from the main thread, which hears signals.
    """
    started_at = workspace.now()
    results: list[Result] = []

    def done(result: Result) -> None:
        results.append(result)
        on_result(result)

    interrupted = False
    with _signals(workspace) as quiet:
        try:
            _all(workspace, checks, parallel, done)
        except (KeyboardInterrupt, StoppedError):
            interrupted = True
        finally:
            workspace.stopping.set()
            quiet()
            left = workspace.clean_up()
    results = [replace(each, usd=workspace.usd(each.check.id.lower())) for each in results]
    return Report(_file(workspace, results, started_at, left), tuple(results), interrupted)


def _all(
    workspace: Workspace, checks: Sequence[Check], parallel: int, done: Callable[[Result], None]
) -> None:
    live = [check for check in checks if check.part is Part.C]
    for check in checks:
        if check.part is not Part.C and not check.last:
            done(_made(workspace, check))
    if live:
        _side_by_side(workspace, live, parallel, done)
    for check in checks:
        if check.last:
            done(_made(workspace, check))


def _side_by_side(
    workspace: Workspace, checks: Sequence[Check], parallel: int, done: Callable[[Result], None]
) -> None:
    pool = ThreadPoolExecutor(parallel)
    open_lanes: set[Future[list[Result]]] = set()
    try:
        open_lanes = {pool.submit(_lane, workspace, lane) for lane in lanes(checks)}
        while open_lanes:
            over, open_lanes = wait(open_lanes, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for lane in over:
                for result in lane.result():
                    done(result)
            if workspace.stopping.is_set():
                raise StoppedError
    finally:
        if open_lanes:
            workspace.stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)


def lanes(checks: Sequence[Check]) -> list[list[Check]]:
    """Checks that need one another stand in one lane, in order; the others in one each.

    Those of the deployed stack stand in one as well: they run the same job, which has one run at a time.
    """
    found: list[list[Check]] = []
    for check in checks:
        lane = next((lane for lane in found if any(_follows(check, each) for each in lane)), None)
        if lane is None:
            found.append([check])
        else:
            lane.append(check)
    return found


def _follows(check: Check, other: Check) -> bool:
    return other.id in check.needs or (check.needs_stack and other.needs_stack)


def _lane(workspace: Workspace, checks: Sequence[Check]) -> list[Result]:
    return [_made(workspace, check) for check in checks]


def _made(workspace: Workspace, check: Check) -> Result:
    """One check. What goes wrong with it is no reason to break off the others."""
    workspace.say(f"{check.id}: {check.question}")
    seen, began, because = Seen(), monotonic(), ""
    try:
        check.run(workspace, seen)
    except NotTriedError as error:
        because = str(error)
    except NotImplementedError as error:
        because = f"the emulator: {error}"
    except ClientError as error:
        code, words = code_and_words(error)
        because = f"{error.operation_name}: {code}: {words}"
    except (BotoCoreError, TransientAwsError, TimeoutError) as error:
        because = redact(f"{type(error).__name__}: {error}")
    except StoppedError:
        because = "the self-test was ended"
    observations = tuple(seen.observations(workspace.now()))
    if workspace.emulator:
        # What an emulator does otherwise is its own lack, and no news of AWS.
        broken = [each for each in observations if each.verdict is Verdict.BREAKS]
        observations = tuple(each for each in observations if each not in broken)
        differs = (f"{workspace.emulator} differs: {each.question}: {each.words}" for each in broken)
        because = "; ".join(filter(None, (because, *differs)))
    return Result(check, observations, because, round(monotonic() - began, 1))


def _file(
    workspace: Workspace, results: Sequence[Result], started_at: datetime, left: Sequence[str]
) -> FactsFile:
    image = {"image": workspace.image.rpartition("/")[2]} if workspace.image else {}
    return FactsFile(
        account=account_hash(workspace.account_id),
        region=workspace.region,
        started_at=started_at,
        ended_at=workspace.now(),
        versions={**versions(), "python": platform.python_version(), **image},
        usd=round(workspace.usd(), 4),
        checks=tuple(
            CheckRecord(
                id=each.check.id,
                verdict=each.verdict,
                because=each.because,
                seconds=each.seconds,
                usd=round(each.usd, 4),
            )
            for each in results
        ),
        facts=together(fact for each in results for fact in each.observations),
        left_behind=tuple(left),
    )


def together(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """One observation of each fact: several checks may have seen it."""
    found: dict[str, Observation] = {}
    for each in observations:
        before = found.get(each.id)
        found[each.id] = (
            each
            if before is None
            else observation(
                FACTS[each.id],
                (*before.observed, *each.observed),
                (*before.evidence, *each.evidence),
                each.seen_at or before.seen_at,
                before.cassette or each.cassette,
            )
        )
    return tuple(found.values())


@contextmanager
def _signals(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Inside, the first SIGINT or SIGTERM ends the checks; after the yielded function was called, none does.

    Who asks again while things are being removed is told so: else a second Ctrl-C would leave jobs running.
    """
    removing = False

    def quiet() -> None:
        nonlocal removing
        removing = True

    def heard(_number: int, _frame: FrameType | None) -> None:
        first = not workspace.stopping.is_set()
        workspace.stopping.set()
        workspace.say("Stopping training jobs and removing what was made: please wait.")
        if first and not removing:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, heard) for number in numbers}
    try:
        yield quiet
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
