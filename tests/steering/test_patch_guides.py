"""Guides on continuous pixels: against autograd, against formulas written out, and what must stay untouched."""

import math

import pytest
import torch

from tests.steering.fakes import toy_world
from tests.steering.toy import coupled_patches, posterior_moments
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.samplers import get_sampler
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.lab.recipes.guide_weights import Fit, fit_weights
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.beyond.difference import DifferenceGuide, WeightTable
from tiramisu_edu.steering.beyond.twisted import twist
from tiramisu_edu.steering.controls.blends import BlendGuide
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.guide import observed
from tiramisu_edu.steering.mixture import ONE_LEVEL, AlphaSchedule, MixtureGuide

A, R2 = 0.4, 0.15
LEFT_ALONE = AlphaSchedule(1.0, 1.0)


@pytest.fixture(scope="module")
def models():
    return coupled_patches(torch.float64)


@pytest.fixture
def step(models):
    """Pictures of the toy, noised, with half their pixels known; a prediction that is somewhat wrong."""
    circuit, book = models
    g = torch.Generator().manual_seed(3)
    image = book.image(circuit.sample(6, generator=g), g).clamp(-1, 1)
    known = torch.rand(6, 1, 2, 4, generator=g) < 0.5
    x_t = math.sqrt(A) * image + math.sqrt(1 - A) * torch.randn(image.shape, generator=g, dtype=torch.float64)
    x_0 = (image + 0.2 * torch.randn(image.shape, generator=g, dtype=torch.float64)).clamp(-1, 1)
    return Step(3, 5, A, x_t, Prediction(x_0, torch.zeros_like(x_0)), R2, torch.where(known, image, 0.0), known)


def test_both_posterior_means_are_scores(models, step):
    """sqrt(a) E[x_0 | x_t, ·] - x_t = (1 - a) grad log p(x_t, ·), by autograd through the two log Z."""
    circuit, book = models
    guide = DifferenceGuide(circuit, book)
    for seen in (observed(step), observed(step).without_known()):
        x_t = step.x_t.clone().requires_grad_()
        varied = seen._replace(x_t=x_t)
        log_p = circuit.log_partition(book.log_weights(varied)) + book.log_scale(varied)
        (score,) = torch.autograd.grad(log_p.sum(), x_t)
        mean = posterior_moments(guide, seen).mean
        assert torch.allclose(score, (math.sqrt(A) * mean - step.x_t) / (1 - A), atol=1e-9)


def test_the_steered_prediction_follows_the_gradient_of_the_twist(models, step):
    circuit, book = models
    x_t = step.x_t.clone().requires_grad_()
    seen = observed(step)._replace(x_t=x_t)
    log_p = [circuit.log_partition(book.log_weights(o)) + book.log_scale(o) for o in (seen, seen.without_known())]
    (gradient,) = torch.autograd.grad((log_p[0] - log_p[1]).sum(), x_t)
    log_twist, shift = twist(circuit, book, observed(step))
    assert torch.allclose(log_twist, (log_p[0] - log_p[1]).detach(), atol=1e-9)
    assert torch.allclose(shift, (1 - A) / math.sqrt(A) * gradient, atol=1e-9)
    unmoved = step._replace(prediction=Prediction(torch.zeros_like(step.x_t), step.x_t))
    assert torch.allclose(DifferenceGuide(circuit, book)(unmoved), shift.clamp(-1, 1), atol=1e-9)


def test_mixture_of_gaussians_by_its_density(models, step):
    """The mean of p_DM^alpha p_PC^(1 - alpha), by numerical integration over one pixel at a time."""
    circuit, book = models
    guide = MixtureGuide(circuit, book, 1.0, draw=False)
    found, moments = guide(step), posterior_moments(guide, observed(step))
    alpha = AlphaSchedule()(3, 5)
    x = torch.linspace(-4, 4, 20_001, dtype=torch.float64)
    known = step.known.expand_as(step.image)
    for at in (~known).nonzero()[::5].tolist():
        n, c, i, j = at
        log_dm = -((x - step.prediction.x_0[n, c, i, j]) ** 2) / (2 * R2)
        log_pc = -((x - moments.mean[n, c, i, j]) ** 2) / (2 * moments.variance[n, c, i, j])
        p = torch.softmax(alpha * log_dm + (1 - alpha) * log_pc, 0)
        assert float(found[n, c, i, j]) == pytest.approx(float(p @ x), abs=1e-6)
    assert torch.equal(found[known], step.image[known])


def test_drawn_mixture_has_the_mixture_s_spread(models, step):
    """Mean and variance of 20 000 draws of every pixel, 5 standard errors."""
    circuit, book = models
    one = step._replace(**{k: getattr(step, k)[:1] for k in ("x_t", "image", "known")})
    x_0 = torch.zeros_like(one.x_t)  # in the middle, so that clipping at ±1 cuts nothing
    one = one._replace(prediction=Prediction(x_0, x_0), variance=0.02, known=torch.zeros_like(one.known))
    many = one._replace(
        x_t=one.x_t.repeat(20_000, 1, 1, 1),
        image=one.image.repeat(20_000, 1, 1, 1),
        known=one.known.repeat(20_000, 1, 1, 1),
        prediction=Prediction(*(p.repeat(20_000, 1, 1, 1) for p in one.prediction[:2])),
    )
    drawn = MixtureGuide(circuit, book, 1.0, generator=torch.Generator().manual_seed(0))(many)
    mean = MixtureGuide(circuit, book, 1.0, draw=False)(one)
    alpha = AlphaSchedule()(3, 5)
    s2 = posterior_moments(DifferenceGuide(circuit, book), observed(one)).variance
    variance = 1 / (alpha / 0.02 + (1 - alpha) / s2.clamp_min(ONE_LEVEL))
    assert ((drawn.mean(0) - mean[0]).abs() < 5 * (variance[0] / 20_000).sqrt()).all()
    assert ((drawn.var(0) / variance[0] - 1).abs() < 5 * (2 / 20_000) ** 0.5).all()


def test_precision_and_learned_weights(models, step):
    circuit, book = models
    guide = BlendGuide(circuit, book)
    found, moments = guide(step), posterior_moments(guide, observed(step))
    s2, x_dm = moments.variance.clamp_min(ONE_LEVEL), step.prediction.x_0
    expected = (x_dm / R2 + moments.mean / s2) / (1 / R2 + 1 / s2)
    hidden = ~step.known.expand_as(x_dm)
    assert torch.allclose(found[hidden], expected[hidden], atol=1e-12)
    assert torch.equal(found[~hidden], step.image[~hidden])

    table = WeightTable(
        torch.tensor([-3.0, -0.4]), torch.tensor([0.02, 0.2]), torch.tensor([[0.9] * 3, [0.0, 0.5, 1.0]])
    )
    weight = torch.where(moments.variance > 0.2, 1.0, torch.where(moments.variance > 0.02, 0.5, 0.0))
    expected = x_dm + weight * (moments.mean - x_dm)  # log SNR of a = 0.4 is -0.405: the second row
    assert torch.allclose(BlendGuide(circuit, book, table=table)(step)[hidden], expected[hidden], atol=1e-12)


def test_calibrated_strength_of_the_difference(models, step):
    circuit, book = models
    plain = DifferenceGuide(circuit, book)
    mean = posterior_moments(plain, observed(step).with_and_without_known()).mean.chunk(2)
    table = WeightTable(torch.tensor([-3.0, -0.4]), torch.tensor([]), torch.tensor([[0.9], [0.25]]))
    # log SNR of a = 0.4 is -0.405: the second row
    expected = (step.prediction.x_0 + 0.25 * (mean[0] - mean[1])).clamp(-1, 1)
    assert torch.allclose(DifferenceGuide(circuit, book, strength=table)(step), expected, atol=1e-12)
    assert not torch.allclose(plain(step), expected, atol=1e-3)


def test_the_strength_is_one_where_the_circuit_is_right_and_less_where_it_is_not():
    world = toy_world()
    images, _ = world.images("validation", 2000)
    known = torch.rand(2000, 1, 2, 4, generator=torch.Generator().manual_seed(0)) < 0.4

    def fitted(circuit):
        given, generator = toy_world(circuit=circuit), torch.Generator().manual_seed(1)
        return fit_weights(given, images, known, Fit(True, 4, 1), generator).weights[:, 0]

    right = fitted(world.circuit)
    wrong = fitted(Circuit(world.circuit.graph, generator=torch.Generator().manual_seed(3)))  # not trained
    assert right.shape == (4,)
    for level in range(3):  # at the cleanest x_t tells all, and d is rounding
        assert right[level] > 0.97 and wrong[level] < right[level] - 0.05
    assert wrong[0] > wrong[1] > wrong[2]


def test_fitted_weights_beat_both_sides(tmp_path):
    """A network that is half wrong: the fitted blend restores hidden pixels better than network or circuit alone."""
    world = toy_world()
    images, _ = world.images("validation", 300)
    known = torch.rand(300, 1, 2, 4, generator=torch.Generator().manual_seed(0)) < 0.4

    class Shy(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, t):
            return 0.5 * self.inner(x, t)

    denoiser = type(world.denoiser)(Shy(world.denoiser.network), world.schedule, "sample")
    half = toy_world(denoiser=denoiser)
    table = fit_weights(half, images, known, Fit(False, 4, 3), torch.Generator().manual_seed(1))
    assert table.weights.shape == (4, 3) and ((table.weights >= 0) & (table.weights <= 1)).all()
    assert table.log_snr.diff().min() > 0 and table.weights.min() > 0.9  # the exact circuit deserves all the trust

    cold = fit_weights(world, images, torch.zeros_like(known), Fit(), torch.Generator().manual_seed(1))
    assert cold.weights.max() < 1e-3  # nothing known, the exact denoiser: the circuit has nothing to add

    path = tmp_path / "weights.safetensors"
    table.save(path, images=300)
    again = WeightTable.load(path)
    assert torch.equal(again.weights, table.weights) and torch.equal(again.edges, table.edges)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileError, match="truncated or damaged"):
        WeightTable.load(path)


GUIDES = ("mixture", "difference", "precision")


@pytest.mark.parametrize("name", GUIDES)
def test_hidden_pixels_never_leak(models, step, name):
    """Whatever stands in the hidden pixels, the answer is the same, bit for bit."""
    circuit, book = models
    world = toy_world(circuit=circuit, codebook=book)
    hidden = ~step.known.expand_as(step.image)
    other = step._replace(image=step.image.masked_fill(hidden, 0.77))
    answers = [
        make_guide(name, world, fraction=1.0, generator=torch.Generator().manual_seed(0))(s) for s in (step, other)
    ]
    assert torch.equal(*answers)


@pytest.mark.parametrize("sampler", ["ddim", "replacement", "copaint"])
def test_alpha_one_is_the_base_sampler_bit_for_bit(sampler):
    world = toy_world()
    image, _ = world.images("test", 3)
    known = torch.zeros(3, 1, 2, 4, dtype=torch.bool)
    known[..., :2] = True
    task = world.denoiser, world.schedule.respace(6), image, known
    guide = MixtureGuide(world.circuit, world.codebook, 1.0, alpha=LEFT_ALONE, draw=False, consistent_noise=True)
    steered, plain = (
        get_sampler(sampler)(*task, guide=g, generator=torch.Generator().manual_seed(0)) for g in (guide, None)
    )
    assert torch.equal(steered, plain)


def test_draws_of_an_image_do_not_depend_on_its_neighbours(models, step):
    circuit, book = models

    def drawn(rows):
        generators = [torch.Generator().manual_seed(n) for n in rows]
        part = {k: getattr(step, k)[rows] for k in ("x_t", "image", "known")}
        prediction = Prediction(*(p[rows] for p in step.prediction[:2]))
        return MixtureGuide(circuit, book, 1.0, generator=generators)(step._replace(**part, prediction=prediction))

    assert torch.equal(drawn([0, 1, 2, 3, 4, 5])[[1, 4]], drawn([1, 4]))


def test_guides_count_what_they_cost(models, step):
    circuit, book = models
    for name, passes in (("mixture", 1), ("difference", 2), ("precision", 1)):
        guide = make_guide(name, toy_world(circuit=circuit, codebook=book), fraction=0.4)
        for index in reversed(range(5)):
            guide(step._replace(index=index))
        assert guide.cost == {"steps": 2, "circuit passes": 2 * passes}


def test_worlds_without_the_models_are_refused():
    world = toy_world()
    with pytest.raises(TiramisuError, match="world 'toy' has no tokenizer"):
        make_guide("latent", world)
    with pytest.raises(TiramisuError, match="has no learned weights: fit them with: python -m"):
        make_guide("learned", world)
    with pytest.raises(TiramisuError, match=r"no difference weights: fit them with: .* toy --of difference"):
        make_guide("difference-calibrated", world)
    with pytest.raises(TiramisuError, match="'difference' cannot be made with power"):
        make_guide("difference", world, power=2)
    assert make_guide("difference", world, strength=0.5).strength == 0.5
    with pytest.raises(TiramisuError, match="calibrate the denoiser's schedule"):
        seen = Observation(
            torch.zeros(1, 1, 2, 4), A, torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4, dtype=torch.bool)
        )
        blank = Step(4, 5, A, seen.x_t, Prediction(seen.x_t, seen.x_t), math.nan, seen.image, seen.known)
        make_guide("precision", world)(blank)
