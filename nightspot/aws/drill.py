"""Whether a training script resumes on SageMaker: stops it after its first checkpoint, starts it again, and
reads in its progress file where it went on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from nightspot.aws.drill_plan import (
    MOST_WAIT_SECONDS,
    AwsDrillVerdict,
    DrillError,
    DrillJobs,
    DrillOutcome,
    DrillPlan,
    DrillResult,
    broken,
    create_request,
    no_progress_file,
    no_word,
    told,
    went_on,
)
from nightspot.decide.ledger import Observation, book, fold
from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import MINUTE_SECONDS, format_duration
from nightspot.plan.planning import training_job_name
from nightspot.run.model import Action, Attempt, AttemptState, Resume, Step

# Between two looks: short after news, because each minute is paid for.
LOOK_SECONDS = (5, 10, 20, 30)
# SageMaker uploads files in no promised order: this long after the first one, the progress file should be there.
SHORTEST_SILENCE_SECONDS = 10 * MINUTE_SECONDS
# Longer than any upload that has been reported; a job that takes longer to end is looked at by a person.
LONGEST_END_SECONDS = 3600
# How long a job whose creation was cut short is looked for before it is taken for never created.
LATE_SECONDS = (2, 5, 10)

# What in job 2 is the script's own failure; all else says nothing about it.
_OF_THE_SCRIPT = {FailureClass.USER_CODE, FailureClass.OUT_OF_MEMORY}

Tell = Callable[[datetime, str], None]


class Drill:
    """One drill. `now` gives aware UTC datetimes, `sleep` takes seconds, `tell(at, text)` hears what happens.

    `on_left(name, why)` hears of each training job that could not be stopped and may go on costing money.
    """

    def __init__(
        self,
        plan: DrillPlan,
        jobs: DrillJobs,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        tell: Tell,
        on_left: Callable[[str, str], None],
    ) -> None:
        self._plan = plan
        self._jobs = jobs
        self._now = now
        self._sleep = sleep
        self._tell = tell
        self._on_left = on_left
        self._run = plan.run

    def play(self, *, keep: bool = False) -> DrillResult:
        """Carry the drill out; minutes to hours. Without `keep`, what a passed drill has stored is deleted.

        Raises DrillError where it cannot be carried out. However it ends, also by KeyboardInterrupt, its training
        jobs are stopped.
        """
        uri = self._plan.checkpoint_uri
        # Asked before anything is paid for: whether S3 may be listed and read at all.
        if self._jobs.has_files(uri) or self._jobs.progress(uri) is not None:
            raise DrillError(f"{uri} is in use already: start the drill again", FailureClass.CONFIGURATION)
        with self._nothing_left_running():
            verdict = self._verdict()
            self._say(verdict.because)
            notes = self._wound_up()
        return self._tidied(verdict, notes, keep=keep)

    def _verdict(self) -> AwsDrillVerdict:
        self._start("job 1 shall save a checkpoint")
        verdict = self._until_saved()
        if verdict is not None:
            return verdict
        if self._last.is_open:
            self._stop_and_see_it_end()
        verdict = self._of_what_was_saved()
        if verdict is not None:
            return verdict
        self._start("job 2 shall continue from it")
        return self._until_resumed()

    def _until_saved(self) -> AwsDrillVerdict | None:
        """Look until job 1's first checkpoint is durable: None then, and a verdict where none will come."""
        silent_since: datetime | None = None
        silence_seconds = max(SHORTEST_SILENCE_SECONDS, 2 * self._run.checkpoint_every_seconds)
        for job in self._looks(self._plan.max_runtime_seconds + LONGEST_END_SECONDS):
            if self._saved_step:
                self._say(f"step {self._saved_step} is safe in S3")
                return None
            if job.state is AttemptState.TRAINING or not job.is_open:
                has_files = self._jobs.has_files(self._plan.checkpoint_uri)
                if not job.is_open:
                    return self._of_no_checkpoint(job, has_files=has_files)
                silent_since = (silent_since or self._now()) if has_files else None
            if silent_since and (self._now() - silent_since).total_seconds() > silence_seconds:
                return no_progress_file(f"for {format_duration(silence_seconds)}")
        raise self._endless()

    def _of_no_checkpoint(self, job: Attempt, *, has_files: bool) -> AwsDrillVerdict:
        """The verdict on a job 1 that has ended with nothing that it says is safe."""
        if job.failure not in {None, FailureClass.RUNTIME_LIMIT}:
            raise self._broken_off(job, job.failure)
        if has_files:
            return no_progress_file("until the end of job 1")
        if job.failure is None:
            because = "job 1 was complete without a single checkpoint: whatever interrupts it, all is lost"
            return AwsDrillVerdict(DrillOutcome.FAILED, because)
        limit = format_duration(self._plan.max_runtime_seconds)
        because = f"no checkpoint within {limit}; where they are farther apart, raise --max-minutes"
        return AwsDrillVerdict(DrillOutcome.FAILED, because)

    def _of_what_was_saved(self) -> AwsDrillVerdict | None:
        """The verdict, if there is one, on a job 1 that has ended and has saved something."""
        job, progress = self._last, self._run.progress
        if job.failure is None:
            message = f"{job.training_job_name} was complete before it could be stopped: give it more to do"
            raise DrillError(message, FailureClass.CONFIGURATION)
        if job.failure not in {FailureClass.STOPPED_BY_NIGHTSPOT, FailureClass.RUNTIME_LIMIT}:
            raise self._broken_off(job, job.failure)
        if progress is None or progress.attempt is None:
            because = (
                "nightspot.json names no attempt, so nobody can see which of the two jobs has written it"
            )
            return AwsDrillVerdict(DrillOutcome.NOT_VISIBLE, because)
        return None

    def _until_resumed(self) -> AwsDrillVerdict:
        """Look until it is known where job 2 began, and that it saved something more."""
        saved = self._saved_step
        for job in self._looks(self._plan.max_runtime_seconds + LONGEST_END_SECONDS):
            progress = self._run.progress
            if job.resume is Resume.BROKEN and progress is not None:
                return broken(saved, progress)
            if job.resume is Resume.NOT_VISIBLE:
                return no_word(f"after {format_duration(job.worked_seconds or 0)} of training")
            if not job.is_open:
                return self._of_ended(job, saved)
            if job.resume is Resume.PROVEN and not self._plan.to_the_end:
                resumed = job.resumed_from_step or 0
                if self._saved_step > resumed:
                    return went_on(saved, resumed, f"went on to step {self._saved_step}")
        raise self._endless()

    def _of_ended(self, job: Attempt, saved: int) -> AwsDrillVerdict:
        """The verdict on a job 2 that has ended by itself."""
        proven, resumed = job.resume is Resume.PROVEN, job.resumed_from_step or 0
        if job.failure is None:
            return went_on(saved, resumed, "trained to its end") if proven else no_word("until its end")
        began = f"job 2 resumed from step {resumed}" if proven else "job 2 said nothing of where it began"
        if job.failure in _OF_THE_SCRIPT:
            reason = (job.failure_reason or "no reason was given").rstrip(" .")
            return AwsDrillVerdict(DrillOutcome.FAILED, f"{began}, and then failed: {reason}")
        if job.failure is not FailureClass.RUNTIME_LIMIT:
            raise self._broken_off(job, job.failure)
        limit = format_duration(self._plan.max_runtime_seconds)
        if not proven:
            return no_word(f"within {limit}")
        if self._plan.to_the_end:
            missed = f"did not come to its end within {limit}: raise --max-minutes"
        elif self._saved_step > resumed:
            return went_on(saved, resumed, f"went on to step {self._saved_step}")
        else:
            missed = f"saved no further checkpoint within {limit}"
        return AwsDrillVerdict(DrillOutcome.FAILED, f"{began}, but {missed}")

    def _start(self, why: str) -> None:
        number = len(self._run.attempts) + 1
        name, now = training_job_name(self._run, number), self._now()
        request = create_request(self._plan, self._run, number, now)
        step = Step(self._run.steps + 1, now, Action.START, why, attempt=number, rung=self._plan.rung)
        self._say(f"starts {name} ({self._plan.rung.label}): {why}")
        before = self._run
        # Booked before it is asked for: a call that is cut short may still start it.
        self._run = book(before, step, name)
        try:
            self._jobs.create(request)
        except DrillError as error:
            if error.failure is not FailureClass.SERVICE_FAULT:
                self._run = before  # AWS has answered, with a no
            raise

    def _stop_and_see_it_end(self) -> None:
        name = self._last.training_job_name
        self._say(f"stops {name}")
        self._jobs.stop(name)
        step = Step(self._run.steps + 1, self._now(), Action.STOP, "as planned", training_job_name=name)
        self._run = book(self._run, step)
        for job in self._looks(LONGEST_END_SECONDS):
            if not job.is_open:
                return
        raise self._endless()

    def _wound_up(self) -> tuple[str, ...]:
        """End the last job. What goes wrong with that is no part of the verdict: it is told beside it."""
        if not self._last.is_open:
            return ()
        try:
            self._stop_and_see_it_end()
        except DrillError as error:
            return (str(error),)
        return ()

    def _looks(self, limit_seconds: float) -> Iterator[Attempt]:
        """The last training job as each look shows it, for so long beside any waiting for a machine."""
        pauses = iter(LOOK_SECONDS)
        known: tuple[object, ...] = ()
        waited_seconds = 0.0
        while waited_seconds <= limit_seconds:
            job = self._look()
            yield job
            news = (job.training_job_name, job.secondary_status, self._run.progress)
            if news != known:
                known, pauses = news, iter(LOOK_SECONDS)
            pause = next(pauses, LOOK_SECONDS[-1])
            self._sleep(pause)
            if job.state not in {AttemptState.ASKED, AttemptState.WAITING}:
                waited_seconds += pause
            elif (self._now() - (job.state_since or job.asked_at)).total_seconds() > MOST_WAIT_SECONDS:
                longest = format_duration(MOST_WAIT_SECONDS)
                what = f"{job.training_job_name} has had no machine for {longest}"
                raise DrillError(told(what, None, FailureClass.WAIT_LIMIT), FailureClass.WAIT_LIMIT)

    def _look(self) -> Attempt:
        """See the last job and the progress file, and fold both into the ledger as a run does."""
        known = self._last
        name = known.training_job_name
        view = self._jobs.view(name)
        # After the job, so that what it had saved when it ended is seen.
        progress = self._jobs.progress(self._plan.checkpoint_uri)
        self._run = fold(self._run, Observation({name: view}, progress), self._now())
        job = self._last
        if job.secondary_status not in {None, known.secondary_status}:
            self._say(f"job {job.number} is {job.secondary_status}")
        return job

    @property
    def _last(self) -> Attempt:
        return self._run.attempts[-1]

    @property
    def _saved_step(self) -> int:
        return self._run.progress.step if self._run.progress else 0

    @contextmanager
    def _nothing_left_running(self) -> Iterator[None]:
        try:
            yield
        finally:
            for attempt in self._run.attempts:
                if attempt.is_open:
                    self._stop_for_good(attempt)

    def _stop_for_good(self, attempt: Attempt) -> None:
        name, why = attempt.training_job_name, "the stop was cut short"
        try:
            pauses = iter(() if attempt.was_created else LATE_SECONDS)
            while not self._jobs.stop(name) and (pause := next(pauses, None)) is not None:
                self._sleep(pause)
            why = ""
        except DrillError as error:
            why = str(error)
        finally:
            # Also where a second Ctrl-C breaks in.
            if why:
                self._on_left(name, why)

    def _broken_off(self, job: Attempt, failure: FailureClass | None) -> DrillError:
        failure = failure or FailureClass.UNKNOWN
        what = f"{job.training_job_name} ended before it showed anything"
        return DrillError(told(what, job.failure_reason, failure), failure)

    def _endless(self) -> DrillError:
        name = self._last.training_job_name
        return DrillError(f"{name} does not end: look at it in the console", FailureClass.UNKNOWN)

    def _tidied(self, verdict: AwsDrillVerdict, notes: tuple[str, ...], *, keep: bool) -> DrillResult:
        uris = (self._plan.checkpoint_uri, self._plan.output_uri)
        if keep or verdict.outcome is not DrillOutcome.PASSED or self._last.is_open:
            return DrillResult(verdict, self._run, uris, notes)
        kept = []
        for uri in uris:
            try:
                self._jobs.delete(uri)
            except DrillError as error:
                kept.append(uri)
                notes = (*notes, str(error))
        return DrillResult(verdict, self._run, tuple(kept), notes)

    def _say(self, text: str) -> None:
        self._tell(self._now(), text)
