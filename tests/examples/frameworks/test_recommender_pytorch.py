"""The recommender in PyTorch learns, and an interruption does not change a bit of what it learns."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "recommender_pytorch"
SMALL = {"SM_HP_USERS": "200", "SM_HP_ITEMS": "150", "SM_HP_EPOCHS": "9", "SM_HP_FACTORS": "8"}
# More epochs than are trained while a signal is on its way.
LONG = {"SM_HP_EPOCHS": "60"}

pytestmark = pytest.mark.xdist_group("torch")


def environment(folder, **more):
    """A container of SageMaker's whose folders are here, and nothing of this machine."""
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(folder / "checkpoints")}))
    return {
        "PATH": os.environ["PATH"],
        "SM_INPUT_CONFIG_DIR": str(config),
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_OUTPUT_DIR": str(folder / "output"),
        **SMALL,
        **more,
    }


def train(folder, *arguments, script=EXAMPLE / "train.py", **more):
    return subprocess.run(
        [sys.executable, script, *arguments],
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        check=False,
    )


def train_until(epoch, folder, how, **more):
    """Train, and send it this signal when it reports this epoch; returns its lines and status."""
    lines = []
    with subprocess.Popen(
        [sys.executable, EXAMPLE / "train.py"],
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(f"epoch {epoch}/"):
                process.send_signal(how)
    return lines, process.returncode


def results(folder):
    model = folder / "model"
    return (model / "model.pt").read_bytes(), json.loads((model / "metrics.json").read_text())


@pytest.fixture(scope="module")
def script():
    """The script's functions, without a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("bpr", "train"):
            spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            spec.loader.exec_module(module)
        yield module


@pytest.mark.long
def test_killed_and_asked_to_stop_and_resumed_it_ends_with_the_same_bits(tmp_path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert train(undisturbed, **LONG).returncode == 0

    _, killed = train_until(7, disturbed, signal.SIGKILL, NIGHTSPOT_ATTEMPT="1", **LONG)
    second, asked = train_until(20, disturbed, signal.SIGTERM, NIGHTSPOT_ATTEMPT="2", **LONG)
    third = train(disturbed, NIGHTSPOT_ATTEMPT="3", **LONG)

    assert (killed, asked, third.returncode) == (-signal.SIGKILL, 128 + signal.SIGTERM, 0)
    assert second[0].endswith("(checkpoint of attempt 1)")
    # Asked to stop it saves the epoch that it is in, whatever the interval.
    last = int(second[-1].split()[1].partition("/")[0])
    assert third.stdout.startswith(
        f"resumed from epoch {last} (checkpoint of attempt 2)\nepoch {last + 1}/60 "
    )
    assert results(disturbed) == results(undisturbed)


def test_it_learns_far_more_than_what_is_popular(tmp_path):
    # The sizes it has by default; a third of the epochs.
    full_size = {"SM_HP_USERS": "1600", "SM_HP_ITEMS": "800", "SM_HP_FACTORS": "32"}
    finished = train(tmp_path, SM_HP_EPOCHS="8", **full_size)

    _, reached = results(tmp_path)
    assert reached["recall_at_10"] > 2 * reached["popularity_recall_at_10"]
    lines = [line for line in finished.stdout.splitlines() if line.startswith("epoch")]
    recalls = [float(line.rpartition("=")[2]) for line in lines]
    assert len(recalls) == 8
    assert recalls == sorted(recalls)
    losses = [float(line.split("loss=")[1].split()[0]) for line in lines]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.long
def test_a_finished_training_that_is_started_again_writes_the_same_and_refuses_to_be_another(tmp_path):
    train(tmp_path)
    first = results(tmp_path)
    shutil.rmtree(tmp_path / "model")

    again = train(tmp_path)
    assert "epoch 1/9" not in again.stdout
    assert results(tmp_path) == first

    refused = train(tmp_path, "--seed", "8")
    assert refused.returncode == 1
    failure = (tmp_path / "output" / "failure").read_text()
    assert failure.startswith("OtherTrainingError: ")
    assert "'seed': 7" in failure


def test_a_drill_sees_every_epoch_s_loss_and_the_progress_file_the_last(tmp_path):
    train(tmp_path, NIGHTSPOT_DRILL_JOURNAL=str(tmp_path / "journal"))

    events = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    # A later line for the same epoch knows more than an earlier one.
    losses = {
        each["step"]: each["metrics"]["loss"]
        for each in events
        if each["event"] == "step" and each["metrics"]
    }
    assert list(losses) == list(range(1, 10))
    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (9, 9)
    assert progress["metrics"]["loss"] == losses[9]
    assert progress["metrics"]["recall_at_10"] == results(tmp_path)[1]["recall_at_10"]


def test_with_its_own_folder_alone_it_reads_the_train_channel(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    draw = torch.Generator().manual_seed(0)
    pairs = torch.unique(torch.randint(30, (900, 2), generator=draw), dim=0)
    torch.save({"user": pairs[:, 0], "item": pairs[:, 1]}, tmp_path / "interactions.pt")

    channel = {"SM_CHANNEL_TRAIN": str(tmp_path)}
    assert train(tmp_path, script=source / "train.py", **channel).returncode == 0

    model = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    assert {name: tuple(each.shape) for name, each in model.items()} == {
        "user": (30, 8),
        "item": (30, 8),
        "bias": (30,),
    }


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        (None, "must be a file that torch.save wrote"),
        ([1], "must have the tensors user and item"),
        ({"user": torch.tensor([0, 1]), "item": torch.tensor([0])}, "must be lists of one length"),
        ({"user": torch.tensor([-1]), "item": torch.tensor([0])}, "must be numbered from 0 on"),
        ({"user": torch.tensor([0]), "item": torch.tensor([0])}, "need more than 10 items"),
    ],
)
def test_interactions_that_make_no_sense_are_refused(tmp_path, script, saved, reason):
    path = tmp_path / "interactions.pt"
    if saved is not None:
        torch.save(saved, path)

    with pytest.raises(script.bpr.DataError, match=reason):
        script.bpr.load(path, seed=7)


def test_fewer_items_than_each_user_takes_are_refused(script):
    with pytest.raises(script.bpr.DataError, match="items=24: must be more than the 24 that each user takes"):
        script.bpr.generate(10, 24, seed=7)


def test_generated_interactions_are_the_seed_s_own(script):
    first, again, other = (script.bpr.generate(20, 40, seed).fingerprint for seed in (7, 7, 8))

    assert first == again != other


def test_what_went_wrong_becomes_the_failure_reason(tmp_path):
    assert train(tmp_path, "--epochs", "0").returncode == 1

    assert (tmp_path / "output" / "failure").read_text() == (
        "HyperparameterError: argument --epochs: '0': must be a whole number from 1 on\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--learning-rate", "inf"], "argument --learning-rate: 'inf': must be a number greater than 0"),
        (["--factors", "2.5"], "argument --factors: '2.5': must be a whole number from 1 on"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
    ],
)
def test_a_hyperparameter_that_makes_no_sense_is_refused(script, arguments, reason):
    with pytest.raises(script.HyperparameterError, match=reason):
        script.parse(arguments, {})


@pytest.mark.parametrize("spelled", ["SM_HP_CHECKPOINT-EVERY", "SM_HP_CHECKPOINT_EVERY"])
def test_hyperparameters_are_taken_as_a_toolkit_or_a_shell_spells_them(script, spelled):
    assert script.parse([], {spelled: "9"}).checkpoint_every == 9
    assert script.parse(["--checkpoint-every", "2"], {spelled: "9"}).checkpoint_every == 2


def test_its_job_file_is_valid():
    checked = subprocess.run(
        [sys.executable, "-m", "nightspot", "validate", EXAMPLE / "job.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
