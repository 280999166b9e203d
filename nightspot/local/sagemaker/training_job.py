"""The course of one training job: waiting, machines given and taken, training, the end.

An example, of a Spot job whose machine is taken once: Starting, Pending, Starting, Downloading,
Training, Interrupted, Starting, Downloading, Training, Uploading, Completed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.formats.statuses import Secondary, Status
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker import job_state, request_rules
from nightspot.local.sagemaker.behaviour import AT_ONCE, Duration, RuntimeLimit, Waits
from nightspot.local.sagemaker.container import Container
from nightspot.local.sagemaker.job_state import (
    COMPLETED,
    ENDINGS,
    STOPPED,
    Cuts,
    Interruption,
    JobEnding,
    JobState,
    SharedJob,
    training_seconds,
)
from nightspot.local.sagemaker.launch import TrainingCommand, launch_of
from nightspot.local.sagemaker.markets import SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.object_store import CheckpointSync, download_channel, object_at, upload_archive
from nightspot.local.sagemaker.opt_ml import is_private
from nightspot.local.sagemaker.process import CommandError, Reaper, TrainingProcess

POLL_REAL_SECONDS = 0.01
# However fast the story runs, a process needs real time to react, and S3 to be written to.
SHORTEST_GRACE_REAL_SECONDS = 0.3
SHORTEST_SYNC_REAL_SECONDS = 0.2
# What ends a job by a stop: SIGTERM where a container runs, and Stopping in any case.
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training-status.html
STOPS = frozenset(
    {
        Interruption.STOP_REQUESTED,
        Interruption.MAX_RUNTIME,
        Interruption.MAX_WAIT,
        Interruption.MAX_PENDING,
    }
)


@dataclass(frozen=True)
class JobHost:
    """What all jobs of a simulation share; paths are this machine's.

    `command_of` gets a CreateTrainingJob request; the job fails where it raises `CommandError`.
    """

    clock: StoryClock
    options: SimulationOptions
    s3: Any
    scratch: Path
    command_of: Callable[[Mapping[str, Any]], TrainingCommand]
    reaper: Reaper
    on_log: Callable[[str, str], None] | None


# fact: sagemaker.stop.order
class TrainingJob:
    """One job's life, in a thread of its own from `start()` on. `number`: in the order of creation, from 1."""

    def __init__(
        self,
        state: JobState,
        market: SimulatedMarket,
        host: JobHost,
        on_change: Callable[[JobState], None],
        number: int = 1,
    ) -> None:
        self.shared = SharedJob(state, host.clock, on_change)
        self._number = number
        self._behaviour = host.options.behaviour
        self._random = Random(f"{host.options.events.seed} {number} {state.name}")  # noqa: S311 - a simulation
        self._request = state.request
        self._spot = request_rules.is_spot(state.request)
        self._created = (state.created_at - host.clock.start).total_seconds()
        self._market = market
        self._host = host
        self._warned = False
        self._agent_dies_at = float("inf")
        self._scripted: JobEnding | None = None
        self._thread = Thread(target=self._live, name=f"training-job-{state.name}", daemon=True)

    def start(self) -> None:
        """Begin to wait for a machine; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Kill what runs and end the thread; the record stays as it is."""
        self.shared.close()
        self._thread.join(timeout=30)

    def _live(self) -> None:
        try:
            ending = self._until_the_end()
        except (ClientError, BotoCoreError, request_rules.ServiceFaultError) as error:
            # What the job may read and write in S3 is its configuration, as AWS sees it.
            ending = job_state.failed(f"ClientError: {error}")
        if ending is not None:
            self.shared.finish(ending, self._host.clock.elapsed_seconds())

    def _until_the_end(self) -> JobEnding | None:
        """Machine after machine until one of them brings the job to its end; None: closed."""
        retries = request_rules.max_retries(self._request)
        asked_at = self._created
        number = 0
        while True:
            number += 1
            outcome = self._one_machine(asked_at, number)
            if isinstance(outcome, JobEnding):
                return outcome
            asked_at = self._host.clock.elapsed_seconds()
            if outcome is Interruption.RECLAIMED:
                self.shared.enter(Secondary.INTERRUPTED, asked_at)
                asked_at += self._behaviour.interrupted.draw(self._random, number)
                cut = self.shared.wait(asked_at, self._limit_on_waiting())
                if cut is not None:
                    return ENDINGS.get(self._stopped(cut, self._behaviour.stop_waiting))
            elif outcome is Interruption.INTERNAL_ERROR and retries > 0:
                retries -= 1
                self.shared.enter(Secondary.RESTARTING, asked_at)
            else:
                return self._scripted if outcome is Interruption.AS_SCRIPTED else ENDINGS.get(outcome)

    def _one_machine(self, asked_at: float, number: int) -> JobEnding | Interruption:
        """Wait for a machine and use it until the job ends or the machine is gone."""
        given_at = self._wait_for_capacity(asked_at, number)
        if isinstance(given_at, Interruption):
            return self._stopped(given_at, self._behaviour.stop_waiting)
        cuts = self._cuts_of_a_machine(given_at)
        fixed = self._host.options.provisioning_seconds(spot=self._spot)
        ready_at = given_at + self._drawn(self._behaviour.provisioning, fixed, number)
        if (cut := self.shared.wait(ready_at, cuts)) is not None:
            return self._stopped(cut, self._behaviour.stop_starting)
        self.shared.enter(Secondary.DOWNLOADING, ready_at)
        root = self._host.scratch / "machines" / f"{self.shared.state.name}-{number}"
        container = containers.prepare(root, self._request, is_private=self._is_private(root))
        try:
            return self._use_machine(container, ready_at, cuts, number)
        finally:
            container.remove()

    def _is_private(self, root: Path) -> bool:
        """Whether the machine's processes get an /opt/ml of their own."""
        try:
            directory = self._host.command_of(self._request).directory
        except CommandError:
            directory = root  # the command is asked for again where it is started, and the job fails there
        return is_private(root, directory)

    def _drawn(self, duration: Duration | None, fixed: float, number: int) -> float:
        return fixed if duration is None else duration.draw(self._random, number)

    def _stopped(self, cut: Interruption, lasts: Duration) -> Interruption:
        """`cut`, after the Stopping leg where it is a stop."""
        if cut not in STOPS:
            return cut
        begun_at = self._host.clock.elapsed_seconds()
        self.shared.enter(Secondary.STOPPING, begun_at, Status.STOPPING)
        seconds = lasts.draw(self._random) + self._behaviour.hang_seconds(Secondary.STOPPING, self._number)
        # A stop that is asked for now has been granted: it brings nothing new.
        while (news := self.shared.wait(begun_at + seconds, {})) is Interruption.STOP_REQUESTED:
            pass
        return news or cut

    def _wait_for_capacity(self, asked_at: float, number: int) -> float | Interruption:
        """When the machine of this number was given; or what ended the wait."""
        given_at = self._market.next_available(asked_at)
        if number > 1 and self._behaviour.shows_starting(number - 1):
            self.shared.enter(Secondary.STARTING, asked_at)
        if given_at == asked_at:
            return given_at
        cuts = self._limit_on_waiting()
        if not self._spot:
            fails_after = self._host.options.on_demand_fails_after_seconds
            if fails_after is not None:
                cuts[Interruption.NO_CAPACITY] = asked_at + fails_after
            pending_seconds = request_rules.max_pending_seconds(self._request)
            if pending_seconds is not None:
                cuts[Interruption.MAX_PENDING] = asked_at + pending_seconds
        shown_at = asked_at + self._behaviour.seconds_to_pending
        is_shown = self._behaviour.waits is Waits.PENDING and (given_at is None or shown_at < given_at)
        if is_shown:
            if (cut := self.shared.wait(shown_at, cuts)) is not None:
                return cut
            self.shared.enter(Secondary.PENDING, shown_at)
        if (cut := self.shared.wait(given_at, cuts)) is not None:
            return cut
        if given_at is None:
            return Interruption.CLOSED
        if is_shown:
            self.shared.enter(Secondary.STARTING, given_at)
        return given_at

    def _limit_on_waiting(self) -> dict[Interruption, float]:
        """MaxWaitTimeInSeconds counts waiting and running together, from the creation on."""
        wait_seconds = request_rules.max_wait_seconds(self._request)
        return {} if wait_seconds is None else {Interruption.MAX_WAIT: self._created + wait_seconds}

    def _cuts_of_a_machine(self, given_at: float) -> dict[Interruption, float]:
        """What can end the use of a machine given at this moment."""
        cuts = self._limit_on_waiting()
        errors = [at for at in self._host.options.internal_errors_at_seconds if at > given_at]
        if errors:
            cuts[Interruption.INTERNAL_ERROR] = min(errors)
        scripted = [(at, ending) for at, ending in self._host.options.endings_at_seconds if at > given_at]
        if scripted:
            cuts[Interruption.AS_SCRIPTED], self._scripted = min(scripted, key=lambda script: script[0])
        reclaim = self._market.next_reclaim(given_at) if self._spot else None
        if reclaim is not None:
            cuts[Interruption.RECLAIMED], self._warned = reclaim
        return cuts

    def _use_machine(
        self, container: Container, ready_at: float, cuts: Cuts, number: int
    ) -> JobEnding | Interruption:
        clock = self._host.clock
        is_counted = self._behaviour.runtime_limit is RuntimeLimit.TOTAL
        used_seconds = training_seconds(self.shared.state, clock.at(ready_at)) if is_counted else 0.0
        runtime_seconds = request_rules.max_runtime_seconds(self._request) - used_seconds
        cuts = {**cuts, Interruption.MAX_RUNTIME: ready_at + runtime_seconds}
        sync = self._download(container)
        fixed = self._host.options.download_seconds
        downloaded_at = ready_at + self._drawn(self._behaviour.downloading, fixed, number)
        if (cut := self.shared.wait(downloaded_at, cuts)) is not None:
            return self._stopped(cut, self._behaviour.stop_starting)
        self.shared.enter(Secondary.TRAINING, max(downloaded_at, clock.elapsed_seconds()))
        outcome = self._train(container, sync, cuts)
        if isinstance(outcome, Interruption):
            return outcome
        return self._upload(container, sync, outcome, cuts)

    def _download(self, container: Container) -> CheckpointSync | None:
        """Bring the inputs and the checkpoints to the machine."""
        for channel in self._request.get("InputDataConfig", []):
            if containers.input_mode(self._request, channel) != "Pipe":
                download_channel(self._host.s3, channel, container.data / channel["ChannelName"])
        if "CheckpointConfig" not in self._request:
            return None
        uri = self._request["CheckpointConfig"]["S3Uri"]
        hosts = request_rules.instance_count(self._request)
        sync = CheckpointSync(
            self._host.s3, uri, container.checkpoints, self._behaviour.uploads, self._random, hosts=hosts
        )
        sync.restore()
        return sync

    def _train(
        self, container: Container, sync: CheckpointSync | None, cuts: Cuts
    ) -> JobEnding | Interruption:
        """Run the command until it exits or is broken off; an `JobEnding` still has to be uploaded."""
        try:
            process = self._start_process(container)
        except CommandError as error:
            return job_state.failed(f"AlgorithmError: The training command cannot start: {error}")
        try:
            outcome = self._watch(process, sync, cuts)
            if isinstance(outcome, int):
                return job_state.of_exit(outcome, container.failure_text())
            if outcome in STOPS:
                self.shared.enter(Secondary.STOPPING, self._host.clock.elapsed_seconds(), Status.STOPPING)
            elif not (outcome is Interruption.RECLAIMED and self._warned):
                return outcome
            gone_at = self._host.clock.elapsed_seconds() + self._grace_seconds()
            news = self._wind_down(process, gone_at)
            if news is Interruption.CLOSED:
                return news
            if outcome in STOPS:
                ended = self._stopped(outcome, self._behaviour.stop_training)
                return ended if ended is Interruption.CLOSED else ENDINGS[outcome]
            if news is None:
                news = self._carry_the_rest(sync, {}, until=gone_at)
            # A reclaimed machine is gone, so a stop that came meanwhile finds nothing to upload.
            if news in STOPS:
                return self._stopped(news, self._behaviour.stop_training)
            return news or outcome
        finally:
            process.kill()

    def _start_process(self, container: Container) -> TrainingProcess:
        host, name = self._host, self.shared.state.name
        on_log = host.on_log
        how = host.command_of(self._request)
        launch = launch_of(container, self._request, how, lambda uri: object_at(host.s3, uri))
        speed = host.options.speeds.get(request_rules.instance_type(self._request), 1.0)
        extra = {
            **host.clock.environment(),
            "NIGHTSPOT_SIMULATED_SPEED": f"{speed:g}",
            **launch.environment,
            **how.environment,
        }
        return TrainingProcess(
            launch.command,
            environment=containers.environment(
                container, self._request, self.shared.state.arn, extra, launch.entry_point
            ),
            container=container,
            directory=launch.directory,
            log=host.scratch / "logs" / f"{name}.log",
            on_line=None if on_log is None else lambda line: on_log(name, line),
            reaper=host.reaper,
            notes=launch.notes,
        )

    def _watch(self, process: TrainingProcess, sync: CheckpointSync | None, cuts: Cuts) -> int | Interruption:
        """Sync checkpoints while the command runs; its exit code, or what broke in."""
        clock = self._host.clock
        every_seconds = max(
            self._host.options.sync_interval_seconds,
            clock.story_seconds(SHORTEST_SYNC_REAL_SECONDS),
        )
        began_at = clock.elapsed_seconds()
        sync_at = began_at + every_seconds
        agent_lives = self._behaviour.uploads.dies_after_seconds
        self._agent_dies_at = float("inf") if agent_lives is None else began_at + agent_lives
        while (code := process.exit_code()) is None:
            look_at = clock.elapsed_seconds() + clock.story_seconds(POLL_REAL_SECONDS)
            if (cut := self.shared.wait(look_at, cuts)) is not None:
                return cut
            now = clock.elapsed_seconds()
            if sync is not None and now < self._agent_dies_at:
                sync.work(now)
                if now >= sync_at:
                    sync.begin(now)
                    sync.work(now)
                    sync_at = now + every_seconds
        return code

    def _grace_seconds(self) -> float:
        """From SIGTERM to SIGKILL."""
        shortest = self._host.clock.story_seconds(SHORTEST_GRACE_REAL_SECONDS)
        return max(self._host.options.stop_grace_seconds, shortest)

    def _wind_down(self, process: TrainingProcess, deadline: float) -> Interruption | None:
        """SIGTERM, and time to react until `deadline`; returns the order that came meanwhile, if one did."""
        clock = self._host.clock
        process.terminate()
        news = None
        while process.exit_code() is None and (now := clock.elapsed_seconds()) < deadline:
            look_at = min(now + clock.story_seconds(POLL_REAL_SECONDS), deadline)
            news = self.shared.wait(look_at, {}) or news
            if news is Interruption.CLOSED:
                break
        return news

    def _carry_the_rest(
        self, sync: CheckpointSync | None, cuts: Cuts, *, until: float = float("inf")
    ) -> Interruption | None:
        """Carry what is not in S3 yet, until a moment at the latest; what broke in, if something did.

        A stop is heard, and breaks nothing off.
        """
        news = None
        if sync is None or self._agent_dies_at <= self._host.clock.elapsed_seconds():
            return None
        for _ in range(2):  # what was under way, and then what changed since that began
            now = self._host.clock.elapsed_seconds()
            sync.begin(now)
            sync.work(now)
            while sync.next_at is not None and sync.next_at <= until:
                ready_at = sync.next_at
                while (cut := self.shared.wait(ready_at, cuts)) is Interruption.STOP_REQUESTED:
                    news = cut
                if cut is not None:
                    return cut
                sync.work(ready_at)
        return news

    def _upload(
        self, container: Container, sync: CheckpointSync | None, ending: JobEnding, cuts: Cuts
    ) -> JobEnding | Interruption:
        """Store checkpoints and the model, or what there is of it; a failed job's stays behind."""
        clock = self._host.clock
        if ending.status is not Status.STOPPED or self._behaviour.stop_shows_uploading:
            self.shared.enter(Secondary.UPLOADING, clock.elapsed_seconds())
        # A decided ending does not need the machine any more, so losing it changes nothing.
        breaking = (
            {Interruption.RECLAIMED, Interruption.INTERNAL_ERROR, Interruption.AS_SCRIPTED}
            if ending is COMPLETED
            else set()
        )
        cuts = {cut: at for cut, at in cuts.items() if cut in breaking}
        seconds = self._drawn(self._behaviour.uploading, self._host.options.upload_seconds, 1)
        if ending.status is Status.STOPPED:
            seconds += self._behaviour.hang_seconds(Secondary.UPLOADING, self._number)
        cut = self._carry_the_rest(sync, cuts)
        if cut is None:
            cut = self.shared.wait(clock.elapsed_seconds() + seconds, cuts)
        if cut is Interruption.STOP_REQUESTED:
            ending = STOPPED if ending is COMPLETED else ending
            cut = self._stopped(cut, AT_ONCE)
        if cut is not Interruption.STOP_REQUESTED and cut is not None:
            return cut
        if sync is not None and self._agent_dies_at > clock.elapsed_seconds():
            sync.end()
        keeps = ending.status is not Status.STOPPED or self._behaviour.stopped_has_model
        if keeps and ending.status is not Status.FAILED:
            path = self._request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            folder = f"{path}/{self.shared.state.name}/output"
            upload_archive(self._host.s3, container.model, f"{folder}/model.tar.gz")
            self.shared.model_stored(f"{folder}/model.tar.gz")
            if any(container.output_data.iterdir()):
                upload_archive(self._host.s3, container.output_data, f"{folder}/output.tar.gz")
        return ending
