"""Counts steps, with a checkpoint after each; its hyperparameters say how it takes a signal and ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def parameter(name, default):
    return type(default)(os.environ.get(f"SM_HP_{name.upper()}", default))


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


config = Path(os.environ["SM_INPUT_CONFIG_DIR"]) / "checkpointconfig.json"
folder = Path(json.loads(config.read_text())["LocalPath"]) if config.exists() else None
checkpoint = folder and folder / "deep" / "step.txt"


def save(step):
    if checkpoint is None:
        return
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.with_suffix(".part").write_text(str(step))
    checkpoint.with_suffix(".part").replace(checkpoint)


def on_sigterm(_number, _frame):
    say("SIGTERM")
    if parameter("sigterm", "exit") == "exit":
        sys.exit(0)


signal.signal(signal.SIGTERM, on_sigterm)
first = int(checkpoint.read_text()) if checkpoint is not None and checkpoint.exists() else 0
say(f"starting at {first}")
if parameter("child", ""):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say(f"child {child.pid}")
for step in range(first + 1, parameter("steps", 3) + 1):
    time.sleep(parameter("seconds_per_step", 0.01))
    save(step)
    say(f"step {step}")
if parameter("failure", ""):
    (Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text(parameter("failure", ""))
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("trained")
sys.exit(parameter("exit_code", 0))
