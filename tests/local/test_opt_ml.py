"""/opt/ml belongs to the training process, and this machine's own is never used."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from nightspot.drill.grades import Grade
from nightspot.drill.report import report_of
from nightspot.local.drill import DrillOptions, drill
from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker import opt_ml, process, training_job
from nightspot.local.sagemaker.container import Container
from nightspot.local.sagemaker.markets import SimulatedMarket
from nightspot.local.sagemaker.opt_ml import OPT_ML, HostWatch, explanation, two_lines
from nightspot.local.sagemaker.process import CommandError, Reaper, TrainingProcess
from tests.local.example_job import example_job

SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLE = SCRIPTS / "public_example.py"
NOBODY = 65534
TAKEN_TWICE = [
    {"available": "50m"},
    {"reclaim": 0},
    {"available": "50m"},
    {"reclaim": 0, "warning": True},
    {"available": "rest"},
]


def job_of(script):
    return example_job(["python", script], epochs="7", learning_rate="0.2", seconds="0.1")


needs_namespace = pytest.mark.skipif(
    not opt_ml.can_be_private(), reason="this machine gives processes no mount namespace of their own"
)


def on_this_machine():
    return sorted(str(path) for path in OPT_ML.rglob("*")) if OPT_ML.exists() else "nothing"


@pytest.fixture
def nothing_left():
    """What this machine's /opt/ml holds is the same afterwards."""
    before = on_this_machine()
    yield
    assert on_this_machine() == before


@needs_namespace
def test_the_public_example_plays_an_interrupted_run_with_its_own_hyperparameters(night, nothing_left):
    tonight = night(
        "public_example.py",
        spot_market=SimulatedMarket.scripted(TAKEN_TWICE),
        sync_interval_seconds=60,
        scale=2400,
    )
    tonight.ask(parameters={"epochs": 60, "seconds": 0.05, "learning-rate": 0.2})
    assert tonight.until_ended()["TrainingJobStatus"] == "Completed", tonight.said()
    said = tonight.said()
    assert "epoch 60/60" in said[-1]
    resumed = [line for line in said if line.startswith("resumed from /opt/ml/checkpoints/ckpt-")]
    assert len(resumed) == 2
    assert sum(line.startswith("epoch 1/60") for line in said) == 1
    names = {f"ckpt-{epoch:04d}.pt" for epoch in range(1, 61)}
    listed = tonight.s3.list_objects_v2(Bucket="bucket", Prefix="checkpoints/run/")["Contents"]
    assert {entry["Key"].rpartition("/")[2] for entry in listed} == names
    again = night("public_example.py")
    again.ask(parameters={"epochs": 3}, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/next"})
    again.until_ended()
    assert again.said()[0].startswith("epoch 1/3"), "the next run must not find the last one's checkpoints"


@needs_namespace
def test_the_public_example_is_drilled_with_its_own_hyperparameters(tmp_path, nothing_left):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    job = job_of(EXAMPLE)
    evidence = drill(job, DrillOptions(kills=2), scratch=scratch, directory=tmp_path)
    undisturbed = evidence.undisturbed
    assert undisturbed.completed
    assert undisturbed.lives[0].seen.steps[-1].step == 7
    assert len(undisturbed.lives[0].saved_at) > 0
    resumed = [life for training in evidence.disturbed for life in training.lives if life.found]
    assert resumed, "a life after a kill finds the checkpoints of the one before"
    assert all(life.seen.steps[0].step > 1 for life in resumed if life.seen.steps)
    assert all(training.completed for training in evidence.disturbed)
    report = report_of("example", evidence)
    assert report.outcome is Grade.INEXACT, report.claim
    assert report.claim.startswith("resumes, not to the bit: random state not saved; loss differs by up to")


SEEN = """
import os, pathlib, sys
here = pathlib.Path("/opt/ml")
(here / "checkpoints").mkdir()
(here / "checkpoints" / "made").write_text("x")
others = sorted(os.listdir("/opt"))
print(os.getuid(), os.getcwd(), sorted(p.name for p in here.iterdir()), others, sorted(os.environ))
"""
CALL = """
import sys
sys.path.insert(0, sys.argv[1])
import opt_ml_namespace
opt_ml_namespace.OPT_ML = sys.argv[3]
opt_ml_namespace.main(*sys.argv[2:4], 2, sys.argv[4:])
"""


def as_nobody(python):
    """The command's beginning that makes it an ordinary user's."""
    drop = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    found = shutil.which("setpriv") and subprocess.run(
        [*drop, "sh", "-c", f"exec {python} -c 0"], capture_output=True, check=False
    )
    return drop if found and found.returncode == 0 else None


@pytest.mark.parametrize("missing", [False, True], ids=["as-it-is", "without-opt-ml"])
@pytest.mark.parametrize("user", ["own", "ordinary"])
@needs_namespace
def test_a_process_sees_its_own_folder_and_the_machine_does_not_change(user, missing, tmp_path, nothing_left):
    python, prefix, mine = sys.executable, [], os.getuid()
    if user == "ordinary" and mine == 0:
        python = next((each for each in (sys.executable, "/usr/bin/python3") if as_nobody(each)), None)
        if python is None:
            pytest.skip("no Python that another user than root may run, or no setpriv")
        prefix, mine = as_nobody(python), NOBODY
        temporary = Path(tempfile.gettempdir())
        for place in (tmp_path, *tmp_path.parents):
            if temporary not in place.parents:
                break
            place.chmod(0o755)
    module = tmp_path / "module"
    module.mkdir()
    shutil.copy(Path(opt_ml.__file__).with_name("opt_ml_namespace.py"), module)
    seen = SEEN.replace("/opt/ml", "/opt/mx") if missing else SEEN
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o777)
    name = "/opt/mx" if missing else "/opt/ml"
    command = [
        *prefix,
        python,
        "-I",
        "-S",
        "-c",
        CALL,
        str(module),
        str(folder),
        name,
        python,
        "-I",
        "-c",
        seen,
    ]
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], "LANG": "C"}, capture_output=True, text=True, check=False
    )
    if user == "ordinary" and done.stderr == "1":
        pytest.skip("ordinary users may not have mount namespaces here")
    assert (done.returncode, done.stderr) == (0, "")
    expected = sorted({*(path.name for path in Path("/opt").iterdir()), name.rpartition("/")[2]})
    assert done.stdout.startswith(f"{mine} {name} ['checkpoints'] {expected}")
    assert (folder / "checkpoints" / "made").read_text() == "x"
    assert not (Path(name) / "checkpoints" / "made").exists()
    assert not Path("/opt/mx").exists()


class Started:
    """A process in a container of its own."""

    def __init__(self, root, *, is_private):
        request = {
            "TrainingJobName": "job",
            "ResourceConfig": {"InstanceType": "ml.m5.large"},
            "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
        }
        self.container = containers.prepare(root / "machine", request, is_private=is_private)
        self.environment = containers.environment(
            self.container, request, "arn:aws:sagemaker:eu-west-1:1:x/job", {}
        )
        self.log = root / "logs" / "job.log"
        self.reaper = Reaper()

    def __call__(self, command, directory="/"):
        self.process = TrainingProcess(
            command,
            environment=self.environment,
            container=self.container,
            directory=directory,
            log=self.log,
            on_line=None,
            reaper=self.reaper,
        )
        return self.process

    def until_ended(self):
        limit = time.monotonic() + 60
        while (code := self.process.exit_code()) is None:
            assert time.monotonic() < limit
            time.sleep(0.005)
        self.process.kill()
        return code

    def close(self):
        self.reaper.close()


@needs_namespace
def test_a_command_that_does_not_exist_is_said_as_without_a_namespace(tmp_path):
    for is_private in (True, False):
        with closing(Started(tmp_path / str(is_private), is_private=is_private)) as started:
            with pytest.raises(CommandError, match=r"^no-such-program --x: No such file or directory$"):
                started(["no-such-program", "--x"])
            with pytest.raises(CommandError, match="No such file or directory"):
                started(["python", "-c", ""], directory=str(tmp_path / "nowhere"))


@needs_namespace
def test_a_process_in_a_namespace_ends_by_signals_as_any_other(tmp_path):
    with closing(Started(tmp_path, is_private=True)) as started:
        started(["sh", "-c", "echo there > /opt/ml/model/x; exec sleep 60"])
        while not (started.container.model / "x").exists():
            time.sleep(0.005)
        started.process.terminate()
        assert started.until_ended() == 128 + 15
        started(["sh", "-c", "kill -PIPE $$"])
        assert started.until_ended() == 128 + 13, "Python's ignoring of SIGPIPE must not be passed on"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """This machine's /opt/ml as a folder of the test, on a machine that gives nobody one of their own."""
    folder = tmp_path / "host" / "opt" / "ml"
    monkeypatch.setattr(process, "HostWatch", lambda: HostWatch(folder))
    monkeypatch.setattr(opt_ml, "can_be_private", lambda: False)
    return folder


def moved_to(folder, tmp_path):
    """The example with another folder for /opt/ml."""
    script = tmp_path / "example.py"
    script.write_text(EXAMPLE.read_text().replace('"/opt/ml/checkpoints"', repr(str(folder / "checkpoints"))))
    return script


def test_without_a_namespace_a_script_that_uses_the_machines_folder_is_told_what_to_write(
    night, host, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_job, "is_private", lambda *_places: False)
    old = host / "checkpoints" / "old.pt"
    old.parent.mkdir(parents=True)
    old.write_text("somebody's")
    tonight = night(command=["python", str(moved_to(host, tmp_path))])
    tonight.ask(parameters={"epochs": 400})
    ended = tonight.until_ended()
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("AlgorithmError: the script uses /opt/ml/checkpoints")
    assert (
        'CHECKPOINTS = os.environ.get("NIGHTSPOT_CHECKPOINT_DIR", "/opt/ml/checkpoints")'
        in ended["FailureReason"]
    )
    assert "epoch 400/400" not in tonight.said()[-1], "it is ended as soon as it is seen"
    assert [path.name for path in host.rglob("*") if path.is_file()] == ["old.pt"]
    assert old.read_text() == "somebody's"
    kept = tonight.simulator.log_path("job").parent / "opt-ml-of-this-machine" / "checkpoints"
    assert (kept / "ckpt-0001.pt").exists(), "nothing is lost"


def test_without_a_namespace_the_drill_says_the_folder_too(host, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    job = job_of(moved_to(host, tmp_path))
    evidence = drill(job, DrillOptions(kills=2), scratch=scratch, directory=tmp_path)
    assert not evidence.undisturbed.completed
    assert "the script uses /opt/ml/checkpoints" in evidence.undisturbed.lives[0].last_words
    assert not host.exists() or list(host.iterdir()) == []


def test_a_folder_that_may_not_be_made_is_explained(tmp_path, host):
    line = "PermissionError: [Errno 13] Permission denied: '/opt/ml/checkpoints'"
    with closing(Started(tmp_path, is_private=False)) as started:
        started(["sh", "-c", f'echo "{line}" >&2; exit 1'])
        assert started.until_ended() == 1
        said = started.container.failure_text()
    assert said.startswith(f"{line}\nthe script uses /opt/ml/checkpoints of this machine.")


def test_a_failure_of_its_own_stays_the_scripts(tmp_path, host):
    with closing(Started(tmp_path, is_private=False)) as started:
        started(["sh", "-c", "echo 'ValueError: no rows'; exit 3"])
        assert started.until_ended() == 3
        assert started.container.failure_text() is None


def test_the_environments_folders_need_no_namespace(tmp_path, host):
    with closing(Started(tmp_path, is_private=False)) as started:
        started(["sh", "-c", 'echo x > "$NIGHTSPOT_CHECKPOINT_DIR/a"; echo y > "$SM_MODEL_DIR/b"'])
        assert started.until_ended() == 0
        assert (started.container.checkpoints / "a").exists()
        assert (started.container.model / "b").exists()


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("/opt/ml/checkpoints/ckpt-0001.pt", "NIGHTSPOT_CHECKPOINT_DIR"),
        ("/opt/ml/model/model.pt", "SM_MODEL_DIR"),
        ("/opt/ml/output/data/x.csv", "SM_OUTPUT_DIR"),
        ("/opt/ml", "NIGHTSPOT_CHECKPOINT_DIR"),
    ],
)
def test_the_lines_to_paste_name_a_variable_that_the_container_sets(path, variable, tmp_path):
    assert f'os.environ.get("{variable}", "/opt/ml/' in two_lines(path)
    compile(two_lines(path), "lines", "exec")
    assert two_lines(path).splitlines()[1] in explanation(path)
    with closing(Started(tmp_path, is_private=False)) as started:
        assert Path(started.environment[variable]).is_dir()


def test_what_studio_writes_by_itself_is_no_training_scripts(tmp_path):
    (tmp_path / "metadata").mkdir()
    watch = HostWatch(tmp_path)
    (tmp_path / "metadata" / "resource-metadata.json").write_text("{}")
    assert watch.changed(at_once=True) is None
    (tmp_path / "model").mkdir()
    assert watch.changed(at_once=True) == Path("/opt/ml/model")


def test_a_change_of_a_file_that_was_there_is_found_and_left(tmp_path):
    (tmp_path / "ckpt").write_text("old")
    watch = HostWatch(tmp_path)
    (tmp_path / "ckpt").write_text("newer")
    assert watch.changed(at_once=True) == Path("/opt/ml/ckpt")
    assert watch.take_away(tmp_path / "elsewhere") == []
    assert (tmp_path / "ckpt").read_text() == "newer"


def test_code_below_opt_ml_would_be_hidden_so_it_is_not_covered(tmp_path):
    assert not opt_ml.is_private(tmp_path, OPT_ML / "code")


@pytest.mark.parametrize("local_path", ["/opt/ml/checkpoints", "/opt/ml/code/ckpt", "/opt/ml/checkpoints/"])
def test_local_path_is_where_checkpoints_are(local_path, tmp_path):
    container = Container(tmp_path, is_private=True, local_path=local_path)
    assert container.inside(container.checkpoints) == local_path.rstrip("/")


@pytest.mark.parametrize("tried", [["false"], ["no-such-program"]], ids=["refused", "cannot-be-tried"])
def test_where_namespaces_are_forbidden_they_are_not_used(tried, monkeypatch):
    opt_ml.can_be_private.cache_clear()
    monkeypatch.setattr(opt_ml, "wrapped", lambda *_arguments: tried)
    assert not opt_ml.can_be_private()
    opt_ml.can_be_private.cache_clear()


def test_other_systems_have_none(monkeypatch):
    opt_ml.can_be_private.cache_clear()
    monkeypatch.setattr(opt_ml.sys, "platform", "darwin")
    assert not opt_ml.can_be_private()
    opt_ml.can_be_private.cache_clear()
