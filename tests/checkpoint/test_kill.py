"""A process that is killed at any moment leaves a checkpoint that was really saved."""

import hashlib
import json
import random
import subprocess
import sys
import time

WRITER = """
import hashlib, sys
from nightspot.checkpoint import Checkpointer

checkpointer = Checkpointer(sys.argv[1], environ={})
restored = checkpointer.restore()
step = restored.step if restored else 0
print("writing", flush=True)
while True:
    step += 1
    block = hashlib.sha256(str(step).encode()).digest()
    checkpointer.save(step, {"head": block, "body": block * 32768})
"""


def expected_state(step):
    block = hashlib.sha256(str(step).encode()).digest()
    return {"head": block, "body": block * 32768}


def test_after_every_one_of_twenty_kills_the_state_is_one_that_was_saved(process, tmp_path):
    moments = random.Random(20)
    restored_steps, leftovers = [], 0
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(moments.uniform(0.02, 0.12))  # the moment of the kill is what is tested
            writer.kill()
        leftovers += len(list(tmp_path.glob("*.tmp")))
        announced = tmp_path / "nightspot.json"
        promised = json.loads(announced.read_text())["step"] if announced.exists() else 0

        restored = process().restore()

        assert restored is None or restored.state == expected_state(restored.step)
        assert restored is None or restored.skipped == ()
        restored_steps.append(restored.step if restored else 0)
        assert promised <= restored_steps[-1]

    assert restored_steps == sorted(restored_steps)
    assert restored_steps[-1] > 20
    assert leftovers > 0, "no kill came in the middle of a save: the test has lost its point"
