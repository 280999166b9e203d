"""Trace files: what they mean, alone, in part and together, and why one is refused."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from nightspot.local.sagemaker.markets import SimulatedMarket
from nightspot.local.sagemaker.markets import Supply as LocalAvailability
from nightspot.market.model import MarketValueError
from nightspot.market.traces import Trace, load_trace, load_traces, pool

METADATA = {
    "gap_seconds": 10,
    "start": "2023-02-15T23:08:16+01:00",
    "spot_price_changes": [[0, 1.0], [2, 2.0]],
    "on_demand_usd_per_hour": 3.06,
}


@pytest.fixture
def write(tmp_path):
    """Write a trace's content to a file and give its path."""

    def write(content, name="zone.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def trace(*samples, name="zone", **fields):
    return Trace(**{"name": name, "gap_seconds": 10.0, "available": np.array(samples, dtype=bool)} | fields)


def test_a_file_is_read_whole(write):
    read = load_trace(write({"metadata": METADATA, "data": [1, 0, 1]}))
    assert (read.name, read.gap_seconds, read.length_seconds) == ("zone", 10, 30)
    assert read.available.tolist() == [True, False, True]
    assert read.start == datetime(2023, 2, 15, 22, 8, 16, tzinfo=UTC)
    assert read.start.tzinfo is UTC
    assert read.on_demand_usd_per_hour == 3.06
    assert read.prices().mean_usd_per_hour(0, 30) == pytest.approx(4 / 3)


def test_a_file_needs_only_a_gap_and_samples(write):
    read = load_trace(write({"metadata": {"gap_seconds": 0.5}, "data": [True, False, 1.0]}))
    assert read.available.tolist() == [True, False, True]
    assert (read.start, read.on_demand_usd_per_hour, read.spot_price_changes) == (None, None, ())
    with pytest.raises(MarketValueError, match="spot_price_changes: zone has no prices"):
        read.prices()


def test_a_file_means_here_what_it_means_in_the_local_run(write):
    path = write({"metadata": {"gap_seconds": 10}, "data": [0, 1, 1, 0, 0, 1, 0]})
    changes, market = load_trace(path).changes(), SimulatedMarket.from_trace(path)
    for seconds in np.arange(0, 90, 2.5):
        assert changes.is_up_at(seconds) == (market.state_at(seconds) is LocalAvailability.AVAILABLE)


def with_metadata(**fields):
    return {"metadata": METADATA | fields, "data": [1, 0, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ([1, 0], r"\[1, 0\] must be an object"),
        ({"data": [1]}, "metadata: None"),
        ({"metadata": {}, "data": [1]}, "metadata.gap_seconds: None"),
        (with_metadata(gap_seconds=0), "metadata.gap_seconds: 0 must"),
        (with_metadata(gap_seconds=True), "metadata.gap_seconds: True"),
        (with_metadata(gap_seconds="195"), "metadata.gap_seconds: '195'"),
        (with_metadata(gap_seconds=float("inf")), "metadata.gap_seconds: inf"),
        (with_metadata(gap_seconds=float("nan")), "metadata.gap_seconds: nan"),
        (with_metadata(gap_seconds=10**400), "metadata.gap_seconds: 10000"),
        (with_metadata(start="2023-02-15T22:08:16"), "metadata.start: '2023-02-15T22:08:16'"),
        (with_metadata(start="noon"), "metadata.start: 'noon'"),
        (with_metadata(start=5), "metadata.start: 5"),
        (with_metadata(on_demand_usd_per_hour=-1), "metadata.on_demand_usd_per_hour: -1"),
        (with_metadata(spot_price_changes={}), "metadata.spot_price_changes: {}"),
        (with_metadata(spot_price_changes=[[0]]), r"metadata.spot_price_changes\[0\]: \[0\]"),
        (with_metadata(spot_price_changes=[[1, 1.0]]), r"changes\[0\]: index 1; the first price"),
        (with_metadata(spot_price_changes=[[0, 1.0], [3, 1.0]]), r"changes\[1\]: index 3 .* from 0 to 2"),
        (with_metadata(spot_price_changes=[[0, 1.0], [0.5, 1.0]]), r"changes\[1\]: index 0.5"),
        (with_metadata(spot_price_changes=[[0, 1.0], [2, 1], [1, 1]]), "index 1 must come after .* 2"),
        (with_metadata(spot_price_changes=[[0, 1.0], [2, 1], [2, 1]]), "index 2 must come after .* 2"),
        (with_metadata(spot_price_changes=[[0, 0]]), r"changes\[0\]: price: 0 must"),
        ({"metadata": METADATA, "data": []}, r"data: \[\] must be a list"),
        ({"metadata": METADATA}, "data: None"),
        ({"metadata": METADATA, "data": [1, 2]}, r"data\[1\]: 2 must be 0, 1"),
        ({"metadata": METADATA, "data": [1, "0"]}, r"data\[1\]: '0'"),
        ({"metadata": METADATA, "data": [1, None]}, r"data\[1\]: None"),
    ],
)
def test_a_malformed_file_is_refused_by_name_field_and_value(write, content, message):
    with pytest.raises(MarketValueError, match=f"zone.json: .*{message}"):
        load_trace(write(content))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MarketValueError, match=r"gone\.json: cannot be read"):
        load_trace(tmp_path / "gone.json")


def test_all_traces_below_a_directory_come_in_the_order_of_their_paths(write, tmp_path):
    for name in ("b/1.json", "a.json", "b/0.json"):
        write({"metadata": METADATA, "data": [1, 1, 1]}, name)
    write("no trace", "README.md")
    assert [trace.name for trace in load_traces(tmp_path)] == ["a", "0", "1"]


def test_a_directory_without_traces_is_refused(tmp_path):
    with pytest.raises(MarketValueError, match="at least one"):
        load_traces(tmp_path)


def test_changes_are_only_where_the_samples_change():
    changes = trace(1, 1, 0, 0, 1).changes()
    assert changes.starts_seconds.tolist() == [0, 20, 40]
    assert changes.up.tolist() == [True, False, True]
    assert (changes.length_seconds, changes.name) == (50, "zone")


def test_a_pool_is_up_where_any_of_its_traces_is():
    pooled = pool([trace(1, 0, 0, 1, name="a"), trace(0, 0, 1, name="b")])
    assert pooled.available.tolist() == [True, False, True]
    assert pooled.name == "a+b"


def test_a_pool_keeps_the_on_demand_price_only_where_all_agree():
    same, other = trace(1, on_demand_usd_per_hour=3.0), trace(1, on_demand_usd_per_hour=4.0)
    assert pool([same, same]).on_demand_usd_per_hour == 3.0
    assert pool([same, other]).on_demand_usd_per_hour is None


@pytest.mark.parametrize(
    ("other", "rule"),
    [
        (trace(1, gap_seconds=20.0, name="b"), "gap_seconds: 10 in zone and 20 in b"),
        (trace(1, start=datetime(2023, 1, 1, tzinfo=UTC), name="b"), "start: None in zone and 2023-01-01"),
    ],
)
def test_traces_of_different_gaps_or_starts_make_no_pool(other, rule):
    with pytest.raises(MarketValueError, match=rule):
        pool([trace(1), other])


def test_nothing_makes_no_pool():
    with pytest.raises(MarketValueError, match="traces: none given"):
        pool([])


def test_a_trace_without_a_time_zone_is_refused():
    with pytest.raises(MarketValueError, match="must carry a time zone"):
        trace(1, start=datetime(2023, 1, 1))  # noqa: DTZ001
