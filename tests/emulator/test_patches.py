"""ministack without our patches: each has to be there still. One that is not needed any more is to be taken out."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.emulator.account_of_stories import EMULATORS, ROOT
from tests.emulator.conftest import skip_without_emulators

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

IN_MINISTACK = ROOT / "nightspot" / "local" / "emulator" / "in_ministack.py"
PROBES = Path(__file__).with_name("probes.py")
NAMES = (
    "sagemaker_is_simulated",
    "timeouts_may_be_jsonata",
    "rules_retry_and_keep_what_failed",
    "functions_run_under_awss_runtime_client",
    "notices_have_a_source_to_authorise",
    "workflows_need_permissions",
    "unknown_monitoring_is_left_out",
    "one_port_is_taken",
)


@pytest.fixture(scope="module")
def needed(tmp_path_factory):
    skip_without_emulators()
    done = subprocess.run(
        [str(EMULATORS), str(PROBES), str(IN_MINISTACK)],
        env={"AUTH": "true", "PERSIST_STATE": "0", "TMPDIR": str(tmp_path_factory.mktemp("probes"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_patch_has_a_probe(needed):
    assert set(needed) == set(NAMES)


@pytest.mark.parametrize("patch", NAMES)
def test_ministack_still_needs_the_patch(patch, needed):
    assert needed[patch], f"take {patch} out of in_ministack.py: this version of ministack does it by itself"
