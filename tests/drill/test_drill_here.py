"""Real drills: real processes, killed for real, of a small training and of copies that are broken in one way."""

import difflib
import re
import threading
import time
from pathlib import Path

import pytest

from nightspot.drill.grades import Grade
from nightspot.drill.lives import KillKind
from nightspot.drill.planning import PlannedKill
from nightspot.drill.report import report_of
from nightspot.drill.resumes import Cause
from nightspot.drill.verdict import judge
from nightspot.job.reading import load_job, parse_job
from nightspot.local import drill as drills
from nightspot.local.drill import DrillOptions, drill, environment_of, request_of
from nightspot.local.sagemaker.process import CommandError
from nightspot.local.stage import staging
from nightspot.local.stage.emulated_aws import local_job

SCRIPTS = Path(__file__).parent / "sabotage"

JOB = """
name: small
deadline: {{within: 1h}}
work: 10m
capacity: {{spot: [ml.m5.large]}}
fallback: never
training_job:
  RoleArn: ${{TrainingRoleArn}}
  AlgorithmSpecification:
    TrainingImage: ${{AWS::AccountId}}.dkr.ecr.${{AWS::Region}}.amazonaws.com/small:latest
    TrainingInputMode: File
    MetricDefinitions:
      - {{Name: step, Regex: "step ([0-9]+)"}}
      - {{Name: loss, Regex: "loss=([0-9.]+)"}}
  OutputDataConfig: {{S3OutputPath: "s3://${{ModelBucket}}/small/"}}
  CheckpointConfig: {{S3Uri: "s3://${{CheckpointBucket}}/small/"}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 30}}
  StoppingCondition: {{MaxRuntimeInSeconds: 3600}}
local: {{command: [python, {script}]}}
"""


def job_of(script):
    return parse_job(JOB.format(script=script))


@pytest.fixture
def drilled(tmp_path):
    def play(script, **options):
        path = script if isinstance(script, Path) else SCRIPTS / f"{script}.py"
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return drill(job_of(path), DrillOptions(**options), scratch=scratch, directory=tmp_path)

    return play


def test_the_code_of_a_job_is_drilled_as_its_image_would_run_it(tmp_path):
    for folder in ("code", "scratch"):
        (tmp_path / folder).mkdir()
    (tmp_path / "code" / "train.py").write_text((SCRIPTS / "trainer.py").read_text())
    code = "code: {{source_dir: code, entry_point: train.py}}"
    (tmp_path / "job.yaml").write_text(JOB.replace("local: {{command: [python, {script}]}}", code).format())
    job = load_job(tmp_path / "job.yaml")
    evidence = drill(job, DrillOptions(kills=1), scratch=tmp_path / "scratch", directory=tmp_path)
    assert [reason.text for reason in judge(evidence)] == []


def script_of(folder, *lines):
    path = folder / "script.py"
    path.write_text("import os, signal, sys, time\nfrom pathlib import Path\n" + "\n".join(lines))
    return path


def test_a_good_script_passes_whatever_kills_it(drilled):
    evidence = drilled("trainer", kills=7)
    assert [reason.text for reason in judge(evidence)] == []
    landed = [kill for training in evidence.disturbed for kill in training.kills]
    assert sorted(kill.number for kill in landed) == list(range(1, 8))
    assert {kill.kind for kill in landed} == set(KillKind)
    assert evidence.again is None
    report = report_of("small", evidence)
    assert all(kill.verdict.startswith("ok") for kill in report.kills)
    assert all(kill.resumed_from % 2 == 0 and kill.restore_seconds is not None for kill in report.kills)


def test_a_good_script_without_the_library_passes(drilled):
    evidence = drilled("plain", kills=5)
    assert [reason.text for reason in judge(evidence)] == []
    assert not evidence.undisturbed.lives[0].seen.library
    assert len(evidence.undisturbed.steps) == 16
    assert any("does not use nightspot.checkpoint" in note for note in report_of("small", evidence).notes)


SABOTAGES = {
    "optimiser_not_restored": (
        Cause.NOT_RESTORED,
        r"the optimiser's state was not restored: part `optimiser\.velocity` differs at step \d+ \(never taken",
    ),
    "optimiser_not_saved": (
        Cause.NOT_RESTORED,
        r"something that the next step depends on is not in the checkpoint.*part `weights` differs at step \d+, ",
    ),
    "generator_not_restored": (
        Cause.NOT_RESTORED,
        r"the generator was not restored: part `generator` differs at step \d+",
    ),
    "step_twice": (
        Cause.TWICE,
        r"step (\d+) was trained twice: the checkpoint of step \1 was restored and training went on with step \1",
    ),
    "step_skipped": (
        Cause.SKIPPED,
        r"step \d+ was skipped: the checkpoint of step \d+ was restored and training went on with step \d+",
    ),
    "not_atomic": (
        Cause.NOT_WHOLE,
        r"the checkpoint was not whole after a kill during a save: the next life ended with exit code 1: "
        r"(EOFError|_pickle\.UnpicklingError)",
    ),
    "resume_ignored": (
        Cause.BEGAN_AGAIN,
        r"training began again at step 1 although step \d+ was saved: the checkpoint was ignored",
    ),
    "resume_thrown_away": (
        Cause.BEGAN_AGAIN,
        r"training began again at step 1 although step \d+ was saved: the checkpoint was ignored",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("script", SABOTAGES)
def test_a_sabotaged_copy_fails_for_what_is_wrong_with_it(drilled, script):
    cause, text = SABOTAGES[script]
    evidence = drilled(script, kills=6)
    reasons = judge(evidence)
    assert reasons[0].cause is cause
    assert re.match(text, reasons[0].text)
    inexact = cause is Cause.NOT_RESTORED
    assert report_of("small", evidence).outcome is (Grade.INEXACT if inexact else Grade.NOT)


def test_every_sabotage_is_tried_and_differs_from_a_good_script_by_few_lines():
    good = {"trainer", "plain", "never_the_same"}
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*good, *SABOTAGES}
    for name in SABOTAGES:
        base = SCRIPTS / ("plain.py" if name == "not_atomic" else "trainer.py")
        changes = difflib.ndiff(
            base.read_text().splitlines(), (SCRIPTS / f"{name}.py").read_text().splitlines()
        )
        assert sum(line.startswith(("+ ", "- ")) for line in changes) <= 8


# What a torch loop without random state does, by the standard library: SGD on shuffled data.
LOOP = (
    "import pickle, random",
    'folder = Path(os.environ["SM_INPUT_CONFIG_DIR"], "../../checkpoints").resolve()',
    "random.seed(1)",
    "data = [(x, 3 * x + random.gauss(0, 0.1)) for x in (random.uniform(-1, 1) for _ in range(200))]",
    "state = {'epoch': 0, 'weights': 0.0, 'optimizer': 0.0}",
    "saved = sorted(folder.glob('ckpt-*'))",
    "if saved: state = pickle.loads(saved[-1].read_bytes())",
    "weight, velocity = state['weights'], state['optimizer']",
    "for epoch in range(state['epoch'] + 1, 9):",
    "    random.shuffle(data)",
    "    total = 0.0",
    "    for x, y in data:",
    "        error = weight * x - y",
    "        velocity = 0.5 * velocity - 0.004 * error * x",
    "        weight += velocity",
    "        total += error * error",
    "    time.sleep(0.03)",
    "    print(f'step {epoch} loss={total / len(data):.6f}', flush=True)",
    "    state = {'epoch': epoch, 'weights': weight, 'optimizer': velocity}",
    "    (folder / 'new').write_bytes(pickle.dumps(state))",
    "    (folder / 'new').replace(folder / f'ckpt-{epoch:04d}')",
    'Path(os.environ["SM_MODEL_DIR"], "model").write_text(repr(weight))',
)
RESTORED = "weight, velocity = state['weights'], state['optimizer']"


@pytest.mark.parametrize(
    ("restored", "outcome", "claim"),
    [
        (RESTORED, Grade.INEXACT, "resumes, not to the bit: random state not saved; loss differs by up to"),
        ("weight, velocity = state['weights'], 0.0", Grade.INEXACT, "resumes, not to the bit: random state"),
        ("weight, velocity = 0.0, 0.0", Grade.NOT, "does not resume"),
    ],
    ids=["reshuffled", "without-optimiser", "epoch-alone"],
)
def test_an_ordinary_loop_gets_the_grade_of_what_it_restores(drilled, tmp_path, restored, outcome, claim):
    lines = [restored if line == RESTORED else line for line in LOOP]
    report = report_of("small", drilled(script_of(tmp_path, *lines), kills=1))
    assert (report.outcome, report.claim[: len(claim)]) == (outcome, claim), report.claim


def test_epochs_and_losses_are_found_in_the_log_of_a_job_that_defines_no_metric(tmp_path):
    text = JOB.format(script=script_of(tmp_path, *LOOP).rename(tmp_path / "loop.py"))
    script = tmp_path / "loop.py"
    script.write_text(script.read_text().replace("step {epoch}", "Epoch: {epoch}/8,"))
    before, rest = text.split("    MetricDefinitions:\n")
    job = parse_job(before + rest[rest.index("  OutputDataConfig") :])
    (tmp_path / "scratch").mkdir()
    evidence = drill(job, DrillOptions(kills=1), scratch=tmp_path / "scratch", directory=tmp_path)
    assert list(evidence.undisturbed.steps) == list(range(1, 9))
    assert report_of("small", evidence).outcome is Grade.INEXACT


def test_a_job_that_is_never_the_same_passes_by_how_far_two_undisturbed_ones_are_apart(drilled):
    evidence = drilled("never_the_same", kills=3)
    assert evidence.varies
    assert [reason.text for reason in judge(evidence)] == []
    assert any("not deterministic" in note for note in report_of("small", evidence).notes)


def test_a_job_that_is_never_the_same_passes_within_the_tolerance_that_was_given(drilled):
    evidence = drilled("never_the_same", kills=3, tolerance=0.01)
    assert judge(evidence) == ()
    assert evidence.again is None


def test_a_script_that_never_saves_is_not_even_killed(drilled, tmp_path):
    evidence = drilled(script_of(tmp_path, 'print("step 1")'))
    assert [reason.cause for reason in judge(evidence)] == [Cause.NEVER_SAVED]
    assert evidence.disturbed == ()


QUICK = (
    'folder = Path(os.environ["SM_INPUT_CONFIG_DIR"], "../../checkpoints").resolve()',
    'saved = sorted(folder.glob("ckpt-*"))',
    "start = int(saved[-1].name[5:]) + 1 if saved else 1",
    "for step in range(start, 13):",
    "    time.sleep(0.01)",
    "    print(f'step {step} loss={1 / step:.6f}')",
    "    (folder / f'ckpt-{step:02d}').write_text(str(step))",
    'Path(os.environ["SM_MODEL_DIR"], "model").write_text("done")',
)


def test_twelve_saves_in_less_than_a_second_are_twelve(drilled, tmp_path):
    evidence = drilled(script_of(tmp_path, *QUICK), kills=2)
    life = evidence.undisturbed.lives[0]
    assert life.save_count == 12
    assert [reason.text for reason in judge(evidence)] == []
    assert sum(len(training.kills) for training in evidence.disturbed) == 2


def test_a_kill_that_finds_no_moment_lets_the_others_go_first():
    def kinds(*given):
        left = [PlannedKill(n, kind, None, 0.5) for n, kind in enumerate(given)]
        return [kill.kind for kill in drills.after_another(left)]

    unsynced, restore, kill = KillKind.UNSYNCED, KillKind.DURING_RESTORE, KillKind.KILL
    assert kinds(unsynced, kill) == [kill, unsynced]
    # A restore needs a kill before it.
    assert kinds(unsynced, restore, kill) == [kill, restore, unsynced]
    assert kinds(unsynced, restore) == [unsynced, restore]
    assert kinds(kill) == [kill]


def test_a_drill_says_how_many_of_its_processes_are_over(tmp_path):
    seen = []
    (tmp_path / "scratch").mkdir()
    drill(
        job_of(script_of(tmp_path, *QUICK)),
        DrillOptions(kills=2),
        scratch=tmp_path / "scratch",
        directory=tmp_path,
        on_life=lambda *given: seen.append(given[3:]),
    )
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[0] == (1, 4)
    assert seen[-1][0] == seen[-1][1] >= 4


def test_a_traceback_s_exception_is_the_reason_and_not_the_last_line(drilled, tmp_path):
    lines = (
        "print('Traceback (most recent call last):', file=sys.stderr)",
        "print('  File \"train.py\", line 3, in <module>', file=sys.stderr)",
        "print('xgboost.core.XGBoostError: [12:00:00] /src/gbm.cc:12: Check failed: eta > 0', file=sys.stderr)",
        "print('Stack trace:', file=sys.stderr)",
        "for n in range(9): print(f'  [bt] ({n}) /usr/lib/libxgboost.so(+0x{n}) [0x7f]', file=sys.stderr)",
        "sys.exit(1)",
    )
    (reason,) = judge(drilled(script_of(tmp_path, *lines)))
    assert reason.text == (
        "undisturbed, the training ended with exit code 1: xgboost.core.XGBoostError: [12:00:00] /src/gbm.cc:12: "
        "Check failed: eta > 0"
    )


def test_a_script_that_never_ends_is_ended(drilled, tmp_path):
    evidence = drilled(script_of(tmp_path, "time.sleep(600)"), limit_seconds=0.5)
    (reason,) = judge(evidence)
    assert reason.cause is Cause.UNDISTURBED_FAILED
    assert "was still running after" in reason.text


def test_a_script_that_is_deaf_to_sigterm_is_killed_when_the_grace_is_over(drilled, tmp_path):
    saves = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        'path = Path(os.environ["SM_INPUT_CONFIG_DIR"], "../../checkpoints/done").resolve()',
        "done = int(path.read_text()) if path.exists() else 0",
        "for step in range(done + 1, 9):",
        "    time.sleep(0.1)",
        "    path.with_suffix('.new').write_text(str(step))",
        "    path.with_suffix('.new').replace(path)",
        "    print('step', step)",
        'Path(os.environ["SM_MODEL_DIR"], "model").write_text("done")',
    )
    evidence = drilled(script_of(tmp_path, *saves), kills=5, grace_seconds=0.05)
    assert judge(evidence) == ()
    (deaf,) = [
        kill for training in evidence.disturbed for kill in training.kills if kill.kind is KillKind.TERM
    ]
    assert deaf.left_seconds is None
    assert any("did not leave in time" in note for note in report_of("small", evidence).notes)


def test_a_script_that_saves_at_sigterm_is_told_to_have_done_so(drilled, tmp_path):
    text = (SCRIPTS / "trainer.py").read_text()
    text = text.replace("every_steps=EVERY)", "every_steps=EVERY, handle_sigterm=True)")
    text = text.replace('{"loss": loss})', '{"loss": loss})\n        checkpointer.exit_if_asked()')
    path = tmp_path / "listens.py"
    path.write_text(text)
    report = report_of("small", drilled(path, kills=5))
    assert report.passed
    (note,) = [note for note in report.notes if note.startswith("SIGTERM")]
    assert re.search(r"left within [\d.]+ s with exit code 143 \(saved step \d+ once more\)", note)


def test_a_command_that_is_not_there_is_an_error(drilled, tmp_path):
    job = parse_job(JOB.format(script="x").replace("python, x", "no-such-command"))
    with pytest.raises(CommandError, match="no-such-command"):
        drill(job, DrillOptions(), scratch=tmp_path, directory=tmp_path)


def test_nothing_that_was_started_is_left_when_a_drill_is_broken_off(tmp_path, monkeypatch):
    started = tmp_path / "pid"
    script = script_of(tmp_path, f"Path({str(started)!r}).write_text(str(os.getpid()))", "time.sleep(600)")

    def until_it_runs(process, *_):
        while not started.exists() or not started.read_text():
            time.sleep(0.005)
        raise KeyboardInterrupt

    monkeypatch.setattr("nightspot.local.drilled_life._until_the_end", until_it_runs)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(KeyboardInterrupt):
        drill(job_of(script), DrillOptions(), scratch=scratch, directory=tmp_path)
    assert not Path("/proc", started.read_text()).exists()
    assert not any("log-" in thread.name for thread in threading.enumerate())


def test_the_command_finds_the_names_of_the_local_run_and_a_container_of_one_job(tmp_path):
    job = job_of("x")
    request = request_of(job)
    filled = local_job(job).training_job
    assert {name: request[name] for name in filled if name != "ResourceConfig"} == {
        name: value for name, value in filled.items() if name != "ResourceConfig"
    }
    assert request["ResourceConfig"]["InstanceType"] == "ml.m5.large"


def test_a_story_s_padding_is_left_out_unless_it_is_asked_for():
    assert drills.PADDING == staging.PADDING
    job = job_of("x")
    local = job.local.model_copy(update={"environment": {drills.PADDING: "1.25", "OTHER": "1"}})
    job = job.model_copy(update={"local": local})
    assert drills.PADDING not in environment_of(job, {})
    given = environment_of(job, {drills.PADDING: "0.1", "OTHER": "2"})
    assert (given[drills.PADDING], given["OTHER"]) == ("0.1", "2")


def test_a_script_of_which_no_step_is_known_is_judged_by_its_model(drilled, tmp_path):
    text = (SCRIPTS / "plain.py").read_text().replace('print(f"step', 'print(f"at')
    (tmp_path / "mute.py").write_text(text)
    evidence = drilled(tmp_path / "mute.py", kills=5)
    assert judge(evidence) == ()
    assert evidence.undisturbed.steps == {}
    assert sum(len(training.kills) for training in evidence.disturbed) == 5


def test_a_mute_script_that_begins_again_fails_by_what_it_ends_with(drilled, tmp_path):
    text = (SCRIPTS / "plain.py").read_text().replace('print(f"step', 'print(f"at')
    # The generator continues from where it was, so beginning again gives another model.
    text = text.replace('range(state["step"] + 1', "range(1")
    (tmp_path / "mute.py").write_text(text)
    causes = [reason.cause for reason in judge(drilled(tmp_path / "mute.py", kills=1))]
    assert causes == [Cause.NOT_SHOWN, Cause.METRICS_DIFFER, Cause.MODEL_DIFFERS]
