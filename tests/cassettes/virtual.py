"""Both simulators in virtual time, recorded: the local run's SageMaker, and that of tests/simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event
from typing import Any
from unittest.mock import patch

from nightspot.cassettes.model import Cassette, Origin
from nightspot.cassettes.recording import Recorder
from nightspot.formats.statuses import ENDED
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import descriptions, training_job
from nightspot.local.sagemaker import sagemaker as local
from nightspot.local.sagemaker.client import InProcessClient
from nightspot.local.sagemaker.conformance import LifeToLive
from nightspot.local.stage.night_files import Night
from tests.simulation.calls import Calls
from tests.simulation.clock import HOUR, START, Clock
from tests.simulation.nights import NightMarket
from tests.simulation.s3 import S3
from tests.simulation.sagemaker import Habits, Job, SageMaker
from tests.simulation.training import Workload

SCALE = 100.0  # a hundredth of a second, which real phases are looked at in, is one of the story
LOOKS = 60  # at a life, beside those at its events


class VirtualStoryClock(StoryClock):
    """The local run's clock, moved by a clock that jumps: what waits lets all happen that comes due meanwhile."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(START, SCALE, monotonic=lambda: clock.now / SCALE)
        self._clock = clock

    def wait_for(self, news: Event, story_seconds: float) -> None:
        self._clock.pass_until(min(self._clock.now + story_seconds, 10**9), news.is_set)


class Script:
    """The container of each machine of a life, in turn; takes the place of TrainingProcess."""

    def __init__(self, clock: Clock, life: LifeToLive) -> None:
        self.clock, self.life, self.started = clock, life, 0

    def __call__(self, _command: Any, *, environment: dict[str, str], **_more: Any) -> Process:
        self.started += 1
        trains = self.life.trains[self.started - 1] if self.started <= len(self.life.trains) else None
        return Process(self, Path(environment["HOME"]) / "opt" / "ml", trains)


class Process:
    """A container that writes what the recording says, and ends at SIGTERM at once."""

    def __init__(self, script: Script, folder: Path, trains: float | None) -> None:
        self._clock, self._folder = script.clock, folder
        self._ends_at = None if trains is None else self._clock.now + trains
        self._failure = script.life.failure
        self._is_gone = False
        for file in script.life.files:
            if file.at >= self._clock.now:
                self._clock.at(file.at, lambda file=file: self._write(file.key, file.size))

    def _write(self, key: str, size: int | None) -> None:
        path = self._folder / "checkpoints" / key
        if self.exit_code() is not None or self._is_gone:
            return
        if size is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)

    def exit_code(self) -> int | None:
        if self._ends_at is None or self._clock.now < self._ends_at:
            return None
        if self._failure is None:
            return 0
        (self._folder / "output" / "failure").write_text(self._failure)
        return 1

    def terminate(self) -> None:
        self._ends_at = self._clock.now

    def kill(self) -> None:
        self._is_gone = True


class _Post(descriptions.EventPost):
    """Delivers on the virtual clock."""

    clock: Clock

    def send(self, state: Any) -> None:
        super().send(state)
        for letter in self._letters:
            self.clock.at(letter.due_seconds, self._deliver_due)

    def _deliver_due(self) -> None:
        while self._letters and self._letters[0].due_seconds <= self.clock.now:
            self._on_event(self._letters.pop(0).event)


class _NoThread:
    def __init__(self, **_options: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        pass


@contextmanager
def local_sagemaker(
    clock: Clock, life: LifeToLive, scratch: Path, on_event: Callable[[dict[str, Any]], None]
) -> Iterator[tuple[Any, S3]]:
    """A client of the local run's simulated SageMaker, whose one job lives in virtual time; and its S3."""

    class Inline(_NoThread):
        def __init__(self, *, target: Callable[[], None], **_options: Any) -> None:
            self._target = target

        def start(self) -> None:
            clock.after(0.0, self._target)

    class Post(_Post):
        pass

    Post.clock = clock
    s3 = S3(clock, Calls(clock, Random(0), lambda _call: None, lambda _call, _what: None))
    with ExitStack() as stack:
        for module, name, value in (
            (training_job, "TrainingProcess", Script(clock, life)),
            (training_job, "Thread", Inline),
            (descriptions, "Thread", _NoThread),
            (local, "EventPost", Post),
        ):
            stack.enter_context(patch.object(module, name, value))
        simulator = stack.enter_context(
            local.SimulatedSageMaker(
                VirtualStoryClock(clock),
                life.markets,
                scratch=scratch,
                on_event=on_event,
                command=["script"],
                options=life.options,
                s3=s3,
            )
        )
        yield InProcessClient(simulator), s3


@contextmanager
def simulation_sagemaker(
    clock: Clock, life: LifeToLive, _scratch: Path, on_event: Callable[[dict[str, Any]], None]
) -> Iterator[tuple[Any, S3]]:
    """The client of tests/simulation's own SageMaker."""
    calls = Calls(clock, Random(0), lambda _call: None, lambda _call, _what: None)
    s3 = S3(clock, calls)
    lives = iter(life.trains)

    def workload(_job: Job) -> Workload:
        trains = next(lives, None)
        seconds = 10.0**8 if trains is None else trains
        fails = 1 if life.failure is not None and trains is not None else None
        failure = f"AlgorithmError: {life.failure}"
        return Workload(1, seconds, 1, {}, pace=(1.0, 1.0), fails_at_step=fails, failure=failure)

    def changed(job: Job) -> None:
        if sagemaker.has_event(job):
            event = {"id": f"{len(job.transitions)}", "detail": sagemaker.event_detail(job)}
            clock.after(0.0, lambda: on_event(event))

    options = life.options
    habits = Habits(behaviour=options.behaviour, events_of=options.events.of, stopping=(0.0, 0.0))
    market: Any = NightMarket(Night("", "", life.markets, options))
    sagemaker = SageMaker(clock, calls, s3, Random(0), market, workload, habits, changed)
    for at, ending in options.endings_at_seconds:
        clock.at(
            at,
            lambda e=ending: sagemaker.end_all(e.status, e.secondary, e.failure_reason, with_machine=False),
        )
    yield sagemaker, s3


SIMULATORS = {"local run": local_sagemaker, "simulation": simulation_sagemaker}


def lived(simulator: str, life: LifeToLive, scratch: Path) -> Cassette:
    """The life on one of the simulators, as the recorder has it."""
    clock = Clock()
    name = life.request["TrainingJobName"]
    seen: dict[str, Any] = {}

    def on_event(event: dict[str, Any]) -> None:
        recorder.event(event)
        look()

    def look() -> None:
        seen.update(recorder.describe())

    def look_again() -> None:
        look()
        if seen["TrainingJobStatus"] not in ENDED:
            clock.after(max(1.0, life.lasts / LOOKS), look_again)

    with SIMULATORS[simulator](clock, life, scratch, on_event) as (client, s3):
        uri = life.request["CheckpointConfig"]["S3Uri"]
        recorder = Recorder(client, name, now=clock.moment, s3=s3, prefix_uri=uri)
        recorder.create(life.request)
        clock.after(1.0, look_again)
        if life.stop_at is not None:
            clock.at(life.stop_at, recorder.stop)
        clock.run(2 * life.lasts + HOUR)
        recorder.list_versions()
    return recorder.cassette("As simulated.", origin=Origin.SIMULATION, evidence=simulator)


def without_files(life: LifeToLive) -> LifeToLive:
    """For the simulator whose scripts write no files of one's own."""
    return replace(life, files=())
