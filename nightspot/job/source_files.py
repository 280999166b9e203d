"""The files of a job's `source_dir`: which of them go into its archive, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from nightspot.job.errors import Problem, describe, nearest
from nightspot.job.model import Code

# Nightspot's own: a deployment carries the code of all jobs in its functions.
MOST_FILES = 2000
MOST_BYTES = 10 * 1024 * 1024
IGNORE_FILE = ".nightspotignore"
REQUIREMENTS = "requirements.txt"  # what the toolkit installs, at the archive's root
# Beside every hidden name, among them .git, .venv and .env.
LEFT_OUT = ("__pycache__", "*.pyc", "*.egg-info", "node_modules", "venv", "cdk.out")
_PROJECT_MARKS = (".git", "cdk.json", "pyproject.toml")
_SECRET_NAMES = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "credentials", "*.p12", "*.pfx")
_SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(?:AKIA|ASIA)(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}\b"
)


@dataclass(frozen=True)
class SourceFiles:
    """The files by their names in the archive, sorted; with `problems` there is no archive."""

    root: Path
    files: Mapping[str, Path]
    problems: tuple[Problem, ...] = ()


def source_files(code: Code, job_folder: Path) -> SourceFiles:
    """What travels of the code of a job file in `job_folder`, and every problem of it; it never raises for one."""
    root = (job_folder / code.source_dir).resolve()
    found: dict[str, Path] = {}
    if (rule := _refusal_of_folder(root, job_folder)) is not None:
        return SourceFiles(root, found, (_about("source_dir", code.source_dir, rule),))
    try:
        patterns = _patterns(root)
        problems = list(_collect(root, root, patterns, found))
        problems = problems or [*_named_files(code, root, found), *_content(found)]
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else f"{IGNORE_FILE} is not UTF-8 text"
        problems = [_about("source_dir", code.source_dir, f"cannot be read: {said}")]
    if not problems and code.requirements is not None:
        found[REQUIREMENTS] = found[code.requirements]
    return SourceFiles(root, dict(sorted(found.items())), tuple(problems))


def _about(field: str, value: str, rule: str) -> Problem:
    return Problem(f"code.{field}", describe(value), rule)


def _refusal_of_folder(root: Path, job_folder: Path) -> str | None:
    project = _project_of(job_folder.resolve())
    if not root.is_dir():
        return (
            "must be a folder"
            if root.exists()
            else "must be a folder beside or above the job file; there is none"
        )
    if not root.is_relative_to(project):
        return (
            f"must lie in the project, the nearest folder above the job file with {', '.join(_PROJECT_MARKS)}"
        )
    return None


def _project_of(folder: Path) -> Path:
    """The nearest folder from `folder` upwards that looks like a project's; where none does, the one above it."""
    marked = (
        each for each in (folder, *folder.parents) if any((each / mark).exists() for mark in _PROJECT_MARKS)
    )
    return next(marked, folder.parent)


def _patterns(root: Path) -> tuple[str, ...]:
    """What the ignore file has, a pattern a line. fnmatch's, of a name or of a path below `root`; no negation."""
    file = root / IGNORE_FILE
    if not file.is_file():
        return LEFT_OUT
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    own = (line.strip("/") for line in lines if line and not line.startswith("#"))
    return (*LEFT_OUT, *own)


def _is_left_out(name: str, path: str, patterns: tuple[str, ...]) -> bool:
    return name.startswith(".") or any(fnmatchcase(each, p) for p in patterns for each in (name, path))


def _collect(
    folder: Path, root: Path, patterns: tuple[str, ...], found: dict[str, Path]
) -> Iterator[Problem]:
    """Add the files below `folder` to `found`; stops where there are too many."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if _is_left_out(path.name, name, patterns):
            continue
        if (rule := _refusal_of_entry(path, root)) is not None:
            yield _about("source_dir", name, f"{rule}; or name it in {IGNORE_FILE}")
        elif path.is_dir():
            yield from _collect(path, root, patterns, found)
        else:
            found[name] = path
        if len(found) > MOST_FILES:
            break
    if folder == root and len(found) > MOST_FILES:
        rule = f"must have at most {MOST_FILES:,} files: data belongs into a channel of InputDataConfig"
        yield _about("source_dir", root.name, rule)


def _refusal_of_entry(path: Path, root: Path) -> str | None:
    if path.is_symlink():
        target = path.resolve()
        if not target.exists():
            return "is a link that leads nowhere"
        if not target.is_relative_to(root):
            return "must not be a link that leads out of source_dir"
        if target.is_dir():
            return "must not be a link to a folder"
    if not path.is_dir() and not path.is_file():
        return "must be a file or a folder"
    if not path.name.isprintable():
        return "must have a name of printable characters"
    return None


def _named_files(code: Code, root: Path, found: Mapping[str, Path]) -> Iterator[Problem]:
    """The entry point and the requirements are there."""
    for field, name in (("entry_point", code.entry_point), ("requirements", code.requirements)):
        if name is None or name in found:
            continue
        if (root / name).is_file():
            rule = (
                f"is left out of the archive: its name is hidden, or {IGNORE_FILE} or a fixed rule names it"
            )
        else:
            rule = f"must be a file in source_dir{nearest(name, found)}"
        yield _about(field, name, rule)
    if code.requirements not in (None, REQUIREMENTS) and REQUIREMENTS in found:
        rule = (
            f"must be {REQUIREMENTS}, or source_dir must have none: the image installs the one of that name"
        )
        yield _about("requirements", str(code.requirements), rule)


def _content(found: Mapping[str, Path]) -> Iterator[Problem]:
    """Sizes, and what looks like a secret."""
    size = 0
    for path in found.values():
        size += path.stat().st_size
        if size > MOST_BYTES:
            rule = (
                f"must have at most {MOST_BYTES // 1024**2} MiB of files in all: data belongs into a channel of "
                f"InputDataConfig; {IGNORE_FILE} leaves files out"
            )
            largest = max(found.items(), key=lambda each: each[1].stat().st_size)
            yield _about("source_dir", largest[0], rule)
            return
    for name, path in islice(found.items(), MOST_FILES):
        looks_secret = any(fnmatchcase(path.name, pattern) for pattern in _SECRET_NAMES)
        try:
            if looks_secret or _SECRET_CONTENT.search(path.read_bytes()):
                rule = f"looks like a key or credentials, which must not travel: name it in {IGNORE_FILE}"
                yield _about("source_dir", name, rule)
        except OSError as error:
            yield _about("source_dir", name, f"cannot be read: {error.strerror}")
