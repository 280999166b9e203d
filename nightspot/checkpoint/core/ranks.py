"""Which of the processes that train together this one is, as its launcher says it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import SettingError
from .settings import config_file

_LOG = logging.getLogger("nightspot.checkpoint")

Gather = Callable[[int], Sequence[int]]

_RANK_RULE = "rank must be a whole number from 0 on and less than world_size"


@dataclass(frozen=True)
class Rank:
    """This process among those that train together.

    With `replicated` state every rank has the same: rank 0 writes one file, which all restore.
    """

    rank: int
    world_size: int
    replicated: bool = False

    @property
    def writes(self) -> bool:
        """Whether this rank writes checkpoints at all."""
        return self.rank == 0 or not self.replicated

    @property
    def announces(self) -> bool:
        """Whether this rank writes progress files: one does, as all share the prefix."""
        return self.rank == 0

    @property
    def files_per_step(self) -> int:
        """How many files make a checkpoint complete."""
        return 1 if self.replicated else self.world_size

    @property
    def file_rank(self) -> int:
        """The rank in the name of the file that this rank restores from."""
        return 0 if self.replicated else self.rank


# The variables for rank and number of ranks, by launcher. PMIx has none for the number.
# torchrun: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables (DeepSpeed sets them too)
# Open MPI: https://docs.open-mpi.org/en/main/tuning-apps/environment-var.html (SageMaker's distribution: mpi)
# Hydra, which MPICH and Intel MPI have: PMI_RANK, PMI_SIZE
# MVAPICH: https://mvapich.cse.ohio-state.edu/static/media/mvapich/mvapich2-userguide.html
# Horovod: what horovodrun sets where it starts the processes without MPI
_LAUNCHERS: tuple[tuple[str, str | None], ...] = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("HOROVOD_RANK", "HOROVOD_SIZE"),
    ("PMIX_RANK", None),
)
# In how many places the launcher behind RANK was itself started by another: torchrun's, DeepSpeed's.
_STARTED_IN_PLACES = ("GROUP_WORLD_SIZE", "CROSS_SIZE")


@dataclass(frozen=True)
class _Claim:
    """What one source says; `named` is the source with its values. None: it does not say that."""

    named: str
    rank: int | None
    world_size: int | None

    @property
    def whole(self) -> bool:
        return self.rank is not None and self.world_size is not None

    def fits(self, other: _Claim) -> bool:
        pairs = ((self.rank, other.rank), (self.world_size, other.world_size))
        return all(ours is None or theirs is None or ours == theirs for ours, theirs in pairs)


def rank_from(environ: Mapping[str, str], rank: int | None, world_size: int | None, replicated: bool) -> Rank:
    """The arguments; else a library that trains as one of several, else what a launcher has set, else the
    host's place among SM_HOSTS or in resourceconfig.json; else a process of its own.

    Libraries: torch.distributed where it is initialised, else JAX where jax.distributed is. Launchers: those of
    `_LAUNCHERS`, srun and TF_CONFIG.
    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    Raises SettingError where only one of two is given, they make no sense, or two launchers contradict each other.
    """
    if rank is not None or world_size is not None:
        return _checked(rank, world_size, replicated, f"rank={rank!r}, world_size={world_size!r}")
    found = _of_torch() or _of_jax() or _of_launchers(environ)
    if found is not None:
        return _checked(found.rank, found.world_size, replicated, found.named)
    hosts, current = _hosts(environ)
    if not hosts:
        return Rank(0, 1, replicated)
    if current not in hosts:
        raise SettingError(f"current host {current!r}: must be one of the hosts {hosts}")
    return Rank(hosts.index(current), len(hosts), replicated)


def _checked(rank: object, world_size: object, replicated: bool, named: str) -> Rank:
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (rank, world_size))
    if not whole or not isinstance(rank, int) or not isinstance(world_size, int):
        raise SettingError(f"{named}: both must be given, as whole numbers; {_RANK_RULE}")
    if not 0 <= rank < world_size:
        raise SettingError(f"{named}: {_RANK_RULE}")
    return Rank(rank, world_size, replicated)


def _of_torch() -> _Claim | None:
    """torch.distributed, where the script has initialised it: it is then what training goes by."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return None
    return _Claim("torch.distributed", distributed.get_rank(), distributed.get_world_size())


def _of_jax() -> _Claim | None:
    """JAX, where jax.distributed is initialised. Asking for the rank before would start JAX's backend."""
    jax = sys.modules.get("jax")
    is_initialized = getattr(getattr(jax, "distributed", None), "is_initialized", None)  # from JAX 0.4.36 on
    if jax is None or is_initialized is None or not is_initialized():
        return None
    return _Claim("jax.distributed", jax.process_index(), jax.process_count())


def _of_launchers(environ: Mapping[str, str]) -> _Claim | None:
    """What all launchers agree on, None where there is none; SettingError where they do not."""
    claims = [each for each in (_claim(environ, *names) for names in _LAUNCHERS) if each]
    claims += [each for each in (_of_slurm(environ), _of_tf_config(environ)) if each]
    whole = [each for each in claims if each.whole]
    if not whole:
        return claims[0] if claims else None
    first = whole[0]
    places = {environ[name] for name in _STARTED_IN_PLACES if name in environ}
    for other in claims:
        # srun or mpirun starts one torchrun per machine, and that the processes: RANK counts them all.
        outer = first.named.startswith("RANK=") and str(other.world_size) in places
        part_of_another = not other.whole and any(other.fits(each) for each in whole)
        if not (outer or part_of_another or other.fits(first)):
            raise SettingError(
                f"{first.named} and {other.named} contradict each other: must say the same; else pass rank= and "
                "world_size=, or unset the variables that do not belong to this training"
            )
    return first


def _claim(environ: Mapping[str, str], rank_name: str, size_name: str | None) -> _Claim | None:
    texts = environ.get(rank_name) or None, (environ.get(size_name) or None) if size_name else None
    if texts == (None, None):
        return None
    named = f"{rank_name}={texts[0]!r}, " + (
        f"{size_name}={texts[1]!r}" if size_name else "which says no number of ranks"
    )
    if any(each is not None and not each.isdecimal() for each in texts):
        raise SettingError(f"{named}: both must be given, as whole numbers; {_RANK_RULE}")
    rank, size = (None if each is None else int(each) for each in texts)
    return _Claim(named, rank, size)


def _of_slurm(environ: Mapping[str, str]) -> _Claim | None:
    """A task that srun has started. The shell of a batch script has the variables too, and is one process.

    Slurm says which by those of the step, which JAX's SlurmCluster goes by as well.
    https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES
    """
    if not environ.get("SLURM_PROCID"):
        return None
    in_step = any(environ.get(f"SLURM_STEP_{name}") for name in ("ID", "NODELIST", "NUM_TASKS"))
    size_name = "SLURM_STEP_NUM_TASKS" if environ.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    claim = _claim(environ, "SLURM_PROCID", size_name)
    if in_step or claim is None or claim.rank != 0 or not environ.get("SLURM_JOB_ID"):
        return claim
    if claim.world_size not in (None, 1):
        _LOG.warning("%s in a batch script's shell: taken as one process; srun starts several", claim.named)
    return None


# Those that train, in the order of their ranks. Parameter servers and evaluators have none.
_TF_TASKS = ("chief", "master", "worker")


def _of_tf_config(environ: Mapping[str, str]) -> _Claim | None:
    """https://www.tensorflow.org/guide/distributed_training#TF_CONFIG"""
    text = environ.get("TF_CONFIG")
    try:
        document: Any = json.loads(text) if text else {}
        cluster = document.get("cluster") or {}
        counts = {kind: len(cluster.get(kind) or ()) for kind in _TF_TASKS}
        if not any(counts.values()):
            return None
        kind, index = document["task"]["type"], int(document["task"]["index"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SettingError(
            f"TF_CONFIG={text!r}: must be JSON with cluster, task.type and task.index ({error!r})"
        ) from None
    if kind not in counts or not 0 <= index < counts[kind]:
        raise SettingError(
            f"TF_CONFIG: task {kind} {index} is none of those that train, {counts}: must pass rank= and world_size="
        )
    before = _TF_TASKS[: _TF_TASKS.index(kind)]
    return _Claim(
        f"TF_CONFIG's task {kind} {index}", sum(counts[each] for each in before) + index, sum(counts.values())
    )


def _hosts(environ: Mapping[str, str]) -> tuple[list[str], str | None]:
    # The training toolkit sets the variables; in a container without it only the file is there.
    text = environ.get("SM_HOSTS")
    if text:
        return _sorted_hosts(text, "SM_HOSTS"), environ.get("SM_CURRENT_HOST")
    config, document = config_file(environ, "resourceconfig.json")
    if not isinstance(document, dict):
        raise SettingError(f"{config}: must be a JSON object")
    return _sorted_hosts(json.dumps(document.get("hosts", [])), str(config)), document.get("current_host")


def _sorted_hosts(text: str, where: str) -> list[str]:
    try:
        hosts = json.loads(text)
    except ValueError:
        hosts = None
    if not isinstance(hosts, list) or not all(isinstance(each, str) for each in hosts):
        raise SettingError(f"{where}: hosts={text!r}: must be a JSON list of host names")
    return sorted(hosts)
