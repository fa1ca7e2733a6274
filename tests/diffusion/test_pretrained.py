"""Models as diffusers saves them: each predicts what diffusers' own scheduler and pipeline do, or is refused."""

import json
import subprocess
import sys
from functools import partial

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.errors import FileError, TiramisuError

UNET = {
    "sample_size": 8,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
CODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "latent_channels": 3,
    "sample_size": 16,
}
CODERS = {
    "vqvae": partial(diffusers.VQModel, **CODER, num_vq_embeddings=16, scaling_factor=0.5),
    "vae": partial(diffusers.AutoencoderKL, **CODER, scaling_factor=0.7, shift_factor=0.1),
}


def model(name="DDPM", unet=(), variant=None, coder=None, **scheduler):
    """What saves a tiny pipeline to a folder, with weights of a seed."""

    def save(folder):
        torch.manual_seed(0)
        network = diffusers.UNet2DModel(**UNET | dict(unet)).eval()
        own = getattr(diffusers, f"{name}Scheduler")(**scheduler)
        if coder is None:
            pipeline = diffusers.DDPMPipeline(network, own)
        else:
            pipeline = diffusers.LDMPipeline(CODERS[coder]().eval(), network, own)
        if variant:
            pipeline.to(torch.float16)
        pipeline.save_pretrained(folder, variant=variant)
        if coder == "vae":  # a pipeline of this kind calls its part so
            (folder / "vqvae").rename(folder / "vae")
            index = json.loads((folder / "model_index.json").read_text())
            index["vae"] = index.pop("vqvae")
            (folder / "model_index.json").write_text(json.dumps(index))

    return save


def network_alone(folder):
    diffusers.UNet2DModel(**UNET).save_pretrained(folder)


def both_at_the_top(folder):
    model()(folder)
    for file in [*(folder / "unet").iterdir(), *(folder / "scheduler").iterdir()]:
        file.rename(folder / file.name)
    (folder / "model_index.json").unlink()
    (folder / "unet").rmdir()


def pickled(folder):
    torch.manual_seed(0)
    pipeline = diffusers.DDPMPipeline(diffusers.UNet2DModel(**UNET), diffusers.DDPMScheduler())
    pipeline.save_pretrained(folder, safe_serialization=False)


def edited(file, **entries):
    """A sound pipeline with other entries in one of its configs."""

    def save(folder):
        model()(folder)
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return save


LEARNED, CLASSES, INDEX, SCHEDULER = {"out_channels": 6}, {"num_class_embeds": 10}, "model_index.json", "scheduler"
READ = {
    "DDPM": model(),
    "DDIM": model("DDIM"),
    "PNDM": model("PNDM"),
    "Euler": model("EulerDiscrete"),
    "DPM-Solver": model("DPMSolverMultistep"),
    "scaled_linear": model(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195),
    "squaredcos_cap_v2, v_prediction": model(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    "sigmoid, sample": model(beta_schedule="sigmoid", prediction_type="sample"),
    "laplace": model(beta_schedule="laplace"),
    "trained_betas": model(trained_betas=torch.linspace(1e-3, 0.02, 1000).tolist()),
    "zero SNR, v_prediction": model("DDIM", rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "clip_sample False": model(clip_sample=False),
    "clip_sample_range 3": model(clip_sample_range=3.0),
    "thresholding": model(thresholding=True, sample_max_value=2.5, dynamic_thresholding_ratio=0.9),
    "learned_range": model(unet=LEARNED, variance_type="learned_range"),
    "spare channels": model(unet=LEARNED),
    "grey": model(unet={"in_channels": 1, "out_channels": 1}),
    "classes": model(unet=CLASSES),
    "fp16": model(variant="fp16"),
    "no folders": both_at_the_top,
    "predict_epsilon of old": edited(f"{SCHEDULER}/scheduler_config.json", predict_epsilon=False),
    "VQ latents": model("DDIM", coder="vqvae", clip_sample=False),
    "KL latents": model("DDIM", coder="vae", clip_sample=False),
}
REFUSED = {
    "sine": (edited(f"{SCHEDULER}/scheduler_config.json", beta_schedule="sine"), "sine is not implemented"),
    "zero SNR, epsilon": (model("DDIM", rescale_betas_zero_snr=True), "ends in pure noise"),
    "variance learned": (model(unet=LEARNED, variance_type="learned"), "variance_type='learned'"),
    "classes, no label": (model(unet=CLASSES), "asks for a class: give label=0 ... 9"),
    "classes by vector": (model(unet={"class_embed_type": "timestep"}), "class_embed_type='timestep'"),
    "pickled": (pickled, "has no weights diffusion_pytorch_model.safetensors"),
    "no scheduler": (network_alone, "cannot read .*scheduler_config.json"),
    "VQModel": (lambda folder: CODERS["vqvae"]().save_pretrained(folder), "Tokenizer.from_pretrained reads it"),
    "text": (edited(INDEX, text_encoder=["transformers", "CLIPTextModel"]), "with text_encoder"),
    "movq": (edited(INDEX, movq=["diffusers", "VQModel"]), "with movq"),
    "UNet2DConditionModel": (edited("unet/config.json", _class_name="UNet2DConditionModel"), "holds a UNet2DCond"),
    "4 channels": (edited("unet/config.json", in_channels=4), "takes 4 channels"),
    "5 channels out": (edited("unet/config.json", out_channels=5), "gives 5 channels for 3"),
    "other layers": (edited("unet/config.json", layers_per_block=2), "weights in|cannot read"),
    "other widths": (edited("unet/config.json", block_out_channels=[64]), "weights in|cannot read"),
    "flow": (edited(f"{SCHEDULER}/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"), "FlowMatch"),
    "beta_start x": (edited(f"{SCHEDULER}/scheduler_config.json", beta_start="x"), "cannot read the scheduler"),
    "a thousand million layers": (
        edited("unet/config.json", layers_per_block=10**9),
        "layers_per_block must be a whole",
    ),
    "as many units": (
        edited("unet/config.json", block_out_channels=[10**9] * 2),
        "cannot read a UNet2DModel",
    ),
    "as many times": (
        edited(f"{SCHEDULER}/scheduler_config.json", num_train_timesteps=10**9),
        "num_train_timesteps must be a whole",
    ),
    "nothing": (lambda folder: folder.mkdir(), "cannot read .*config.json"),
}


@pytest.mark.parametrize("name", READ)
def test_predicts_as_diffusers_does(tmp_path, capfd, name):
    """x_0 of diffusers' DDPM scheduler with the model's own settings, at three times; nothing is printed."""
    folder = tmp_path / "model"
    READ[name](folder)
    capfd.readouterr()
    label = 3 if name == "classes" else None
    denoiser = Denoiser.from_pretrained(folder, label=label)
    assert "".join(capfd.readouterr()) == "" and not denoiser.training
    assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in denoiser.parameters())
    inside = (folder / "unet").is_dir()
    unet, settings = (folder / "unet", folder / SCHEDULER) if inside else (folder, folder)
    variant = "fp16" if name == "fp16" else None
    network = diffusers.UNet2DModel.from_pretrained(unet, low_cpu_mem_usage=False, variant=variant)
    config = json.loads((settings / "scheduler_config.json").read_text())
    if config.pop("predict_epsilon", None) is False:
        config["prediction_type"] = "sample"
    scheduler = diffusers.DDPMScheduler.from_config(config | {"variance_type": "fixed_small"})
    x_t = 1.5 * torch.randn(2, network.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    for t in (3, 500, 999):
        with torch.no_grad():
            output = network(x_t, t, **({} if label is None else {"class_labels": torch.tensor([3, 3])})).sample
        expected = scheduler.step(output[:, : x_t.shape[1]], t, x_t).pred_original_sample
        torch.testing.assert_close(denoiser(x_t, t).x_0, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence(tmp_path, name):
    save, message = REFUSED[name]
    save(tmp_path / "model")
    with pytest.raises(TiramisuError, match=message) as caught:
        Denoiser.from_pretrained(tmp_path / "model")
    assert "\n" not in str(caught.value)


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
