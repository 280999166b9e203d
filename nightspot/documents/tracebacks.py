"""Tracebacks of Python: which exception counts, and what it says of a training job."""

from __future__ import annotations

import re

from nightspot.documents.model import End
from nightspot.failures.classify import RESPONSES, Fault, Response, classify
from nightspot.failures.codes import FailureClass, class_of_name

_LONGEST_SAID = 4_000
_LONGEST_LINES = 12
_MARK = re.compile(r"^(?P<named>[\w.]+\s{2,})?Traceback \(most recent call last\):?\s*$", re.MULTILINE)
_RAISED = re.compile(
    r"^(?P<name>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?::[ \t]*(?P<said>.*))?$",
    re.MULTILINE,
)
_LOOKS_RAISED = re.compile(
    r"(?:Error|Exception|Exceeded|Interrupt|Exit|InUse|NotFound|Timeout|Fault|Warning|Failure)$"
)
# They say that another process has failed: what it raised itself stands above.
_OF_OTHERS = frozenset(
    {"ChildFailedError", "CalledProcessError", "ExecuteUserScriptError", "SystemExit", "RayTaskError"}
)
NO_MEMORY = re.compile(
    r"(?:CUDA|HIP|XPU|MPS backend|TPU)\b.{0,40}out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
    r"|RESOURCE_EXHAUSTED\b|[Oo]ut of memory (?:while|trying|on)|\bOOM when allocating|Cannot allocate memory"
    r"|[Cc]an't allocate memory|Unable to allocate [\d.]+ \w+ for an array|Java heap space|std::bad_alloc"
)
_MEMORY_NAMES = frozenset(
    {"OutOfMemoryError", "MemoryError", "_ArrayMemoryError", "ArrayMemoryError", "ResourceExhaustedError"}
)
_OF_SAGEMAKER = re.compile(
    r"when calling the (?:\w*(?:TrainingJob|TuningJob)\w*|SubmitServiceJob|StartExecution"
    r"|StartPipelineExecution) operation"
)
_CALLED = re.compile(r"when calling the \w+ operation")
_SDK_SAYS = re.compile(
    r"Error (?:for|training)\b|Encountered unexpected failed state|SageMaker job failed|Training job "
)


def raised(text: str) -> tuple[str, int] | None:
    """The name of the last exception of the last traceback, and where its line starts; None without one."""
    found: list[tuple[str, int]] = []
    marks = list(_MARK.finditer(text))
    for n, mark in enumerate(marks):
        until = marks[n + 1].start() if n + 1 < len(marks) else len(text)
        lines = [
            line
            for line in _RAISED.finditer(text, mark.end(), until)
            if _LOOKS_RAISED.search(line["name"])
            or class_of_name(line["name"])
            or (not mark["named"] and line["said"] and line["name"][0].isupper())
        ]
        if lines:
            # A notebook's frames are not indented: there it is the last line that counts.
            line = lines[-1] if mark["named"] else lines[0]
            found.append((line["name"].rpartition(".")[2], line.start()))
    own = [one for one in found if one[0] not in _OF_OTHERS]
    return own[-1] if own else found[-1] if found else None


def end_of(name: str, start: int, text: str) -> End:
    """How the exception `name`, whose line starts at `start` of `text`, reads."""
    said = paragraph(text[start:])
    if name in _MEMORY_NAMES or NO_MEMORY.search(said):
        return End(fault=Fault("OutOfMemoryError", said))
    by_aws = (
        "An error occurred (" in said[:300]
        or _SDK_SAYS.search(said[:300])
        or said.startswith(("botocore.", "sagemaker."))
    )
    failure = classify(failure_reason=said).failure if by_aws else FailureClass.UNKNOWN
    # The script's own calls of AWS fail it: whether another attempt helps is not for their words to say.
    of_job = _OF_SAGEMAKER.search(said) or not _CALLED.search(said)
    if failure is not FailureClass.UNKNOWN and (of_job or RESPONSES[failure] is Response.FINISH):
        return End(reason=said)
    return End(reason=f"Traceback (most recent call last): {said}")


def paragraph(text: str) -> str:
    """The first lines, up to an empty one."""
    lines = text[:_LONGEST_SAID].strip().split("\n\n")[0].split("\n")
    return "\n".join(lines[:_LONGEST_LINES]).strip()


# Frames of C and C++, which tell nobody what failed: glog's, dmlc's and gdb's.
_FRAME = re.compile(r"^\s*(?:\[bt\]\s|@\s+0x|#\d+\s+0x|Stack trace:?\s*$|File \")|^\s*[~^]+\s*$")
_ERROR_LINE = re.compile(
    r"[a-z]Error\b|[a-z]Exception\b|\b(?:error|fatal|critical)\b\s*[:\]]|Check failed|what\(\):|\bterminate called"
    r"|Segmentation fault|\bcore dumped\b",
)


def why_it_failed(log: str, left: str = "") -> str:
    """Why a program failed, by the end of its log and by the reason that it left: the exception of the last
    traceback, else all of what it left, else the last line that names an error, else the last line that says
    something; "" where there is none."""
    text = left.strip() or log
    found = raised(text)
    if found is not None:
        return without_frames(paragraph(text[found[1] :]))
    if left.strip():
        return without_frames(left)
    lines = without_frames(log).splitlines()
    errors = [line for line in lines if _ERROR_LINE.search(line)]
    return (errors or lines or [""])[-1].strip()


def without_frames(text: str) -> str:
    """The lines that are no frames of a stack, without empty ones."""
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip() and not _FRAME.search(line))
