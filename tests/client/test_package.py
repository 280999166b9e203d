"""`from nightspot import Client, Job`: nothing is loaded before it is asked for, and what is missing is named."""

import subprocess
import sys
from pathlib import Path

import pytest

import nightspot

PACKAGE = Path(nightspot.__file__).parent
PLAIN = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import nightspot
print(sorted(set(sys.modules) - before))
try:
    nightspot.Client
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.fixture
def alone(tmp_path):
    """A folder with the package alone, as a training image may have it."""
    (tmp_path / "nightspot").symlink_to(PACKAGE)
    return tmp_path


def test_a_plain_import_loads_nothing_and_a_name_says_what_it_needs(alone):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", PLAIN, alone],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded, needed = done.stdout.splitlines()
    assert loaded == "['nightspot']"
    assert needed.startswith("nightspot.Client needs the package ")
    assert needed.endswith("pip install 'nightspot[local]'")


def test_every_public_name_is_there():
    assert {name: getattr(nightspot, name).__name__ for name in nightspot.__all__} == {
        name: name for name in nightspot.__all__
    }
    assert set(nightspot.__all__) <= set(dir(nightspot))


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'nightspot' has no attribute 'Klient'"):
        _ = nightspot.Klient


def test_a_job_file_is_read_without_the_emulated_aws():
    heavy = "{'boto3', 'moto', 'jinja2', 'rich'}"
    code = f"import sys; from nightspot import Job; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"
