"""Puts what a training container can see into its model folder."""

import json
import os
from pathlib import Path

inputs = Path(os.environ["SM_INPUT_DIR"])
seen = {
    "variables": dict(os.environ),
    "directory": str(Path.cwd()),
    "files": {
        str(path.relative_to(inputs)): path.read_text() for path in inputs.rglob("*") if path.is_file()
    },
}
Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
Path(os.environ["SM_OUTPUT_DATA_DIR"], "notes.txt").write_text("a note")
