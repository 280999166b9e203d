"""A training script of a few lines: counts steps, keeps checkpoints, writes a model. Standard library only."""

import os
import sys
import time
from pathlib import Path

from nightspot.checkpoint import Checkpointer

steps = int(os.environ.get("SM_HP_STEPS", "12"))
every = int(os.environ.get("SM_HP_EVERY", "2"))
pause = float(os.environ["REAL_SECONDS_PER_STEP"])
fail_at = int(os.environ.get("SM_HP_FAIL_AT", "0"))
silent = "SM_HP_SILENT" in os.environ
stop_at = int(os.environ.get("SM_HP_STOP_AT", steps))

checkpoints = Checkpointer(total_steps=steps)
# What everybody's first script does: save, and never look.
restored = None if "SM_HP_FORGETFUL" in os.environ else checkpoints.restore()
done = restored.step if restored else 0
if restored:
    print(f"resumed from step {done}", flush=True)
while done < stop_at:
    time.sleep(pause)
    done += 1
    print(f"step {done}/{steps}", flush=True)
    if done == fail_at:
        Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("CapacityError: my own words, not AWS's")
        sys.exit(1)
    if done % every == 0:
        checkpoints.save(done, str(done).encode())
        if silent:
            (checkpoints.directory / "nightspot.json").unlink()
if "SM_HP_NO_MODEL" not in os.environ:
    Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(str(done))
