"""Denoisers of latents: as diffusers decodes them, and completing pictures whose known pixels stay."""

from functools import partial

import diffusers
import pytest
import torch

from studies.saved_models import CODERS, SCHEDULER, model
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import ddim
from tiramisu_edu.errors import ImageError, TiramisuError
from tiramisu_edu.inpainting import inpaint


@pytest.mark.parametrize("coder", CODERS)
def test_latents_are_sampled_and_decoded(tmp_path, coder):
    """DDIM from the same noise, without a tie of codes: the pictures of diffusers' pipeline; also from a file."""
    folder = tmp_path / "model"
    model("DDIM", coder=coder, clip_sample=False, num_train_timesteps=6, beta_start=0.1, beta_end=0.6)(folder)
    Denoiser.from_pretrained(folder).save(tmp_path / "one_file")
    network, autoencoder = (
        kind.from_pretrained(folder / part, low_cpu_mem_usage=False)
        for kind, part in ((diffusers.UNet2DModel, "unet"), (type(CODERS[coder]()), coder))
    )
    own = diffusers.LDMPipeline(autoencoder, network, diffusers.DDIMScheduler.from_pretrained(folder / SCHEDULER))
    own.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(6)
    expected = own(2, generator=generator, num_inference_steps=6, output_type="np").images
    for denoiser in (Denoiser.from_pretrained(folder), Denoiser.load(tmp_path / "one_file")):
        hidden = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
        schedule = denoiser.schedule.respace(6)
        latents = ddim(denoiser, schedule, torch.zeros(2, 3, 8, 8), hidden, generator=generator.manual_seed(6))
        denoiser.autoencoder.shift = 0.0  # LDMPipeline knows of none
        pictures = denoiser.autoencoder.decode(latents) / 2 + 0.5
        torch.testing.assert_close(pictures, torch.from_numpy(expected).permute(0, 3, 1, 2), rtol=0, atol=1e-5)
        assert denoiser.shape == (3, 16, 16)


@pytest.mark.parametrize("sampler", ["replacement", "copaint"])
def test_latents_complete_a_picture_whose_known_pixels_stay(tmp_path, sampler):
    model("DDIM", coder="vqvae", clip_sample=False)(tmp_path / "model")
    denoiser = Denoiser.from_pretrained(tmp_path / "model")
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    known = torch.ones(1, 16, 16, dtype=torch.bool)
    known[:, 3:9, 4:] = False
    run = partial(inpaint, image=image, known=known, denoiser=denoiser, sampler=sampler, num_inference_steps=3)
    result = run(guide="none")
    assert torch.equal(torch.where(known, result.images, 0), torch.where(known, image, 0))
    assert result.images.abs().max() <= 1 and result.images[:, :, ~known[0]].std() > 0
    hidden = torch.where(known, image, torch.nan)
    assert torch.equal(run(image=hidden, guide="none").images, result.images)
    with pytest.raises(TiramisuError, match="works in latents"):
        run(guide="difference")
    for picture, mask, message in (
        (image[..., :15], known[..., :15], "16 x 15 pixels do not divide into 2s"),
        (image, torch.arange(16).expand(1, 16, 16) % 2 > 0, "no block of 2 x 2 pixels known"),
    ):
        with pytest.raises(ImageError, match=message):
            run(image=picture, known=mask, guide="none")
