"""What is odd about a success: SageMaker says that the training job has completed, and the evidence says less.

The run stays a success, because a script may well stop early. Whoever uses the model can act on the remarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from nightspot.run.model import Outcome, Remark, Run, RunRemark


class ModelState(StrEnum):
    """What lies where SageMaker says that the model is."""

    STORED = "stored"
    EMPTY = "empty"  # no file with a byte in it
    MISSING = "missing"


# `step` and `total_steps` are the last checkpoint's.
WORDING: Mapping[Remark, str] = {
    Remark.UNFINISHED_STEPS: "finished at step {step} of {total_steps}",
    Remark.MODEL_EMPTY: "the model artefact is empty",
    Remark.MODEL_MISSING: "the model artefact is missing",
}
_OF_MODEL = {ModelState.EMPTY: Remark.MODEL_EMPTY, ModelState.MISSING: Remark.MODEL_MISSING}


def remarks_of(run: Run, model: ModelState | None) -> tuple[RunRemark, ...]:
    """The remarks on a run that is over, in the order of `Remark`. `model`: None where nobody could look."""
    if run.outcome is not Outcome.SUCCEEDED:
        return ()
    known = run.progress
    steps = {"step": known.step, "total_steps": known.total_steps} if known else {}
    found = {_OF_MODEL.get(model) if model else None}
    if known is not None and known.total_steps is not None and known.step < known.total_steps:
        found.add(Remark.UNFINISHED_STEPS)
    return tuple(RunRemark(kind, WORDING[kind].format(**steps)) for kind in Remark if kind in found)


def texts_of(summary: Mapping[str, object]) -> list[str]:
    """The texts of a summary's remarks; of one that an older version wrote, none."""
    remarks = summary.get("remarks")
    given = remarks if isinstance(remarks, (list, tuple)) else ()
    return [str(each["text"]) for each in given if isinstance(each, Mapping) and "text" in each]


def joined(texts: Iterable[str]) -> str:
    """ "finished at step 3 of 24, and the model artefact is empty"."""
    return ", and ".join(texts)
