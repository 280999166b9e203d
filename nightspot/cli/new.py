"""`nightspot new`: the files of a project that has its own jobs and training code, and Nightspot from the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import nightspot
from nightspot.cli._shared import Json, mistakes, print_json
from nightspot.formats.figures import visible
from nightspot.job.from_request import name_of
from nightspot.job.reading import load_job

_TEMPLATES = Path(__file__).with_name("project")
# Where each template goes; none has a name that means something where it lies.
_PLACES = {
    "job.yaml": "jobs/@NAME@.yaml",
    "train.py": "training/train.py",
    "Dockerfile": "training/Dockerfile",
    "cdk.json": "cdk.json",
    "requirements.txt": "requirements.txt",
    "gitignore": ".gitignore",
    "pipeline.yml": ".github/workflows/nightspot.yml",
    "README.md": "README.md",
}


def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The job's name; the folder's by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a project into an empty folder: a job and its training.

    Also what checks and deploys them; the version of Nightspot is pinned.
    """
    job = name_of(folder.resolve().name) if name is None else name
    if not job or job != name_of(job):
        rule = "must be letters of a to z, digits and -, as the job is called by it"
        raise typer.BadParameter(f"{'DIR' if name is None else '--name'}: {name or folder.name!r}: {rule}")
    if folder.exists() and (not folder.is_dir() or any(each.name != ".git" for each in folder.iterdir())):
        raise typer.BadParameter(f"DIR: {str(folder)!r}: must be a new or an empty folder")
    words = {"@NAME@": job, "@STACK@": f"Nightspot-{job}", "@VERSION@": nightspot.__version__}
    written = []
    with mistakes():
        for template, place in _PLACES.items():
            target = folder / _filled(place, words)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (_TEMPLATES / template).read_text(encoding="utf-8")
            target.write_text(_filled(text, words), encoding="utf-8")
            written.append(str(target))
        load_job(folder / f"jobs/{job}.yaml")
    if as_json:
        print_json({"job": job, "files": written})
        return
    for path in written:
        typer.echo(visible(path))
    typer.echo(visible(f"Next: cd {folder} && nightspot run jobs/{job}.yaml --local"))


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
