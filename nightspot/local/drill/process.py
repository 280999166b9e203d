"""Decides when a life of a drilled training is ended: at the moment that was planned, by what is seen of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightspot.drill.kinds import Kind
from nightspot.drill.lives import Kill, Life
from nightspot.drill.planning import Pace, PlannedKill
from nightspot.drill.reading import Definition, combined, read_journal, read_log
from nightspot.local.drill.disk import DrillDisk
from nightspot.local.drill.watch import Watch
from nightspot.local.sagemaker.container import Container
from nightspot.local.sagemaker.process import Reaper, TrainingProcess

POLL_SECONDS = 0.001
KILLED = 128 + 9  # as Docker counts SIGKILL
_WORDS_FROM_THE_END = 4096
UNKNOWN_PACE = Pace(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Setting:
    """What all lives of a drill share. `last_step`: of the undisturbed training, None where it is not known."""

    command: Sequence[str]
    directory: Path
    definitions: Sequence[Definition]
    reaper: Reaper
    limit_seconds: float
    grace_seconds: float
    uses_library: bool = False
    last_step: int | None = None
    pace: Pace = UNKNOWN_PACE


@dataclass(frozen=True)
class Place:
    """Where one life is lived and written down; `journal` and `log` are files of its own."""

    disk: DrillDisk
    container: Container
    environment: Mapping[str, str]
    journal: Path
    log: Path


def live(setting: Setting, place: Place, planned: PlannedKill | None) -> Life:
    """Run the command until it ends, or is killed as planned; CommandError where it cannot be started."""
    watch = Watch(place.journal, place.container.checkpoints, setting.definitions, time.monotonic)
    process = TrainingProcess(
        setting.command,
        environment=place.environment,
        directory=setting.directory,
        log=place.log,
        on_line=watch.hear,
        reaper=setting.reaper,
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
    process: TrainingProcess, watch: Watch, striker: Striker | None, setting: Setting
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


def _strike(process: TrainingProcess, watch: Watch, planned: PlannedKill, setting: Setting) -> Kill | None:
    """The kill, or None where the process came before it and ended by itself."""
    kill = Kill(planned.number, planned.kind)
    if planned.kind is Kind.TERM:
        kill = _ask(process, watch, kill, setting)
        if process.exit_code() is not None:
            return None if process.exit_code() == 0 and _is_done(watch, setting) else kill
    process.kill()
    return kill if process.exit_code() == KILLED else None


def _ask(process: TrainingProcess, watch: Watch, kill: Kill, setting: Setting) -> Kill:
    asked_at, begun = time.time(), time.monotonic()
    process.terminate()
    while process.exit_code() is None and time.monotonic() - begun < setting.grace_seconds:
        watch.look()
        time.sleep(POLL_SECONDS)
    left = None if process.exit_code() is None else time.monotonic() - begun
    return Kill(kill.number, kill.kind, asked_at, left)


def _is_done(watch: Watch, setting: Setting) -> bool:
    # A script that takes SIGTERM for its end and leaves with 0 has not finished its training.
    watch.look()
    return setting.last_step is not None and watch.step == setting.last_step


class Striker:
    """Says when the moment of one planned kill has come.

    `upload` keeps the checkpoints as they are; `kept` is how many of the life's saves were uploaded, None for all.
    """

    def __init__(self, planned: PlannedKill, setting: Setting, upload: Callable[[], bool]) -> None:
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
        if self.planned.kind is Kind.DURING_RESTORE:
            # A life that is at its first step already has not restored with the library, or not seen to.
            begun = watch.restoring or watch.restored or watch.steps > 0 or not self._setting.uses_library
            return begun and watch.found > 0
        if not watch.has_checkpoint or not self._is_reached(watch):
            return False
        if self.planned.kind is Kind.DURING_SAVE:
            return watch.saving
        if self.planned.kind is Kind.UNSYNCED:
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
        if self.planned.kind is Kind.DURING_SAVE:
            return pace.save_seconds
        if self.planned.kind is Kind.DURING_RESTORE:
            return pace.restore_seconds if self._setting.uses_library else pace.start_up_seconds
        return pace.step_seconds


def _life(setting: Setting, place: Place, watch: Watch, code: int | None, ended: _Ended) -> Life:
    lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines()
    journal = place.journal.read_text(encoding="utf-8", errors="replace") if place.journal.exists() else ""
    ended_itself = ended.kill is None and not ended.too_long
    left = ended.kill is not None and ended.kill.left_seconds is not None
    return Life(
        seen=combined(read_journal(journal), read_log(setting.definitions, lines)),
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
    """What the script left as the reason of its failure, else the last line of its log that says something."""
    failure = (container.failure_text() or "").strip()
    said = [line.strip() for line in lines if line.strip()]
    return (failure or (said[-1] if said else ""))[-_WORDS_FROM_THE_END:]
