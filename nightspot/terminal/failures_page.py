"""How docs/failures.md reads: the table of all classes, and how texts are understood."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.view.html import charts_script
from nightspot.view.html.theme import PALETTE, Spec, concrete

# What AWS says: FailureReason, API fault, or TrainingJobStatus/SecondaryStatus. A test reads each of them.
EXAMPLES: dict[FailureClass, tuple[str, ...]] = {
    FailureClass.NO_CAPACITY: (
        "CapacityError: Unable to provision requested ML compute capacity. …",
        "Insufficient capacity error from EC2 while launching instances, retrying!",
    ),
    FailureClass.INTERRUPTED: (
        "InProgress/Interrupted",
        "Interrupted - The job stopped because the managed spot …",
    ),
    FailureClass.WAIT_LIMIT: ("Stopped/MaxWaitTimeExceeded",),
    FailureClass.RUNTIME_LIMIT: ("Stopped/MaxRuntimeExceeded", "States.Timeout"),
    FailureClass.QUOTA_TEMPORARY: (
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for spot training job usage' is 1 "
        "Instances, with current utilization of 1 Instances and a request delta of 1 Instances. …",
    ),
    FailureClass.QUOTA_PERMANENT: (
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for training job usage' is 0 "
        "Instances …",
        "ResourceLimitExceeded: The requested resource training-job/ml.p4d.24xlarge is not available in this "
        "region",
    ),
    FailureClass.THROTTLED: (
        "An error occurred (ThrottlingException) when calling the CreateTrainingJob operation: Rate exceeded",
        "SageMaker.SageMakerException: Rate exceeded (Service: SageMaker, Status Code: 400, …)",
    ),
    FailureClass.SERVICE_FAULT: (
        "InternalServerError: We encountered an internal error. Please try again.",
        "Lambda.ServiceException",
    ),
    FailureClass.USER_CODE: (
        "AlgorithmError: ExecuteUserScriptError: ExitCode 1 …",
        "AlgorithmError: Exit Code: 137",
    ),
    FailureClass.OUT_OF_MEMORY: (
        "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
        "instance.",
    ),
    FailureClass.CONFIGURATION: (
        "ClientError: Data download failed: …",
        "SageMaker.ResourceInUseException",
        "An error occurred (ValidationException) when calling the CreateTrainingJob operation: …",
    ),
    FailureClass.PERMISSION: (
        "ClientError: Artifact upload failed:Error 7: AccessDenied (403): Access Denied",
        "AccessDeniedException: User: … is not authorized to perform: sagemaker:CreateTrainingJob …",
    ),
    FailureClass.STOPPED_BY_PERSON: ("Stopped/Stopped",),
    FailureClass.STOPPED_BY_NIGHTSPOT: ("Stopped/Stopped",),
    FailureClass.UNKNOWN: ("Something that nobody has seen before",),
}

_HEAD = """\
# Failures

Every way in which SageMaker and Step Functions say no has one class here, and every class one answer. For a
text of your own, ask:

```sh
nightspot explain "CapacityError: Unable to provision requested ML compute capacity."
nightspot explain --status Stopped/MaxWaitTimeExceeded
nightspot explain --error SageMaker.SageMakerException "Rate exceeded (Service: SageMaker, Status Code: 400)"
aws sagemaker describe-training-job --training-job-name … | nightspot explain -
```

This page is made from the tables in the code (`nightspot/failures/explanations.py`,
`nightspot/terminal/failures_page.py`); a test keeps it so, and says how to renew it.

## Classes

| class | AWS says, for example | what the run does | what you can do |
|---|---|---|---|
"""

_TAIL = """
`stopped_by_nightspot` and `stopped_by_person` look alike to AWS. The ledger knows which stops were
asked for by Nightspot itself; every other one was a person's.

## What a run spends on each cause

* **No capacity, an interruption, a wait that ran out** are the market's doing. They never use up retries: a run
  goes on as long as the deadline allows, and takes on-demand while that is still in time.
* **Thrashing.** Three interruptions on one rung without a new checkpoint between them give way to the next
  Spot type; to on-demand only once they have cost as much machine time as a quarter of the work left takes,
  because a few lost starts are cheaper than on-demand.
* **Service faults** are tried again at most twice a run. The same reason in the same phase a second time is
  final, because saving or restoring very big checkpoints ends in the same words every time.
* **Throttles** back off, each pause longer than the last and with jitter, on the same rung.
* **A quota that is used up** is waited for like capacity; **a quota that can never fit** takes its rung out of
  the run. Spot and on-demand have quotas of their own, so the other market may still be open.
* **The runtime limit** of an attempt covers the work left, what interruptions are expected to repeat, and a
  margin. If it is reached all the same, the run goes on from a newer checkpoint, and ends without one.
* **Paid time.** The job file's `MaxRuntimeInSeconds` is the most that all attempts of a run may be billed, or
  train where SageMaker gives no bill. Once it is used up, nothing more is started.
* **Everything else** ends the run and buys nothing more: user code, memory, configuration, permission, a
  person's stop. So does **an unknown failure**, with a metric, a notice and an alarm of its own.

## How texts are read

1. **Wrappers come off first**, whatever their case and white space: `An error occurred (X) when calling the Y
   operation:`, `Error for Training job …: Failed. Reason:`, `Received status from SageMaker:`, `Failure
   reason`, the Java SDK's class names. A code that a wrapper carries counts as the API's.
2. **Then the start of what is left decides.** Behind `AlgorithmError:` stands the training script's own text,
   which may contain any of AWS's words, so nothing behind it is ever read.
3. **Names before words.** `ThrottlingException` is a throttle whatever its message; `SageMakerException` and
   `ValidationException` say nothing by themselves, so their words decide, then the HTTP status.
4. **JSON is opened**: a described training job, Step Functions' `{"Error": …, "Cause": …}`, an EventBridge
   event. Only its top fields are read, never hyperparameters or tags; a document that was cut off is read as
   far as it goes.
5. **Status and history settle the rest.** `Stopped` is never success. A job that failed without any reason
   after an interruption was interrupted; one that stopped at a limit was stopped by SageMaker, not by a person.
6. **What buys again must be recognised whole.** Classes that end a run may be told by a part of a name; classes
   that lead to another attempt never are.

## What is stored

A text is redacted before it is stored, logged or sent. Escape sequences, control characters, marks that turn
the reading direction and characters without a width are dropped first, so that they hide nothing and steer no
terminal. Then go: account ids, e-mail addresses, S3 keys, user names in home paths; AWS's access keys, secret
keys and session tokens; passwords and other secrets by their names (`password=`, `x-api-key:`, `AccountKey=`,
in URLs, headers, cookies, JDBC addresses and `.netrc` too); private keys; signatures of presigned URLs;
webhooks of Slack, Discord, Teams and Telegram; and the keys of services that can be told by their form
(GitHub, GitLab, npm, PyPI, Hugging Face, OpenAI, Anthropic, Google, Databricks, SendGrid, Stripe, Twilio,
Slack and others). Forty hexadecimal digits are a Weights & Biases key where the words before say so, else a
commit's hash, which stays. What was taken out is named in angle brackets, and at most 1,024 characters are
kept. IPv4 addresses stay. """


def failures_page() -> str:
    """The whole of docs/failures.md."""
    return _HEAD + "".join(_row(failure) for failure in FailureClass) + _TAIL


def _row(failure: FailureClass) -> str:
    about = EXPLANATIONS[failure]
    examples = "<br>".join(f"`{example}`" for example in EXAMPLES[failure])
    return f"| `{failure.value}`<br>{about.meaning} | {examples} | {about.answer} | {about.advice} |\n"


PICTURE_PIXELS = 960  # wide
PNG_SCALE = 2.0  # for screens with two pixels in one


class ChartsMissingError(Exception):
    """What draws charts is not installed."""

    def __init__(self) -> None:
        super().__init__("the package vl-convert-python is missing: install nightspot[local]")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's folder for what can be made again (XDG Base Directory Specification)."""
    named = environ.get("XDG_CACHE_HOME")
    # The specification has relative paths ignored.
    base = Path(named) if named and Path(named).is_absolute() else Path.home() / ".cache"
    return base / "nightspot"


def script(folder: Path) -> str:
    """The charts' script, from `folder` if an earlier call left it there; made in seconds otherwise.

    Raises ChartsMissingError.
    """
    try:
        path = folder / f"{charts_script.made_by().replace(' ', '-')}.js"
        kept = charts_script.read(path)
        if kept is not None:
            return charts_script.checked(kept)
        made = charts_script.make()
    except (PackageNotFoundError, ModuleNotFoundError) as error:
        raise ChartsMissingError from error
    # A cache that cannot be written is only slow.
    with suppress(OSError):
        _keep(path, made)
    return made


def svg(spec: Spec, title: str) -> str:
    """The chart as a picture in light colours, on white. Raises ChartsMissingError."""
    converter = _converter()
    drawn: str = converter.vegalite_to_svg(_as_picture(spec, title))
    return drawn


def png(spec: Spec, title: str) -> bytes:
    """The same as pixels. Raises ChartsMissingError."""
    converter = _converter()
    drawn: bytes = converter.vegalite_to_png(_as_picture(spec, title), scale=PNG_SCALE)
    return drawn


def _as_picture(spec: Spec, title: str) -> Spec:
    padding = {"left": 20, "right": 24, "top": 20, "bottom": 16}
    picture: Spec = concrete(spec)
    return {
        **picture,
        "width": PICTURE_PIXELS,
        "autosize": {"type": "pad"},
        "padding": padding,
        "background": PALETTE["ground"][0],
        "title": {"text": title, "offset": 26},
    }


def _converter() -> ModuleType:
    try:
        import vl_convert  # noqa: PLC0415 - only here, and only in nightspot[local]
    except ModuleNotFoundError as error:
        raise ChartsMissingError from error
    return vl_convert


def _keep(path: Path, text: str) -> None:
    """Whole or not at all: another process may read it at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as part:
        part.write(text)
    Path(part.name).replace(path)
