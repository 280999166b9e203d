"""Every recorded life is a life of the simulators: each lives it, is recorded, and no difference is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightspot.cassettes.comparing import differences
from nightspot.cassettes.model import load_cassette
from nightspot.local.sagemaker.conformance import life_to_live
from tests.cassettes.by_hand import LIVES
from tests.cassettes.virtual import SIMULATORS, lived, without_files

FOLDER = Path(__file__).parent / "lives"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def cassette_named(name):
    return load_cassette(FOLDER / f"{name}.json")


@pytest.mark.parametrize("simulator", sorted(SIMULATORS))
@pytest.mark.parametrize("name", NAMES)
def test_a_simulator_lives_every_recorded_life(name, simulator, tmp_path):
    recorded = cassette_named(name)
    life = life_to_live(recorded)
    again = lived(simulator, life if simulator == "local run" else without_files(life), tmp_path)
    assert differences(recorded, again) == []


@pytest.mark.parametrize("name", sorted(LIVES))
def test_a_cassette_written_by_hand_is_what_its_table_says(name):
    assert cassette_named(name) == LIVES[name].cassette()
    assert cassette_named(name).evidence.startswith(("https://", "botocore"))
