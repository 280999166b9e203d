"""What each rival makes of small nights whose outcome is worked out by hand, in hours.

Four hours of work, eight to the deadline, a change-over of 0.1 and Spot at 0.3 unless a test says otherwise.
"""

from dataclasses import replace

import numpy as np
import pytest

from nightspot.market.engine import play_rule
from nightspot.market.model import Belief, MarketAvailability, Prices, Truth
from nightspot.market.rivals import RIVALS

HOUR = 3600.0


def market(*changes_hours, up=True):
    """A market that is up (or down) at first and changes at these hours."""
    starts = [0.0, *(hours * HOUR for hours in changes_hours)]
    states = [(index % 2 == 0) == up for index in range(len(starts))]
    return MarketAvailability(np.array(starts), np.array(states))


ALWAYS, NEVER = market(), market(up=False)
UP_TWO_HOURS_AND_AGAIN_FROM_FIVE = market(2, 5)


def night(name, spot, *, work=4.0, window=8.0, changeover=0.1, stop=0.0, **changed):
    """The result of the rival with true beliefs; `changed` is of the truth alone, in seconds."""
    truth = Truth(
        market=spot,
        prices=Prices.flat(0.3),
        work_seconds=work * HOUR,
        window_seconds=window * HOUR,
        spot_changeover_seconds=(changeover * HOUR,),
        on_demand_changeover_seconds=(changeover * HOUR,),
        stop_seconds=stop * HOUR,
    )
    belief = Belief(work * HOUR, changeover * HOUR, changeover * HOUR, stop * HOUR)
    return play_rule(RIVALS[name].rule(), replace(truth, **changed), belief)


def about(cost, finished, interruptions=0, launches=1):
    """What `told` says of such a night."""
    return pytest.approx((cost, finished, interruptions, launches), abs=1e-5)


def told(result):
    assert result.late == (result.finished_seconds > 8 * HOUR + 1e-6)
    return result.cost, result.finished_seconds / HOUR, result.interruptions, result.launches


def test_the_registry_names_every_rival_by_its_own_name():
    assert list(RIVALS) == [
        "on_demand",
        "spot_once",
        "spot_once_scratch",
        "spot_whenever",
        "max_wait_safe",
        "max_wait_unsafe",
        "uniform_progress",
        "greedy",
        "greedy_then_uniform",
    ]
    assert all(
        rival.name == name and rival.label and "\n" not in rival.label for name, rival in RIVALS.items()
    )


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_begins_every_night_afresh(name):
    first, second = (night(name, UP_TWO_HOURS_AND_AGAIN_FROM_FIVE) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "name",
    [
        "spot_once",
        "spot_once_scratch",
        "spot_whenever",
        "uniform_progress",
        "greedy",
        "greedy_then_uniform",
    ],
)
def test_spot_for_the_whole_night_is_all_that_is_paid(name):
    assert told(night(name, ALWAYS)) == about(4.1 * 0.3, 4.1)


@pytest.mark.parametrize(
    "name", ["on_demand", "spot_once", "spot_once_scratch", "spot_whenever", "uniform_progress"]
)
def test_without_spot_these_are_on_demand_at_once(name):
    assert told(night(name, NEVER)) == about(4.1, 4.1)


def test_on_demand_does_not_look_at_spot():
    assert told(night("on_demand", ALWAYS)) == about(4.1, 4.1)


def test_spot_once_goes_on_from_the_checkpoint():
    result = night("spot_once", market(2, 2.5))
    assert told(result) == about(2 * 0.3 + 2.2, 4.2, interruptions=1, launches=2)


def test_spot_once_does_not_take_spot_while_on_demand_is_queueing():
    result = night("spot_once", market(0.1, up=False), on_demand_queue_seconds=(0.5 * HOUR,))
    assert told(result) == about(4.1, 4.6)


def test_spot_once_loses_what_was_not_saved():
    result = night("spot_once", market(2), checkpoint_seconds=0.5 * HOUR)
    assert told(result) == about(2 * 0.3 + 2.6, 4.6, interruptions=1, launches=2)


def test_spot_once_without_checkpoints_starts_from_nothing_and_may_be_late():
    assert told(night("spot_once_scratch", market(2))) == about(0.6 + 4.1, 6.1, 1, 2)
    result = night("spot_once_scratch", market(4), window=8)
    assert told(result) == about(1.2 + 4.1, 8.1, 1, 2)
    assert result.late


def test_spot_whenever_goes_there_and_back():
    # 0.9 h of work on Spot, 0.9 on on-demand, 2.2 on Spot.
    assert told(night("spot_whenever", market(1, 2))) == about(0.3 + 1 + 2.3 * 0.3, 4.3, 1, 3)


def test_spot_whenever_does_not_go_back_where_two_change_overs_are_too_many():
    # At 1 there are 0.15 h to spare beyond the work; on-demand takes the rest.
    assert told(night("spot_whenever", market(1, up=False), window=4.25)) == about(4.1, 4.1)
    assert told(night("spot_whenever", market(1, up=False), window=4.35)) == about(1 + 3.2 * 0.3, 4.2, 0, 2)


def test_spot_whenever_counts_the_stop_both_ways():
    # At 1, with 3.1 h of work left, the way to Spot and back takes 0.25 + 0.1 + 0.25 + 0.1.
    stays, goes = (
        night("spot_whenever", market(1, up=False), window=window, stop=0.25) for window in (4.75, 4.85)
    )
    assert told(stays) == about(4.1, 4.1)
    assert told(goes) == about(1.25 + 3.2 * 0.3, 4.45, 0, 2)


def test_a_safe_max_wait_leaves_time_for_all_of_the_work_on_on_demand():
    assert told(night("max_wait_safe", NEVER)) == about(4.1, 8.0)
    assert told(night("max_wait_safe", UP_TWO_HOURS_AND_AGAIN_FROM_FIVE)) == about(0.6 + 2.2, 6.1, 1, 2)


def test_a_safe_max_wait_ends_a_job_that_trains():
    # 3.9 h of Spot, of which 3.8 are work, and 0.2 h of work are left.
    assert told(night("max_wait_safe", ALWAYS)) == about(3.9 * 0.3 + 0.3, 4.2, launches=2)


def test_a_safe_max_wait_counts_the_stop():
    assert told(night("max_wait_safe", NEVER, stop=0.25)) == about(4.1, 8.0)


def test_a_safe_max_wait_of_nothing_is_on_demand():
    assert told(night("max_wait_safe", ALWAYS, window=4.1)) == about(4.1, 4.1)


def test_a_max_wait_of_the_work_ends_a_job_that_is_nearly_done():
    assert told(night("max_wait_unsafe", ALWAYS)) == about(4 * 0.3 + 0.2, 4.2, launches=2)


def test_a_max_wait_of_the_work_is_late_where_spot_never_comes():
    result = night("max_wait_unsafe", NEVER)
    assert told(result) == about(4.1, 8.1)
    assert result.late


def test_greedy_waits_for_spot_while_a_failed_start_can_be_repaired():
    # The 2.1 h that are left after the reclaim may wait until 8 - 2.1 - 0.2 = 5.7.
    spot_is_back = night("greedy", UP_TWO_HOURS_AND_AGAIN_FROM_FIVE)
    assert told(spot_is_back) == about(4.2 * 0.3, 7.2, interruptions=1, launches=2)
    too_late = night("greedy", market(2, 5.8))
    assert told(too_late) == about(0.6 + 2.2, 7.9, interruptions=1, launches=2)
    assert told(night("greedy", NEVER)) == about(4.1, 7.9)


def test_greedy_takes_a_spot_machine_at_the_last_safe_moment_itself():
    assert told(night("greedy", market(3.8, up=False))) == about(4.1 * 0.3, 7.9)
    assert told(night("greedy", market(3.80001, up=False))) == about(4.1, 7.9)


def test_greedy_keeps_a_spot_machine_that_starts_or_works_past_its_last_safe_moment():
    assert told(night("greedy", market(3.75, up=False))) == about(4.1 * 0.3, 7.85)


def test_greedy_is_in_time_though_its_last_spot_machine_is_lost():
    # 3.15 h of work done at 7; the 0.85 that are left and a change-over fit.
    assert told(night("greedy", market(3.75, 7, up=False))) == about(3.25 * 0.3 + 0.95, 7.95, 1, 2)


def test_greedy_gives_up_a_start_that_takes_so_long_that_on_demand_would_be_late():
    result = night("greedy", market(3.7, up=False), spot_changeover_seconds=(0.5 * HOUR,))
    assert told(result) == about(0.2 * 0.3 + 4.1, 8.0, launches=2)
    assert not result.late


def test_greedy_counts_the_stop():
    # 8 - 4 - 0.1 - 0.25 - 0.1 = 3.55, and on-demand is asked for at 3.8.
    assert told(night("greedy", NEVER, stop=0.25)) == about(4.1, 7.9)


def test_greedy_gives_up_a_slow_start_so_early_that_the_stop_fits_too():
    result = night("greedy", market(3.5, up=False), stop=0.25, spot_changeover_seconds=(0.5 * HOUR,))
    assert told(result) == about(0.4 * 0.3 + 4.1, 8.0, launches=2)
    assert not result.late


def test_greedy_does_not_try_spot_where_a_failed_start_could_not_be_repaired():
    assert told(night("greedy", ALWAYS, window=4.15)) == about(4.1, 4.1)


def test_greedy_stays_on_on_demand_to_the_end():
    assert told(night("greedy", market(4, up=False))) == about(4.1, 7.9)


def test_greedy_stays_on_on_demand_though_the_work_proves_shorter():
    assert told(night("greedy", market(4.5, up=False), work_seconds=2 * HOUR)) == about(2.1, 5.9)


def test_uniform_progress_waits_while_it_is_ahead_of_the_line():
    # 1.9 h are done at 2, which is the line of 3.8. Spot comes back at 5, when 3.0 are done and 2.6 are due at 5.2.
    result = night("uniform_progress", UP_TWO_HOURS_AND_AGAIN_FROM_FIVE)
    assert told(result) == about(0.6 + 1.2 + 1.1 * 0.3, 6.1, interruptions=1, launches=3)


def test_uniform_progress_stays_on_on_demand_until_it_is_two_change_overs_ahead():
    # Spot is up from 0.3, and t - 0.1 = (t + 0.2) / 2 at t = 0.4.
    assert told(night("uniform_progress", market(0.3, up=False))) == about(0.4 + 3.8 * 0.3, 4.2, 0, 2)


def test_uniform_progress_never_goes_idle_from_on_demand():
    # At 3 it has done 2.9, the line of 5.8.
    assert told(night("uniform_progress", NEVER)) == about(4.1, 4.1)


def test_uniform_progress_does_not_go_back_to_spot_past_the_safety_net():
    assert told(night("uniform_progress", market(1, up=False), window=4.25)) == about(4.1, 4.1)


def test_uniform_progress_stays_past_the_safety_net_though_it_is_ahead_of_the_line():
    # Five hours of work are believed in a window of 4.5; two there are. At 0.36 it is ahead of the line, and yet
    # what is believed to be left does not fit.
    result = night("uniform_progress", market(0.36, up=False), work=5, window=4.5, work_seconds=2 * HOUR)
    assert told(result) == about(2.1, 2.1)


def test_uniform_progress_waits_no_longer_than_the_safety_net_allows():
    # 3.9 h are done at 4, the line of 4.19 in a window of 4.3; but the 0.1 that are left may not wait at all.
    result = night("uniform_progress", market(4), window=4.3)
    assert told(result) == about(1.2 + 0.2, 4.2, 1, 2)


def test_uniform_progress_with_a_wrong_belief_still_comes_to_an_end():
    result = night("uniform_progress", market(1, 1.5, 3, 3.5), work_seconds=4.5 * HOUR)
    assert result.finished_seconds > 4.5 * HOUR


def test_greedy_then_uniform_turns_when_the_work_is_seven_tenths_of_the_time():
    # 4 / 0.7 h are left at 16 / 7. On on-demand from there it is two change-overs ahead of the new line at
    # 16 / 7 + 0.8, when 0.7 h are done, and takes the Spot machine that has been up from 3.
    turn = 8 - 4 / 0.7
    result = night("greedy_then_uniform", market(3, up=False))
    assert told(result) == about(0.8 + 3.4 * 0.3, turn + 0.8 + 3.4, 0, 2)


def test_greedy_then_uniform_counts_from_the_moment_itself_though_a_machine_is_starting():
    # Spot starts at 2.25, the line begins at 16 / 7, and at 4 the 1.65 h that are done are its 16 / 7 + 1.65 / 0.7.
    turn = 8 - 4 / 0.7
    begun = turn + 1.65 / 0.7
    result = night("greedy_then_uniform", market(2.25, 4, up=False))
    assert told(result) == about(1.75 * 0.3 + 2.45, begun + 2.45, 1, 2)


def test_greedy_then_uniform_is_greedy_before_and_keeps_spot_after():
    assert told(night("greedy_then_uniform", market(2.25, up=False))) == about(4.1 * 0.3, 6.35)


def test_uniform_progress_has_no_such_patience():
    assert night("uniform_progress", market(2.25, up=False)).on_demand_seconds / HOUR == pytest.approx(2.25)
