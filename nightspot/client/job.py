"""A job file as a notebook or a program has it: made of a trainer or read, checked, drilled, run here."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nightspot.client.trainers import SourceOfTrainer, request_of_trainer
from nightspot.job.cautions import warnings_for
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, Problem
from nightspot.job.from_request import DraftedJob, Wishes, draft_job, job_file_text, with_code
from nightspot.job.model import Job as JobFile
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.job.reading import parse_job
from nightspot.job.rules import not_drilled_here, not_trained_here

if TYPE_CHECKING:
    from nightspot.client.run import Run
    from nightspot.drill.report import DrillReport

RECORDS = Path("build/runs")  # where `nightspot run --local` keeps them, too


class Job:
    """A job file: its text, and what it says. Immutable; made by `from_trainer` and `from_file`, or of a text.

    `folder` is where paths of `code` begin (None: the current one). `notes` say what was changed or left out
    when it was made of a trainer.
    """

    def __init__(
        self,
        text: str,
        *,
        source: str = "<string>",
        notes: Sequence[Problem] = (),
        folder: Path | None = None,
    ) -> None:
        self.text = text
        self.notes = tuple(notes)
        self._source = source
        self._folder = Path.cwd() if folder is None else folder.absolute()  # of the paths of `code`

    @classmethod
    def from_trainer(
        cls,
        trainer: object,
        *,
        deadline: str | None = "08:00",
        schedule: str | None = None,
        timezone: str | None = None,
        name: str | None = None,
        work: str | None = None,
        instance_types: Sequence[str] = (),
        on_demand: bool = True,
        inputs: object = None,
        command: str | Sequence[str] = (),
    ) -> Job:
        """The job file of an estimator (SageMaker SDK 2) or ModelTrainer (SDK 3), as `nightspot init` writes it.

        `inputs` are those of `fit(inputs)`, or of `train(input_data_config=inputs)`. `deadline` is a time of day or
        a duration from the start, `schedule` a time of day, a cron or a rate, `timezone` that of both. `work` is
        the training time on the first instance type ("4h"); None: two thirds of the trainer's `max_run`.
        `instance_types` are the ladder instead of the trainer's type; `on_demand=False`: Spot or nothing. `command`
        trains on this machine (`local.command`); without it the trainer's own code does. Nothing is uploaded, and
        AWS is not asked. Raises InvalidJobError.
        """
        asked = request_of_trainer(trainer, inputs)
        wishes = Wishes(
            name=name,
            schedule=schedule,
            deadline=deadline,
            timezone=timezone,
            work=work,
            instance_types=tuple(instance_types),
            on_demand=on_demand,
            command=tuple(shlex.split(command) if isinstance(command, str) else command),
        )
        draft = _with_code(draft_job(asked.request, wishes, source="the trainer"), asked.source)
        return cls(job_file_text(draft), source="the trainer", notes=(*asked.notes, *draft.notes))

    @classmethod
    def from_file(cls, path: str | Path) -> Job:
        """The job file at `path`; `validate` judges what it says. Raises InvalidJobError: it cannot be read."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            found = Problem(WHOLE_FILE, repr(Path(path).name), f"cannot be read: {said}")
            raise InvalidJobError([found], str(path)) from error
        return cls(text, source=str(path), folder=Path(path).parent)

    @cached_property
    def model(self) -> JobFile:
        """What the file says, checked. Raises InvalidJobError with every problem."""
        return parse_job(self.text, source=self._source, folder=self._folder)

    @property
    def name(self) -> str:
        """The job's name. Raises InvalidJobError."""
        return self.model.name

    def validate(self) -> tuple[Problem, ...]:
        """Every problem with field, value, rule and severity, as `nightspot validate` finds them; never raises.

        An "error" refuses the file. Without one they are the warnings.
        """
        try:
            return warnings_for(self.model)
        except InvalidJobError as error:
            return error.problems

    def save(self, path: str | Path | None = None, *, overwrite: bool = False) -> Path:
        """Write the job file, by default as jobs/NAME.yaml, and return its path; `code` names the same folder.

        Raises InvalidJobError for a job that breaks the rules, FileExistsError without `overwrite`, OSError.
        """
        target = Path("jobs", f"{self.name}.yaml") if path is None else Path(path)
        _ = self.model
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(_moved(self.text, self._folder, target.parent))
        return target

    def drill(
        self,
        *,
        kills: int = 6,
        seed: int = 7,
        tolerance: float | None = None,
        timeout: float = 600.0,
        environment: Mapping[str, str] | None = None,
        directory: str | Path = ".",
        keep: str | Path | None = None,
    ) -> DrillReport:
        """Kill the training on this machine, resume it, compare: `nightspot drill --local` (docs/drill.md).

        `report.outcome` is the grade (PASS, INEXACT, FAIL), `report.claim` what was shown, `report.reasons` why not
        more. `timeout` is the longest that one process may take in seconds, `directory` the training command's
        current one, `keep` a new folder for logs and journals.
        Raises InvalidJobError, MetricDefinitionError, CommandError; without nightspot[local] ModuleNotFoundError.
        """
        from nightspot.drill.report import report_of  # noqa: PLC0415 - only a drill needs it
        from nightspot.local import drill as drilling  # noqa: PLC0415 - likewise

        job = self._unless(not_drilled_here)
        options = drilling.DrillOptions(kills, seed, tolerance, dict(environment or {}), timeout)
        if keep is not None:
            Path(keep).mkdir(parents=True)
        with nullcontext(str(keep)) if keep is not None else _scratch() as folder:
            evidence = drilling.drill(
                job, options, scratch=Path(folder).resolve(), directory=Path(directory).resolve()
            )
        return report_of(job.name, evidence, {"kills_planned": kills, "seed": seed})

    def run_local(
        self,
        *,
        night: str = "quiet",
        time_scale: float | None = None,
        directory: str | Path = ".",
        records: str | Path = RECORDS,
        **overrides: Any,
    ) -> Run:
        """Play a run on this machine to its end: `nightspot run FILE --local`; its record goes to `records`.

        `night` is one of the known ones (quiet, interrupted, no-capacity, bad, ladder), `time_scale` the seconds of
        the story in a real one, `overrides` as those of `Client.start`. While it is played, boto3 in this process
        speaks to an emulated AWS. Raises InvalidJobError, InvalidOverridesError, NightError, NightNotOverError, and
        ModuleNotFoundError without nightspot[local].
        """
        from nightspot.client.client import access_to_folder  # noqa: PLC0415 - which knows this module
        from nightspot.client.run import Run  # noqa: PLC0415 - jinja2 and boto3, which a job file does without
        from nightspot.local.stage import night_files, staging  # noqa: PLC0415 - the emulated AWS takes seconds

        job = self._unless(not_trained_here)
        apply_overrides(job, read_overrides(overrides, check_instance_types=True))
        chosen = night_files.night_named(night)
        job = job if time_scale is None else staging.at_scale(job, time_scale)
        folder, now = Path(records), datetime.now(UTC)
        scratch = staging.new_folder(folder, f"{job.name}-{now:%Y%m%dT%H%M%S}")
        _, path = staging.play_and_record(
            job,
            staging.night_with(chosen, overrides),
            started_at=staging.story_start(job, now),
            job_file=self._source,
            scratch=scratch,
            folder=folder,
            directory=Path(directory).resolve(),
        )
        access = access_to_folder(folder)
        return Run(access, path.stem, job=job.name, record=access.source.run(path.stem))

    def _unless(self, problems_of: Callable[[JobFile], tuple[Problem, ...]]) -> JobFile:
        if problems := problems_of(self.model):
            raise InvalidJobError(problems, self._source)
        return self.model

    def __repr__(self) -> str:
        problems = self.validate()
        errors = sum(found.severity == "error" for found in problems)
        if errors:
            return f"Job({self._source!r}: {errors} error{'s' * (errors != 1)}, see validate())"
        return f"Job({self.name!r})"


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nightspot-drill-", ignore_cleanup_errors=True)


def _with_code(draft: DraftedJob, source: SourceOfTrainer | None) -> DraftedJob:
    """The draft with the trainer's own code as its section `code`, its folder as seen from the current one."""
    if source is None:
        return draft
    code = {"source_dir": _from(Path.cwd(), Path(source.source_dir)), "entry_point": source.entry_point}
    if source.requirements is not None:
        code["requirements"] = source.requirements
    return with_code(draft, code)


def _from(folder: Path, path: Path) -> str:
    """The path as seen from `folder`, as a job file writes it."""
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()


def _moved(text: str, here: Path, there: Path) -> str:
    """The job file's text for another folder: `code.source_dir` is a path from the file's own."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    code = _below(root, "code")
    node = None if code is None else _below(code, "source_dir")
    if not isinstance(node, yaml.ScalarNode):
        return text
    moved = _from(there, here / node.value)
    if moved == node.value:
        return text
    return f"{text[: node.start_mark.index]}{json.dumps(moved)}{text[node.end_mark.index :]}"


def _below(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)
