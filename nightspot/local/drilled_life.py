"""One life of a drilled training: what is going on in it, and when it is killed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from nightspot.checkpoint.core.journal import Event
from nightspot.documents.tracebacks import why_it_failed
from nightspot.drill.lives import (
    USUAL_DEFINITIONS,
    Definition,
    Kill,
    KillKind,
    Life,
    combined,
    read_journal,
    read_log,
)
from nightspot.drill.planning import KillPace, PlannedKill
from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker.container import Container
from nightspot.local.sagemaker.launch import Launch
from nightspot.local.sagemaker.process import Reaper, TrainingProcess

_NUMBER = re.compile(r"[0-9]+")
_LOOKS = 5  # at a directory that changes while it is copied


class DrillDisk:
    """The disk of one machine after the other, for one training; all at the same path, as on SageMaker."""

    def __init__(self, scratch: Path, request: Mapping[str, Any], *, is_private: bool = False) -> None:
        self._is_private = is_private
        self._machine = scratch / "machine"
        self._s3 = scratch / "s3"
        self._uploaded = scratch / "uploaded"
        self._request = request
        for folder in (self._s3, self._uploaded):
            shutil.rmtree(folder, ignore_errors=True)

    def begin(self, draw: Callable[[], float]) -> Container:
        """A fresh disk with the checkpoints that S3 has.

        Files come from S3 in no order, and with the time at which they come: their times say nothing of their age.
        """
        container = containers.prepare(self._machine, self._request, is_private=self._is_private)
        if self._s3.exists():
            container.checkpoints.rmdir()
            self._s3.rename(container.checkpoints)
            now = time.time()
            for path in sorted(_files(container.checkpoints)):
                os.utime(path, (now - draw(), now - draw()))
        return container

    def upload(self, container: Container) -> bool:
        """Keep the checkpoints as they are now for `end`; False, and nothing kept, where they change meanwhile."""
        for _ in range(_LOOKS):
            shutil.rmtree(self._uploaded, ignore_errors=True)
            before = stamps(container.checkpoints)
            try:
                shutil.copytree(container.checkpoints, self._uploaded, symlinks=True)
            except (shutil.Error, FileNotFoundError):
                continue
            if stamps(container.checkpoints) == before:
                return True
        shutil.rmtree(self._uploaded, ignore_errors=True)
        return False

    def end(self, container: Container) -> None:
        """The machine is gone: S3 has what `upload` kept, if it was asked to, else all that was there."""
        if self._uploaded.exists():
            self._uploaded.rename(self._s3)
        elif container.checkpoints.exists():
            container.checkpoints.rename(self._s3)
        container.remove()


class Stamp(NamedTuple):
    """When a file was changed (nanoseconds), its size in bytes, and which file it is."""

    changed_ns: int
    size: int
    inode: int


def stamps(folder: Path) -> dict[str, Stamp]:
    """The stamp of every file below the folder; files that vanish are left out."""
    found = {}
    for path in _files(folder):
        try:
            status = os.stat(path)  # noqa: PTH116 - as below
        except FileNotFoundError:
            continue
        found[path] = Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below the folder, by its relative path."""
    named = {str(Path(path).relative_to(folder)): path for path in _files(folder)}
    return {name: _digest(Path(named[name])) for name in sorted(named)}


def _files(folder: Path) -> list[str]:
    return [
        os.path.join(above, name)  # noqa: PTH118 - every few milliseconds
        for above, _, names in os.walk(folder)
        for name in names
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# A directory that has not changed for so long is not being written; one save may change it several times. Saves
# without such a rest between them are told apart by the names of their files.
SETTLED_SECONDS = 0.05


class Watch:
    """Looks at one life; every attribute is as of the last `look()`. Times are `clock`'s, in seconds."""

    def __init__(
        self, journal: Path, folder: Path, definitions: Sequence[Definition], clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._definitions = definitions
        self._clock = clock
        self._position = 0
        self._torn = b""
        self._stamps = stamps(folder)
        self._changed_at = self._change_began = 0.0
        self._step_at_change: int | None = None
        self._write_seconds: list[float] = []
        self._names_of_save: set[str] = set()
        self._lines: deque[str] = deque()
        self.began = clock()
        self.first_sign: float | None = None
        self.found = len(self._stamps)
        self.library = False
        self.step: int | None = None
        self.steps = 0
        self.restoring = False
        self.restored = False
        self.saving = False
        self.writing_at_the_end = False
        self.journal_saves = 0
        self.saved_at: list[int | None] = []

    @property
    def saves(self) -> int:
        """How many saves are done."""
        return self.journal_saves if self.library else len(self.saved_at)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to resume from."""
        return self.saves > 0 or self.found > 0

    @property
    def write_seconds(self) -> float:
        """How long the directory changed for at a save, as a rule."""
        return median(self._write_seconds) if self._write_seconds else 0.0

    @property
    def start_up_seconds(self) -> float:
        """How long it took to the first step or save; so far, where there was none."""
        return (self._clock() if self.first_sign is None else self.first_sign) - self.began

    def hear(self, line: str) -> None:
        """A line that the script printed; from any thread."""
        self._lines.append(line)

    def look(self) -> None:
        """Take in what is new."""
        self._read_journal()
        while self._lines:
            self._read_line(self._lines.popleft())
        if not self.library:
            self._look_at_folder()
        if self.first_sign is None and (self.steps or self.saves or self.saving):
            self.first_sign = self._clock()

    def close(self) -> None:
        """The process has ended: a directory that was still changing has come to rest."""
        self.look()
        self.writing_at_the_end = self.saving
        if self.saving and not self.library:
            self._end_save()

    def _read_journal(self) -> None:
        try:
            with self._journal.open("rb") as stream:
                stream.seek(self._position)
                new = stream.read()
        except FileNotFoundError:
            return
        self._position += len(new)
        *lines, self._torn = (self._torn + new).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["rank"] == 0:
                self._take(Event(event["event"]), event.get("step"))

    def _take(self, event: Event, step: int | None) -> None:
        self.library = True
        if event is Event.STEP and step != self.step:
            self.step = step
            self.steps += 1
        elif event is Event.RESTORING:
            self.restoring = True
        elif event is Event.RESTORED:
            self.restoring, self.restored = False, True
        elif event is Event.SAVING:
            self.saving = True
        elif event is Event.SAVED:
            self.saving = False
            self.journal_saves += 1

    def _read_line(self, line: str) -> None:
        steps = () if self.library else read_log(self._definitions, [line]).steps
        if steps and steps[-1].step != self.step:
            self.step = steps[-1].step
            self.steps += 1

    def _look_at_folder(self) -> None:
        now, found = self._clock(), stamps(self._folder)
        if found != self._stamps:
            for name in self._written_anew(found):
                # Saves that follow each other quickly leave the directory no rest between them.
                if name in self._names_of_save:
                    self._end_save()
                self._begin_save(now)
                self._names_of_save.add(name)
            self._begin_save(now)
            self._stamps = found
            self._changed_at, self._step_at_change = now, self.step
        elif self.saving and now - self._changed_at >= SETTLED_SECONDS:
            self._end_save()

    def _written_anew(self, found: Mapping[str, Stamp]) -> list[str]:
        """The names under which files began to be written since the last look, the number of a save left out:
        `ckpt-#.pt`. Of a new numbered folder it is the folder's name, however many files are in it."""
        names: dict[str, str] = {}
        known = {self._place(path)[0] for path in self._stamps}
        for path, stamp in sorted(found.items(), key=lambda each: each[1]):
            entry, inner = self._place(path)
            if inner and _NUMBER.search(entry):
                if entry not in known:
                    names.setdefault(entry, _NUMBER.sub("#", entry))
            elif self._is_begun(self._stamps.get(path), stamp):
                names[path] = path if inner else _NUMBER.sub("#", entry)
        return list(names.values())

    def _is_begun(self, before: Stamp | None, now: Stamp) -> bool:
        """Whether the file is new, another one or shorter, or was written whole within one step."""
        if before is None or now.inode != before.inode or now.size < before.size:
            return True
        return now != before and now.size == before.size and self.step != self._step_at_change

    def _place(self, path: str) -> tuple[str, str]:
        """The file or folder directly in the checkpoint directory, and the path below that, "" for a file."""
        entry, _, inner = path[len(str(self._folder)) + 1 :].partition(os.sep)
        return entry, inner

    def _begin_save(self, now: float) -> None:
        if not self.saving:
            self._change_began = self._changed_at = now
            self._step_at_change = self.step
        self.saving = True

    def _end_save(self) -> None:
        self.saving = False
        self._names_of_save.clear()
        self.saved_at.append(self._step_at_change)
        self._write_seconds.append(self._changed_at - self._change_began)


POLL_SECONDS = 0.001
KILLED = 128 + 9  # as Docker counts SIGKILL
_WORDS_LINES = 500
UNKNOWN_PACE = KillPace(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LifeSetting:
    """What all lives of a drill share. `last_step`: of the undisturbed training, None where it is not known."""

    definitions: Sequence[Definition]
    reaper: Reaper
    limit_seconds: float
    grace_seconds: float
    uses_library: bool = False
    last_step: int | None = None
    pace: KillPace = UNKNOWN_PACE


@dataclass(frozen=True)
class LifePlace:
    """Where one life is lived and written down, and what runs; `journal` and `log` are files of its own."""

    disk: DrillDisk
    container: Container
    launch: Launch
    environment: Mapping[str, str]
    journal: Path
    log: Path


def live(setting: LifeSetting, place: LifePlace, planned: PlannedKill | None) -> Life:
    """Run the command until it ends, or is killed as planned; CommandError where it cannot be started."""
    watch = Watch(place.journal, place.container.checkpoints, setting.definitions, time.monotonic)
    process = TrainingProcess(
        place.launch.command,
        environment=place.environment,
        container=place.container,
        directory=place.launch.directory,
        log=place.log,
        on_line=watch.hear,
        reaper=setting.reaper,
        notes=place.launch.notes,
    )
    try:
        striker = (
            None if planned is None else Striker(planned, setting, lambda: place.disk.upload(place.container))
        )
        ended = _until_the_end(process, watch, striker, setting)
    finally:
        process.kill()
    watch.close()
    return _life(setting, place, watch, process.exit_code(), ended)


@dataclass(frozen=True)
class _Ended:
    """How it ended: `kill` where it was killed as planned, or `too_long`; `kept`: see Life."""

    seconds: float
    kill: Kill | None = None
    too_long: bool = False
    kept: int | None = None


def _until_the_end(
    process: TrainingProcess, watch: Watch, striker: Striker | None, setting: LifeSetting
) -> _Ended:
    while process.exit_code() is None:
        watch.look()
        now = time.monotonic()
        if now - watch.began > setting.limit_seconds:
            return _Ended(now - watch.began, too_long=True)
        if striker is not None and striker.strikes(watch, now):
            kill = _strike(process, watch, striker.planned, setting)
            return _Ended(time.monotonic() - watch.began, kill, kept=striker.kept)
        time.sleep(POLL_SECONDS)
    return _Ended(time.monotonic() - watch.began)


def _strike(
    process: TrainingProcess, watch: Watch, planned: PlannedKill, setting: LifeSetting
) -> Kill | None:
    """The kill, or None where the process came before it and ended by itself."""
    kill = Kill(planned.number, planned.kind)
    if planned.kind is KillKind.TERM:
        kill = _ask(process, watch, kill, setting)
        if process.exit_code() is not None:
            # A script that takes SIGTERM for its end and leaves with 0 has not finished its training.
            watch.look()
            is_done = setting.last_step is not None and watch.step == setting.last_step
            return None if process.exit_code() == 0 and is_done else kill
    process.kill()
    return kill if process.exit_code() == KILLED else None


def _ask(process: TrainingProcess, watch: Watch, kill: Kill, setting: LifeSetting) -> Kill:
    asked_at, begun = time.time(), time.monotonic()
    process.terminate()
    while process.exit_code() is None and time.monotonic() - begun < setting.grace_seconds:
        watch.look()
        time.sleep(POLL_SECONDS)
    left = None if process.exit_code() is None else time.monotonic() - begun
    return Kill(kill.number, kill.kind, asked_at, left)


class Striker:
    """Says when the moment of one planned kill has come.

    `upload` keeps the checkpoints as they are; `kept` is how many of the life's saves were uploaded, None for all.
    """

    def __init__(self, planned: PlannedKill, setting: LifeSetting, upload: Callable[[], bool]) -> None:
        self.planned = planned
        self.kept: int | None = None
        self._setting = setting
        self._upload = upload
        self._at: float | None = None

    def strikes(self, watch: Watch, now: float) -> bool:
        """Whether to strike now, at this time of the watch's clock."""
        if self._at is None and self._is_armed(watch):
            self._at = now + self.planned.share * self._stretch_seconds()
        return self._at is not None and now >= self._at

    def _is_armed(self, watch: Watch) -> bool:
        if self.planned.kind is KillKind.DURING_RESTORE:
            # A life that is at its first step already has not restored with the library, or not seen to.
            begun = watch.restoring or watch.restored or watch.steps > 0 or not self._setting.uses_library
            return begun and watch.found > 0
        if not watch.has_checkpoint or not self._is_reached(watch):
            return False
        if self.planned.kind is KillKind.DURING_SAVE:
            return watch.saving
        if self.planned.kind is KillKind.UNSYNCED:
            return self._is_unsynced(watch)
        return True

    def _is_reached(self, watch: Watch) -> bool:
        # A step of its own shows from where a life went on, which is what the kill before is judged by.
        if self.planned.target is None:
            return watch.saves > 0
        return watch.steps > 0 and watch.step is not None and watch.step >= self.planned.target

    def _is_unsynced(self, watch: Watch) -> bool:
        """Uploads between two saves, and is armed once the next one is there."""
        if watch.saving:
            return False
        if self.kept is None:
            saves = watch.saves
            if self._upload():
                watch.look()
                # A save that slipped in may be in the upload or not.
                if watch.saves == saves and not watch.saving:
                    self.kept = saves
            return False
        return watch.saves > self.kept

    def _stretch_seconds(self) -> float:
        """What the plan's share is a share of."""
        pace = self._setting.pace
        if self.planned.kind is KillKind.DURING_SAVE:
            return pace.save_seconds
        if self.planned.kind is KillKind.DURING_RESTORE:
            return pace.restore_seconds if self._setting.uses_library else pace.start_up_seconds
        return pace.step_seconds


def _life(setting: LifeSetting, place: LifePlace, watch: Watch, code: int | None, ended: _Ended) -> Life:
    lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines()
    journal = place.journal.read_text(encoding="utf-8", errors="replace") if place.journal.exists() else ""
    ended_itself = ended.kill is None and not ended.too_long
    left = ended.kill is not None and ended.kill.left_seconds is not None
    seen = read_journal(journal)
    if not seen.library or setting.definitions is not USUAL_DEFINITIONS:
        seen = combined(seen, read_log(setting.definitions, lines))
    return Life(
        seen=seen,
        kill=ended.kill,
        exit_code=code if ended_itself or left else None,
        too_long=ended.too_long,
        seconds=ended.seconds,
        start_up_seconds=watch.start_up_seconds,
        found=watch.found,
        saved_at=tuple(watch.saved_at),
        write_seconds=watch.write_seconds,
        writing=watch.writing_at_the_end,
        kept=ended.kept if ended.kill is not None else None,
        last_words=_last_words(place.container, lines),
    )


def _last_words(container: Container, lines: Sequence[str]) -> str:
    return why_it_failed("\n".join(lines[-_WORDS_LINES:]), container.failure_text() or "")
