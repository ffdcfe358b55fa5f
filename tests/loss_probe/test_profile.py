"""Filters of every layout, sums by degree, signal to noise, and the summary's statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import PerSample, Plain
from respeval.loss_probe.filters import SpectralFilter, find_filters, select_filters
from respeval.loss_probe.gradients import output_gradient_power
from respeval.loss_probe.profile import ProbeSums, signal_to_noise
from respeval.loss_probe.summary import (
    ends,
    log_slope,
    log_slope_stderr,
    low_to_high_ratio,
    mean_profile,
    rank_correlation,
    summarize,
)


def example_filter(operator: str) -> nn.Module:
    from torch_harmonics.examples.models._layers import SpectralConvS2
    from torch_harmonics.sht import InverseRealSHT, RealSHT

    size = {"lmax": 5, "mmax": 5, "grid": "legendre-gauss"}
    pair = RealSHT(8, 16, **size), InverseRealSHT(8, 16, **size)
    return SpectralConvS2(*pair, 2, 3, operator_type=operator)  # type: ignore[no-any-return]


def foreign(module: str, **parameters: tuple[int, ...]) -> nn.Module:
    """A module that calls itself SpectralConvS2 of another package."""
    kind = type("SpectralConvS2", (nn.Module,), {"__module__": module})
    made = kind()
    for name, shape in parameters.items():
        made.register_parameter(name, nn.Parameter(torch.randn(shape)))
    return made  # type: ignore[no-any-return]


def modulus(*shape: int, separable: bool = False) -> nn.Module:
    made = foreign(MODULUS, weight=shape)
    made.separable = separable  # type: ignore[assignment]
    return made


def core_filter() -> nn.Module:
    spectral = pytest.importorskip("torch_harmonics.spectral_convolution", exc_type=ImportError)
    grids = {"grid_in": "legendre-gauss", "grid_out": "legendre-gauss"}
    made = spectral.SpectralConvS2((8, 16), (8, 16), 4, 6, num_groups=2, **grids)
    return made  # type: ignore[no-any-return]


ACE = "fme.core.models.conditional_sfno.s2convolutions"
MODULUS = "fme.ace.models.modulus.s2convolutions"


@pytest.mark.parametrize(
    ("network", "axis", "orders", "counts"),
    [
        (lambda: example_filter("driscoll-healy"), 2, (), [12] * 5),
        (lambda: example_filter("diagonal"), 2, (3,), [12 * (d + 1) for d in range(5)]),
        (
            lambda: example_filter("block-diagonal"),
            2,
            (3, 4),
            [12 * (d + 1) ** 2 for d in range(5)],
        ),
        (core_filter, 3, (), [2 * 2 * 2 * 3] * 8),
        (lambda: foreign(ACE, weight=(1, 7, 4, 4, 2)), 1, (), [32] * 7),
        (lambda: modulus(4, 4, 7, 2), 2, (), [32] * 7),
        (lambda: modulus(4, 4, 7, 5, 2), 2, (3,), [32, 64, 96, 128, *[160] * 3]),
        (lambda: modulus(4, 7, 2, separable=True), 1, (), [8] * 7),
    ],
)
def test_every_layout_of_filters_is_summed_over_all_but_the_degree(
    network, axis, orders, counts
) -> None:
    (entry,) = find_filters(nn.Sequential(network()))
    assert (entry.degree_axis, entry.order_axes) == (axis, orders)
    assert entry.num_weights().tolist() == pytest.approx(counts)
    values = entry.parameter.detach().numpy()
    expected = np.zeros(entry.num_degrees)
    for place in np.ndindex(*values.shape):
        degree = place[axis]
        if all(place[order] <= degree for order in orders):
            expected[degree] += abs(values[place]) ** 2
    np.testing.assert_allclose(entry.square_by_degree(entry.parameter), expected, rtol=1e-6)


def test_a_filter_that_does_not_say_whether_it_is_separable_is_not_guessed() -> None:
    """(in, l, m, 2) or (in, out, l, 2): a module that was exported has lost what tells them apart."""
    assert find_filters(foreign(MODULUS, weight=(4, 7, 7, 2))) == []


def test_low_rank_updates_of_ace_are_filters_too() -> None:
    shapes = {"weight": (1, 7, 4, 4, 2), "lora_A": (1, 7, 2, 4, 2), "lora_B": (1, 7, 4, 2, 2)}
    found = find_filters(nn.Sequential(foreign(ACE, **shapes)))
    assert [entry.name for entry in found] == ["0.weight", "0.lora_A", "0.lora_B"]
    assert {entry.num_degrees for entry in found} == {7}


def test_a_network_without_filters_is_refused_with_what_it_holds() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.LayerNorm(2))
    with pytest.raises(InputError) as caught:
        select_filters(network, None, "net.pt")
    assert "torch.nn.modules.linear.Linear (2)" in str(caught.value)
    assert "LayerNorm (1)" in str(caught.value)
    assert "known filters: fme.ace" in str(caught.value)


def test_a_glob_narrows_the_filters_and_names_them_where_none_fits() -> None:
    network = nn.Sequential(*(example_filter("driscoll-healy") for _ in range(3)))
    assert [f.name for f in select_filters(network, "[02].*", "net.pt")] == ["0.weight", "2.weight"]
    with pytest.raises(InputError, match=r"'deep' fits none .* \(0.weight, 1.weight, 2.weight\)"):
        select_filters(network, "deep", "net.pt")


@pytest.mark.parametrize("shape", [(8, 16), (9, 18)])
def test_a_loss_of_one_degree_has_all_its_output_gradient_there(shape) -> None:
    grid = Grid.legendre_gauss(*shape)
    lmax = min(shape[0], shape[1] // 2)
    transform = SphericalTransform(grid, lmax, lmax)
    area = torch.from_numpy(grid.area_weights())
    field = torch.from_numpy(np.random.default_rng(0).normal(size=shape)).requires_grad_()
    for degree in (1, 4, lmax - 1):
        loss = transform.forward(field)[degree, : degree + 1].abs().sum()
        (gradient,) = torch.autograd.grad(loss, field)
        power = output_gradient_power(gradient, area, transform)
        others = torch.arange(lmax) != degree
        assert float(power[others].max()) < 1e-20 * float(power[degree])


def test_signal_to_noise_is_the_mean_gradient_over_the_spread() -> None:
    vectors = np.random.default_rng(0).normal(loc=0.3, size=(7, 40))
    mean = vectors.mean(axis=0)
    spread = np.sqrt(((vectors - mean) ** 2).sum() / 6)
    found = signal_to_noise(
        np.array((vectors.sum(axis=0) ** 2).sum()), np.array((vectors**2).sum()), 7
    )
    assert float(found) == pytest.approx(np.linalg.norm(mean) / spread, rel=1e-12)
    noise = np.random.default_rng(1).normal(size=(16, 100_000))
    alone = signal_to_noise(
        np.array((noise.sum(axis=0) ** 2).sum()), np.array((noise**2).sum()), 16
    )
    assert float(alone) == pytest.approx(0.25, rel=0.02)
    assert np.isnan(signal_to_noise(np.ones(3), np.ones(3), 1)).all()


def test_sums_of_processes_are_added_one_filter_at_a_time() -> None:
    complex_filter = SpectralFilter("a", nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64)), 1)
    real_filter = SpectralFilter("b", nn.Parameter(torch.zeros(4, 5)), 0)
    filters, arms = [complex_filter, real_filter], [Plain(), PerSample()]

    def made(num_batches: int) -> ProbeSums:
        sums = ProbeSums(num_batches, 2, 4, arms, filters, 3, torch.device("cpu"))
        sums.loss += torch.arange(2.0 * num_batches).reshape(2, num_batches)
        for layer, entry in enumerate(filters):
            gradient = torch.rand(entry.parameter.shape, dtype=entry.parameter.dtype)
            sums.take(1 if num_batches > 1 else 0, 1, layer, gradient)
        return sums

    sums, calls = made(3), []

    def twice(packed: torch.Tensor) -> torch.Tensor:
        calls.append(packed.numel())
        return 2 * packed

    before = [sums.loss.clone(), sums.filter_square[1].clone(), sums.filter_sum[0].clone()]
    assert before[2].shape == (2, 2, 3, 2)
    sums.reduce(twice)
    after = [sums.loss, sums.filter_square[1], sums.filter_sum[0]]
    for old, new in zip(before, after, strict=True):
        assert old.any()
        assert torch.equal(new, 2 * old)
    assert calls[1:] == [12, 12, 20, 20]  # each arm of each filter
    assert not made(1).filter_sum  # which only a ratio of several batches needs


def test_a_power_law_has_its_slope_and_a_straight_line_no_error() -> None:
    profile = np.concatenate([[7.0], np.arange(1.0, 25.0) ** -1.5])
    assert log_slope(profile) == pytest.approx(-1.5, rel=1e-12)
    assert log_slope_stderr(profile) < 1e-12
    assert rank_correlation(profile) == pytest.approx(-1.0)
    assert ends(25) == (slice(1, 4), slice(22, 25))
    expected = profile[1:4].mean() / profile[22:].mean()
    assert low_to_high_ratio(profile) == pytest.approx(expected)
    assert rank_correlation(np.array([9.0, 1.0, 2.0, 2.0, 3.0])) == pytest.approx(0.9486832981)
    noisy = profile * np.exp(np.random.default_rng(0).normal(scale=0.2, size=25))
    assert abs(log_slope(noisy) + 1.5) < 4 * log_slope_stderr(noisy)


def test_statistics_that_do_not_exist_are_nan() -> None:
    assert np.isnan(rank_correlation(np.ones(6)))
    assert np.isnan(log_slope(np.array([1.0, 2.0, 0.0])))
    assert np.isnan(low_to_high_ratio(np.array([1.0, 2.0, 0.0])))
    assert np.isnan(log_slope_stderr(np.array([1.0, 2.0, 3.0])))


def test_layers_of_different_length_are_averaged_where_both_have_degrees() -> None:
    square = np.full((1, 2, 2, 4), 4.0)
    square[:, :, 1] = 16.0
    square[:, :, 1, 3:] = np.nan
    np.testing.assert_allclose(mean_profile(square), [[3.0, 3.0, 3.0]])


def batches(slope: float, num_batches: int, seed: int = 0) -> np.ndarray:
    """Mean squares [batch, layer, degree] of a power law whose batches differ in size and slope."""
    rng = np.random.default_rng(seed)
    degrees = np.arange(17) + 1.0
    tilt = slope + 0.3 * rng.normal(size=(num_batches, 1, 1))
    return degrees ** (2 * tilt) * np.exp(rng.normal(size=(num_batches, 1, 1)))


def test_the_difference_between_arms_has_its_own_narrower_interval() -> None:
    square = np.stack([batches(-1.0, 12), batches(-0.8, 12)])
    summary = summarize(square, np.ones((2, 12)), ["none", "per_sample"])
    apart = summary["per_sample/gradient_log_slope"] - summary["none/gradient_log_slope"]
    assert summary["per_sample/gradient_log_slope_minus_none"] == pytest.approx(apart)

    def width(key: str) -> float:
        low, high = summary[f"{key}_interval"]
        return high - low

    alone = width("none/gradient_log_slope")
    assert 0 < width("per_sample/gradient_log_slope_minus_none") < 0.2 * alone
    low, high = summary["none/gradient_log_slope_interval"]
    assert low < summary["none/gradient_log_slope"] < high
    assert summary["none/loss"] == 1.0
    assert summary["none/loss_interval"] == [1.0, 1.0]


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Percentile intervals of 20 batches are known to be a little short of their 95 %."""
    hits = 0
    for seed in range(60):
        loss = np.random.default_rng(seed).normal(size=(1, 20))
        square = np.ones((1, 20, 1, 5))
        low, high = summarize(square, loss, ["none"], num_resamples=200)["none/loss_interval"]
        hits += low < 0.0 < high
    assert 50 <= hits <= 60


def test_one_batch_has_no_intervals() -> None:
    summary = summarize(batches(-1.0, 1)[None], np.ones((1, 1)), ["none"])
    assert summary["none/gradient_low_to_high_ratio"] > 1
    assert summary["none/gradient_low_to_high_ratio_interval"] is None
