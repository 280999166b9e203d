"""Fitting Weibull lives and gaps: known parameters come back, cut-off stretches count as such."""

import json

import numpy as np
import pytest

from nightspot.market.fitting import (
    PROFILES_FILE,
    SpotLives,
    Weibull,
    document,
    fit,
    fit_profiles,
    fit_weibull,
    generate,
    main,
)
from nightspot.market.grid import available_slots
from nightspot.market.model import MarketValueError
from nightspot.market.traces import Trace

GAP = 195.0


def sampled(parameters, *, days, seed, gap):
    """A trace of a generated market, sampled at the start of every gap."""
    market = generate(parameters, seconds=days * 86_400, randomness=seed)
    moments = np.arange(0, days * 86_400, gap)
    return Trace("made-up", gap, market.up[np.searchsorted(market.starts_seconds, moments, side="right") - 1])


@pytest.mark.parametrize(("shape", "scale"), [(0.4, 9_000), (0.65, 5_000), (1.0, 60), (3.0, 1e6)])
def test_known_parameters_come_back(shape, scale):
    drawn = Weibull(shape, scale).draw(np.random.default_rng(1), 20_000)
    fitted = fit_weibull(drawn, np.ones(len(drawn), dtype=bool))
    assert fitted.shape == pytest.approx(shape, rel=0.03)
    assert fitted.scale_seconds == pytest.approx(scale, rel=0.06)


def test_cut_off_stretches_count_as_at_least_so_long():
    drawn = Weibull(0.65, 5_000).draw(np.random.default_rng(2), 20_000)
    complete = drawn < 4_000
    seen = np.minimum(drawn, 4_000)
    fitted = fit_weibull(seen, complete)
    assert fitted.shape == pytest.approx(0.65, rel=0.03)
    assert fitted.scale_seconds == pytest.approx(5_000, rel=0.06)
    assert fit_weibull(seen, np.ones(len(seen), dtype=bool)).scale_seconds < 4_000


def test_no_other_parameters_are_more_likely():
    stretches = np.array([200.0, 400.0, 1_000.0, 9_000.0, 600.0])
    complete = np.array([True, True, True, True, False])

    def log_likelihood(shape, scale):
        hazards = np.log(shape / scale) + (shape - 1) * np.log(stretches / scale)
        return (hazards * complete).sum() - ((stretches / scale) ** shape).sum()

    found = fit_weibull(stretches, complete)
    best = log_likelihood(found.shape, found.scale_seconds)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert log_likelihood(found.shape * factor, found.scale_seconds) < best
        assert log_likelihood(found.shape, found.scale_seconds * factor) < best


@pytest.mark.parametrize(
    ("stretches", "complete", "message"),
    [
        ([5.0, 5.0, 5.0], [True, True, True], "fit no shape"),
        ([5.0], [True], "fit no shape"),
        ([5.0, 6.0], [False, False], "none of 2 stretches"),
        ([], [], "none of 0 stretches"),
        ([5.0, 0.0], [True, True], "longer than 0 s"),
        ([5.0, np.inf], [True, False], "finite"),
    ],
)
def test_stretches_that_determine_nothing_are_refused(stretches, complete, message):
    with pytest.raises(MarketValueError, match=message):
        fit_weibull(np.array(stretches), np.array(complete, dtype=bool))


@pytest.mark.parametrize(("gap", "shape"), [(5.0, 0.6), (GAP, 0.65)])
def test_a_market_that_was_generated_and_sampled_is_found_again_coarse_sampling_raises_its_shape(gap, shape):
    market = SpotLives(lives=Weibull(0.6, 12_000), gaps=Weibull(0.7, 6_000))
    found = fit([sampled(market, days=300, seed=seed, gap=gap) for seed in (3, 4)])
    assert found.market.lives.shape == pytest.approx(shape, abs=0.03)
    assert found.market.lives.mean_seconds == pytest.approx(market.lives.mean_seconds, rel=0.15)
    assert found.market.gaps.mean_seconds == pytest.approx(market.gaps.mean_seconds, rel=0.15)
    assert found.share_available == pytest.approx(market.share_up, abs=0.04)


def test_the_first_and_last_stretch_of_every_trace_are_cut_off():
    ends = Trace("ends", 10.0, np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0], dtype=bool))
    found = fit([ends, ends])
    assert (found.lives, found.gaps) == (4, 4)
    assert found.traces == ("ends", "ends")
    assert found.share_available == 0.5


def test_a_trace_that_never_changes_is_named():
    with pytest.raises(MarketValueError, match="flat: complete: none of 1"):
        fit([Trace("flat", 10.0, np.ones(5, dtype=bool))])
    with pytest.raises(MarketValueError, match="none given"):
        fit([])


def alternating(name, up_samples, down_samples):
    cycle = [1] * up_samples + [0] * down_samples + [1] * (2 * up_samples) + [0] * (2 * down_samples)
    return Trace(name, 10.0, np.array(cycle * 3, dtype=bool))


def test_each_trace_belongs_to_the_profile_of_its_share():
    fits = fit_profiles([alternating("a", 4, 1), alternating("b", 1, 1), alternating("c", 2, 3)])
    assert {name: found.traces for name, found in fits.items()} == {
        "calm": ("a",),
        "usual": ("b",),
        "scarce": ("c",),
    }


def write(directory, trace):
    content = {"metadata": {"gap_seconds": trace.gap_seconds}, "data": trace.available.astype(int).tolist()}
    (directory / f"{trace.name}.json").write_text(json.dumps(content))


def test_the_command_prints_every_fit_and_writes_the_profiles(tmp_path, capsys):
    for trace in (alternating("a", 4, 1), alternating("c", 2, 3)):
        write(tmp_path, trace)
    written = tmp_path / "out" / "spot_lives.json"
    written.parent.mkdir()
    assert main([str(tmp_path), "--write", str(written)]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == ["a", "c", "calm", "scarce", "all"]
    assert list(json.loads(written.read_text())["profiles"]) == ["calm", "scarce"]


def test_the_command_says_which_file_is_no_trace(tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    assert main([str(tmp_path)]) == 2
    assert "bad.json: is not JSON" in capsys.readouterr().err


def test_the_table_that_ships_says_where_it_comes_from_in_the_words_of_the_command():
    shipped = json.loads(PROFILES_FILE.read_text(encoding="utf-8"))
    made = json.loads(document({}))
    assert (shipped["source"], shipped["command"]) == (made["source"], made["command"])
    assert "Apache License 2.0" in shipped["source"]


def test_sampling_at_moments_never_sees_more_than_the_grid_does():
    market = generate(SpotLives(Weibull(0.6, 900), Weibull(0.7, 600)), seconds=86_400, randomness=6)
    moments = np.arange(0, 86_400 - GAP, GAP)
    seen = [market.is_up_at(moment) for moment in moments]
    slots = available_slots(market, offsets_seconds=[0], window_seconds=len(seen) * GAP, step_seconds=GAP)
    assert not (np.array(seen) & ~slots[0]).any()
