"""The control without a circuit: its means against enumeration, quadrature and autograd."""

import math

import pytest
import torch

from tests.steering.fakes import toy_world
from tests.steering.toy import posterior_moments
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.methods import PARTS, PIXEL_GUIDES, make_guide, stored_images
from tiramisu_edu.names import GUIDES
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.controls.kernel import KernelCodebook
from tiramisu_edu.steering.guide import observed
from tiramisu_edu.world import World

A, H2 = 0.4, 0.05
N, B, SHAPE = 7, 3, (1, 2, 3)


def guide_of(density, **options):
    return DifferenceGuide(density.circuit(), density, **options)


def mean_of(density, seen):
    """E[x_0 | seen] by the circuit and the codebook together."""
    return posterior_moments(guide_of(density), seen).mean


@pytest.fixture
def density():
    g = torch.Generator().manual_seed(0)
    return KernelCodebook(torch.rand(N, *SHAPE, generator=g, dtype=torch.float64) * 1.6 - 0.8, H2)


@pytest.fixture
def step(density):
    g = torch.Generator().manual_seed(1)
    noise = torch.randn(2, B, *SHAPE, generator=g, dtype=torch.float64)
    image = (density.images[:B] + H2**0.5 * noise[0]).clamp(-1, 1)
    known = torch.rand(B, 1, *SHAPE[1:], generator=g) < 0.5
    x_t = math.sqrt(A) * image + math.sqrt(1 - A) * noise[1]
    prediction = Prediction(0.1 * image, torch.zeros_like(image))
    return Step(3, 5, A, x_t, prediction, 0.1, torch.where(known, image, 0.0), known)


def component_log_densities(density, seen):
    """log p(seen | n), (B, N), one image, one pixel and one normal distribution at a time; differentiable in x_t."""
    known, rows = seen.known.expand_as(seen.image), []
    for b in range(len(seen.x_t)):
        for stored in density.images:
            terms = []
            for at in torch.cartesian_prod(*map(torch.arange, SHAPE)).tolist():
                c, i, j = at
                if known[b, c, i, j]:
                    normal = torch.distributions.Normal(stored[c, i, j], H2**0.5)
                    terms.append(normal.log_prob(seen.image[b, c, i, j]))
                else:
                    normal = torch.distributions.Normal(math.sqrt(A) * stored[c, i, j], (A * H2 + 1 - A) ** 0.5)
                    terms.append(normal.log_prob(seen.x_t[b, c, i, j]))
            rows.append(torch.stack(terms).sum())
    return torch.stack(rows).view(-1, len(density.images))


def log_own_noise(seen):
    """(B,) log p(x_t at known pixels | x there), which no stored image changes."""
    residual = seen.x_t - math.sqrt(A) * seen.image
    log_p = -(residual**2 / (1 - A) + math.log(2 * math.pi * (1 - A))) / 2
    return torch.where(seen.known, log_p, 0.0).flatten(1).sum(1)


@pytest.mark.parametrize("conditioned", [True, False])
def test_weights_by_enumeration_and_the_mean_by_quadrature(density, step, conditioned):
    """p(n | seen) from N normal densities; mean and variance of each pixel from the mixture's density on a grid."""
    seen = observed(step) if conditioned else observed(step).without_known()
    log_p = component_log_densities(density, seen)
    assert torch.allclose(density.log_weights(seen)[:, 0].softmax(1), torch.softmax(log_p, 1), atol=1e-12)

    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    known, (found, variance) = seen.known.expand_as(seen.image), posterior_moments(guide_of(density), seen)
    weight = torch.softmax(log_p, 1)
    for b, c, i, j in (~known).nonzero().tolist():
        noise = -((seen.x_t[b, c, i, j] - math.sqrt(A) * x) ** 2) / (2 * (1 - A))
        of_each = torch.softmax(noise - (x - density.images[:, c, i, j, None]) ** 2 / (2 * H2), 1)  # (N, grid)
        mean = float(weight[b] @ of_each @ x)
        assert float(found[b, c, i, j]) == pytest.approx(mean, abs=1e-9)
        assert float(variance[b, c, i, j]) == pytest.approx(float(weight[b] @ of_each @ (x - mean) ** 2), abs=1e-9)
    assert torch.equal(found[known], seen.image[known]) and (variance[known] == 0).all()


def test_the_shift_is_the_gradient_of_what_the_known_pixels_say(density, step):
    """E[x_0 | x_t, known] - E[x_0 | x_t] = (1 - a) / sqrt(a) grad log p(known | x_t), by autograd."""
    x_t = step.x_t.clone().requires_grad_()
    seen = observed(step)._replace(x_t=x_t)
    log_p = [component_log_densities(density, o).logsumexp(1) for o in (seen, seen.without_known())]
    log_known_given_x_t = log_p[0] + log_own_noise(seen) - log_p[1]
    (gradient,) = torch.autograd.grad(log_known_given_x_t.sum(), x_t)
    shift = (1 - A) / math.sqrt(A) * gradient

    for strength in (1.0, 0.3, 50.0):
        expected = (step.prediction.x_0 + strength * shift).clamp(-1, 1)
        assert torch.allclose(guide_of(density, strength=strength)(step), expected, atol=1e-9)
    guide = guide_of(density, fraction=0.4)
    assert guide(step._replace(index=2)) is step.prediction.x_0 and guide.circuit_mean is None
    guide(step)
    assert torch.allclose(guide.circuit_mean, mean_of(density, observed(step)), atol=1e-12)
    assert guide.cost == {"steps": 1, "circuit passes": 2}


def test_hidden_pixels_never_leak(density, step):
    other = step._replace(image=step.image.masked_fill(~step.known, 0.77))
    assert torch.equal(guide_of(density)(step), guide_of(density)(other))


def test_one_stored_image_has_nothing_to_tell(density, step):
    """With N = 1 the known pixels cannot change which image it is."""
    alone = KernelCodebook(density.images[:1], H2)
    moved = guide_of(alone)(step) - step.prediction.x_0
    assert moved[~step.known].abs().max() < 1e-12


def test_float32_is_enough_for_a_world(density):
    """On 1297 real digits at every noise level, 64 pixels each known or not."""
    world = load("digits")
    image = world.images("validation", 16)[0]
    g = torch.Generator().manual_seed(2)
    known, noise = torch.rand(16, 1, 8, 8, generator=g) < 0.4, torch.randn(image.shape, generator=g)
    for a in (1e-4, 0.3, 0.99):
        x_t = math.sqrt(a) * image + math.sqrt(1 - a) * noise
        blank = Prediction(torch.zeros_like(x_t), x_t)
        single = Step(4, 5, a, x_t, blank, 0.1, torch.where(known, image, 0.0), known)
        double = single._replace(x_t=x_t.double(), image=single.image.double())
        density = KernelCodebook(stored_images(world), 0.01)
        exact = mean_of(KernelCodebook(density.images.double(), 0.01), observed(double))
        assert torch.allclose(mean_of(density, observed(single)).double(), exact, atol=1e-3)


def test_a_world_s_kernel_guide_by_name():
    world = load("digits")
    guide = make_guide("difference-kernel", world)
    assert len(guide.codebook.images) == 1297 and guide.fraction == guide.strength == 1
    assert guide.codebook.variance > 0  # as tuned for the world
    again = make_guide("difference-kernel", world, variance=0.5, strength=2.0, noise="raw")
    assert again.codebook.images is guide.codebook.images  # drawn once
    assert (again.codebook.variance, again.strength, again.consistent_noise) == (0.5, 2.0, False)
    with pytest.raises(TiramisuError, match=r"'toy' has no kernel bandwidth: .* tune toy --guides difference-kernel"):
        make_guide("difference-kernel", toy_world())


@pytest.mark.parametrize(("name", "other"), [("difference", "raw"), ("mixture", "consistent")])
def test_names_with_the_other_noise_and_without_dependence(name, other):
    world = load("digits")
    plain, changed, independent = (make_guide(name + end, world) for end in ("", f"-{other}", "-independent"))
    own = name == "difference"
    assert (plain.consistent_noise, changed.consistent_noise, independent.consistent_noise) == (own, not own, own)
    assert plain.circuit is changed.circuit is world.circuit and independent.circuit is world.independent_circuit
    assert type(plain) is type(changed) is type(independent)
    with pytest.raises(TiramisuError, match=rf"did you mean '{name}.*'\? Choose one of none, .*kernel"):
        make_guide(f"{name}-consisent", world)


def test_parts_by_keyword_are_the_parts_of_a_name():
    """Every name in the list is made of known words, and keywords give what no name has."""
    for name in GUIDES[1:]:
        kind, *words = name.split("-")
        assert kind in (*PIXEL_GUIDES, "latent") and set(words) <= {word for part in PARTS.values() for word in part}
    world = load("digits")
    named, by_parts = make_guide("difference-kernel", world), make_guide("difference", world, circuit="kernel")
    assert by_parts.codebook.variance == named.codebook.variance  # as tuned
    table = make_guide("difference-calibrated", world).strength
    every = make_guide("difference", world, circuit="independent", noise="raw", strength="calibrated")
    assert every.circuit is world.independent_circuit and not every.consistent_noise
    assert torch.equal(every.strength.weights, table.weights)
    assert make_guide("mixture-consistent", world, circuit="independent").circuit is world.independent_circuit
    with pytest.raises(TiramisuError, match="unknown circuit 'kernal': did you mean 'kernel'"):
        make_guide("difference", world, circuit="kernal")
    with pytest.raises(TiramisuError, match="'latent' cannot be made with circuit"):
        make_guide("latent", load("faces"), circuit="independent")


def test_the_independent_circuit_passes_nothing_between_pixels(step):
    """Under it the known pixels say nothing about hidden ones: the guide moves known pixels only."""
    world = load("digits")
    image = world.images("validation", 4)[0]
    known = torch.zeros(4, 1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    x_t = math.sqrt(A) * image + math.sqrt(1 - A) * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    now = Step(4, 5, A, x_t, Prediction(torch.zeros_like(x_t), x_t), 0.1, torch.where(known, image, 0.0), known)
    moved = make_guide("difference-independent", world)(now)
    assert moved[..., 4:].abs().max() < 1e-5 < moved[..., :4].abs().max()
    assert make_guide("difference", world)(now)[..., 4:].abs().max() > 0.05


def test_the_independent_circuit_has_the_pixels_frequencies():
    from tiramisu_edu.lab.worlds.digits import categories

    circuit, levels = load("digits").independent_circuit, categories("train")
    share = torch.stack([(levels == level).double().mean(0) for level in range(17)], 1)  # (64, 17)
    found = circuit.posterior_marginals(torch.zeros(1, 64, 17))[0].double()
    assert torch.allclose(found, share, atol=1e-3)  # but for half a pseudo-observation in 1297
    with pytest.raises(TiramisuError, match="world 'bare' has no circuit_independent"):
        make_guide("difference-independent", World("bare"))
