"""VQModel folders and VQ-GAN checkpoints as tokenizers: the same codes and pictures as the libraries they come from."""

import diffusers
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from studies.saved_models import model
from tiramisu_edu.errors import FileError, ImageError
from tiramisu_edu.tokenizer import Tokenizer

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("where", ["folder", "pipeline"])
def test_a_vq_model_of_diffusers(tmp_path, where):
    model("DDIM", coder="vqvae")(tmp_path / "model")
    network = diffusers.VQModel.from_pretrained(tmp_path / "model" / "vqvae", low_cpu_mem_usage=False)
    tokenizer = Tokenizer.from_pretrained(tmp_path / "model" / ("vqvae" if where == "folder" else ""))
    latents = network.encode(IMAGES).latents
    _, _, (_, _, codes) = network.quantize(latents)
    assert torch.equal(tokenizer.encode(IMAGES).flatten(), codes)
    assert tokenizer.patch == 2 and tokenizer.num_codes == 16 and not tokenizer.training
    expected = network.decode(latents).sample.clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(tokenizer.encode(IMAGES)), expected, rtol=1e-4, atol=1e-5)
    log_p = tokenizer.log_probabilities(IMAGES)
    distance = torch.cdist(latents.flatten(2).mT, network.quantize.embedding.weight) / 3**0.5
    torch.testing.assert_close(log_p, (-distance).log_softmax(-1), rtol=1e-4, atol=1e-5)
    tokenizer.save(tmp_path / "t.safetensors", {})  # in half precision
    loaded = Tokenizer.load(tmp_path / "t.safetensors")
    torch.testing.assert_close(loaded.embed(IMAGES), tokenizer.embed(IMAGES), rtol=0, atol=2e-3)
    with pytest.raises(ImageError, match="no multiple of 2"):
        tokenizer.encode(IMAGES[..., :15, :15])


class Taming:
    """The VQ-GAN as taming-transformers computes it, read off its code: functions of the weights by their names."""

    def __init__(self, weights):
        self.w = weights

    def conv(self, name, x, **options):
        return F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], **options)

    def norm(self, name, x):
        return F.group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], 1e-6)

    def block(self, name, x):
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)), padding=1)
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)), padding=1)
        return h + (self.conv(f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in self.w else x)

    def attention(self, name, x):
        h = self.norm(f"{name}.norm", x)
        q, k, v = (self.conv(f"{name}.{part}", h).flatten(2) for part in "qkv")
        weight = torch.softmax(q.mT @ k / q.shape[1] ** 0.5, 2)
        return x + self.conv(f"{name}.proj_out", (v @ weight.mT).view_as(x))

    def level(self, name, x, blocks):
        for j in range(blocks):
            x = self.block(f"{name}.block.{j}", x)
            if f"{name}.attn.{j}.q.weight" in self.w:
                x = self.attention(f"{name}.attn.{j}", x)
        return x

    def middle(self, name, x):
        return self.block(f"{name}.block_2", self.attention(f"{name}.attn_1", self.block(f"{name}.block_1", x)))

    def encode(self, x, levels):
        x = self.conv("encoder.conv_in", x, padding=1)
        for i in range(levels):
            x = self.level(f"encoder.down.{i}", x, 1)
            if i < levels - 1:
                x = self.conv(f"encoder.down.{i}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
        x = F.silu(self.norm("encoder.norm_out", self.middle("encoder.mid", x)))
        x = self.conv("quant_conv", self.conv("encoder.conv_out", x, padding=1))
        return torch.cdist(x.flatten(2).mT, self.w["quantize.embedding.weight"]).argmin(-1)

    def decode(self, codes, levels, side):
        x = self.w["quantize.embedding.weight"][codes].mT.unflatten(2, (side, side))
        x = self.middle("decoder.mid", self.conv("decoder.conv_in", self.conv("post_quant_conv", x), padding=1))
        for i in reversed(range(levels)):
            x = self.level(f"decoder.up.{i}", x, 2)
            if i > 0:
                x = self.conv(f"decoder.up.{i}.upsample.conv", F.interpolate(x, scale_factor=2.0), padding=1)
        return self.conv("decoder.conv_out", F.silu(self.norm("decoder.norm_out", x)), padding=1)


def taming_weights(widths=(32, 64), latent=4, codes=16):
    """Random weights of a VQ-GAN with attention at its coarsest level, and one of its training."""
    generator = torch.Generator().manual_seed(0)
    found = {"quantize.embedding.weight": torch.randn(codes, latent, generator=generator)}

    def conv(name, inside, out, size=3):
        found[f"{name}.weight"] = torch.randn(out, inside, size, size, generator=generator) / (inside * size**2) ** 0.5
        found[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)

    def norm(name, width):
        found[f"{name}.weight"], found[f"{name}.bias"] = 1 + 0.1 * torch.randn(2, width, generator=generator)

    def block(name, inside, out):
        norm(f"{name}.norm1", inside)
        norm(f"{name}.norm2", out)
        conv(f"{name}.conv1", inside, out)
        conv(f"{name}.conv2", out, out)
        if inside != out:
            conv(f"{name}.nin_shortcut", inside, out, 1)

    def attention(name, width):
        norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", width, width, 1)

    last = len(widths) - 1
    conv("encoder.conv_in", 3, widths[0])
    conv("decoder.conv_in", latent, widths[-1])
    for i, width in enumerate(widths):
        block(f"encoder.down.{i}.block.0", widths[max(i - 1, 0)], width)
        for j in range(2):
            block(f"decoder.up.{i}.block.{j}", widths[min(i + 1, last)] if j == 0 else width, width)
        if i == last:
            attention(f"encoder.down.{i}.attn.0", width)
            attention(f"decoder.up.{i}.attn.0", width)
            attention(f"decoder.up.{i}.attn.1", width)
        else:
            conv(f"encoder.down.{i}.downsample.conv", width, width)
        if i > 0:
            conv(f"decoder.up.{i}.upsample.conv", width, width)
    for part, width in (("encoder", widths[-1]), ("decoder", widths[-1])):
        block(f"{part}.mid.block_1", width, width)
        attention(f"{part}.mid.attn_1", width)
        block(f"{part}.mid.block_2", width, width)
    norm("encoder.norm_out", widths[-1])
    norm("decoder.norm_out", widths[0])
    conv("encoder.conv_out", widths[-1], latent)
    conv("decoder.conv_out", widths[0], 3)
    conv("quant_conv", latent, latent, 1)
    conv("post_quant_conv", latent, latent, 1)
    return found | {"loss.discriminator.main.0.weight": torch.zeros(3)}


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_vq_gan_of_taming_transformers(tmp_path, prefix):
    weights = taming_weights()
    save_file({prefix + name: weight for name, weight in weights.items()}, tmp_path / "vqgan.safetensors")
    tokenizer, theirs = Tokenizer.from_pretrained(tmp_path / "vqgan.safetensors"), Taming(weights)
    codes = tokenizer.encode(IMAGES)
    assert torch.equal(codes, theirs.encode(IMAGES, 2)) and len(codes.unique()) > 3
    expected = theirs.decode(codes, 2, 8).clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(codes), expected, rtol=1e-3, atol=1e-4)


def test_what_is_no_vq_gan_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "vqgan.ckpt").write_bytes(b"x")
    model("DDPM")(tmp_path / "pixels")
    for source, message in (
        ("other.safetensors", "no VQ-GAN of taming-transformers: it has no encoder.conv_in"),
        ("vqgan.ckpt", "a pickle can run code"),
        ("pixels/unet", "holds a UNet2DModel, expected a VQModel"),
        ("none", "there is no such folder"),
    ):
        with pytest.raises(FileError, match=message):
            Tokenizer.from_pretrained(tmp_path / source)
