"""Statistics against what is known: closed forms, planted effects, and how often an interval holds the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from synthetic import failed, row

from camzoo.timing import statistics
from camzoo.timing.samples import Case, Outcome, Sample
from camzoo.timing.statistics import Interval


def exact(costs, process: int = 0, forward: float = 2.0) -> tuple[Sample, ...]:
    return tuple(
        Sample(process, number, cost * forward, (0.5 * forward, 1.5 * forward)) for number, cost in enumerate(costs)
    )


def test_a_summary_is_that_of_the_ratios() -> None:
    found = statistics.summary(row(samples=exact([1, 2, 3, 4, 5]), first=(7.0, 9.0, 8.0)))
    assert found.forwards.middle == 3
    assert found.quartiles == (2, 4)
    assert found.p95 == pytest.approx(4.8)
    assert (found.count, found.processes) == (5, 1)
    assert (found.seconds, found.forward, found.first, found.device_seconds) == (6, 2, 8, None)
    assert found.noise == pytest.approx(2 / 3)
    assert found.noisy


def test_a_summary_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="gradcam has no samples: out of memory"):
        statistics.summary(failed("gradcam", Outcome.OUT_OF_MEMORY))


def test_what_never_varies_has_no_interval() -> None:
    same = row(samples=exact([1.5] * 4) + exact([1.5] * 4, 1))
    assert statistics.summary(same).forwards == Interval(pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5))


def test_a_draw_takes_whole_processes_and_as_many_rounds_as_they_have() -> None:
    groups = [np.array([1.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0])]
    drawn = statistics.resampled(groups)
    assert drawn.shape == (statistics.DRAWS, 8)
    assert set(np.count_nonzero(~np.isnan(drawn), axis=1)) == {4, 6, 8}
    np.testing.assert_array_equal(statistics.medians(groups), np.ones(statistics.DRAWS))


def test_medians_are_those_of_numpy() -> None:
    groups = [np.array([1.0, 5.0, 2.0]), np.array([3.0, 9.0]), np.array([4.0])]
    drawn = statistics.resampled(groups)
    np.testing.assert_array_equal(statistics.medians(groups), np.nanmedian(drawn, axis=1))


def test_drawn_processes_are_spread_as_processes_are() -> None:
    """Without moving them apart the variance of the centre would be short of `1 / P` of itself."""
    centres = np.log([1.0, 1.1, 1.3])
    drawn = np.log(statistics.medians([np.full(1, np.exp(centre)) for centre in centres], draws=40_000))
    means = np.log(statistics.resampled([np.full(1, np.exp(centre)) for centre in centres], draws=40_000)).mean(axis=1)
    assert means.var() == pytest.approx(centres.var(ddof=1) / 3, rel=0.03)
    assert drawn.max() > centres.max()


@pytest.mark.parametrize(("between", "least"), [(0.0, 0.93), (0.01, 0.90), (0.03, 0.78)])
def test_how_often_the_interval_holds_the_truth(between, least) -> None:
    """With three processes that differ by much more than their rounds no resampling can reach 95 %."""
    generator = np.random.default_rng(0)
    many = generator.normal(0, synthetic.WITHIN, 100_000) + np.where(generator.random(100_000) < 0.05, 0.4, 0)
    truth = 1.2 * float(np.exp(np.median(many)))  # the disturbed rounds move the median a little
    held = 0
    for seed in range(200):
        samples = synthetic.samples(1.2, np.random.default_rng(seed), between=between)
        held += statistics.summary(row(samples=samples)).forwards.covers(truth)
    assert held / 200 >= least


def test_a_seed_gives_the_same_draws() -> None:
    groups = statistics.by_process(row().samples)
    np.testing.assert_array_equal(statistics.medians(groups, 3), statistics.medians(groups, 3))
    assert (statistics.medians(groups, 3) != statistics.medians(groups, 4)).any()


def test_a_paired_ratio_is_within_each_round() -> None:
    """A machine that slows down from round to round slows both: the ratio does not see it."""
    drift = np.linspace(1, 8, 10)
    one, other = row(samples=exact(1.3 * drift)), row(samples=exact(drift))
    ratio = statistics.paired(one, other)
    assert ratio == Interval(pytest.approx(1.3), pytest.approx(1.3), pytest.approx(1.3))
    assert statistics.summary(one).forwards.low < statistics.summary(other).forwards.high


def test_rounds_that_one_side_has_not_are_left_out() -> None:
    one, other = row(samples=exact([2, 2, 50, 50])), row(samples=exact([1, 1]))
    assert statistics.paired(one, other).middle == 2
    assert statistics.paired(one, row(samples=exact([1], process=4))) is None
    assert statistics.compared(one, row(samples=exact([1], process=4))) == 0


@pytest.mark.parametrize(
    ("ratio", "tied"),
    [
        (Interval(1.2, 0.99, 1.4), True),
        (Interval(1.2, 1.01, 1.4), False),
        (Interval(1.029, 1.02, 1.04), True),
        (Interval(0.975, 0.97, 0.98), True),
        (Interval(0.96, 0.95, 0.97), False),
    ],
)
def test_a_tie_covers_one_or_is_too_small_to_notice(ratio, tied) -> None:
    assert statistics.tie(ratio) is tied


def test_the_shortcut_of_a_comparison_says_what_all_draws_say(monkeypatch) -> None:
    pairs = [
        (row(seed=seed, cost=cost), row(seed=seed + 100)) for seed in range(4) for cost in (1.0, 1.1, 1.16, 1.3, 2)
    ]
    short = [statistics.compared(*pair) for pair in pairs]
    monkeypatch.setattr(statistics, "CLEAR", 2)
    assert [statistics.compared(*pair) for pair in pairs] == short
    assert set(short) == {-1, 0, 1}


def test_ranking_places_what_is_cheaper_beyond_doubt() -> None:
    rows = [row("slow", 3.0, seed=1), row("one", 1.10, seed=2), row("same", 1.10, seed=3), row("worst", 90.0, seed=4)]
    found = statistics.ranking(rows)
    assert [(each.row.contender, each.place) for each in found[2:]] == [("slow", 3), ("worst", 4)]
    assert {(each.row.contender, each.place) for each in found[:2]} == {("one", 1), ("same", 1)}
    assert found[0].ties == (found[1].row.contender,)
    assert found[2].ties == ()


def test_rows_without_a_common_round_are_no_tie() -> None:
    def part(name: str, *processes: int):
        samples = [replace(each, process=number) for number in processes for each in exact([1.0, 1.01, 1.02])]
        return row(name, samples=tuple(samples))

    found = {each.row.contender: each.ties for each in statistics.ranking([part("a", 0, 1), part("b", 2, 3)])}
    assert found == {"a": (), "b": ()}
    found = {each.row.contender: each.ties for each in statistics.ranking([part("a", 0, 1), part("b", 1, 2)])}
    assert found == {"a": ("b",), "b": ("a",)}


UNRANKED = {
    "differs": (row("a", verdict="differs, known", verdict_reason="centred"), "differs, known: centred"),
    "unchecked": (row("b", verdict=""), "not checked"),
    "out of memory": (failed("c", Outcome.OUT_OF_MEMORY, "44 GiB"), "out of memory: 44 GiB"),
    "failed": (failed("d", Outcome.FAILED), "failed"),
    "noisy": (row("e", within=0.4), "too noisy to rank"),
    "no samples": (row("f", samples=()), "no samples yet"),
    "one sample": (row("g", processes=1, rounds=1), "too few samples to rank: 1 in 1 process"),
    "one process": (row("h", processes=1), "too few samples to rank: 15 in 1 process"),
    "one round": (row("i", rounds=1), "too few samples to rank: 3 in 3 processes"),
    "wrong, and few": (row("j", processes=1, verdict=""), "not checked"),
}


@pytest.mark.parametrize("kind", UNRANKED)
def test_what_is_not_ranked_says_why_and_is_not_dropped(kind) -> None:
    bad, why = UNRANKED[kind]
    first, last = statistics.ranking([bad, row("good", 50.0)])
    assert (first.row.contender, first.place, first.why) == ("good", 1, "")
    assert last.place is None
    assert why in last.why
    assert (last.summary is None) == (not bad.samples)


@pytest.mark.parametrize(("processes", "rounds"), [(2, 3), (3, 2), (6, 1)])
def test_six_samples_in_two_processes_are_enough_for_a_place(processes, rounds) -> None:
    assert statistics.why_not_ranked(row(processes=processes, rounds=rounds, within=0.01)) == ""


def test_a_wrong_map_that_is_cheap_takes_no_place_from_others() -> None:
    found = statistics.ranking([row("wrong", 0.5, verdict="differs, new"), row("right", 2.0)])
    assert [(each.row.contender, each.place) for each in found] == [("right", 1), ("wrong", None)]


def test_rows_of_several_cases_have_no_order() -> None:
    with pytest.raises(ValueError, match="one case at a time"):
        statistics.ranking([row(), row(case=Case("vgg16"))])


def test_noise_is_flagged_before_it_is_refused() -> None:
    calm, noisy = statistics.summary(row(within=0.03)), statistics.summary(row(within=0.12))
    assert not calm.noisy
    assert noisy.noisy
    assert statistics.why_not_ranked(row(within=0.12)) == ""
    assert statistics.noise(row(within=0.12)) == noisy.noise


def test_a_power_law_is_found() -> None:
    fit = statistics.fit([(size, [np.full(3, 0.5 * size**1.7)]) for size in (1, 2, 4, 8)])
    assert fit.exponent.middle == pytest.approx(1.7)
    assert (fit.exponent.low, fit.exponent.high) == (pytest.approx(1.7), pytest.approx(1.7))
    assert fit.factor == pytest.approx(0.5)
    assert fit.misfit == pytest.approx(0, abs=1e-9)


def test_what_is_no_power_law_has_a_misfit() -> None:
    fit = statistics.fit([(size, [np.full(3, value)]) for size, value in ((1, 1.0), (2, 4.0), (4, 4.0))])
    slope = 1.0  # of log 1, 4, 4 over log 1, 2, 4
    away = np.log([1, 4, 4]) - slope * np.log([1, 2, 4])
    assert fit.exponent.middle == pytest.approx(slope)
    assert fit.misfit == pytest.approx(np.expm1(np.abs(away - away.mean()).max()))


def test_an_exponent_has_the_noise_of_its_points() -> None:
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        points = [
            (size, statistics.by_process(synthetic.samples(size**1.0, generator), "forwards")) for size in (1, 2, 4, 8)
        ]
        held += statistics.fit(points).exponent.covers(1.0)
    assert held >= 34


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="at least two sizes"):
        statistics.fit([(1, [np.ones(3)]), (1, [np.ones(3)])])


def test_seconds_on_a_device_stand_beside() -> None:
    samples = tuple(replace(sample, device_seconds=0.25) for sample in exact([1, 1, 1]))
    assert statistics.summary(row(samples=samples)).device_seconds == 0.25
