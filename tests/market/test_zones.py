"""Which markets a backtest plays on, and what a job file says about its nights."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nightspot.job.markets import Market
from nightspot.job.reading import load_job, parse_job
from nightspot.market import samples
from nightspot.market.model import MarketAvailability, MarketValueError
from nightspot.market.samples import BacktestError, Zone

HOUR = 3600.0


def trace_file(folder, name, data, **metadata):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 600, **metadata}, "data": data}))
    return path


def zone(*changes, up=True, hours=10.0, name="zone"):
    starts = [0.0, *(each * HOUR for each in changes)]
    states = [(index % 2 == 0) == up for index in range(len(starts))]
    return Zone(name, MarketAvailability(np.array(starts), np.array(states), hours * HOUR))


@pytest.fixture
def recommender(root):
    return load_job(root / "jobs" / "recommender.yaml")


@pytest.fixture
def root(request):
    return request.config.rootpath


def test_every_trace_below_a_folder_is_a_zone_of_its_own(tmp_path):
    (tmp_path / "deeper").mkdir()
    trace_file(tmp_path, "a", [1, 0, 1])
    trace_file(tmp_path / "deeper", "b", [0, 1, 1])
    first, second = samples.from_traces(tmp_path)
    assert (first.name, second.name) == ("a", "b")
    assert (first.gap_seconds, first.changes.share_up) == (600, pytest.approx(2 / 3))
    assert (first.prices, first.on_demand_usd_per_hour) == (None, None)


def test_a_single_trace_is_a_zone(tmp_path):
    (only,) = samples.from_traces(trace_file(tmp_path, "a", [1, 0]))
    assert only.name == "a"


def test_a_zone_keeps_the_prices_of_its_trace(tmp_path):
    trace_file(tmp_path, "a", [1, 1], spot_price_changes=[[0, 0.9], [1, 1.2]], on_demand_usd_per_hour=3.0)
    (only,) = samples.from_traces(tmp_path)
    assert only.prices.usd_per_hour.tolist() == [0.9, 1.2]
    assert only.on_demand_usd_per_hour == 3.0


def test_pooled_traces_are_one_zone_that_is_up_where_any_of_them_is(tmp_path):
    trace_file(tmp_path, "a", [1, 0, 0, 0])
    trace_file(tmp_path, "b", [0, 1, 0, 1])
    (pooled,) = samples.from_traces(tmp_path, pooled=True)
    assert pooled.changes.share_up == 0.75


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nowhere", "nowhere: cannot be read: No such file or directory"),
        (lambda folder: folder, "must hold at least one"),
        (lambda folder: trace_file(folder, "bad", [2]).parent, r"data\[0\]: 2 must be 0, 1, true or false"),
    ],
    ids=["missing", "empty", "malformed"],
)
def test_a_folder_that_gives_no_market_is_refused_with_the_file_and_the_rule(tmp_path, make, says):
    with pytest.raises(MarketValueError, match=says):
        samples.from_traces(make(tmp_path))


def test_generated_zones_are_three_of_each_profile_and_the_same_for_the_same_seed():
    made = samples.generated(7)
    assert [each.name for each in made] == [
        f"{profile}-{number}" for profile in ("calm", "usual", "scarce") for number in (1, 2, 3)
    ]
    again, others = samples.generated(7), samples.generated(8)
    for first, same, other in zip(made, again, others, strict=True):
        assert np.array_equal(first.changes.starts_seconds, same.changes.starts_seconds)
        assert not np.array_equal(first.changes.starts_seconds, other.changes.starts_seconds)
        assert first.changes.length_seconds == 31 * 24 * HOUR
    calm, scarce = made[0].changes.share_up, made[-1].changes.share_up
    assert calm > scarce


def test_pooled_zones_are_up_where_one_is_and_end_with_the_shortest():
    pooled = samples.pooled_zone([zone(1, 3, hours=10, name="a"), zone(2, 5, up=False, hours=8, name="b")])
    assert pooled.changes.starts_seconds.tolist() == [0, 1 * HOUR, 2 * HOUR]
    assert pooled.changes.up.tolist() == [True, False, True]
    assert pooled.changes.length_seconds == 8 * HOUR
    assert pooled.name == "a+b"


def test_generated_zones_can_be_pooled():
    single, (pooled,) = samples.generated(3), samples.generated(3, pooled=True)
    assert pooled.changes.share_up > max(each.changes.share_up for each in single)


def test_a_job_gives_its_ladder_with_prices_and_speeds(recommender):
    price = {"ml.p4d.24xlarge": 33.0}
    run = samples.plan_of(recommender, price=lambda instance_type, _region: price[instance_type])
    assert [(rung.market, rung.usd_per_hour) for rung in run.rungs] == [
        (Market.SPOT, 33.0),
        (Market.ON_DEMAND, 33.0),
    ]


def test_a_job_without_one_of_the_markets_cannot_be_compared(recommender):
    capacity = recommender.capacity.model_copy(update={"on_demand": ()})
    job = recommender.model_copy(update={"capacity": capacity})
    with pytest.raises(BacktestError, match=r"capacity\.on_demand: none: must name an instance type"):
        samples.plan_of(job, price=lambda *_: None)


def test_a_job_s_window_is_held_against_its_fastest_on_demand_rung(root):
    text = (root / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
    text = text.replace('{at: "08:00", timezone: UTC}', "{within: 3h}")
    with pytest.raises(BacktestError, match="must hold the work and an on-demand start, 4 h 15 min"):
        samples.setting_of(parse_job(text))
    ladder = "on_demand: [ml.p4d.24xlarge, {instance_type: ml.p5.48xlarge, speed: 2.0}]"
    job = parse_job(text.replace("on_demand: [ml.p4d.24xlarge]", ladder))
    assert samples.setting_of(job).on_demand_speed == 2.0
    no_such_rung = job.model_copy(update={"capacity": job.capacity.model_copy(update={"on_demand": ()})})
    with pytest.raises(BacktestError, match="4 h 15 min"):
        samples.setting_of(no_such_rung)


def test_a_job_s_nights_last_from_its_schedule_to_its_deadline(recommender):
    setting = samples.setting_of(recommender)
    assert (setting.work_seconds, setting.window_seconds) == (4 * HOUR, 8 * HOUR)
    assert setting.changeover_of(Market.SPOT) == 600
    assert setting.changeover_of(Market.ON_DEMAND) == 900
    assert setting.checkpoint_seconds == 1800
    assert setting.stop_seconds == 180


def test_what_is_given_beats_the_job_and_the_job_the_defaults(recommender):
    setting = samples.setting_of(recommender, changeover_seconds=60.0, starts=5, work_seconds=None)
    assert setting.changeover_of(Market.ON_DEMAND) == 60
    assert (setting.starts, setting.work_seconds) == (5, 4 * HOUR)
    assert samples.setting_of(recommender, window_seconds=6 * HOUR).window_seconds == 6 * HOUR
    assert replace(samples.setting_of(), starts=5) == samples.setting_of(starts=5)


def test_a_job_without_a_schedule_needs_a_window(recommender):
    job = recommender.model_copy(update={"schedule": None})
    with pytest.raises(BacktestError, match="window_seconds: must be given"):
        samples.setting_of(job)
    assert samples.setting_of(job, window_seconds=8 * HOUR).window_seconds == 8 * HOUR


def test_without_checkpoints_nothing_is_ever_saved(recommender):
    request = {k: v for k, v in recommender.training_job.items() if k != "CheckpointConfig"}
    job = recommender.model_copy(update={"training_job": request})
    setting = samples.setting_of(job)
    assert setting.checkpoint_seconds > setting.window_seconds
    assert samples.plan_of(job, price=lambda *_: None).checkpoint_s3_uri is None
