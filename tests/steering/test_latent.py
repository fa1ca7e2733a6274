"""The latent guide with a tokenizer that can be written down: evidence, samples, fusion, and nothing leaking."""

import math

import pytest
import torch

from tests.circuits.oracle import joint_table
from tests.steering.fakes import GRID, NUM_CODES, SIDE, FlatTokenizer, code_circuit, toy_world
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.controls.published import PublishedLatentGuide, independent_codes, with_replicates
from tiramisu_edu.steering.latent import LatentGuide, covered_fraction, decoded_moments
from tiramisu_edu.steering.mixture import ONE_LEVEL, AlphaSchedule, gaussian_on_grid
from tiramisu_edu.tokenizer import Tokenizer

SIZE = GRID * SIDE


@pytest.fixture
def step():
    """Left half known, except one pixel of its lower patch."""
    g = torch.Generator().manual_seed(0)
    image, x_0 = (torch.rand(3, 1, SIZE, SIZE, generator=g) * 1.8 - 0.9 for _ in range(2))
    known = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.bool)
    known[..., :SIDE] = True
    known[..., -1, 0] = False
    x_t = torch.randn(3, 1, SIZE, SIZE, generator=g)
    image = torch.where(known, image, 0.0)
    return Step(4, 5, 0.1, x_t, Prediction(x_0, x_t), 0.3, image, known, 0.05)


def guide(kind=LatentGuide, **options):
    generator = torch.Generator().manual_seed(0)
    return kind(code_circuit(), FlatTokenizer(), 1.0, generator=generator, **options)


def test_evidence_is_sharp_where_known_and_soft_where_hidden(step):
    tokenizer = FlatTokenizer()
    log_p = tokenizer.log_probabilities(torch.where(step.known, step.image, step.prediction.x_0))
    known = covered_fraction(step.known, GRID**2)
    assert torch.equal(known, torch.tensor([1.0, 0.0, 0.75, 0.0]).expand(3, 4))
    w = guide().evidence(log_p, known).exp()
    assert torch.allclose(w.sum(-1), torch.ones(3, 4))
    truth = tokenizer.encode(step.image)[:, 0]  # of the patch that is known completely
    assert torch.equal(w[:, 0].argmax(-1), truth) and w[:, 0].max(-1).values.min() > 0.99
    # tau is linear in the known share, between its two ends.
    for patch, share in enumerate([1.0, 0.0, 0.75, 0.0]):
        tau = 1.0 + share * (0.01 - 1.0)
        assert torch.allclose(w[:, patch], torch.softmax(log_p[:, patch] / tau, -1), atol=1e-6)
    nothing = guide(hidden_evidence=False).evidence(log_p, known)
    assert (nothing[:, [1, 3]] == 0).all() and torch.equal(nothing[:, [0, 2]].exp(), w[:, [0, 2]])


def test_joint_codes_keep_what_independent_codes_lose():
    """Frequencies of pairs of codes: joint samples follow the posterior, independent ones its product of marginals.

    Total variation distances of 20 000 draws over 25 pairs; expected about 0.02 where the law is right.
    """
    circuit = code_circuit()
    w = torch.zeros(1, 4, NUM_CODES)
    w[0, 2, 0] = 1.0
    table = joint_table(circuit).detach() * w[0, 2].double().exp()[:, None]
    pair = (table / table.sum()).sum((2, 3))  # of the two upper patches
    product = pair.sum(1, keepdim=True) * pair.sum(0, keepdim=True)
    assert (pair - product).abs().sum() / 2 > 0.1

    def distance(codes, law):
        drawn = torch.bincount(codes[:, 0, 0] * NUM_CODES + codes[:, 0, 1], minlength=NUM_CODES**2) / 20_000
        return float((drawn - law.flatten()).abs().sum() / 2)

    joint = circuit.sample(20_000, w, generator=torch.Generator().manual_seed(0))
    apart = independent_codes(circuit.posterior_marginals(w), 20_000, torch.Generator().manual_seed(0))
    assert distance(joint, pair) < 0.04 < 0.1 < distance(joint, product)
    assert distance(apart, product) < 0.04 < 0.1 < distance(apart, pair)


def test_mean_mode_is_the_geometric_mean_with_the_paintings(step):
    codes = torch.randint(NUM_CODES, (8, 3, 4), generator=torch.Generator().manual_seed(1))
    painted = decoded_moments(FlatTokenizer(), codes)
    pictures = torch.stack([FlatTokenizer().decode(c) for c in codes])
    assert torch.allclose(painted.mean, pictures.mean(0), atol=1e-6)
    assert torch.allclose(painted.variance, pictures.var(0).clamp_min(ONE_LEVEL), atol=1e-6)
    agreed = decoded_moments(FlatTokenizer(), codes[:1].expand(8, -1, -1))
    assert (agreed.variance == ONE_LEVEL).all()  # decodes that agree: not a division by zero

    x_0 = guide(draw=False).mix(step, painted, 0.8)
    of_dm, of_pc = 0.8 / 0.3, 0.2 / painted.variance
    expected = (of_dm * step.prediction.x_0 + of_pc * painted.mean) / (of_dm + of_pc)
    assert torch.allclose(x_0, expected, atol=1e-5)


def test_published_fusion_never_leaves_two_standard_deviations(step):
    painted = decoded_moments(FlatTokenizer(), torch.zeros(8, 3, 4, dtype=torch.long))  # all as dark as can be
    for variance in (painted.variance, torch.full_like(painted.variance, 0.5)):
        x_0 = guide(PublishedLatentGuide).mix(step, painted._replace(variance=variance), 0.1)
        assert ((x_0 - step.prediction.x_0).abs() <= 2 * math.sqrt(0.05) + 1 / 255 + 1e-6).all()
    pulled = guide(PublishedLatentGuide, draw=False).mix(step, painted._replace(variance=variance), 0.1)
    inside = step.prediction.x_0 > -0.5  # where the cut is not also that of the darkest level
    assert (pulled < step.prediction.x_0)[inside].all()
    levels = torch.linspace(-1, 1, 256)
    cut = gaussian_on_grid(torch.tensor([[0.0, 3.0]]), 1e-6, levels, truncation=2.0)
    assert cut[0, 1].argmax() == 255 and cut.amax(-1).isfinite().all()  # narrower than a level, or outside


@pytest.mark.parametrize("kind", [LatentGuide, PublishedLatentGuide])
def test_known_pixels_exact_hidden_ones_unread(step, kind):
    hidden = ~step.known
    other = step._replace(image=step.image.masked_fill(hidden, -0.4))
    first, second = guide(kind), guide(kind)
    x_0 = first(step)
    assert torch.equal(x_0, second(other))
    assert torch.equal(x_0[step.known], step.image[step.known]) and (x_0.abs() <= 1).all()
    assert first.cost == {"steps": 1, "encodes": 1, "circuit passes": 1, "decodes": 8}
    assert first.circuit_mean.shape == x_0.shape


def test_alpha_one_leaves_the_step_alone(step):
    steered = guide(alpha=AlphaSchedule(1.0, 1.0), draw=False)
    assert steered(step) is step.prediction.x_0 and steered.cost == {"steps": 1}


def test_draws_of_an_image_do_not_depend_on_its_neighbours(step):
    def drawn(rows):
        steered = guide()
        steered.generator = [torch.Generator().manual_seed(n) for n in rows]
        part = {k: getattr(step, k)[rows] for k in ("x_t", "image", "known")}
        return steered(step._replace(**part, prediction=Prediction(*(p[rows] for p in step.prediction[:2]))))

    assert torch.allclose(drawn([0, 1, 2])[[2]], drawn([2]), atol=1e-6)


def test_settings_and_worlds():
    with pytest.raises(TiramisuError, match="whole number of at least 2, not 1"):
        guide(samples=1)
    with pytest.raises(TiramisuError, match="temperatures must be positive"):
        guide(tau_known=0.0)
    circuits = {"hclt": code_circuit(0), "quad_tree": code_circuit(1)}
    world = toy_world(tokenizer=FlatTokenizer(), code_circuits=circuits)
    published = make_guide("latent-published", world, fraction=0.1)
    assert make_guide("latent", world).circuit is circuits["hclt"] is published.circuit and published.fraction == 0.1
    assert isinstance(published, PublishedLatentGuide) and published.tau_hidden == 0.1
    assert isinstance(make_guide("latent", world, readout="published"), PublishedLatentGuide)
    assert published.replicated.num_variables == 8 == with_replicates(circuits["hclt"]).num_variables


def test_with_the_package_s_own_tokenizer():
    """Its encoder sees one patch at a time: a hidden patch cannot move the evidence of a known one."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(num_codes=NUM_CODES, code_size=2, width=8, channels=1).eval()
    tokenizer.codebook.copy_(torch.randn(NUM_CODES, 2, generator=torch.Generator().manual_seed(1)) * 0.1)
    g = torch.Generator().manual_seed(2)
    image, x_0, x_t = (torch.rand(2, 1, 8, 8, generator=g) * 1.8 - 0.9 for _ in range(3))
    known = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    now = Step(4, 5, 0.1, x_t, Prediction(x_0, x_t), 0.3, torch.where(known, image, 0.0), known, 0.05)
    steered = LatentGuide(code_circuit(), tokenizer, 1.0, generator=g)
    found = steered(now)
    assert found.shape == image.shape and torch.equal(found[known], image[known])
    log_p = [tokenizer.log_probabilities(torch.where(known, image, hidden)) for hidden in (x_0, -x_0)]
    shares = covered_fraction(known, 4)
    evidence = [steered.evidence(p.detach(), shares) for p in log_p]
    assert torch.allclose(evidence[0][:, [0, 2]], evidence[1][:, [0, 2]], atol=1e-5)
    assert not torch.allclose(evidence[0][:, [1, 3]], evidence[1][:, [1, 3]], atol=1e-3)
