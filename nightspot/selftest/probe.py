"""What the live jobs of the self-test run: it writes, deletes, notes signals, and says everything in its log.

It is put into S3 and started by the container's own python3, so it needs nothing but the standard library. What it
does is said by the JSON in NIGHTSPOT_PROBE:

seconds: how long it trains; counter: rewrites a small file every five seconds; small_mb: saves a file of this
size every 20 seconds and deletes the last but one; large_mb: saves one of this size after ten seconds; model_mb:
leaves a model; linger: goes on after SIGTERM until it is killed; failure: the text of its failure; exit: its exit
status; eat: takes all memory; hosts: see `two_hosts`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input")).parent
CHECKPOINTS, MODEL, OUTPUT = ROOT / "checkpoints", ROOT / "model", ROOT / "output"
COUNTER_SECONDS, SMALL_SECONDS, LARGE_AT_SECONDS, LONGEST_LINGER_SECONDS = 5, 20, 10, 300
MIB = 1024 * 1024
_CLOCK = os.environ.get("NIGHTSPOT_CLOCK")  # on a simulated machine: "real seconds:story seconds:scale"
_terminated: list[float] = []


def now() -> float:
    """Seconds since 1970, in a simulation the story's."""
    if _CLOCK is None:
        return time.time()
    real, story, scale = (float(part) for part in _CLOCK.split(":"))
    return story + (time.time() - real) * scale


def pause(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds / (float(_CLOCK.split(":")[2]) if _CLOCK else 1.0))


def say(note: str, **more: Any) -> None:
    """One line of the log."""
    print(json.dumps({"probe": note, "at": round(now(), 3), **more}), flush=True)  # noqa: T201 - that is the log


def save(name: str, size: int, first: bytes = b"") -> None:
    """Write a file beside its name, in two halves with a moment between them, and rename it."""
    path, draft = CHECKPOINTS / name, CHECKPOINTS / (name + ".tmp")
    block = bytes(MIB)
    with draft.open("wb") as file:
        file.write(first)
        left, half = size - len(first), size // 2
        while left > 0:
            file.write(block[: min(left, MIB)])
            left -= MIB
            if half and left <= half:
                half = 0
                file.flush()
                pause(2 if size > MIB else 0)
    draft.replace(path)
    say("wrote", file=name, bytes=size)


def delete(name: str) -> None:
    """Delete a file, if it is there."""
    path = CHECKPOINTS / name
    if path.exists():
        path.unlink()
        say("deleted", file=name)


def train(story: dict[str, Any]) -> None:
    """One step a second, until the time is over or somebody wants the end."""
    began, next_counter, next_small, is_large = now(), 0.0, 0.0, False
    number = count = 0
    while now() - began < story.get("seconds", 60) and not _terminated:
        passed = now() - began
        if story.get("counter") and passed >= next_counter:
            next_counter, count = passed + COUNTER_SECONDS, count + 1
            save("counter.json", 4096, json.dumps({"count": count}).encode())
        if story.get("small_mb") and passed >= next_small:
            next_small, number = passed + SMALL_SECONDS, number + 1
            save(f"small-{number}.bin", story["small_mb"] * MIB)
            delete(f"small-{number - 2}.bin")
        if story.get("large_mb") and passed >= LARGE_AT_SECONDS and not is_large:
            is_large = True
            save("large.bin", story["large_mb"] * MIB)
        pause(1)


def linger() -> None:
    """After SIGTERM: save each second until the end, so that the last line tells when that was."""
    began, number = now(), 0
    while now() - began < LONGEST_LINGER_SECONDS:
        number += 1
        save("last.json", 512, json.dumps({"after_sigterm": number}).encode())
        pause(1)


def two_hosts(story: dict[str, Any]) -> None:
    """Two machines on one prefix: one keeps a progress file that it has restored, the other writes it anew."""
    host = json.loads((ROOT / "input/config/resourceconfig.json").read_text())["current_host"]
    say("host", name=host)
    if host.endswith("1"):
        delete("progress.json")
        pause(20)
        save("progress.json", 512, json.dumps({"step": 200, "host": host}).encode())
    while not _terminated and story["seconds"] > 0:
        story["seconds"] -= 1
        pause(1)


def eat() -> None:
    """Take memory until the machine has no more."""
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(64 * MIB))
        for page in range(0, 64 * MIB, 4096):
            taken[-1][page] = 1


def read(path: str) -> str:
    """A file of the machine's, "" where there is none."""
    try:
        return Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def terminate(_number: int, _frame: object) -> None:
    """SIGTERM: noted; the story decides what comes of it."""
    _terminated.append(now())
    say("sigterm")


def main() -> int:
    """What the story says; its exit status."""
    signal.signal(signal.SIGTERM, terminate)
    story = json.loads(os.environ["NIGHTSPOT_PROBE"])
    files = {path.name: path.stat().st_size for path in CHECKPOINTS.glob("*")} if CHECKPOINTS.is_dir() else {}
    say(
        "started",
        checkpoints=CHECKPOINTS.is_dir(),
        files=files,
        pid=os.getpid(),
        uid=os.getuid(),
        first_process=read("/proc/1/cmdline")[:200],
        variables=sorted(os.environ),
        python=sys.version.split()[0],
        mounts=[line.split()[1] for line in read("/proc/mounts").splitlines() if "/opt/ml" in line],
    )
    if story.get("eat"):
        eat()
    two_hosts(story) if story.get("hosts") else train(story)
    if story.get("model_mb"):
        MODEL.mkdir(parents=True, exist_ok=True)
        # Not all zeros: it is compressed before it is uploaded.
        with (MODEL / "model.bin").open("wb") as file:
            for _ in range(story["model_mb"]):
                file.write(os.urandom(MIB))
    if _terminated and story.get("linger"):
        linger()
    say("ended", files=sorted(path.name for path in CHECKPOINTS.glob("*")))
    if story.get("failure"):
        (OUTPUT / "failure").write_text(story["failure"])
    return int(story.get("exit", 0))


if __name__ == "__main__":
    sys.exit(main())
