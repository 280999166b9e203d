"""Decides which of the processes that train together this one is, and how many there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SettingError
from .settings import CONFIG_DIRECTORY

Gather = Callable[[int], Sequence[int]]

_RULE = "rank must be a whole number from 0 on and less than world_size"


@dataclass(frozen=True)
class Seat:
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
        """Whether this rank writes nightspot.json: one does, as all share the prefix."""
        return self.rank == 0

    @property
    def files_per_step(self) -> int:
        """How many files make a checkpoint complete."""
        return 1 if self.replicated else self.world_size

    @property
    def file_rank(self) -> int:
        """The rank in the name of the file that this rank restores from."""
        return 0 if self.replicated else self.rank


def seat_from(environ: Mapping[str, str], rank: int | None, world_size: int | None, replicated: bool) -> Seat:
    """The arguments; else RANK and WORLD_SIZE, as torchrun and MPI launchers set them; else the host's
    place among SM_HOSTS or in resourceconfig.json; else a process of its own.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    Raises SettingError where only one of two is given, or they make no sense.
    """
    if rank is not None or world_size is not None:
        return _checked(rank, world_size, replicated, f"rank={rank!r}, world_size={world_size!r}")
    given = (environ.get("RANK") or None, environ.get("WORLD_SIZE") or None)
    if given != (None, None):
        named = f"RANK={given[0]!r}, WORLD_SIZE={given[1]!r}"
        numbers = [int(each) if each is not None and each.isdecimal() else None for each in given]
        return _checked(numbers[0], numbers[1], replicated, named)
    hosts, current = _hosts(environ)
    if not hosts:
        return Seat(0, 1, replicated)
    if current not in hosts:
        raise SettingError(f"current host {current!r}: must be one of the hosts {hosts}")
    return Seat(hosts.index(current), len(hosts), replicated)


def _checked(rank: object, world_size: object, replicated: bool, named: str) -> Seat:
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (rank, world_size))
    if not whole or not isinstance(rank, int) or not isinstance(world_size, int):
        raise SettingError(f"{named}: both must be given, as whole numbers; {_RULE}")
    if not 0 <= rank < world_size:
        raise SettingError(f"{named}: {_RULE}")
    return Seat(rank, world_size, replicated)


def _hosts(environ: Mapping[str, str]) -> tuple[list[str], str | None]:
    # The training toolkit sets the variables; in a container without it only the file is there.
    text = environ.get("SM_HOSTS")
    if text:
        return _sorted_hosts(text, "SM_HOSTS"), environ.get("SM_CURRENT_HOST")
    config = Path(environ.get("SM_INPUT_CONFIG_DIR") or CONFIG_DIRECTORY, "resourceconfig.json")
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], None
    except (OSError, ValueError) as error:
        raise SettingError(f"{config}: must be readable JSON ({error})") from error
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
