"""A whole run on recordings: the real handlers and the real workflow file, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.cassettes.model import Cassette
from nightspot.local.sagemaker.client import InProcessClient
from nightspot.local.sagemaker.replay import CassetteSageMaker
from nightspot.run.model import Action, Run, Step
from tests.simulation.scenarios import Scenario, reference
from tests.simulation.world import World


class _Client:
    """The replayed SageMaker as the world's functions and its workflow call it: each call takes its time."""

    def __init__(self, world: World, replay: CassetteSageMaker) -> None:
        self._world, self._client = world, InProcessClient(replay)
        self.jobs: dict[str, Any] = {}  # none that the world's own rules know of

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)
        return lambda **given: self._world.calls.make(
            "sagemaker", operation, given, lambda _call: call(**given)
        )


@dataclass
class _Replayed(World):
    cassettes: Sequence[Cassette] = ()

    def _sagemaker(self) -> Any:
        replay = CassetteSageMaker(
            self.cassettes,
            now=self.clock.moment,
            later=lambda seconds, do: self.clock.after(seconds, do) and None,
            on_event=self._emit,
        )
        return _Client(self, replay)

    def _emit(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        self.tell(detail["TrainingJobName"], f"{detail['TrainingJobStatus']}/{detail['SecondaryStatus']}")
        self.bus.emit(event["source"], event["detail-type"], detail)


@dataclass(frozen=True)
class Replay:
    """What is left of a run."""

    run: Run
    steps: tuple[Step, ...]
    dead_letters: int
    errors: tuple[str, ...]

    @property
    def decisions(self) -> list[str]:
        """Those that changed something: "02:14 start spot", "06:12 stop last_safe_moment", …"""
        return [_line(self.run, step) for step in self.steps if step.action is not Action.WATCH]


def _line(run: Run, step: Step) -> str:
    minutes = round((step.at - run.started_at).total_seconds() / 60)
    what = step.rung.market.value if step.action is Action.START and step.rung else ""
    if step.outcome is not None:
        what = step.outcome.value
    because = step.reason.value if step.reason is not None else ""
    late = " (late)" if step.late else ""
    words = " ".join(filter(None, (step.action.value, what, because)))
    return f"{minutes // 60:02}:{minutes % 60:02} {words}{late}"


def replayed(cassettes: Sequence[Cassette], **changes: Any) -> Replay:
    """A run of the reference job (4 h of work, due after 8), whose training jobs live the lives of the cassettes.

    `changes`: of the `Scenario`.
    """
    scenario: Scenario = reference(**changes)
    world = _Replayed(scenario, cassettes=cassettes)
    world.play()
    run = world.table.run(world.run_id(next(iter(world.states.executions.values()))))
    assert run is not None
    return Replay(
        run,
        tuple(world.table.steps(run.run_id)),
        len(world.bus.dead_letters),
        tuple(f"{name}: {error!r}" for _, name, error in world.errors),
    )
