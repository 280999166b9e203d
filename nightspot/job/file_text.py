"""How a drafted job file reads: its sections in order, each below a comment that says what it is for."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from nightspot.job.from_request import DraftedJob

_COMMENT_CHARACTERS = 100
_REQUEST = "training_job"

# One comment for each top key that a draft can hold; the draft's own go first.
COMMENTS = {
    "name": "Training jobs are called nightspot-<name>-<run>-<attempt>.",
    "schedule": "When runs start by themselves, in EventBridge Scheduler's syntax; leave out to start by hand.",
    "deadline": "When the model must be ready: at a time of day, or within a time from the start.",
    "work": "Training time on the first instance type.",
    "capacity": "The ladder, best first. Add more types with their speed relative to the first, such as "
    "{instance_type: ml.g5.48xlarge, speed: 0.45}.",
    "fallback": "on_demand: buy on-demand when Spot can no longer make the deadline. never: skip the night.",
    "interruptible": "Where training goes on after a reclaim: from_checkpoint or from_start.",
    _REQUEST: "A CreateTrainingJob request as AWS writes it, less what Nightspot sets for each attempt: the name, "
    "the Spot flag, the instance type and a checkpoint prefix of the run's own.",
    "local": "How to train on this machine, with nightspot run FILE --local; time_scale is how many seconds of the "
    "night pass in a real one.",
}
_HEAD = (
    "A job of Nightspot's, written by `nightspot init`. docs/job-file.md says what each field means; "
    "`nightspot validate` checks this file."
)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper with lists indented below their key, and without anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # PyYAML writes Unicode's own line breaks bare, and reads them back as spaces.
    style = '"' if any(character in value for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def job_file_text(draft: DraftedJob) -> str:
    """The draft as YAML with comments; read again, it is the draft's document."""
    parts = [_comment(_HEAD)]
    for key, value in draft.document.items():
        said = draft.comments.get(key) or COMMENTS[key]
        parts.append(_comment(said) + _yaml(key, value))
    return "\n".join(parts)


def _yaml(key: str, value: Any) -> str:
    # Small mappings and lists on one line; the request as people know it from AWS.
    compact = isinstance(value, dict) and key != _REQUEST
    return yaml.dump(
        {key: value},
        Dumper=_Dumper,
        default_flow_style=None if compact else False,
        sort_keys=False,
        allow_unicode=True,
        width=10**6,  # an image or a prefix stays on one line, to be searched
    )


def _comment(text: str) -> str:
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(paragraph, _COMMENT_CHARACTERS, break_long_words=False)
    ]
    return "".join(f"# {line}\n" for line in lines)
