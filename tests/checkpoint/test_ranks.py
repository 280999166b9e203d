"""Several processes on one prefix: a checkpoint counts once all of them have it."""

import json
import sys
import threading
import types

import pytest

from nightspot.checkpoint import SettingError, WorldSizeError
from nightspot.checkpoint.core.ranks import Rank, rank_from


@pytest.fixture
def ranks(process):
    """The processes of one training, by rank."""

    def start(size, **options):
        return [process(rank=rank, world_size=size, **options) for rank in range(size)]

    return start


def save(trainers, step):
    for rank, trainer in enumerate(trainers):
        trainer.save(step, f"step {step} rank {rank}".encode())


def restored_by(trainers):
    found = [trainer.restore() for trainer in trainers]
    return [each and each.state.decode() for each in found]


def test_each_rank_gets_its_own_part_of_the_same_step(ranks):
    save(ranks(3), 5)

    assert restored_by(ranks(3)) == [f"step 5 rank {rank}" for rank in range(3)]


def test_a_step_that_one_rank_has_not_saved_does_not_count_for_any(ranks, tmp_path):
    trainers = ranks(3)
    save(trainers, 5)
    save(trainers[:2], 6)

    assert restored_by(ranks(3)) == [f"step 5 rank {rank}" for rank in range(3)]
    (skipped,) = ranks(3)[0].restore().skipped
    assert skipped.path.name == "checkpoint-000000006-rank00002.nsck"
    assert skipped.reason == "rank 2 of 3 has not saved this step"


def test_a_file_of_another_rank_that_is_cut_off_makes_the_step_incomplete(ranks, tmp_path):
    trainers = ranks(2)
    save(trainers, 5)
    save(trainers, 6)
    other = tmp_path / "checkpoint-000000006-rank00001.nsck"
    other.write_bytes(other.read_bytes()[:-1])

    assert restored_by(ranks(2)) == ["step 5 rank 0", "step 5 rank 1"]


class Company:
    """Ranks in threads, and their gather."""

    def __init__(self, size):
        self._numbers = [0] * size
        self._barrier = threading.Barrier(size, timeout=120)

    def gather_of(self, rank):
        def gather(number):
            self._numbers[rank] = number
            self._barrier.wait()
            everyones = list(self._numbers)
            self._barrier.wait()
            return everyones

        return gather

    def run(self, work):
        results = [None] * len(self._numbers)

        def one(rank):
            results[rank] = work(rank, self.gather_of(rank))

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(self._numbers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def test_with_gather_all_go_back_together_to_what_each_can_read(ranks, process, tmp_path):
    trainers = ranks(2)
    for step in (5, 6, 7):
        save(trainers, step)
    for step, rank in ((7, 1), (6, 0)):
        path = tmp_path / f"checkpoint-{step:09d}-rank{rank:05d}.nsck"
        path.write_bytes(path.read_bytes().replace(b"rank", b"RANK", 1))

    def restore(rank, gather):
        return process(rank=rank, world_size=2, gather=gather).restore().state

    assert Company(2).run(restore) == [b"step 5 rank 0", b"step 5 rank 1"]


def test_with_gather_nobody_restores_what_one_rank_has_lost_altogether(ranks, process, tmp_path):
    save(ranks(2), 5)
    path = tmp_path / "checkpoint-000000005-rank00001.nsck"
    path.write_bytes(path.read_bytes().replace(b"rank", b"RANK", 1))

    def restore(rank, gather):
        return process(rank=rank, world_size=2, gather=gather).restore()

    assert Company(2).run(restore) == [None, None]


def test_with_gather_one_ranks_wish_to_save_or_to_stop_is_everyones(process, tmp_path):
    notice = tmp_path / "notice"
    notice.write_text("")

    def ask(rank, gather):
        environ = {"NIGHTSPOT_RECLAIM_NOTICE_FILE": str(notice)} if rank == 1 else {}
        trainer = process(rank=rank, world_size=2, gather=gather, environ=environ)
        due = trainer.due(1)
        trainer.save(1, b"s")
        return due, trainer.stop_requested, trainer.should_stop

    assert Company(2).run(ask) == [(True, True, True)] * 2


def test_ranks_that_would_go_by_their_own_clocks_are_told_so(process):
    with pytest.raises(SettingError, match="world_size=2: ranks that go by their own clocks"):
        process(rank=0, world_size=2, every_seconds=60)
    with pytest.raises(SettingError, match="must have every_steps, or gather"):
        process(rank=0, world_size=2).due(1)
    assert process(rank=0, world_size=2, every_steps=1).due(1)


def test_only_rank_0_writes_the_progress_file_and_it_says_how_many_there_are(ranks, tmp_path):
    trainers = ranks(2)
    trainers[1].save(5, b"s")
    assert not (tmp_path / "nightspot.json").exists()
    trainers[0].save(5, b"s")
    (tmp_path / "nightspot.json").rename(tmp_path / "moved")
    trainers[1].restore()

    assert not (tmp_path / "nightspot.json").exists()
    document = json.loads((tmp_path / "moved").read_text())
    assert (document["step"], document["world_size"]) == (5, 2)


def test_a_rank_that_is_ahead_never_drops_what_the_one_behind_still_needs(ranks):
    trainers = ranks(2, keep_last=1)
    save(trainers, 1)
    # In the background a rank can be one save ahead of another that is still writing.
    for step in (2, 3):
        trainers[0].save(step, b"ahead")

    assert restored_by(ranks(2)) == ["step 1 rank 0", "step 1 rank 1"]


@pytest.mark.parametrize(("before", "now"), [(4, 2), (2, 4), (1, 2), (2, 1)])
def test_another_number_of_ranks_is_refused_with_the_rule(ranks, before, now):
    save(ranks(before), 5)

    for trainer in ranks(now):
        with pytest.raises(WorldSizeError, match=rf"world_size={now}: step 5 .* saved by {before} rank"):
            trainer.restore()


def test_leftovers_of_another_number_of_ranks_do_not_hide_a_complete_checkpoint(ranks):
    save(ranks(2), 5)
    save(ranks(4)[:1], 6)

    assert restored_by(ranks(2)) == ["step 5 rank 0", "step 5 rank 1"]


def test_replicated_state_is_written_by_rank_0_and_restored_by_any_number_of_ranks(ranks, tmp_path):
    trainers = ranks(2, replicated=True)
    paths = [trainer.save(5, b"the same") for trainer in trainers]

    assert [path and path.name for path in paths] == ["checkpoint-000000005-rank00000.nsck", None]
    for size in (1, 2, 4):
        assert restored_by(ranks(size, replicated=True)) == ["the same"] * size
    assert restored_by(ranks(1)) == ["the same"]


def test_what_every_rank_saved_can_be_restored_as_replicated_where_the_script_says_so(ranks):
    save(ranks(4), 5)

    assert restored_by(ranks(2, replicated=True)) == ["step 5 rank 0"] * 2


def test_of_replicated_ranks_only_the_one_that_writes_is_asked_to_save(ranks):
    assert [each.due(1) for each in ranks(2, replicated=True, every_steps=1)] == [True, False]


@pytest.mark.parametrize(
    ("environ", "process"),
    [
        ({}, Rank(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "16"}, Rank(3, 16)),
        ({"SM_HOSTS": '["algo-1","algo-2"]', "SM_CURRENT_HOST": "algo-2"}, Rank(1, 2)),
        ({"SM_HOSTS": '["algo-2","algo-1"]', "SM_CURRENT_HOST": "algo-2"}, Rank(1, 2)),
        (
            {
                "RANK": "9",
                "WORLD_SIZE": "16",
                "SM_HOSTS": '["algo-1","algo-2"]',
                "SM_CURRENT_HOST": "algo-2",
            },
            Rank(9, 16),
        ),
    ],
)
def test_the_rank_is_what_the_launcher_or_sagemaker_says(tmp_path, environ, process):
    assert rank_from({"SM_INPUT_CONFIG_DIR": str(tmp_path), **environ}, None, None, False) == process


TF = {"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}}
TF_MASTER = {"cluster": {"master": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}


def task(kind, index):
    return {"TF_CONFIG": json.dumps({**TF, "task": {"type": kind, "index": index}})}


SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "8"}
BATCH = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
TORCHRUN = {"RANK": "9", "WORLD_SIZE": "16", "GROUP_WORLD_SIZE": "2"}
LAUNCHED = {
    "open_mpi": ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, Rank(3, 4)),
    "open_mpi_5_has_pmix": (
        {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "3"},
        Rank(3, 4),
    ),
    "hydra": ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Rank(1, 2)),
    "mvapich": ({"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2"}, Rank(1, 2)),
    "horovodrun": ({"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2"}, Rank(1, 2)),
    "srun": ({**SRUN, "SLURM_PROCID": "3"}, Rank(3, 4)),
    "srun_for_one_in_a_larger_job": (
        {**BATCH, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"},
        Rank(0, 1),
    ),
    "srun_with_pmix": ({**SRUN, "SLURM_PROCID": "3", "PMIX_RANK": "3"}, Rank(3, 4)),
    "tasks_without_the_step_s_variables": ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, Rank(3, 4)),
    "the_first_of_them": ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Rank(0, 4)),
    "batch_shell": (BATCH, Rank(0, 1)),
    "salloc": ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, Rank(0, 1)),
    "mpirun_in_a_batch_shell": ({**BATCH, "PMI_RANK": "1", "PMI_SIZE": "4"}, Rank(1, 4)),
    "torchrun_in_a_batch_shell": ({**BATCH, "RANK": "1", "WORLD_SIZE": "8"}, Rank(1, 8)),
    "torchrun_on_each_of_srun_s_machines": (
        {**TORCHRUN, **SRUN, "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "PMIX_RANK": "1"},
        Rank(9, 16),
    ),
    "torchrun_under_mpirun": (
        {**TORCHRUN, "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"},
        Rank(9, 16),
    ),
    "the_script_s_own_export_of_the_size": ({**SRUN, "SLURM_PROCID": "2", "WORLD_SIZE": "4"}, Rank(2, 4)),
    "more_than_one_on_each_of_sagemaker_s_hosts": (
        {
            "OMPI_COMM_WORLD_RANK": "3",
            "OMPI_COMM_WORLD_SIZE": "4",
            "SM_HOSTS": '["a","b"]',
            "SM_CURRENT_HOST": "b",
        },
        Rank(3, 4),
    ),
    "chief": (task("chief", 0), Rank(0, 3)),
    "worker": (task("worker", 1), Rank(2, 3)),
    "worker_beside_a_master": ({"TF_CONFIG": json.dumps(TF_MASTER)}, Rank(1, 2)),
    "tf_config_without_a_cluster": ({"TF_CONFIG": '{"environment": "cloud"}'}, Rank(0, 1)),
}


@pytest.mark.parametrize(("environ", "process"), LAUNCHED.values(), ids=LAUNCHED.keys())
def test_the_rank_is_read_from_what_each_launcher_sets(tmp_path, environ, process):
    assert rank_from({"SM_INPUT_CONFIG_DIR": str(tmp_path), **environ}, None, None, False) == process


OMPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
CONTRADICTORY = {
    "another_rank": ({"RANK": "2", "WORLD_SIZE": "4"}, "RANK='2', WORLD_SIZE='4'"),
    "every_process_a_world_of_its_own": ({"RANK": "0", "WORLD_SIZE": "1"}, "RANK='0', WORLD_SIZE='1'"),
    "a_size_left_over": ({"WORLD_SIZE": "1"}, "RANK=None, WORLD_SIZE='1'"),
    "another_pmix_rank": ({"PMIX_RANK": "1"}, "PMIX_RANK='1'"),
    "torchrun_of_other_machines": (TORCHRUN, "RANK='9', WORLD_SIZE='16'"),
    "chief_under_mpirun": (task("chief", 0), "TF_CONFIG's task chief 0"),
}


@pytest.mark.parametrize(("environ", "named"), CONTRADICTORY.values(), ids=CONTRADICTORY.keys())
def test_two_launchers_that_contradict_each_other_are_both_named(process, environ, named):
    with pytest.raises(SettingError, match="contradict each other: must say the same") as refused:
        process(environ={**OMPI, **environ})
    assert "OMPI_COMM_WORLD_RANK='3', OMPI_COMM_WORLD_SIZE='4'" in str(refused.value)
    assert named in str(refused.value)


def test_torch_distributed_outranks_the_variables_once_it_is_initialised(monkeypatch):
    torch = types.SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 5, get_world_size=lambda: 8
    )
    monkeypatch.setitem(sys.modules, "torch.distributed", torch)
    assert rank_from(OMPI, None, None, False) == Rank(5, 8)
    assert rank_from(OMPI, 1, 2, False) == Rank(1, 2)

    torch.is_initialized = lambda: False
    assert rank_from(OMPI, None, None, False) == Rank(3, 4)


def test_jax_is_asked_only_where_jax_distributed_is_initialised(monkeypatch):
    asked = []
    jax = types.SimpleNamespace(
        distributed=types.SimpleNamespace(is_initialized=lambda: bool(asked)),
        process_index=lambda: asked.append("index") or 1,
        process_count=lambda: 3,
    )
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    assert rank_from(OMPI, None, None, False) == Rank(3, 4)
    assert asked == []

    asked.append("initialised")
    assert rank_from({}, None, None, False) == Rank(1, 3)


def test_in_a_container_without_the_toolkit_the_hosts_are_in_the_config_file(tmp_path):
    document = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2", "algo-3"]}
    (tmp_path / "resourceconfig.json").write_text(json.dumps(document))

    assert rank_from({"SM_INPUT_CONFIG_DIR": str(tmp_path)}, None, None, False) == Rank(1, 3)


def test_arguments_outrank_the_environment():
    assert rank_from({"RANK": "1", "WORLD_SIZE": "2"}, 2, 3, False) == Rank(2, 3)


@pytest.mark.parametrize(
    ("environ", "options", "message"),
    [
        ({}, {"rank": 2, "world_size": 2}, "rank=2, world_size=2: rank must be"),
        ({}, {"rank": 0}, "rank=0, world_size=None: both must be given"),
        ({}, {"rank": True, "world_size": 2}, "rank=True, world_size=2: both must be given, as whole"),
        ({"RANK": "0"}, {}, "RANK='0', WORLD_SIZE=None: both must be given"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, {}, "RANK='x', WORLD_SIZE='2': both must be given"),
        ({"PMIX_RANK": "1"}, {}, "PMIX_RANK='1', which says no number of ranks: both must be given"),
        ({"PMI_RANK": "-1", "PMI_SIZE": "2"}, {}, "PMI_RANK='-1', PMI_SIZE='2': both must be given"),
        (
            {"OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_SIZE": "4"},
            {},
            "must be a whole number from 0 on and less",
        ),
        ({"TF_CONFIG": "{"}, {}, "TF_CONFIG='{': must be JSON with cluster"),
        (task("worker", 2), {}, "task worker 2 is none of those that train"),
        (task("ps", 0), {}, "task ps 0 is none of those that train"),
        ({"SM_HOSTS": "algo-1"}, {}, "SM_HOSTS: hosts='algo-1': must be a JSON list"),
        ({"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "b"}, {}, "current host 'b': must be one of"),
    ],
)
def test_a_rank_that_makes_no_sense_is_refused(process, environ, options, message):
    with pytest.raises(SettingError, match=message):
        process(environ=environ, **options)
