"""Two live processes never write one rank's checkpoints; one that is dead, or elsewhere, locks nobody out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from nightspot.checkpoint import Checkpointer, DirectoryError

# Python 3.12 warns of forks beside threads, and pytest-xdist's workers have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# Says what became of its save, waits for a word, says what it restores, and waits again.
TRAINING = textwrap.dedent("""
    import sys
    from nightspot.checkpoint import Checkpointer, CheckpointError
    try:
        checkpointer = Checkpointer(sys.argv[1])
        checkpointer.save(1, f"part {sys.argv[2]}".encode())
        print("saved", flush=True)
    except CheckpointError as error:
        print(type(error).__name__, error, flush=True)
        sys.exit(1)
    sys.stdin.readline()
    print(Checkpointer(sys.argv[1]).restore().state.decode(), flush=True)
    sys.stdin.readline()
""")


class Launched:
    """Processes of one training, started one after the other with the variables of a launcher."""

    def __init__(self, directory, variables):
        self.processes = []
        for number, each in enumerate(variables):
            environ = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", TRAINING, str(directory), str(number)],
                    env={**environ, **each},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        self.said = [each.stdout.readline().strip() for each in self.processes]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.processes:
            each.kill()
            each.communicate()

    def restored(self):
        for each in self.processes:
            each.stdin.write("\n")
            each.stdin.flush()
        return [each.stdout.readline().strip() for each in self.processes]


@pytest.mark.parametrize(
    ("rank_name", "size_name"),
    [
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_NTASKS"),
    ],
)
def test_four_processes_of_a_launcher_save_and_restore_each_its_own_part(tmp_path, rank_name, size_name):
    variables = [{rank_name: str(rank), size_name: "4"} for rank in range(4)]

    with Launched(tmp_path, variables) as started:
        assert started.said == ["saved"] * 4
        assert started.restored() == [f"part {rank}" for rank in range(4)]
    assert len(list(tmp_path.glob("*.nsck"))) == 4


def test_of_four_processes_that_nobody_numbers_three_are_refused_and_the_first_one_s_file_stays(tmp_path):
    with Launched(tmp_path, [{}] * 4) as started:
        refused = [each for each in started.said if each != "saved"]
        saved = started.said.index("saved")
        holder = started.processes[saved].pid

        assert len(refused) == 3
        for each in refused:
            assert each.startswith(f"DirectoryError directory={tmp_path}: process {holder} on ")
            assert "this process is rank 0 of 1 too" in each
            assert "torchrun, mpirun, srun" in each
        assert Checkpointer(tmp_path, rank=1, world_size=2, replicated=True).restore().state == (
            f"part {saved}".encode()
        )


def test_two_processes_with_the_same_rank_of_several_are_refused(tmp_path):
    same = {"RANK": "2", "WORLD_SIZE": "4"}
    with Launched(tmp_path, [same, same]) as started:
        assert sorted(each.split()[0] for each in started.said) == ["DirectoryError", "saved"]


@pytest.fixture
def ranks_of_two(process):
    return [process(rank=rank, world_size=2) for rank in range(2)]


def saving(directory, environ=None):
    """Work of a forked process: one save, then nothing until it is killed."""

    def work(report):
        try:
            trainer = Checkpointer(directory, environ=environ or {})
            trainer.save(1, b"child")
            os.write(report, b"saved")
        except DirectoryError:
            os.write(report, b"refused")
        signal.pause()

    return work


def test_restore_is_refused_as_well_so_that_nothing_is_trained_in_vain(process, tmp_path, forked):
    with forked(saving(tmp_path)) as child:
        assert os.read(child.reading, 9) == b"saved"
        with pytest.raises(DirectoryError, match=f"process {child.pid} on"):
            process().restore()


def test_a_killed_process_locks_nobody_out_though_its_data_loaders_live_on(process, tmp_path, forked):
    def work(report):
        trainer = Checkpointer(tmp_path, environ={})
        trainer.save(1, b"child")
        loader = os.fork()
        if loader == 0:
            signal.alarm(60)
            signal.pause()
        os.write(report, str(loader).encode())
        signal.pause()

    with forked(work) as child:
        loader = int(os.read(child.reading, 20))
        try:
            child.kill()
            assert process().restore().state == b"child"
        finally:
            os.kill(loader, signal.SIGKILL)


def test_a_lock_file_that_came_from_another_machine_locks_nobody_out(process, tmp_path, forked):
    with forked(saving(tmp_path / "there")) as child:
        assert os.read(child.reading, 9) == b"saved"
        shutil.copytree(tmp_path / "there", tmp_path, dirs_exist_ok=True)
        assert (tmp_path / ".nightspot.lock").exists()

        assert process().restore().state == b"child"


def test_close_lets_another_process_write(process, tmp_path, forked):
    with process() as trainer:
        trainer.save(1, b"parent")
        with forked(saving(tmp_path)) as child:
            assert os.read(child.reading, 9) == b"refused"
    with forked(saving(tmp_path)) as child:
        assert os.read(child.reading, 9) == b"saved"


def test_the_lock_file_goes_with_the_last_one_that_closes(process, ranks_of_two, tmp_path):
    lock = tmp_path / ".nightspot.lock"
    first, second = ranks_of_two
    for each in (first, second):
        each.save(1, b"s")
    first.close()
    assert lock.exists()

    second.close()
    assert not lock.exists()
    with process() as trainer:
        trainer.save(2, b"s")
        assert lock.exists()


def test_the_lock_file_stays_where_another_process_has_a_rank(process, tmp_path, forked):
    with process(rank=1, world_size=2) as trainer:
        trainer.save(1, b"s")
        with forked(saving(tmp_path)) as child:
            assert os.read(child.reading, 9) == b"saved"
            trainer.close()

            with pytest.raises(DirectoryError, match=f"process {child.pid} on"):
                process().restore()


def test_a_checkpointer_that_nobody_has_any_more_locks_nobody_out(process, tmp_path, forked):
    process().save(1, b"parent")

    with forked(saving(tmp_path)) as child:
        assert os.read(child.reading, 9) == b"saved"


def test_in_one_process_a_second_checkpointer_goes_on_and_the_first_s_close_leaves_it_the_directory(
    process, tmp_path, forked
):
    first, second = process(), process()
    first.save(1, b"first")
    second.save(2, b"second")
    first.close()

    with forked(saving(tmp_path)) as child:
        assert os.read(child.reading, 9) == b"refused"
    second.close()


def test_in_a_training_job_the_lock_file_is_not_where_it_would_be_uploaded(tmp_path, forked):
    mirrored, config = tmp_path / "opt-ml" / "checkpoints", tmp_path / "config"
    mirrored.mkdir(parents=True)
    config.mkdir()
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(mirrored)}))
    job = {"SM_INPUT_CONFIG_DIR": str(config)}

    trainer = Checkpointer(environ=job)
    trainer.save(1, b"s")

    assert sorted(each.suffix for each in mirrored.iterdir()) == [".json", ".json", ".nsck"]
    with forked(saving(mirrored, job)) as child:
        assert os.read(child.reading, 9) == b"refused"
    trainer.close()


def test_ranks_that_do_not_write_are_never_refused(tmp_path, forked):
    with forked(saving(tmp_path)) as child:
        assert os.read(child.reading, 9) == b"saved"
        for rank in (1, 2):
            trainer = Checkpointer(tmp_path, environ={}, rank=rank, world_size=3, replicated=True)
            assert trainer.restore().state == b"child"
            assert trainer.save(2, b"the same") is None
