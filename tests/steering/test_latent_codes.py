"""The latent guide of a denoiser that works in latents: against enumeration, and completing pictures."""

import itertools
from functools import partial

import diffusers
import pytest
import torch

from studies.saved_models import CODER, model
from tests.circuits.oracle import joint_table
from tiramisu_edu import TiramisuInpaintPipeline, structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.diffusion.denoiser import Denoiser, Prediction
from tiramisu_edu.diffusion.networks import Autoencoder
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.steering.latent import CodedLatentGuide, LatentCodes
from tiramisu_edu.steering.mixture import ONE_LEVEL

V = 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_moments_are_those_of_all_codings():
    """2 x 2 latents of V codes, not all within [-1, 1]: p_PC(x_0) over the V^4 codings, and the mixture with p_DM."""
    torch.manual_seed(0)
    coder = Autoencoder(diffusers.VQModel(**CODER, num_vq_embeddings=V, scaling_factor=0.5).eval())
    coder.network.quantize.embedding.weight.data = torch.randn(V, 3, generator=seeded())
    coder.shift = 0.1
    circuit = Circuit(structures.quad_tree(2, 2, num_categories=V, num_latents=3), generator=seeded(1))
    image, x_0, x_t = (3 * torch.randn(3, 1, 3, 2, 2, generator=seeded(2))).unbind()
    known = torch.tensor([[True, False], [False, False]]).expand(1, 1, 2, 2)
    step = Step(3, 5, 0.4, x_t, Prediction(x_0, x_t), 0.3, torch.where(known, image, 0), known, 0.1)
    guide = CodedLatentGuide(circuit, LatentCodes(coder), 1.0, draw=False, tau_hidden=0.7, tau_known=0.2)
    found = guide(step)

    codes = (coder.network.quantize.embedding.weight.detach().double() - 0.1) * 0.5  # as latents
    latents = torch.where(known, image, x_0)[0].flatten(1).mT.double()  # (4, 3)
    distance = (latents[:, None] - codes).norm(dim=-1) / 0.5 / 3**0.5
    tau = torch.tensor([0.2, 0.7, 0.7, 0.7])[:, None]
    w, table = torch.softmax(torch.log_softmax(-distance, -1) / tau, -1), joint_table(circuit).detach()
    total, mean, square = 0.0, torch.zeros(4, 3).double(), torch.zeros(4, 3).double()
    for z in itertools.product(range(V), repeat=4):
        p = table[z] * w[range(4), z].prod()
        total, mean, square = total + p, mean + p * codes[list(z)], square + p * codes[list(z)] ** 2
    mean, square = mean / total, square / total
    alpha, variance = guide.alpha(3, 5), (square - mean**2).clamp_min(ONE_LEVEL)
    of_dm, of_pc = alpha / 0.3, (1 - alpha) / variance
    mixed = (of_dm * x_0[0].flatten(1).mT + of_pc * mean) / (of_dm + of_pc)
    expected = torch.where(known[0], image[0], mixed.mT.view(3, 2, 2).float())
    torch.testing.assert_close(found[0], expected, rtol=0, atol=2e-6)
    hidden = ~known.expand_as(x_0)
    assert (found - x_0)[hidden].abs().max() > 0.05 and found[hidden].abs().max() > 1.5
    assert guide.cost == {"steps": 1, "encodes": 1, "circuit passes": 1}


def test_a_latent_denoiser_completes_pictures_with_the_circuit_of_its_codes(tmp_path):
    """Known pixels stay, hidden ones change with the guide, calibration runs by itself; saved it paints the same."""
    model("DDIM", coder="vqvae", clip_sample=False)(tmp_path / "model")
    circuit = Circuit(structures.quad_tree(8, 8, num_categories=16, num_latents=3), generator=seeded())
    denoiser = Denoiser.from_pretrained(tmp_path / "model")
    image, known = torch.rand(2, 3, 16, 16, generator=seeded()) * 2 - 1, torch.ones(1, 16, 16, dtype=torch.bool)
    known[:, 3:11, 4:] = False
    run = partial(inpaint, None, image, known, denoiser=denoiser, num_inference_steps=3, sampler="replacement")
    guided, plain = run(code_circuit=circuit, guide="latent").images, run(guide="none").images
    assert torch.equal(torch.where(known, guided, 0), torch.where(known, image, 0))
    assert guided.abs().max() <= 1 and not torch.equal(guided, plain)
    assert denoiser.schedule.residual_variance is not None
    TiramisuInpaintPipeline(denoiser=denoiser, code_circuit=circuit).save_pretrained(tmp_path / "pipe")
    pipe = TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe")
    again = inpaint(pipe.world, image, known, num_inference_steps=3, sampler="replacement", guide="latent").images
    assert torch.equal(again, guided)
    with pytest.raises(TiramisuError, match="no circuit over the codes of its latents"):
        run(guide="latent")
    for guide in ("mixture", "latent-published", CodedLatentGuide(circuit, LatentCodes(denoiser.autoencoder))):
        with pytest.raises(TiramisuError, match="works in latents, which no circuit of pixels sees"):
            run(code_circuit=circuit, guide=guide)
    model("DDIM", coder="vae", clip_sample=False)(tmp_path / "kl")
    with pytest.raises(TiramisuError, match="latents of an AutoencoderKL have no codes"):
        run(denoiser=Denoiser.from_pretrained(tmp_path / "kl"), code_circuit=circuit, guide="latent")
