"""Scores and whitening against loops over modes and cells, their invariants, and ACE's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import PerSample, Plain, SpectralPower, parse_arm, parse_arms
from respeval.loss_probe.loss import LossWeights, ScoredEnsemble, ensemble_loss, full_truncation
from respeval.loss_probe.scores import (
    crps,
    degree_amplitude,
    energy_score_by_degree,
    finite_difference_crps,
    mean_power,
    spectral_power_crps_by_degree,
)
from respeval.loss_probe.whitening import whitening_factor

GRIDS = [(8, 16), (7, 12), (9, 15)]
ARMS = [
    Plain(),
    PerSample(),
    PerSample(gamma=1.0),
    PerSample(gamma=1.0, eps=0.3, max_ratio=3.0),
    SpectralPower(),
]


def transform_of(shape: tuple[int, int], dtype: torch.dtype = torch.float64) -> SphericalTransform:
    grid = Grid.legendre_gauss(*shape)
    lmax = full_truncation(grid)
    return SphericalTransform(grid, lmax, lmax, dtype)


def random_fields(shape: tuple[int, int], *leading: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*leading, *shape)))


def red(lmax: int, slope: float = 2.0, *leading: int, seed: int = 0) -> torch.Tensor:
    """Random coefficients [..., l, m] whose amplitude falls as (l + 1)^-slope."""
    draw = np.random.default_rng(seed).normal(size=(2, *leading, lmax, lmax))
    values = draw[0] + 1j * draw[1]
    values[..., 0] = values[..., 0].real
    values = np.tril(values) * (1.0 + np.arange(lmax)[:, None]) ** -slope
    return torch.from_numpy(values)


def modes(lmax: int) -> Iterator[tuple[int, int, float]]:
    """(l, m, weight) of the independent modes of a real field."""
    for degree in range(lmax):
        for order in range(degree + 1):
            yield degree, order, 1.0 if order == 0 else 2.0


def loop_factor(target: np.ndarray, arm: PerSample) -> np.ndarray:
    """The whitening factor of one sample's coefficients [l, m]."""
    lmax = target.shape[0]
    power, orders = np.zeros(lmax), np.zeros(lmax)
    for degree, order, weight in modes(lmax):
        power[degree] += weight * abs(target[degree, order]) ** 2
        orders[degree] += weight
    amplitude = np.sqrt(power / orders)
    least = arm.eps * amplitude.mean()
    factor = np.array([(1.0 / max(a, least)) ** arm.gamma for a in amplitude])
    if arm.max_ratio is not None:
        factor = np.array([min(f, arm.max_ratio * min(factor)) for f in factor])
    before = sum(w * abs(target[d, m]) for d, m, w in modes(lmax))
    after = sum(w * factor[d] * abs(target[d, m]) for d, m, w in modes(lmax))
    return factor * before / after


def loop_pair_mean(values: list[float] | list[complex]) -> float:
    pairs = list(itertools.combinations(values, 2))
    return sum(abs(a - b) for a, b in pairs) / len(pairs) if pairs else 0.0


def loop_crps(members: list[float], target: float, alpha: float) -> float:
    error = sum(abs(x - target) for x in members) / len(members)
    return error - (1 - (1 - alpha) / 2) * 0.5 * loop_pair_mean(members)


def loop_spectral(ensemble, target, shape, arm, alpha: float) -> float:  # type: ignore[no-untyped-def]
    """The spectral term of one sample: coefficients [member, l, m] and [l, m]."""
    lmax = target.shape[0]
    if isinstance(arm, SpectralPower):
        power = np.zeros((len(ensemble) + 1, lmax))
        for i, field in enumerate([*ensemble, target]):
            for degree, order, weight in modes(lmax):
                power[i, degree] += weight * abs(field[degree, order]) ** 2 / (2 * degree + 1)
        log = np.log(power + arm.floor * power[-1].mean())
        scores = [loop_crps(list(log[:-1, d]), log[-1, d], alpha) for d in range(lmax)]
        return sum(scores) / lmax
    factor = loop_factor(target, arm) if isinstance(arm, PerSample) else np.ones(lmax)
    total = 0.0
    for degree, order, weight in modes(lmax):
        values = [field[degree, order] for field in ensemble]
        score = sum(abs(v - target[degree, order]) for v in values) / len(values)
        total += weight * factor[degree] * (score - 0.5 * loop_pair_mean(values))
    return total / (2 * np.sqrt(shape[0] * (shape[1] // 2 + 1)))


@pytest.mark.parametrize("num_members", [1, 2, 3])
@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_the_loss_is_what_loops_over_modes_and_cells_give(shape, num_members, arm) -> None:
    ensemble, target = random_fields(shape, num_members, 2, 2), random_fields(shape, 2, 2, seed=1)
    transform = transform_of(shape)
    weights = LossWeights(alpha=0.9)
    found = ensemble_loss(ensemble, target, transform, arm, weights)
    spectra, aim = transform.forward(ensemble).numpy(), transform.forward(target).numpy()
    cells, spectral = [], []
    for where in np.ndindex(2, 2):
        for cell in np.ndindex(*shape):
            members = [float(m[where][cell]) for m in ensemble]
            cells.append(loop_crps(members, float(target[where][cell]), 0.9))
        members = [m[where] for m in spectra]
        spectral.append(loop_spectral(members, aim[where], shape, arm, 0.9))
    expected = 0.9 * np.mean(cells) + 0.1 * np.mean(spectral)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("num_levels", [1, 2])
def test_finite_difference_crps_is_what_loops_over_cells_give(shape, num_levels) -> None:
    ensemble, target = random_fields(shape, 2, 1), random_fields(shape, 1, seed=1)
    found = finite_difference_crps(ensemble, target, 0.95, num_levels)
    fields = [ensemble[0, 0].numpy(), ensemble[1, 0].numpy(), target[0].numpy()]
    means = []
    for _ in range(num_levels):
        num_lat, num_lon = fields[0].shape
        south, east = [], []
        for i, j in np.ndindex(num_lat, num_lon):
            if i + 1 < num_lat:
                steps = [float(f[i + 1, j] - f[i, j]) for f in fields]
                south.append(loop_crps(steps[:-1], steps[-1], 0.95))
            steps = [float(f[i, (j + 1) % num_lon] - f[i, j]) for f in fields]
            east.append(loop_crps(steps[:-1], steps[-1], 0.95))
        means.append(0.5 * (np.mean(south) + np.mean(east)))
        rows, columns = range(0, num_lat, 2), range(0, num_lon, 2)
        fields = [
            np.array([[f[i : i + 2, j : j + 2].mean() for j in columns] for i in rows])
            for f in fields
        ]
    assert float(found[0]) == pytest.approx(np.mean(means), rel=1e-12)


def test_plain_arm_is_the_unweighted_loss_to_the_last_bit() -> None:
    """In float32: value and gradient of the loss as it is written down without arms."""
    shape = (8, 16)
    transform = transform_of(shape, torch.float32)
    target = random_fields(shape, 2, 3, seed=1).float()
    gradients, losses = [], []
    for with_arm in (True, False):
        ensemble = random_fields(shape, 2, 2, 3).float().requires_grad_()
        if with_arm:
            loss = ensemble_loss(ensemble, target, transform, Plain(), LossWeights())
        else:
            spectra = transform.forward(ensemble), transform.forward(target)
            energy = energy_score_by_degree(*spectra, *shape).sum(-1).mean()
            loss = 0.9 * crps(ensemble, target, 0.95).mean() + 0.1 * energy
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, ensemble)[0])
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("shape", GRIDS)
def test_parseval(shape) -> None:
    """Power summed over degrees is the mean square over the sphere, of a field within the truncation."""
    transform = transform_of(shape)
    coefficients = red(transform.lmax, 0.5)
    field = transform.inverse(coefficients)
    area = torch.from_numpy(Grid.legendre_gauss(*shape).area_weights())
    degrees = torch.arange(transform.lmax)
    found = ((2 * degrees + 1) * mean_power(coefficients)).sum() / (4 * np.pi)
    assert float(found) == pytest.approx(float((field.square() * area).sum()), rel=1e-12)


def test_a_white_target_has_the_uniform_factor_one() -> None:
    white = red(12, 0.0)
    white = white / degree_amplitude(white)[:, None]
    for gamma in (0.3, 1.0):
        np.testing.assert_allclose(whitening_factor(white, gamma), 1.0, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("arm", ARMS[1:4], ids=str)
def test_the_amplitude_weighted_total_is_preserved(arm: PerSample, dtype: torch.dtype) -> None:
    target = red(16, 3.0, 4, 2).to(dtype)
    factor = whitening_factor(target, arm.gamma, arm.eps, arm.max_ratio)
    weight = torch.tril(torch.full((16, 16), 2.0))
    weight[:, 0] = 1.0
    before = (weight * target.abs()).sum(dim=(-2, -1))
    after = (weight * target.abs() * factor[..., None]).sum(dim=(-2, -1))
    torch.testing.assert_close(after, before, rtol=1e-6, atol=0)


def test_a_red_target_has_its_high_degrees_raised_in_order_of_gamma() -> None:
    target = red(16, 2.0, seed=3)
    amplitude = degree_amplitude(target).numpy()
    raised = [whitening_factor(target, gamma).numpy() for gamma in (0.25, 0.5, 0.75, 1.0)]
    for factor in raised:
        order = np.argsort(amplitude)
        assert (np.diff(factor[order]) <= 1e-12).all()  # less amplitude, more weight
        assert factor[-4:].min() > 1 > factor[0]
    assert (np.diff([factor[-1] / factor[0] for factor in raised]) > 0).all()
    # Full whitening of degrees above the floor makes them all alike.
    full = whitening_factor(target, 1.0, eps=1e-6).numpy() * amplitude
    np.testing.assert_allclose(full, full[0], rtol=1e-12)


def test_eps_and_max_ratio_bound_the_factor() -> None:
    target = red(16, 6.0)
    free = whitening_factor(target, 1.0, 0.02)
    assert float(free.max() / free.min()) > 100
    capped = whitening_factor(target, 1.0, 0.02, max_ratio=7.0)
    assert float(capped.max() / capped.min()) == pytest.approx(7.0, rel=1e-12)
    floor = 0.02 * degree_amplitude(target).mean()
    assert (degree_amplitude(target)[-8:] < floor).all()
    np.testing.assert_allclose(free[-8:], float(free[-1]), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("arm", ARMS, ids=str)
@pytest.mark.parametrize("kind", ["zeros", "one degree", "tiny"])
def test_extreme_targets_give_finite_losses_and_gradients(kind, arm, dtype) -> None:
    shape = (8, 16)
    transform = transform_of(shape, dtype)
    one = torch.zeros(8, 8, dtype=torch.complex128)
    one[5, 2] = 1.0 + 1.0j
    pure = transform_of(shape).inverse(one).to(dtype)
    target = {"zeros": 0.0 * pure, "one degree": pure, "tiny": 1e-18 * pure}[kind][None, None]
    for start in (random_fields(shape, 2, 1, 1).to(dtype), torch.stack([target, target])):
        ensemble = start.clone().requires_grad_()
        loss = ensemble_loss(ensemble, target, transform, arm)
        (gradient,) = torch.autograd.grad(loss, ensemble)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    if kind == "zeros" and isinstance(arm, PerSample):
        factor = whitening_factor(transform.forward(target), arm.gamma, arm.eps, arm.max_ratio)
        assert (factor == 1).all()


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_no_gradient_flows_through_the_factor(arm) -> None:
    """Against finite differences of a loss whose factor is frozen, in the members and the target."""
    shape = (4, 8)
    transform = transform_of(shape)
    start = random_fields(shape, 1, 1, seed=1)
    aim = transform.forward(start)
    frozen = (
        whitening_factor(aim, arm.gamma, arm.eps, arm.max_ratio)
        if isinstance(arm, PerSample)
        else None
    )
    ensemble = random_fields(shape, 2, 1, 1).requires_grad_()

    def with_frozen_factor(members: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        spectra = transform.forward(members), transform.forward(target)
        if isinstance(arm, SpectralPower):
            term = spectral_power_crps_by_degree(*spectra, 0.95, arm.floor)
        else:
            term = energy_score_by_degree(*spectra, *shape, frozen)
        return 0.9 * crps(members, target, 0.95).mean() + 0.1 * term.sum(-1).mean()

    target = start.clone().requires_grad_()
    assert gradcheck(with_frozen_factor, (ensemble, target))
    found = torch.autograd.grad(ensemble_loss(ensemble, target, transform, arm), (ensemble, target))
    known = torch.autograd.grad(with_frozen_factor(ensemble, target), (ensemble, target))
    for gradient, expected in zip(found, known, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_the_true_distribution_has_the_smallest_expected_score(arm) -> None:
    """Members drawn with a wrong spread, mean or spectral slope score worse, by several errors."""
    shape, num = (6, 12), 4000
    transform = transform_of(shape)
    lmax = transform.lmax

    def drawn(
        seed: int, spread: float = 1.0, shift: float = 0.0, slope: float = 1.5
    ) -> torch.Tensor:
        weather = transform.inverse(spread * red(lmax, slope, num, 1, seed=seed))
        return weather + shift

    target = drawn(0)
    weights = LossWeights(crps=0.0, energy_score=1.0, alpha=1.0)

    def scores(**wrong: float) -> torch.Tensor:
        ensemble = torch.stack([drawn(1, **wrong), drawn(2, **wrong)])
        scored = ScoredEnsemble(ensemble, target, transform, weights)
        return scored.loss(arm).by_degree.sum(-1)[:, 0]

    true = scores()
    wrong = [{"spread": 0.6}, {"spread": 1.6}, {"slope": 1.0}, {"slope": 2.2}, {"shift": 0.8}]
    for change in wrong:
        worse = scores(**change) - true
        error = worse.std() / num**0.5
        assert float(worse.mean()) > 4 * float(error), change


def test_fair_crps_does_not_depend_on_the_number_of_members() -> None:
    draw = np.random.default_rng(0).normal(size=(9, 200_000))
    target, members = torch.from_numpy(draw[0]), torch.from_numpy(draw[1:])
    exact = 1 / np.sqrt(np.pi)  # both from the standard normal distribution
    for num_members in (2, 3, 8):
        found = crps(members[:num_members], target, alpha=1.0)
        error = float(found.std()) / 200_000**0.5
        assert abs(float(found.mean()) - exact) < 4 * error
    # alpha = 0 halves what is lacking: epsilon = 1/2 of the spread term stays
    half = crps(members[:2], target, alpha=0.0).mean() - crps(members[:2], target, 1.0).mean()
    spread = 0.5 * (members[0] - members[1]).abs().mean()
    assert float(half) == pytest.approx(0.5 * float(spread), rel=1e-9)


def test_power_crps_is_blind_to_phases_and_the_energy_score_is_not() -> None:
    target = red(8, 1.0, 1)
    turned = target * torch.exp(1j * torch.arange(8, dtype=torch.float64))
    assert float(spectral_power_crps_by_degree(turned[None], target).abs().max()) < 1e-14
    assert float(energy_score_by_degree(turned[None], target, 8, 16).sum()) > 0.1


def test_scores_refuse_what_does_not_fit() -> None:
    ensemble, target = torch.zeros(2, 1, 4, 8), torch.zeros(1, 4, 8)
    with pytest.raises(ValueError, match="alpha must lie in"):
        crps(ensemble, target, alpha=1.5)
    with pytest.raises(ValueError, match="at least one member"):
        crps(ensemble[:0], target)
    with pytest.raises(ValueError, match="target's axes"):
        crps(ensemble, target[..., :-1])
    with pytest.raises(ValueError, match="use at most 2"):
        finite_difference_crps(ensemble, target, num_levels=3)
    with pytest.raises(ValueError, match="must not be negative"):
        LossWeights(crps=-1.0)


@pytest.mark.parametrize(
    ("text", "arm"),
    [
        ("none", Plain()),
        ("per_sample", PerSample()),
        ("per_sample:gamma=1.0,eps=0.02,max_ratio=50", PerSample(1.0, 0.02, 50.0)),
        ("spectral_power:floor=1e-6", SpectralPower(1e-6)),
    ],
)
def test_an_arm_is_its_text(text, arm) -> None:
    assert parse_arm(text) == arm
    assert parse_arm(str(arm)) == arm


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("non", "did you mean 'none'"),
        ("whiten", "allowed: none, per_sample, spectral_power"),
        ("per_sample:gama=1", "did you mean 'gamma'"),
        ("none:gamma=1", "none has none"),
        ("per_sample:gamma", "expected gamma=NUMBER"),
        ("per_sample:gamma=strong", "gamma must be a number, got 'strong'"),
        ("per_sample:gamma=0", "gamma must lie in (0, 1], got 0.0"),
        ("per_sample:gamma=1.5", "gamma must lie in (0, 1], got 1.5"),
        ("per_sample:gamma=nan", "gamma must lie in (0, 1]"),
        ("per_sample:eps=0", "eps must lie in (0, 1)"),
        ("per_sample:max_ratio=0.5", "at least 1"),
    ],
)
def test_a_wrong_arm_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_arm(text)
    assert message in str(caught.value)


def test_an_arm_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="given twice"):
        parse_arms(["per_sample", "none", "per_sample:gamma=0.5"])


def test_scores_and_gradients_are_those_of_ace() -> None:
    """float32, 1e-5; ACE's ensemble axis is second and its target keeps one of length 1."""
    ace = pytest.importorskip("fme.core.loss", reason="fme (ACE) is not installed")
    ensembles = pytest.importorskip("fme.core.ensemble", reason="fme (ACE) is not installed")
    shape = (8, 16)
    transform = transform_of(shape, torch.float32)
    target = random_fields(shape, 3, 2, seed=1).float()
    # ACE's coefficients have an order more, which the triangular truncation leaves empty.
    pad = torch.nn.functional.pad

    def harmonics(field: torch.Tensor) -> torch.Tensor:
        return pad(transform.forward(field), (0, 1))

    whitening = getattr(ace, "SpectralWhitening", None)
    for arm in (Plain(), PerSample(gamma=0.5), PerSample(gamma=1.0)):
        if whitening is None and isinstance(arm, PerSample):
            continue
        values, gradients = [], []
        for theirs in (False, True):
            ensemble = random_fields(shape, 2, 3, 2).float().requires_grad_()
            if theirs:
                gen, aim = ensemble.transpose(0, 1), target[:, None]
                energy = ace.EnergyScoreLoss(sht=harmonics)
                energy(gen, aim)
                score = ensembles.get_energy_score(harmonics(gen), harmonics(aim))
                score = score * energy.mode_weights.reshape(9 if score.shape[-1] != 9 else 8, 9)
                if isinstance(arm, PerSample):
                    made = whitening(eps_frac=arm.eps, exponent=arm.gamma)
                    score = score * made.factor(harmonics(aim))
                loss = 0.9 * ensembles.get_crps(gen, aim, alpha=0.95).mean()
                loss = loss + 0.1 * score.sum(dim=(-2, -1)).mean() / energy.scaling
            else:
                loss = ensemble_loss(ensemble, target, transform, arm)
            values.append(loss)
            gradients.append(torch.autograd.grad(loss, ensemble)[0])
        torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=0)
        scale = float(gradients[1].abs().max())
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5 * scale)


def test_finite_difference_crps_is_that_of_ace() -> None:
    ace = pytest.importorskip("fme.core.loss", reason="fme (ACE) is not installed")
    if not hasattr(ace, "FiniteDifferenceCRPSLoss"):
        pytest.skip("this fme has no finite-difference CRPS")
    ensemble, target = random_fields((7, 12), 2, 3, 2).float(), random_fields((7, 12), 3, 2).float()
    theirs = ace.FiniteDifferenceCRPSLoss(alpha=0.95, levels=2)
    (component,) = theirs(ensemble.transpose(0, 1), target[:, None])
    found = finite_difference_crps(ensemble, target, 0.95, 2)
    torch.testing.assert_close(found, component.reduce_to_channel(), rtol=1e-5, atol=0)
