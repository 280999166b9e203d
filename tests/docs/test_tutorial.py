"""docs/tutorial.md is played: its commands in order, in an empty folder, end and say what the page says."""

import json
import re
import shutil

import pytest

from tools.tutorial import PAGE, PICTURES, Tutorial, TutorialError, prepared

LARGEST_PICTURE_BYTES = 150_000


@pytest.fixture
def tutorial(tmp_path):
    """A page of its own text, in an empty folder."""

    def of(text):
        return Tutorial(text, tmp_path, {"PATH": "/usr/bin:/bin"})

    return of


def test_outputs_take_the_place_of_what_the_page_had(tutorial):
    page = tutorial(
        "A\n\n<!-- run: keep=^b -->\n```console\n$ printf 'a\\nb\\nc\\n'\nold\n```\n\n```console\n$ false\n```\n"
    )
    assert [said.output for said in page.play()] == ["a\nb\nc\n"]
    assert page.text == (
        "A\n\n<!-- run: keep=^b -->\n```console\n$ printf 'a\\nb\\nc\\n'\n…\nb\n…\n```\n\n"
        "```console\n$ false\n```\n"
    )


def test_a_command_on_two_lines_is_one(tutorial):
    page = tutorial("<!-- run -->\n```console\n$ echo a \\\n    b\n$ echo c\n```\n")
    assert [said.output for said in page.play()] == ["a b\n", "c\n"]
    assert page.text == "<!-- run -->\n```console\n$ echo a \\\n    b\na b\n$ echo c\nc\n```\n"


def test_a_patch_changes_a_file(tutorial, tmp_path):
    (tmp_path / "x.py").write_text("one\n")
    page = tutorial("<!-- run -->\n```diff\n--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@\n one\n+two\n```\n")
    before = page.text
    list(page.play())
    assert (tmp_path / "x.py").read_text() == "one\ntwo\n"
    assert page.text == before


@pytest.mark.parametrize(
    ("options", "command"), [("", "exit 3"), (": status=7", "true")], ids=["failed", "did not fail"]
)
def test_an_exit_status_that_the_page_does_not_say_is_an_error(options, command, tutorial):
    page = tutorial(f"<!-- run{options} -->\n```console\n$ {command}\n```\n")
    with pytest.raises(TutorialError, match="exit status"):
        list(page.play())


def test_every_picture_is_small_there_and_described(root):
    for page in (*(root / "docs").rglob("*.md"), root / "README.md"):
        for words, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            assert len(words) > 40, f"{page.name}: {path}: what does it show?"
            assert (page.parent / path).stat().st_size <= LARGEST_PICTURE_BYTES, path
    assert {path.name for path in PICTURES.iterdir()} >= {"drill.png", "night.svg", "run-page.png"}


@pytest.mark.long
@pytest.mark.framework
@pytest.mark.xdist_group("torch")
def test_the_tutorial_can_be_done_as_it_stands(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
    if shutil.which("patch") is None:
        pytest.skip("needs patch")
    page = prepared(tmp_path / "ranking")
    # So few that the slowest machine is done in time: the run's clock is real. Interruptions are tested elsewhere.
    described = tmp_path / "ranking/described.json"
    job = json.loads(described.read_text(encoding="utf-8"))
    job["HyperParameters"]["epochs"] = "10"
    described.write_text(json.dumps(job), encoding="utf-8")
    said = list(page.play())
    outputs = {one.command.split(" --night")[0]: one.output for one in said}
    drills = [one.output for one in said if one.command.startswith("nightspot drill")]
    assert "INEXACT  ranking: resumes, not to the bit: random state not saved" in drills[0]
    assert "PASS  ranking: resumes to the bit" in drills[1]
    run = outputs["nightspot run jobs/ranking.yaml --local"]
    assert "FINISH succeeded" in run
    assert (tmp_path / "ranking/drill.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "ranking/night.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "<html" in (tmp_path / "ranking/night.html").read_text(encoding="utf-8")
    # The page shows the same commands, and an output for each.
    assert re.findall(r"^\$ .*", page.text, re.MULTILINE) == re.findall(
        r"^\$ .*", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
