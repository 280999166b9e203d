"""The benchmark of checkpoints measures what it says, plays intervals as they would be, and runs as a whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nightspot.checkpoint import interval_seconds
from nightspot.checkpoint.core.schedule import Cost
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import Zone

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HOUR = 3600.0


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


class Clock:
    """Moves when a save or a step takes its time."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def takes(self, seconds):
        def act(*_):
            self.seconds += seconds

        return act


def way(clock, name, stall, beside=0.0, **more):
    from checkpoint_parts.ways import Way

    return Way(name, save=clock.takes(stall), finish=clock.takes(beside), **more)


def measured(clock, *ways):
    from checkpoint_parts.speed import measure

    figures, steps, seconds = measure(ways, clock.takes(0.01), saves=3, clock=clock)
    return {each.name: each for each in figures}, steps, seconds


def test_the_stall_is_the_call_alone_and_the_overhead_all_that_the_loop_takes_longer():
    clock = Clock()
    figures, steps, seconds = measured(clock, way(clock, "copy", 0.1), way(clock, "beside", 0.2, 0.7))

    assert figures["copy"].stall_seconds == pytest.approx(0.1)
    assert figures["copy"].overhead_seconds == pytest.approx(0.1)
    assert figures["beside"].stall_seconds == pytest.approx(0.2)
    assert figures["beside"].overhead_seconds == pytest.approx(0.9)
    assert (steps, seconds) == (113, pytest.approx(1.13))  # 1.25 of the slowest save


def test_the_first_stall_stands_alone_and_restores_are_timed(tmp_path):
    clock = Clock()
    stalls = iter([5.0] + [1.0] * 10)
    stored = tmp_path / "state"
    stored.write_bytes(b"x" * 1000)
    from checkpoint_parts.ways import Way

    first = Way(
        "first",
        save=lambda _: clock.takes(next(stalls))(),
        stored=lambda: [stored],
        restore=clock.takes(0.3),
    )
    figures, _, _ = measured(clock, first)

    assert figures["first"].first_stall_seconds == pytest.approx(5.0)
    assert figures["first"].stall_seconds == pytest.approx(1.0)
    assert figures["first"].restore_seconds == pytest.approx(0.3)
    assert figures["first"].stored_bytes == 1000


@pytest.mark.parametrize("megabytes", [1, 10, 200])
def test_a_state_has_the_size_that_was_asked_for(megabytes):
    from checkpoint_parts.states import arrays, state_of

    state = state_of(megabytes, lambda shape: np.broadcast_to(np.float32(0), shape))

    assert sum(each.nbytes for each in arrays(state)) == pytest.approx(megabytes * 1e6, abs=12)


def speeds(beside_stall, beside_bytes):
    from checkpoint_parts.speed import Measured
    from checkpoint_parts.ways import COPY_REUSED, OURS, OURS_BESIDE

    return [
        Measured(COPY_REUSED, 1.0, 1.0, 1.0, 0, None),
        Measured("torch.save", 6.0, 6.0, 6.0, 1000, 1.0),
        Measured(OURS, 6.0, 6.0, 6.0, 1000, 1.0),
        Measured(OURS_BESIDE, 2.0, beside_stall, 3.0, beside_bytes, 1.0),
    ]


@pytest.mark.parametrize(
    ("megabytes", "stall", "stored", "met"),
    [
        (200, 1.2, 1010, [True, True, True]),
        (200, 1.4, 1010, [False, True, True]),
        (200, 1.6, 1010, [False, False, True]),
        (200, 1.2, 1011, [True, True, False]),
        (10, 9.0, 1010, [True]),  # no stall is a goal there
    ],
)
def test_a_goal_is_met_up_to_its_limit(megabytes, stall, stored, met):
    from checkpoint_parts.goals import speed_goals

    goals = list(speed_goals(megabytes, speeds(stall, stored), "torch.save"))

    assert [goal.met for goal in goals] == met
    assert all(str(goal).startswith("MET" if goal.met else "MISSED") for goal in goals)


def zone(*stretches):
    """Up, down, up, ... for so many seconds, known to the second."""
    starts = np.concatenate([[0.0], np.cumsum(stretches)[:-1]])
    up = [place % 2 == 0 for place in range(len(stretches))]
    changes = MarketAvailability.merged(starts, up, length_seconds=float(sum(stretches)))
    return Zone("zone", changes, gap_seconds=1e-6)


def test_a_fixed_interval_keeps_what_was_saved_before_the_machine_was_lost():
    from checkpoint_parts.intervals import Setting, shares_of

    # (10,000 - 400 of change-over) / (1,800 + 100) are 5 saves; / (300 + 100) are 24.
    shares = shares_of(zone(10_000, 500), Setting(Cost(100.0), change_over_seconds=400.0))

    assert shares.half_hour == pytest.approx(5 * 1800 / 10_000)
    assert shares.five_minutes == pytest.approx(
        24 * 300 / 10_000, abs=0.0301
    )  # the last save is at the very end
    assert shares.best >= max(shares.half_hour, shares.five_minutes)


def test_beside_training_the_newest_save_counts_only_once_it_is_written():
    from checkpoint_parts.intervals import Setting, fixed

    durable, kept = fixed(1000.0, Setting(Cost(10.0, 500.0), slowed=0.1), 5000.0)

    assert durable[:2] == pytest.approx([1010 + 500, 2020 + 500])
    assert kept[:2] == pytest.approx([1000, 2000 - 50])  # a tenth of the writing was lost


def test_auto_is_the_librarys_own_schedule():
    from checkpoint_parts.intervals import Setting, auto

    durable, kept = auto(2 * HOUR, Setting(Cost(30.0)), 10 * HOUR)

    first = interval_seconds(30.0, 2 * HOUR, age_seconds=0.0)
    second = interval_seconds(30.0, 2 * HOUR, age_seconds=first + 30.0)
    assert kept[:2] == pytest.approx([first, first + second])
    assert durable[:2] == pytest.approx([first + 30, first + second + 60])


def test_the_mean_life_is_learnt_from_the_nights_before():
    from checkpoint_parts.intervals import learnt_lives

    days = np.arange(8) * 24 * HOUR
    known = list(learnt_lives(days, np.full(8, 6 * HOUR), 8 * 24 * HOUR))

    assert known == [None] * 5 + [6 * HOUR] * 3


def test_zones_weigh_as_long_as_they_were_up():
    from checkpoint_parts.intervals import Shares, together

    both = together(
        [
            Shares("a", 100.0, 0.1, 0.1, 0.1, 0.1, 0.2, 60.0),
            Shares("b", 300.0, 0.5, 0.5, 0.5, 0.5, 0.5, 60.0),
        ],
        "all",
    )

    assert both.auto == pytest.approx(0.4)
    assert both.gap_points == pytest.approx(2.5)


def run(*options):
    command = [sys.executable, str(BENCHMARKS / "checkpoint.py"), "--sizes", "1", "--saves", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_without_torch_it_runs_and_says_what_it_leaves_out(tmp_path):
    done = run("--only-saves", "--arrays", "numpy", "--directory", str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert "Left out, because they need PyTorch: torch.save" in done.stdout
    assert "Nightspot, beside" in done.stdout
    assert "1 MB: bytes written over pickle's" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_with_torch_it_saves_in_torchs_own_ways_too(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
    done = run("--only-saves", "--arrays", "torch", "--directory", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert all(
        name in done.stdout for name in ("torch.save + fsync + rename", "DCP async_save", "Nightspot, beside")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sizes", "0"), "0: each must be from 0.1"),
        (("--saves", "0"), "0: must be at least 1"),
        (("--device", "cuda", "--arrays", "numpy"), "--device cuda: needs --arrays torch"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, message):
    done = run(*options)

    assert done.returncode == 2
    assert message in done.stderr
