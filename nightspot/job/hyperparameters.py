"""Which hyperparameters SageMaker takes, and how numbers and booleans become the text that it wants.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html (HyperParameters)
"""

from __future__ import annotations

import json
import math
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from nightspot.job.placeholders import unknown_placeholders
from nightspot.job.times import broken_rule

LARGEST_COUNT = 100
LONGEST_NAME = 256
LONGEST_VALUE = 2500


def hyperparameter_text(value: object) -> object:
    """Numbers and booleans as JSON writes them: 12, 0.001, 1e-05, true, false. Text stays as it is.

    JSON, because that is what training scripts get from SageMaker's own toolkits. Raises the error of a
    broken rule for a number that JSON does not know, and for what is neither text, number nor boolean.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bool | int | float):
        raise broken_rule("must be text, a number, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise broken_rule("must be a finite number")
    return json.dumps(value)


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise broken_rule("must be one line of text")
    return text


def _known_placeholders(text: str) -> str:
    for unknown in unknown_placeholders(text):
        raise broken_rule(f"{unknown.value} {unknown.rule}")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_one_line)]
_Value = Annotated[
    str,
    Field(max_length=LONGEST_VALUE),
    BeforeValidator(hyperparameter_text),
    AfterValidator(_one_line),
    AfterValidator(_known_placeholders),
]
HyperParameters = Annotated[dict[_Name, _Value], Field(max_length=LARGEST_COUNT)]
