"""`nightspot backtest`: what it prints, what its JSON promises, and how it refuses what cannot be played."""

import json

import pytest

from nightspot.cli.backtest import _seconds, _share
from nightspot.market import backtest as room


def write_trace(folder, name="zone-a", *, days=3, **metadata):
    """Six hours with machines, six without, in samples of ten minutes."""
    data = ([1] * 36 + [0] * 36) * (2 * days)
    folder.mkdir(exist_ok=True)
    document = {"metadata": {"gap_seconds": 600, **metadata}, "data": data}
    (folder / f"{name}.json").write_text(json.dumps(document))


@pytest.fixture
def traces(tmp_path):
    write_trace(tmp_path / "traces")
    return tmp_path / "traces"


def test_json_has_every_policy_with_its_costs_and_no_number_that_json_does_not_know(nightspot, traces):
    answer = nightspot("backtest", "--traces", traces, "--starts", 5, "--json")
    assert answer.status == 0
    assert answer.err == ""

    def refuse(constant):
        raise AssertionError(constant)

    told = json.loads(answer.out, parse_constant=refuse)
    assert told["default"] == "patient"
    assert set(told["policies"]) == set(room.LABELS)
    assert told["policies"]["omniscient"]["vs_omniscient"] == 1
    assert told["policies"]["omniscient"]["interruptions"] is None
    assert told["policies"]["on_demand"]["cost_ratio"] == pytest.approx(1)
    assert told["policies"]["patient"]["late_rate"] == 0
    assert 0.3 <= told["policies"]["patient"]["cost_ratio"] < 1
    assert told["policies"]["spot_whenever"]["needs_to_see_spot"]
    assert not told["policies"]["greedy"]["needs_to_see_spot"]
    assert (told["nights"], told["simulated"], told["setting"]["seed"]) == (5, True, 7)
    assert told["nights_per_second"] > 0
    assert told["pooling"] is None


def test_the_table_says_what_is_simulated_and_sets_the_bounds_apart(nightspot, traces):
    answer = nightspot("backtest", "--traces", traces, "--starts", 3)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith("Simulated")
    assert any(line.startswith("Real ") for line in lines)
    order = [line.split()[0] for line in lines if line.split() and line.split()[0] in room.LABELS]
    assert order[0] == "patient"
    assert order[-1] == "omniscient"
    title = next(
        n for n, line in enumerate(lines) if line.startswith("Bounds. They cannot be had on SageMaker")
    )
    above = {line.split()[0] for line in lines[:title] if line.split()}
    assert {"patient", "greedy", "max_wait_safe"} <= above
    assert not {"spot_whenever", "uniform_progress", "omniscient"} & above
    assert "patient (default)" in answer.out
    assert "a way back from on-demand to Spot would be worth" in answer.out
    assert "Pooling" not in answer.out


def test_the_same_command_gives_the_same_costs(nightspot, traces):
    def costs():
        told = json.loads(nightspot("backtest", "--traces", traces, "--starts", 4, "--json").out)
        return {name: policy["cost_ratio"] for name, policy in told["policies"].items()}

    assert costs() == costs()


def test_without_traces_the_markets_are_made_up_and_the_output_says_so(nightspot):
    answer = nightspot("backtest", "--starts", 1, "--work", "1h", "--window", "2h")
    assert answer.status == 0
    assert "made up, 9 zones" in answer.out


def test_pooling_is_played_beside_the_single_zones(nightspot, traces):
    # Up where the other one is not.
    document = json.loads((traces / "zone-a.json").read_text())
    document["data"] = [1 - sample for sample in document["data"]]
    (traces / "zone-b.json").write_text(json.dumps(document))
    answer = nightspot("backtest", "--traces", traces, "--starts", 5, "--pool", "--json")
    pooling = json.loads(answer.out)["pooling"]
    assert pooling["cost_ratio"] == pytest.approx(0.30)
    assert pooling["zone_by_zone_cost_ratio"] > 0.4
    said = nightspot("backtest", "--traces", traces, "--starts", 5, "--pool").out
    assert "with any of the zones patient costs 0.300 of on-demand" in said


def test_a_job_file_gives_work_window_change_overs_and_checkpoints(nightspot, traces, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job)
    arguments = ("backtest", "--traces", traces, "--job", "job.yaml", "--starts", 2)
    setting = json.loads(nightspot(*arguments, "--json").out)["setting"]
    assert setting["work_seconds"] == 14_400
    assert setting["window_seconds"] == 28_800
    assert (setting["changeover_seconds"], setting["on_demand_changeover_seconds"]) == (600, 900)
    assert setting["checkpoint_seconds"] == 1800
    assert "recommender: Spot ml.p4d.24xlarge" in nightspot(*arguments).out


def test_an_option_beats_the_job_file(nightspot, traces, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job)
    answer = nightspot(
        "backtest", "--traces", traces, "--job", "job.yaml", "--work", 2, "--starts", 1, "--json"
    )
    assert json.loads(answer.out)["setting"]["work_seconds"] == 7200


def test_the_traces_own_prices_are_paid_where_they_are_asked_for(nightspot, tmp_path):
    write_trace(tmp_path / "t", spot_price_changes=[[0, 0.6]], on_demand_usd_per_hour=3.0)
    arguments = ("--starts", 5, "--work", "1h", "--window", "12h", "--json")
    answer = nightspot("backtest", "--traces", tmp_path / "t", "--spot-price", "traces", *arguments)
    assert json.loads(answer.out)["policies"]["omniscient"]["cost_ratio"] == pytest.approx(0.2)


def test_a_picture_is_drawn_where_it_is_asked_for(nightspot, traces, tmp_path):
    answer = nightspot("backtest", "--traces", traces, "--starts", 1, "--plot", tmp_path / "policy.png")
    assert answer.status == 0
    assert (tmp_path / "policy.png").stat().st_size > 10_000
    assert "policy.png" in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--traces", "traces", "--generated"), "only one of --traces and --generated"),
        (("--work", "soon"), "--work: 'soon': must be a duration such as 4h"),
        (("--work", "-4h"), "--work: '-4h': must be a duration"),
        (("--work", "nan"), "--work: 'nan': must be a duration"),
        (("--window", ""), "--window: '': must be a duration"),
        (("--changeover", "6 minutes"), "--changeover: '6 minutes': must be a duration"),
        (
            ("--spot-price", "cheap"),
            "--spot-price: 'cheap': must be a share such as 0.1 or 10%, or the word traces",
        ),
        (("--work-error", "much"), "--work-error: 'much': must be a share such as 0.1 or 10%"),
        (("--starts", "0"), "--starts"),
        (("--seed", "-1"), "--seed"),
        (("--plot", "policy.gif"), "--plot: 'policy.gif': must end in .png, .svg, .pdf"),
        (("--plot", "nowhere/policy.png"), "must be in a folder that exists"),
    ],
)
def test_a_wrong_call_is_a_usage_error(nightspot, traces, arguments, said):
    answer = nightspot("backtest", *arguments)
    assert answer.status == 2
    assert said in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--work", "0"), "error: --work: 0 must be finite and greater than 0"),
        (("--work", "10s"), "error: --work: 10 s must be at least 60 s"),
        (("--window", "3h"), "error: --window: 3 h must hold the work and an on-demand start, 4 h 6 min"),
        (("--window", "7d"), "error: --window: 7 d must be shorter than what is known of zone-a, 3 d"),
        (("--spot-price", "1.5"), "error: --spot-price: 1.5 must be over 0, at most 1"),
        (("--spot-price", "0"), "error: --spot-price: 0 must be over 0"),
        (("--spot-price", "traces"), "error: --spot-price: must be a number, because zone-a has no prices"),
        (("--work-error", "50%"), "error: --work-error: 0.5 must be between 0 and 0.3"),
        (("--job", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_what_cannot_be_played_is_one_line_before_anything_is(nightspot, tmp_path, arguments, said):
    write_trace(tmp_path / "traces", days=3)
    answer = nightspot("backtest", "--traces", "traces", *arguments)
    assert answer.status == 1
    assert said in answer.err
    assert answer.err.startswith("error: ")
    assert " error: " not in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "error: --traces: markets: cannot be read"),
        (lambda folder: folder.mkdir(), "error: --traces: markets: holds no *.json"),
        (
            lambda folder: write_trace(folder, gap_seconds=-1),
            "error: --traces: markets/zone-a.json: metadata.gap_seconds: -1 must be a finite number",
        ),
    ],
    ids=["missing", "empty", "malformed"],
)
def test_traces_that_cannot_be_read_are_one_line(nightspot, tmp_path, make, said):
    make(tmp_path / "markets")
    answer = nightspot("backtest", "--traces", "markets")
    assert answer.status == 1
    assert said in answer.err
    assert answer.out == ""


def test_a_job_without_on_demand_is_refused_with_its_field(nightspot, traces, tmp_path, good_job):
    changed = good_job.replace("  on_demand: [ml.p4d.24xlarge]\n", "").replace(
        "fallback: on_demand", "fallback: never"
    )
    (tmp_path / "job.yaml").write_text(changed)
    answer = nightspot("backtest", "--traces", traces, "--job", "job.yaml")
    assert answer.status == 1
    assert "job.yaml: capacity.on_demand: none: must name an instance type" in answer.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14_400),
        ("4", 14_400),
        ("0.1", 360),
        ("0.1h", 360),
        (".5h", 1800),
        ("6m", 360),
        ("6 min", 360),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("90s", 90),
        ("2d", 172_800),
        ("0", 0),
        ("4H", 14_400),
    ],
)
def test_a_duration_is_read_as_people_write_it_and_a_bare_number_is_hours(text, seconds):
    assert _seconds("--work", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "share"), [("0.1", 0.1), ("10%", 0.1), ("10 %", 0.1), ("0", 0), (".3", 0.3)]
)
def test_a_share_is_a_number_or_percent(text, share):
    assert _share("--work-error", text) == pytest.approx(share)
