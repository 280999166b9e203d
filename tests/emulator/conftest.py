"""One emulated account with two environments of the stack, for all stories of this folder."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import pytest_socket

from tests.emulator.account_of_stories import EMULATORS, Account, Stack, account_with_both_stacks

# Of one story, and of all together: where the emulator hangs, the rest fails at once.
STORY_SECONDS, ALL_SECONDS = 300, 900
_began: list[float] = []


def skip_without_emulators() -> None:
    """Skips where they are not installed; fails there in CI, which sets NIGHTSPOT_EMULATORS=required."""
    if not EMULATORS.exists():
        why = "the emulators are not installed: make emulators"
        (pytest.fail if os.environ.get("NIGHTSPOT_EMULATORS") == "required" else pytest.skip)(why)


# For this folder, not for the session: its servers must take no connection while a test runs that has no network.
@pytest.fixture(scope="package")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Deployed once."""
    skip_without_emulators()
    # A fixture of a package is set up before the one that lets a test use sockets.
    pytest_socket.enable_socket()
    with account_with_both_stacks(tmp_path_factory.mktemp("emulator")) as made:
        yield made


@pytest.fixture(autouse=True)
def _ends_in_any_case(socket_enabled: None) -> Iterator[None]:
    """No story hangs, not even where something waits without a limit of its own."""
    _began.append(time.monotonic())
    left = min(STORY_SECONDS, ALL_SECONDS - int(time.monotonic() - _began[0]))

    def end(*_: object) -> None:
        raise TimeoutError(f"the story took longer than {left} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(max(left, 1))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def production(account: Account) -> Stack:
    return account.stacks["Production"]


@pytest.fixture
def staging(account: Account) -> Stack:
    return account.stacks["Staging"]
