"""A job's code: what may be said of it, which files travel, and that the archive is the same for the same files."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
import time

import pytest
import yaml

from nightspot.job import source_files
from nightspot.job.errors import InvalidJobError
from nightspot.job.model import dump_jobs, read_jobs
from nightspot.job.reading import check_files, load_job, parse_job
from nightspot.job.source_archive import pack, pack_all
from tests.job.conftest import changed

CODE = {"code.source_dir": "../training", "code.entry_point": "train.py"}
NETWORK = "training_job.EnableNetworkIsolation"


@pytest.fixture
def project(tmp_path):
    """A project with a job file and a folder of training code."""
    (tmp_path / "cdk.json").write_text("{}")
    (tmp_path / "jobs").mkdir()
    code = tmp_path / "training"
    (code / "models").mkdir(parents=True)
    (code / "train.py").write_text("print('training')\n")
    (code / "models" / "net.py").write_text("LAYERS = 3\n")
    return tmp_path


@pytest.fixture
def job_of(project):
    def load(changes=()):
        file = project / "jobs" / "recommender.yaml"
        document = yaml.safe_load(changed({**CODE, **dict(changes)}))
        del document["local"]
        file.write_text(yaml.safe_dump(document))
        return load_job(file)

    return load


@pytest.fixture
def problems_of(job_of):
    def load(changes=()):
        with pytest.raises(InvalidJobError) as caught:
            job_of(changes)
        return [(found.field, found.value, found.rule) for found in caught.value.problems]

    return load


def names_in(archive):
    with tarfile.open(fileobj=io.BytesIO(archive.body)) as tar:
        return tar.getnames()


def test_a_job_with_code_needs_no_local_section(job_of):
    job = job_of()
    assert job.code.entry_point == "train.py"
    assert job.local is not None
    assert job.local.command is None


def test_without_code_a_local_section_must_say_what_runs(problems_with):
    (found,) = problems_with({"local": {"time_scale": 2}})
    assert found.field == "local.command"
    assert "is required, unless code" in found.rule


def test_code_travels_with_the_jobs_of_a_deployment(job_of):
    job = job_of()
    again = read_jobs(dump_jobs({"recommender": job}))["recommender"]
    assert (again.code.source_dir, again.code.entry_point) == ("../training", "train.py")
    assert again.code.job_folder is None
    with pytest.raises(InvalidJobError, match="needs its job file"):
        pack(again)


# what is changed of the file -> the field that is named, and a part of the rule
BROKEN = {
    "an absolute folder": ({"code.source_dir": "/srv/code"}, "code.source_dir", "does not begin with /"),
    "a folder at home": ({"code.source_dir": "~/code"}, "code.source_dir", "does not begin with / or ~"),
    "no such folder": ({"code.source_dir": "../nothing"}, "code.source_dir", "there is none"),
    "a file for a folder": ({"code.source_dir": "recommender.yaml"}, "code.source_dir", "must be a folder"),
    "a folder outside the project": (
        {"code.source_dir": "../.."},
        "code.source_dir",
        "must lie in the project",
    ),
    "no entry point": ({"code": {"source_dir": "../training"}}, "code.entry_point", "is required"),
    "no such entry point": ({"code.entry_point": "trian.py"}, "code.entry_point", "did you mean train.py?"),
    "an entry point outside": ({"code.entry_point": "../train.py"}, "code.entry_point", "without .."),
    "a folder as entry point": ({"code.entry_point": "models"}, "code.entry_point", "end with .py or .sh"),
    "spaces in the entry point": ({"code.entry_point": "my train.sh"}, "code.entry_point", "only letters"),
    "a hidden entry point": ({"code.entry_point": ".train.py"}, "code.entry_point", "is left out"),
    "no such requirements": (
        {"code.requirements": "gpu.txt"},
        "code.requirements",
        "must be a file in source_dir",
    ),
    "an unknown key": ({"code.entrypoint": "a.py"}, "code.entrypoint", "did you mean entry_point?"),
    "the program by hand": (
        {"training_job.HyperParameters": {"sagemaker_program": "train.py"}},
        "training_job.HyperParameters.sagemaker_program",
        "must not be given beside code",
    ),
    "the archive by hand": (
        {"training_job.HyperParameters": {"sagemaker_submit_directory": "s3://b/sourcedir.tar.gz"}},
        "training_job.HyperParameters.sagemaker_submit_directory",
        "must not be given beside code",
    ),
    "a start that may choose the program": (
        {"overrides": {"hyperparameters": ["epochs", "sagemaker_program"]}},
        "overrides.hyperparameters[1]",
        "code says which script runs",
    ),
    "no way to S3": ({NETWORK: True}, NETWORK, "fetches its code from S3"),
    "a packaged algorithm": (
        {"training_job.AlgorithmSpecification": {"AlgorithmName": "mine", "TrainingInputMode": "File"}},
        "training_job.AlgorithmSpecification.AlgorithmName",
        "name a TrainingImage",
    ),
    "too many hyperparameters": (
        {"training_job.HyperParameters": {f"p{n}": "1" for n in range(99)}},
        "training_job.HyperParameters",
        "must be at most 98 with code",
    ),
}


@pytest.mark.parametrize(("changes", "field", "rule"), BROKEN.values(), ids=BROKEN.keys())
def test_a_mistake_in_code_names_field_value_and_rule(problems_of, project, changes, field, rule):
    (project / "training" / ".train.py").write_text("")
    ((found, value, said),) = problems_of(changes)
    assert found == field
    assert value
    assert rule in said


def test_mistakes_of_code_stand_beside_those_of_the_rest(problems_of):
    found = problems_of({"work": 0, "code.entry_point": "nothing.py"})
    assert [field for field, _, _ in found] == ["work", "code.entry_point"]


def test_a_text_without_a_file_is_not_held_against_a_folder():
    assert parse_job(changed(CODE)).code.source_dir == "../training"


def test_an_entry_point_of_the_image_is_warned_of(job_of, project):
    job_of({"training_job.AlgorithmSpecification.ContainerEntrypoint": ["/run.sh"]})
    (checked,) = check_files([project / "jobs" / "recommender.yaml"])
    warned = [found.field for found in checked.problems]
    assert "training_job.AlgorithmSpecification.ContainerEntrypoint" in warned


def test_what_nobody_wants_to_travel_is_left_out(job_of, project):
    code = project / "training"
    for name in (
        ".git/config",
        ".env",
        ".venv/x.py",
        "__pycache__/train.pyc",
        "venv/y.py",
        "data/big.bin",
        "a.ckpt",
    ):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("x")
    (code / source_files.IGNORE_FILE).write_text("# what is not code\ndata/\n*.ckpt\n")
    assert names_in(pack(job_of())) == ["models/net.py", "train.py"]


def test_requirements_under_another_name_become_the_ones_that_the_image_installs(job_of, project):
    (project / "training" / "gpu.txt").write_text("torch\n")
    archive = pack(job_of({"code.requirements": "gpu.txt"}))
    with tarfile.open(fileobj=io.BytesIO(archive.body)) as tar:
        assert tar.extractfile("requirements.txt").read() == b"torch\n"


def test_two_files_of_requirements_are_refused(problems_of, project):
    for name in ("gpu.txt", "requirements.txt"):
        (project / "training" / name).write_text("torch\n")
    ((field, value, rule),) = problems_of({"code.requirements": "gpu.txt"})
    assert (field, value) == ("code.requirements", "'gpu.txt'")
    assert "the image installs the one of that name" in rule


LINKS = {
    "out of the folder": ("../cdk.json", "leads out of source_dir"),
    "to nothing": ("nothing.py", "leads nowhere"),
    "to a folder": ("models", "must not be a link to a folder"),
}


@pytest.mark.parametrize(("target", "rule"), LINKS.values(), ids=LINKS.keys())
def test_a_link_that_cannot_travel_is_refused(problems_of, project, target, rule):
    (project / "training" / "link").symlink_to(target)
    ((field, value, said),) = problems_of()
    assert (field, value) == ("code.source_dir", "'link'")
    assert rule in said


def test_a_link_within_the_folder_travels_as_its_file(job_of, project):
    (project / "training" / "same.py").symlink_to("train.py")
    with tarfile.open(fileobj=io.BytesIO(pack(job_of()).body)) as tar:
        assert tar.getmember("same.py").isfile()
        assert tar.extractfile("same.py").read() == b"print('training')\n"


SECRETS = {
    "a private key": ("deploy.pem", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"),
    "a key's usual name": ("id_ed25519", "x"),
    "AWS credentials": ("credentials", "x"),
    "an access key in a script": ("upload.py", "KEY = 'AKIA" + "Z7QW4ERTY2UIOP3A'\n"),
}


@pytest.mark.parametrize(("name", "content"), SECRETS.values(), ids=SECRETS.keys())
def test_what_looks_like_a_secret_does_not_travel(problems_of, job_of, project, name, content):
    (project / "training" / name).write_text(content)
    ((field, value, rule),) = problems_of()
    assert (field, value) == ("code.source_dir", repr(name))
    assert "looks like a key or credentials" in rule
    (project / "training" / source_files.IGNORE_FILE).write_text(name)
    assert name not in names_in(pack(job_of()))


def test_a_certificate_and_the_example_key_of_aws_are_no_secrets(job_of, project):
    (project / "training" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIE\n")
    (project / "training" / "doc.py").write_text("# AKIA" + "IOSFODNN7EXAMPLE\n")
    assert {"ca.pem", "doc.py"} <= set(names_in(pack(job_of())))


def test_data_is_no_code(problems_of, project, monkeypatch):
    monkeypatch.setattr(source_files, "MOST_BYTES", 1000)
    (project / "training" / "weights.bin").write_bytes(b"x" * 1001)
    ((field, value, rule),) = problems_of()
    assert (field, value) == ("code.source_dir", "'weights.bin'")
    assert "data belongs into a channel of InputDataConfig" in rule


def test_a_folder_of_too_many_files_is_refused(problems_of, project, monkeypatch):
    monkeypatch.setattr(source_files, "MOST_FILES", 3)
    for n in range(9):
        (project / "training" / f"{n}.txt").write_text("")
    ((field, _, rule),) = problems_of()
    assert field == "code.source_dir"
    assert "must have at most 3 files" in rule


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(problems_of, project):
    (project / "training" / "locked.py").write_text("x")
    (project / "training" / "locked.py").chmod(0)
    ((field, value, rule),) = problems_of()
    assert (field, value) == ("code.source_dir", "'locked.py'")
    assert "cannot be read" in rule


def test_the_same_files_make_the_same_archive(job_of, project, tmp_path_factory):
    first = pack(job_of())
    other = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.copytree(project, other)
    for path in sorted((other / "training").rglob("*"), reverse=True):
        os.utime(path, (time.time() - 12_345,) * 2)
    second = pack(load_job(other / "jobs" / "recommender.yaml"))
    assert first.body == second.body
    assert first.version.digest == second.version.digest


def test_the_archive_says_nothing_of_who_made_it_when(job_of):
    body = pack(job_of()).body
    assert body[4:8] == b"\0\0\0\0"  # gzip's time
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
        for entry in tar.getmembers():
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")


CHANGES = {
    "its content": lambda code: (code / "train.py").write_text("print('other')\n"),
    "its name": lambda code: (
        (code / "train.py").with_name("models").joinpath("net.py").rename(code / "net.py")
    ),
    "that it may be executed": lambda code: (code / "train.py").chmod(0o755),
    "another file": lambda code: (code / "more.py").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_changes_of_a_file_changes_the_digest(job_of, project, change):
    before = pack(job_of()).version.digest
    (project / "training" / "train.py").chmod(0o644)
    change(project / "training")
    assert pack(job_of()).version.digest != before


def test_jobs_that_share_their_code_share_its_archive(job_of):
    job = job_of()
    carried, bodies = pack_all({"one": job, "two": job, "none": job.model_copy(update={"code": None})})
    assert sorted(carried.versions) == ["one", "two"]
    assert list(bodies) == [carried.versions["one"].digest]
    assert carried.body(carried.versions["two"].digest) == bodies[carried.versions["one"].digest]


@pytest.fixture
def git(project):
    def call(*words):
        identity = ("-c", "user.name=jo", "-c", "user.email=jo@example.com", "-c", "init.defaultBranch=main")
        command = ["git", *identity, "-C", str(project), *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    return call


def test_outside_of_git_there_is_no_revision(job_of):
    version = pack(job_of()).version
    assert (version.revision, version.dirty) == (None, False)
    assert version.words == f"train.py {version.digest[:12]} (not in git)"


def test_inside_a_git_hook_the_repository_of_the_code_is_asked(
    job_of, git, project, monkeypatch, tmp_path_factory
):
    job = job_of()
    other = tmp_path_factory.mktemp("hook")
    git("init", "--quiet", str(other))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "code")
    assert pack(job).version.revision == git("rev-parse", "HEAD")


def test_the_revision_is_the_last_commit_of_the_folder(job_of, git, project):
    job = job_of()
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "code")
    revision = git("rev-parse", "HEAD")
    (project / "README.md").write_text("about")
    git("add", ".")
    git("commit", "--quiet", "--message", "of something else")
    version = pack(job).version
    assert (version.revision, version.dirty) == (revision, False)


UNCOMMITTED = {
    "a change": lambda code: (code / "train.py").write_text("x"),
    "a new file": lambda code: (code / "new.py").write_text("x"),
    "a file that git is told to ignore": lambda code: (code / "ignored.bin").write_text("x"),
    "a file less": lambda code: (code / "models" / "net.py").unlink(),
}


@pytest.mark.parametrize("change", UNCOMMITTED.values(), ids=UNCOMMITTED.keys())
def test_what_is_not_in_the_commit_is_said(job_of, git, project, change):
    (project / ".gitignore").write_text("*.bin\n")
    job = job_of()
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "code")
    change(project / "training")
    version = pack(job).version
    assert version.dirty
    assert "with uncommitted changes" in version.words


def test_a_pycache_beside_the_code_changes_nothing(job_of, git, project):
    job = job_of()
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "code")
    before = pack(job).version
    (project / "training" / "__pycache__").mkdir()
    (project / "training" / "__pycache__" / "train.cpython-313.pyc").write_bytes(b"x")
    assert pack(job).version == before
