"""Semantic fusion: demands against enumeration, coherence, contradictions, and requests that make no sense."""

import itertools
import math

import pytest
import torch

from tests.circuits.oracle import joint_table
from tests.steering.fakes import NUM_CODES, FlatTokenizer, code_circuit, toy_world
from tests.steering.toy import CODES, SHAPE, chi_square, coupled_patches, nearest_codes, threshold
from tiramisu_edu.errors import EvidenceError, ImageError, TiramisuError
from tiramisu_edu.fusion import fuse
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.masks import inside_boxes
from tiramisu_edu.steering.evidence import PixelCodebook
from tiramisu_edu.steering.fusion import CodeFusionGuide, code_demands, pixel_demands, tempered, weigh
from tiramisu_edu.steering.latent import covered_fraction
from tiramisu_edu.steering.layouts import LAYOUTS, check_regions, layout

HALVES = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])


@pytest.fixture(scope="module")
def world():
    return toy_world()


def picture(world, first, second):
    return world.codebook.image(torch.tensor([[first, second]]))[0]


def drawn_codes(world, result):
    return nearest_codes(world.codebook, result.images)


@pytest.mark.parametrize("coherence", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_coherence_is_a_share_of_the_freedom(coherence, unit):
    """Whatever the unit of the log-likelihoods, the weighted mean entropy is what coherence leaves."""
    log_p = unit * torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.25]], dtype=torch.float64)
    q = tempered(log_p, share, coherence).exp()
    entropy = torch.distributions.Categorical(q).entropy()
    assert float((share * entropy).sum() / share.sum()) == pytest.approx((1 - coherence**2) * math.log(7), abs=1e-9)
    assert torch.equal(q.argmax(-1), log_p.argmax(-1))


def test_no_coherence_asks_nothing_and_full_coherence_leaves_one_value():
    log_p = torch.tensor([[[0.0, -1.0, -2.0]]])
    assert torch.allclose(tempered(log_p, torch.ones(1, 1), 0.0).exp(), torch.full((1, 1, 3), 1 / 3))
    assert tempered(log_p, torch.ones(1, 1), 1.0).exp().tolist() == [[[1.0, 0.0, 0.0]]]
    almost = tempered(log_p, torch.ones(1, 1), 0.999).exp()
    assert 0.99 < almost[0, 0, 0] < 1


def test_a_temperature_takes_the_place_of_coherence(world):
    """The published Q = softmax(log p / 0.1), and the coherence that leaves the same entropy draws the same picture."""
    log_p = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.ones(2, 5, dtype=torch.float64)
    q = tempered(log_p, share, 0.5, temperature=0.1)
    assert torch.allclose(q, torch.log_softmax(10 * log_p, -1))
    left = float(torch.distributions.Categorical(q.exp()).entropy().mean())
    assert torch.allclose(tempered(log_p, share, math.sqrt(1 - left / math.log(7))), q, atol=1e-6)

    references = [picture(world, 0, 0), picture(world, 1, 1)]
    hot, cold = (fuse(world, references, HALVES, temperature=t, num_inference_steps=5) for t in (1e6, 0.1))
    assert hot.log_z == pytest.approx(0, abs=1e-3) and abs(cold.contradiction) > 0.1
    assert drawn_codes(world, cold).tolist() == [1]  # the first reference's code, then the second's
    for wrong in (0, -1.0, math.nan, "0.1"):
        with pytest.raises(TiramisuError, match="temperature must be"):
            fuse(world, references, HALVES, temperature=wrong)


def test_log_z_against_enumeration_over_codes():
    """Z of each demand and of all, summed over the 625 codings; a patch ruled in part keeps a uniform share."""
    circuit, tokenizer = code_circuit(dtype=torch.float64), FlatTokenizer()
    references = torch.stack([torch.full((1, 4, 4), v, dtype=torch.float64) for v in (-0.7, 0.1, 0.8)])
    labels = torch.tensor([[0, 0, 1, 1], [0, 0, -1, 1], [-1, -1, 2, 2], [-1, -1, 2, 0]])
    regions = check_regions(labels, 3, (4, 4))
    demands = code_demands(tokenizer, references, regions, 0.7)
    log_p = tokenizer.log_probabilities(references)
    beliefs = tempered(log_p, covered_fraction(regions, 4), 0.7).exp()[:, 0]  # flat: same everywhere
    assert (beliefs.argmax(-1) == log_p[:, 0].argmax(-1)).all() and 0.3 < beliefs.max() < 0.99
    kappa = torch.zeros(3, 4)
    kappa[0, 0], kappa[1, 1], kappa[2, 3], kappa[0, 3] = 1.0, 0.75, 0.75, 0.25
    table = joint_table(circuit).detach()

    def z(share):
        w = [
            1 - share[:, j].sum() + NUM_CODES * sum(share[r, j] * beliefs[r].double() for r in range(3))
            for j in range(4)
        ]
        return float(torch.einsum("ijkl,i,j,k,l->", table, *w).log())

    log_z, each = weigh(circuit, demands)
    assert log_z == pytest.approx(z(kappa.double()), abs=1e-9)
    for r in range(3):
        alone = torch.zeros_like(kappa)
        alone[r] = kappa[r]
        assert each[r] == pytest.approx(z(alone.double()), abs=1e-9)
    free = code_demands(tokenizer, references, regions, 0.0)
    assert free.joint.abs().max() < 1e-9 and weigh(circuit, free)[0] == pytest.approx(0, abs=1e-9)


def test_contradiction_is_the_pointwise_information_of_the_codes(world):
    """Demands without exception: -log p(z_1, z_2) / (p(z_1) p(z_2)), written out from the toy's tables."""
    first, given_first = torch.tensor([0.5, 0.3, 0.2]), (torch.ones(CODES, CODES) + 9 * torch.eye(CODES)) / 12
    joint = first[:, None] * given_first
    for a, b in ((0, 0), (0, 2), (2, 2)):
        found = fuse(world, [picture(world, a, 1), picture(world, 1, b)], HALVES, 1.0)
        expected = math.log(joint[a].sum() * joint[:, b].sum() / joint[a, b])
        assert found.contradiction == pytest.approx(expected, abs=1e-4)
        assert found.log_z == pytest.approx(math.log(CODES**2 * joint[a, b]), abs=1e-4)
        assert (found.contradiction < 0) == (a == b)
        assert drawn_codes(world, found).tolist() == [a * CODES + b]


def test_soft_demands_draw_from_the_exact_posterior(world):
    """1500 draws at low coherence against the enumerated p(z) prod_r w_r(z); chi-square at 1e-4."""
    references = [picture(world, 0, 0), picture(world, 1, 1)]
    found = fuse(world, references, HALVES, 0.3, num_images=1500, num_inference_steps=40)
    circuit, book = coupled_patches()
    demands = pixel_demands(book, torch.stack(references), check_regions(HALVES, 2, SHAPE[1:]), 0.3)
    states = torch.cartesian_prod(torch.arange(CODES), torch.arange(CODES))
    log_p = circuit.log_likelihood(states).detach().double()
    log_p += sum(demands.joint.double()[j, states[:, j]] for j in range(2))
    expected = torch.softmax(log_p, 0)
    assert float(log_p.logsumexp(0)) == pytest.approx(weigh(circuit, demands)[0], abs=1e-4)
    value, degrees = chi_square(drawn_codes(world, found), expected)
    assert value < threshold(degrees)
    assert 0.2 < expected.max() < 0.7  # the demand is heard, and not obeyed


@pytest.mark.parametrize("seed", range(2))
def test_stricter_demands_are_met_better(seed):
    """Exactly, on random circuits: the posterior mean of the log-likelihood rises with the power (it is a variance)."""
    circuit = code_circuit(seed, dtype=torch.float64)
    log_p = torch.randn(1, 4, NUM_CODES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    met = []
    for coherence in (0.0, 0.2, 0.4, 0.6, 0.8, 0.99):
        marginals = circuit.posterior_marginals(tempered(log_p, torch.ones(1, 4), coherence))
        met.append(float((marginals * log_p).sum()))
    assert all(after > before + 0.01 for before, after in itertools.pairwise(met))


def test_agreement_rises_with_coherence(world):
    """Drawn codes equal the references' the more often the higher the level; every 95 % interval lies above 0.

    The exact rises are at least 0.15, about five standard errors of 200 pictures.
    """
    references = [picture(world, 0, 0), picture(world, 1, 1)]
    agreements = []
    for coherence in (0.0, 0.5, 0.99):
        found = fuse(world, references, HALVES, coherence, num_images=200, num_inference_steps=10)
        codes = drawn_codes(world, found)
        agreements.append(((codes // CODES == 0).double() + (codes % CODES == 1).double()) / 2)
    for before, after in itertools.pairwise(agreements):
        rise = interval(after - before)
        assert rise.low > 0
    assert agreements[0].mean() < 0.5 and agreements[-1].mean() > 0.95


def test_nothing_demanded_is_the_plain_sampler(world):
    from tiramisu_edu.inpainting import inpaint

    free = fuse(world, [picture(world, 0, 0), picture(world, 1, 1)], "left-right", 0.0, num_images=4)
    assert free.log_z == pytest.approx(0, abs=1e-6) and free.contradiction == pytest.approx(0, abs=1e-6)
    nothing = torch.zeros(4, *SHAPE)
    plain = inpaint(world, nothing, torch.zeros(4, 1, 2, 4, dtype=torch.bool), sampler="ddim", guide=None)
    assert torch.allclose(free.images, plain.images, atol=1e-4)


def test_impossible_demands_are_explained():
    world = toy_world()
    of_second = next(i for i, r in enumerate(world.circuit.graph.regions) if r.scope == (1,))
    with torch.no_grad():
        world.circuit.region_table(of_second).copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]]))
    with pytest.raises(EvidenceError, match="each is possible alone, all together have probability zero"):
        fuse(world, [picture(world, 0, 0), picture(world, 1, 1)], HALVES, 1.0)
    with pytest.raises(EvidenceError, match="what reference 1 demands has probability zero"):
        fuse(world, [picture(world, 0, 0), picture(world, 1, 2)], HALVES, 1.0)
    assert fuse(world, [picture(world, 0, 0), picture(world, 1, 1)], HALVES, 0.9).contradiction > 1


def test_fusion_in_codes_follows_both_references():
    """The paper's guide: with a strict demand each half takes the grey of its reference."""
    world = toy_world(tokenizer=FlatTokenizer(), code_circuits={"tree": code_circuit(spread=1.0)})
    world.images = lambda split, count: (torch.zeros(count, 1, 4, 4), None)
    guide = CodeFusionGuide(
        world.code_circuits["tree"],
        world.tokenizer,
        demand=torch.zeros(4, NUM_CODES),
        ruled=torch.zeros(4),
    )
    log_p = world.tokenizer.log_probabilities(torch.zeros(1, 1, 4, 4))
    assert torch.allclose(guide.evidence(log_p, torch.zeros(1, 4)), torch.log_softmax(log_p, -1))

    references = torch.stack([torch.full((1, 4, 4), -0.9), torch.full((1, 4, 4), 0.9)])
    demands = code_demands(world.tokenizer, references, check_regions("left-right", 2, (4, 4)), 1.0)
    strict = CodeFusionGuide(guide.circuit, guide.tokenizer, demand=demands.joint, ruled=torch.ones(4))
    codes = strict.sample_codes(log_p, torch.zeros(1, 4))
    assert (codes[..., [0, 2]] == 0).all() and (codes[..., [1, 3]] == NUM_CODES - 1).all()


def test_demands_on_grey_levels():
    book = PixelCodebook.grey_levels(3)
    image = torch.tensor([[[[-1.0, 0.1], [1.0, 0.0]]]])
    region = torch.tensor([[[[True, True], [False, False]]]])
    demands = pixel_demands(book, image, region, 0.6)
    width = 0.5
    gaussian = -((torch.tensor([[-1.0], [0.1]]) - book.levels) ** 2) / (2 * width**2)
    expected = tempered(gaussian[None], torch.ones(1, 2), 0.6)[0] + math.log(3)
    assert torch.allclose(demands.joint[:2], expected, atol=1e-5) and (demands.joint[2:] == 0).all()
    strict = pixel_demands(book, image, region, 1.0).joint[1]
    assert strict.tolist() == [-math.inf, pytest.approx(math.log(3)), -math.inf]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("size", [(256, 256), (32, 32), (8, 8), (64, 48)])
def test_layouts_at_any_size(name, size):
    labels = layout(name, *size)
    assert labels.shape == size and set(labels.unique().tolist()) - {-1} == {0, 1}
    for number, boxes in enumerate(LAYOUTS[name]):
        assert torch.equal(labels == number, inside_boxes(boxes, *size))


def test_published_layout_to_the_pixel():
    labels = layout("eye-mouth", 256, 256)
    assert (labels[64:128, 64:128] == 0).all() and (labels[176:208, 96:160] == 1).all()
    assert (labels >= 0).sum() == 64 * 64 + 32 * 64


def test_regions_that_make_no_sense():
    with pytest.raises(ImageError, match="the label at row 0, column 2 is 1: expected 0 to 0"):
        check_regions(HALVES, 1, (2, 4))
    with pytest.raises(ImageError, match="the region of reference 2 is empty"):
        check_regions(HALVES, 3, (2, 4))
    with pytest.raises(ImageError, match=r"regions must be integer labels \(4, 4\)"):
        check_regions(HALVES, 2, (4, 4))
    with pytest.raises(ImageError, match="regions must be integer labels"):
        check_regions(HALVES.float(), 2, (2, 4))
    with pytest.raises(TiramisuError, match="regions must be a str or Tensor, not int"):
        check_regions(5, 2, (2, 4))
    with pytest.raises(TiramisuError, match="unknown layout 'spiral'"):
        check_regions("spiral", 2, (2, 4))
    with pytest.raises(TiramisuError, match="layout 'up-down' is for 2 references, not 3"):
        check_regions("up-down", 3, (2, 4))


def test_requests_that_make_no_sense(world):
    one = picture(world, 0, 0)
    with pytest.raises(ImageError, match=r"reference 1 is torch.float32 \(1, 4, 4\), expected float \(1, 2, 4\)"):
        fuse(world, [one, torch.zeros(1, 4, 4)], HALVES)
    with pytest.raises(ImageError, match=r"reference 0 must be finite numbers in \[-1, 1\]"):
        fuse(world, [one * math.nan, one], HALVES)
    with pytest.raises(TiramisuError, match="fusion takes 1 to 8 references, not 9"):
        fuse(world, [one] * 9, HALVES)
    with pytest.raises(TiramisuError, match=r"coherence must lie in \[0, 1\], not 1.5"):
        fuse(world, [one, one], HALVES, 1.5)
    with pytest.raises(TiramisuError, match="unknown model 'words'"):
        fuse(world, [one, one], HALVES, model="words")
    with pytest.raises(TiramisuError, match="no tokenizer"):
        fuse(world, [one, one], HALVES, model="codes")
    with pytest.raises(TiramisuError, match="num_images must be a whole number of at least 1"):
        fuse(world, [one, one], HALVES, num_images=0)
