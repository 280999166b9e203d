"""A deterministic training whose curve goes to MLflow and to Weights & Biases.

All attempts but the last stop making progress at a step that is not saved, and wait to be taken away.
"""

import os
import time

from nightspot.checkpoint import Checkpointer
from nightspot.checkpoint.trackers import MlflowTracker, WandbTracker

STEPS = 24
WAITS_AFTER = {1: 11, 2: 17}
UPLOAD_SECONDS = 120

seconds_per_step = float(os.environ["SECONDS_PER_STEP"])
waits_after = WAITS_AFTER.get(int(os.environ["NIGHTSPOT_ATTEMPT"]))
total = 0.0
trackers = [MlflowTracker(), WandbTracker()]
with Checkpointer(
    total_steps=STEPS, every_steps=3, upload_seconds=UPLOAD_SECONDS, trackers=trackers
) as checkpointer:
    restored = checkpointer.restore()
    if restored:
        total = float(restored.state["total"])
    for step in range(restored.step + 1 if restored else 1, STEPS + 1):
        time.sleep(seconds_per_step)
        total += 1 / step
        checkpointer.log(step, {"loss": 1 / total, "rate": 0.5**step})
        checkpointer.save_if_due(step, {"total": total}, metrics={"loss": 1 / total})
        while step == waits_after:
            time.sleep(60)
