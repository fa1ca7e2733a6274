"""Models as diffusers saves them: each predicts what diffusers' own scheduler and pipeline do, or is refused."""

import re
import subprocess
import sys
from functools import partial

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from studies.saved_models import READ, REFUSED, model, predictions, refusal
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.errors import FileError, TiramisuError


@pytest.mark.parametrize("name", READ)
def test_predicts_as_diffusers_does(tmp_path, capfd, name):
    """x_0 of diffusers' DDPM scheduler with the model's own settings, at three times; nothing is printed."""
    for ours, theirs in predictions(name, tmp_path / "model"):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
    capfd.readouterr()
    denoiser = Denoiser.from_pretrained(tmp_path / "model", label=3 if name == "classes" else None)
    assert "".join(capfd.readouterr()) == "" and not denoiser.training
    assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in denoiser.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence(tmp_path, name):
    said = refusal(name, tmp_path / "model")
    assert re.search(REFUSED[name][1], said) and "\n" not in said


def test_a_learned_variance_is_stepped_with(tmp_path):
    """One ancestral step of the full schedule, as diffusers' DDPM takes it with the same noise."""
    READ["learned_range"](tmp_path / "model")
    denoiser = Denoiser.from_pretrained(tmp_path / "model")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "model", low_cpu_mem_usage=False)
    x_t, t = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), 1
    output = pipeline.unet(x_t, t).sample
    expected = pipeline.scheduler.step(output, t, x_t, generator=torch.Generator().manual_seed(2)).prev_sample
    found, noise = denoiser(x_t, t), torch.randn(x_t.shape, generator=torch.Generator().manual_seed(2))
    step = partial(denoiser.schedule.ddpm_step, x_t, found.x_0, t, noise)
    torch.testing.assert_close(step(found.variance_share), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(step(), expected, rtol=1e-3, atol=1e-4)


def test_classes_differ_and_are_checked(tmp_path):
    READ["classes"](tmp_path / "model")
    x_t = torch.zeros(1, 3, 8, 8)
    first, other = (Denoiser.from_pretrained(tmp_path / "model", label=label) for label in (0, 9))
    assert not torch.equal(first(x_t, 500).x_0, other(x_t, 500).x_0)
    first.label = 9
    assert torch.equal(first(x_t, 500).x_0, other(x_t, 500).x_0)
    for label in (10, -1, "cat"):
        with pytest.raises(TiramisuError, match=r"label must be a whole number in 0 \.\.\. 9"):
            Denoiser.from_pretrained(tmp_path / "model", label=label)


@pytest.mark.parametrize("source", ["google/ddpm-celebahq-256", "/no/such/folder", "no such name"])
def test_what_is_not_there_is_one_sentence(source, monkeypatch):
    import huggingface_hub

    def unreachable(*args, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("Cannot find\na snapshot\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(FileError, match=f"cannot read {source}: there is no such folder") as caught:
        Denoiser.from_pretrained(source)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is None


def test_a_hub_name_is_read_from_what_the_hub_gives(tmp_path, monkeypatch):
    import huggingface_hub

    READ["DDPM"](tmp_path / "model")
    asked = []

    def given(*names, **options):
        asked.append((names, options))
        return tmp_path / "model"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", given)
    denoiser = Denoiser.from_pretrained("google/ddpm", revision="main")
    assert denoiser.facts == {"source": "google/ddpm", "revision": "main"}
    assert [names for (names,), _ in asked] == ["google/ddpm"] * 2
    assert all("fp16" not in pattern for _, options in asked for pattern in options["allow_patterns"])


@pytest.mark.parametrize("change", ["missing", "left over", "NaN"])
def test_weights_that_are_not_the_networks_are_refused(tmp_path, change):
    model()(tmp_path / "model")
    path = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    if change == "missing":
        del weights[name]
    elif change == "left over":
        weights["more"] = torch.zeros(1)
    else:
        weights[name] = weights[name] * torch.nan
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(FileError, match=str(tmp_path)):
        Denoiser.from_pretrained(tmp_path / "model")


def test_a_network_comes_without_the_rest_of_diffusers():
    """Counted in modules, because a clock differs; what is imported later is whole."""
    code = """
import sys, torch
before = len(sys.modules)
from tiramisu_edu.diffusion.networks import network_class
classes = [network_class(name) for name in ("UNet2DModel", "VQModel")]
new, heavy = len(sys.modules) - before, {"scipy", "torchvision", "torch._dynamo", "transformers"} & sys.modules.keys()
import diffusers
assert classes == [diffusers.UNet2DModel, diffusers.VQModel]
assert diffusers.DiTTransformer2DModel and diffusers.DDPMPipeline
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
print(new, *heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # of more than 2000
