"""A run as a notebook or a program has it: its record, what it cost, how it is waited for, stopped and retried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from nightspot.aws.runs.api_client import as_passing
from nightspot.aws.runs.executions import Executions, state_machine_of
from nightspot.aws.runs.operating import training_logs
from nightspot.aws.runs.training_jobs import Stopper
from nightspot.client import starting
from nightspot.client.access import Access, NotPossibleHereError
from nightspot.client.charts import ChartsMissingError, cache_folder, script
from nightspot.client.looking import Look, look_at
from nightspot.client.sources import RunNotFoundError
from nightspot.client.stopping import stop_by_api
from nightspot.formats.figures import one_line
from nightspot.job.overrides import merge_overrides, read_overrides
from nightspot.local.stage.records import LocalRecord
from nightspot.record import sentences
from nightspot.record.model import Ending, RunRecord
from nightspot.view.html.pages import run_page

ASKED_BY = "nightspot.Client"
LOOK_SECONDS = 30.0
EMULATED_LOOK_SECONDS = 0.5  # a run of `nightspot local serve` is over in a minute
# The plan writes the record within seconds of the start.
MOST_UNRECORDED_SECONDS = 600.0
# After a crash: the reconciler restarts the run three times, or closes it.
MOST_GONE_SECONDS = 3600.0
# Of looks that fail one after the other: longer than a person needs to renew credentials.
MOST_TROUBLE_SECONDS = 4 * 3600.0
_REFUSED_INPUT = "Nightspot.InvalidInput"


class RunFailedError(Exception):
    """A run that was to deliver a model ended without one, or cannot be followed; `run` is the Run."""

    def __init__(self, run: Run, text: str) -> None:
        super().__init__(text)
        self.run = run


@dataclass(frozen=True)
class RunCost:
    """What a run cost, in US dollars at list prices; None: not known (yet).

    `on_demand_usd` is what on-demand alone would have cost, `saved_usd` the difference, negative for a loss.
    `at_least_usd` is what is known to be paid, also while the run goes on.
    """

    paid_usd: float | None
    on_demand_usd: float | None
    saved_usd: float | None
    saved_percent: float | None
    at_least_usd: float


class Run:
    """One run. What it says is as old as its last look: `refresh()` looks again, `wait()` until it is over.

    Made by `Client.start`, `Client.run`, `Client.runs` and `Job.run_local`.
    """

    def __init__(
        self,
        access: Access,
        run_id: str,
        *,
        job: str,
        execution_arn: str | None = None,
        record: RunRecord | None = None,
    ) -> None:
        self._access = access
        self._execution_arn = execution_arn
        self._record = record
        self.id = run_id
        self.job = job

    @property
    def record(self) -> RunRecord:
        """The whole record, as of the last look. Raises RunNotFoundError where the run is not on record yet."""
        if self._record is None or (self._record.steps is None and self._record.decisions):
            self.refresh()
        if self._record is None:
            raise RunNotFoundError(f"run: {self.id!r}: is not on record yet in {self._access.words}")
        return self._record

    @property
    def state(self) -> Ending:
        """`running`, or how it ended: `in_time`, `late`, `failed`, `skipped`, `stopped`, `refused`."""
        return Ending.RUNNING if self._record is None else self._record.ending

    @property
    def is_over(self) -> bool:
        """Whether its end is on record."""
        return self._record is not None and self._record.is_over

    @property
    def outcome(self) -> Ending | None:
        """How it ended; None while it goes on."""
        return self.state if self.is_over else None

    @property
    def cost(self) -> RunCost:
        """What it cost, against on-demand alone."""
        known = self.record
        return RunCost(
            known.cost_usd,
            known.on_demand_cost_usd,
            known.saved_usd,
            known.saved_percent,
            known.cost_at_least_usd,
        )

    @property
    def model_uri(self) -> str | None:
        """The model's archive in S3; None without a model."""
        return self.record.model_artifact

    def refresh(self) -> Run:
        """Look at the run now. Raises ApiError, ClientError (boto3's), and TransientAwsError: it may pass."""
        self._look()
        return self

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run is over, however it ends, and return it: `raise_for_outcome()` is the next call.

        Faults of AWS that pass are outlived, also credentials that somebody renews, for four hours at the most:
        then the fault is raised. Raises TimeoutError after `timeout` seconds (the run goes on), and RunFailedError
        where its execution ended without an outcome or never came on record.
        """
        began, gone_since, trouble_since = monotonic(), None, None
        pause = EMULATED_LOOK_SECONDS if self._access.is_emulated else LOOK_SECONDS
        while not self.is_over:
            try:
                seen = self._look()
            except Exception as error:
                # What will not pass is the caller's: as_passing knows the difference.
                trouble_since = monotonic() if trouble_since is None else trouble_since
                if as_passing(error) is None or monotonic() - trouble_since >= MOST_TROUBLE_SECONDS:
                    raise
            else:
                trouble_since = None
                gone_since = self._still_there(seen, began, gone_since)
                if self.is_over:
                    break
            left = None if timeout is None else timeout - (monotonic() - began)
            if left is not None and left <= 0:
                raise TimeoutError(f"run {self.id} of {self.job} goes on after {timeout:g} s of waiting")
            sleep(pause if left is None else min(pause, left))
        return self

    def raise_for_outcome(self) -> Run:
        """The run itself where it has a model, also a late one. Raises RunFailedError with the record's words."""
        if not self.record.has_model:
            raise RunFailedError(self, one_line(_why_none(self.record)))
        return self

    def stop(self, timeout: float = 900.0) -> Run:
        """Stop the run and its training job for good, and wait for the end, `timeout` seconds at most.

        Raises TimeoutError where the end is not on record by then (the stop holds), StopRefusedError.
        """
        if self._access.api is not None:
            stop_by_api(self._access.api, self.id, longest_seconds=timeout, sleep=sleep)
        else:
            client = self._access.aws
            executions = Executions(client("stepfunctions"))
            stopper = Stopper(self._access.table(), client("sagemaker"), executions)
            stopper.until_recorded(self.id, by=ASKED_BY, longest_seconds=timeout, sleep=sleep)
        self.refresh()
        if not self.is_over:
            raise TimeoutError(f"run {self.id}: was asked to stop, and its end is not on record yet")
        return self

    def retry(self, *, idempotency_key: str | None = None, **overrides: Any) -> Run:
        """Start a run that continues from this one's checkpoints; `overrides` as those of `Client.start`.

        Raises NotRetryableError for a run that goes on or has its model, InvalidOverridesError.
        """
        self.refresh()
        record = self.record
        read_overrides(overrides, check_instance_types=True)
        starting.check_retryable(record)
        api = self._access.api
        if api is not None:
            path = starting.retry_path(self.id)
            begun = starting.post_start(api, path, overrides, key=idempotency_key, resume_from=self.id)
        else:
            if idempotency_key is None:
                starting.check_checkpoints(self._access.source, record)
            begun = starting.start_execution(
                self._access.aws("stepfunctions"),
                self._access.table(),
                state_machine_of(str(record.execution_arn)),
                record.job,
                merge_overrides(record.overrides, overrides),
                requested_by=ASKED_BY,
                key=idempotency_key,
                resume_from=self.id,
            )
        return Run(self._access, begun.run_id, job=begun.job, execution_arn=begun.execution_arn)

    def logs(self, attempt: int | None = None) -> list[str]:
        """What the training job has logged, oldest line first; that of the newest attempt, or of number `attempt`.

        Raises NotPossibleHereError by an API, which has no logs, and ValueError for an attempt that is not there.
        """
        record = self.record
        known = {each.number: each for each in record.attempts}
        if attempt is not None and attempt not in known:
            raise ValueError(f"attempt: {attempt}: must be one of {', '.join(map(str, known)) or 'none'}")
        if not known:
            return []
        name = known[max(known) if attempt is None else attempt].training_job_name
        if isinstance(record, LocalRecord):
            log = Path(record.scratch or "", "logs", f"{name}.log")
            return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        if self._access.api is not None:
            raise NotPossibleHereError(
                f"logs: {self._access.words} has none: CloudWatch Logs has, by Client(stack=...)"
            )
        return [event.message for event in training_logs(self._access.aws("logs"), name)]

    def page(self) -> str:
        """The run's page as HTML, as `nightspot report` writes it; without charts where nothing can make them."""
        try:
            drawing = script(cache_folder())
        except ChartsMissingError:
            drawing = None
        return run_page(self.record, drawing)

    def __repr__(self) -> str:
        return f"Run({self.id!r}, job={self.job!r}, state={self.state.value!r})"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither its style nor its script reaches the notebook."""
        if self._record is None:
            return f"<p>{escape(repr(self))}</p>"
        return (
            f'<iframe srcdoc="{escape(self.page())}" sandbox="allow-scripts" title="{escape(repr(self))}" '
            'style="width: 100%; height: 640px; border: 0"></iframe>'
        )

    def _look(self) -> Look:
        client_of = self._access.client_of
        step_functions = None if client_of is None else client_of("stepfunctions")
        seen = look_at(self._access.source, step_functions, self.id, self._execution_arn)
        self._record = seen.record or self._record
        return seen

    def _still_there(self, seen: Look, began: float, gone_since: float | None) -> float | None:
        """Since when its execution is gone without an outcome; None: it is not. Raises RunFailedError."""
        now = monotonic()
        if seen.record is None and now - began >= MOST_UNRECORDED_SECONDS:
            raise RunFailedError(self, f"run {self.id} is still not on record in {self._access.words}")
        if seen.end is None:
            return None
        since = now if gone_since is None else gone_since
        is_refused = seen.end.error == _REFUSED_INPUT
        if is_refused or seen.record is None or now - since >= MOST_GONE_SECONDS:
            raise RunFailedError(self, f"the execution of run {self.id} ended without an outcome: {seen.end}")
        return since


def _why_none(record: RunRecord) -> str:
    """Why a run has no model: how it ended, the decision's words, and SageMaker's of the last attempt."""
    last = record.attempts[-1].failure_reason if record.attempts else None
    said = (f"run {record.run_id} of {record.job}: {sentences.how_it_ended(record)}", record.because, last)
    return " ".join(part for part in said if part)


def runs_of(access: Access, records: list[RunRecord]) -> Iterator[Run]:
    """The runs of these records."""
    for record in records:
        yield Run(access, record.run_id, job=record.job, record=record)
