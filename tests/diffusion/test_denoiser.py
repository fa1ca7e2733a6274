import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.files import load_safetensors, save_safetensors

TYPES = ["epsilon", "v_prediction", "sample"]


class Answer(nn.Module):
    """A network that always gives the same output, whatever it is asked."""

    def __init__(self, output):
        super().__init__()
        self.answer = output

    def forward(self, x, t):
        assert t.shape == (len(x),) and t.dtype == torch.long
        return self.answer


@pytest.mark.parametrize("i", [0, 400, 980, torch.tensor([3, 500, 999])])
@pytest.mark.parametrize("kind", TYPES)
def test_three_kinds_of_network_say_the_same(kind, i):
    g = torch.Generator().manual_seed(0)
    schedule = Schedule.cosine()
    x_0 = torch.rand(3, 2, 4, 4, generator=g, dtype=torch.float64) * 1.9 - 0.95
    noise = torch.randn(3, 2, 4, 4, generator=g, dtype=torch.float64)
    x_t = schedule.add_noise(x_0, i, noise)
    denoiser = Denoiser(nn.Identity(), schedule, kind)
    denoiser.network = Answer(denoiser.target(x_0, noise, i))
    prediction = denoiser(x_t, i)
    assert torch.allclose(prediction.x_0, x_0, atol=1e-6)
    assert torch.allclose(prediction.epsilon, noise, atol=1e-6)


def test_clipping_keeps_the_raw_epsilon_and_the_gradient_inside():
    schedule = Schedule.cosine()
    x_t = torch.tensor([[[[0.5, 3.0]]]], requires_grad=True)
    denoiser = Denoiser(Answer(torch.zeros(1, 1, 1, 2)), schedule, "epsilon")
    prediction = denoiser(x_t, 300)
    assert prediction.x_0[0, 0, 0, 1] == 1 and (prediction.epsilon == 0).all()
    (gradient,) = torch.autograd.grad(prediction.x_0.sum(), x_t)
    expected = schedule.alpha_bar[300].rsqrt().float()
    assert torch.allclose(gradient, torch.tensor([[[[expected, 0.0]]]]))


def test_learned_variance_channels_are_ignored(tiny_unet):
    denoiser = Denoiser(tiny_unet(out_channels=2), Schedule.linear())
    prediction = denoiser(torch.zeros(2, 1, 4, 4), 5)
    assert prediction.x_0.shape == prediction.epsilon.shape == (2, 1, 4, 4)


def test_weights_of_another_dtype(tiny_unet):
    denoiser = Denoiser(tiny_unet().to(torch.bfloat16), Schedule.linear())
    assert denoiser(torch.zeros(2, 1, 4, 4), 5).x_0.dtype == torch.float32


def test_wrong_settings():
    with pytest.raises(TiramisuError, match="expected epsilon, v_prediction, sample"):
        Denoiser(nn.Identity(), Schedule.linear(), "score")
    with pytest.raises(TiramisuError, match="full schedule"):
        Denoiser(nn.Identity(), Schedule.linear().respace(10))


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path, half, tiny_unet):
    schedule = Schedule.linear(50).with_residual_variance(torch.linspace(0.1, 0.3, 50, dtype=torch.float64))
    denoiser = Denoiser(tiny_unet(dropout=0.5), schedule, "v_prediction", {"epochs": 3})
    state = torch.get_rng_state()
    denoiser.save(tmp_path / "d.safetensors", half=half)
    loaded = Denoiser.load(tmp_path / "d.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)
    for before, after in zip(denoiser(x, 20), loaded(x, 20)):
        assert torch.allclose(before, after, atol=2e-2) if half else torch.equal(before, after)
    for field in ("alpha_bar", "timesteps", "residual_variance"):
        assert torch.equal(getattr(loaded.schedule, field), getattr(schedule, field))
    assert loaded.prediction_type == "v_prediction" and loaded.facts == {"epochs": 3}
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in loaded.parameters())


def test_half_is_half_the_size(tmp_path, tiny_unet):
    denoiser = Denoiser(tiny_unet(), Schedule.cosine(10))
    sizes = []
    for half in (False, True):
        denoiser.save(tmp_path / "d", half=half)
        sizes.append((tmp_path / "d").stat().st_size)
    weights = sum(p.numel() for p in denoiser.parameters())
    assert abs(sizes[0] - sizes[1] - 2 * weights) < 100


def test_only_known_networks_can_be_saved(tmp_path, smooth_denoiser):
    with pytest.raises(TiramisuError, match="SmoothNetwork: expected UNet2DModel"):
        smooth_denoiser().save(tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_damaged_files(tmp_path, tiny_unet):
    path = tmp_path / "d"
    Denoiser(tiny_unet(), Schedule.cosine(10)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(FileError, match="truncated"):
        Denoiser.load(path)
    path.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(FileError, match="damaged"):
        Denoiser.load(path)
    with pytest.raises(FileError, match="no file"):
        Denoiser.load(tmp_path / "none")


def test_a_file_that_describes_no_denoiser(tmp_path):
    tables = {
        "schedule.alpha_bar": torch.tensor([0.9], dtype=torch.float64),
        "schedule.timesteps": torch.tensor([0]),
    }
    strange = {"class": "UNet2DModel", "config": {"block_out_channels": [8]}}
    for network in ({"class": "os.system", "config": {}}, strange, {}):
        metadata = {"network": network, "prediction_type": "epsilon", "facts": {}}
        save_safetensors(tmp_path / "d", tables, kind="denoiser", version=1, metadata=metadata)
        with pytest.raises(FileError, match="truncated or damaged"):
            Denoiser.load(tmp_path / "d")


@pytest.fixture
def pipeline(tmp_path, tiny_unet):
    from diffusers import DDPMPipeline, DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDPMPipeline(tiny_unet(), scheduler).save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def same_network(denoiser, network):
    x = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    return torch.allclose(denoiser.output(x, 7), network(x, 7).sample, atol=1e-6)


def test_from_pretrained_pipeline(pipeline, tiny_unet):
    denoiser = Denoiser.from_pretrained(pipeline)
    assert same_network(denoiser, tiny_unet()) and denoiser.prediction_type == "v_prediction"
    assert torch.equal(denoiser.schedule.alpha_bar, Schedule.cosine().alpha_bar)
    assert not denoiser.training and not any(p.requires_grad for p in denoiser.parameters())


def test_from_pretrained_network_with_scheduler_beside_it(pipeline, tmp_path, tiny_unet):
    flat = tmp_path / "flat"
    tiny_unet().save_pretrained(flat)
    (pipeline / "scheduler" / "scheduler_config.json").rename(flat / "scheduler_config.json")
    assert same_network(Denoiser.from_pretrained(str(flat)), tiny_unet())


def test_a_wrapped_pipeline_can_be_saved_as_one_file(pipeline, tmp_path, tiny_unet):
    Denoiser.from_pretrained(pipeline).save(tmp_path / "d")
    assert same_network(Denoiser.load(tmp_path / "d"), tiny_unet())


def test_from_pretrained_refuses_pickles_and_unknown_schedules(pipeline, tmp_path, tiny_unet):
    with pytest.raises(FileError, match="cannot read"):
        Denoiser.from_pretrained(tmp_path / "none")
    config = pipeline / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"beta_schedule": "sigmoid"}))
    with pytest.raises(TiramisuError, match="sigmoid"):
        Denoiser.from_pretrained(pipeline)
    weights = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(tiny_unet().state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(FileError, match="cannot read"):
        Denoiser.from_pretrained(pipeline)


def test_patches_change_only_what_the_network_sees(tmp_path, tiny_unet):
    """With P = 2 the network works on blocks; what it says is laid out again, and the file remembers P."""
    blocks = []

    class Watched(nn.Identity):
        def forward(self, x, t):
            blocks.append(x)
            return x

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    watched = Denoiser(Watched(), Schedule.linear(), patch=2)
    assert torch.equal(watched.output(x, 5), x)
    assert torch.equal(blocks[0][:, 4:8, 1, 2], x[:, 1, 2:4, 4:6].flatten(1))  # channel 1, its block in row 1, column 2
    denoiser = Denoiser(tiny_unet(channels=12), Schedule.cosine(10), "v_prediction", patch=2)
    denoiser.save(tmp_path / "d")
    loaded = Denoiser.load(tmp_path / "d")
    assert loaded.patch == 2 and torch.equal(loaded(x, 3).x_0, denoiser(x, 3).x_0)
    with pytest.raises(ImageError, match="7 x 8 pixels do not divide into 2s"):
        denoiser(x[:, :, 1:], 3)
    with pytest.raises(TiramisuError, match="patch must be a whole number of at least 1"):
        Denoiser(nn.Identity(), Schedule.linear(), patch=0)


def test_files_of_version_1_have_no_patches(tmp_path, tiny_unet):
    denoiser = Denoiser(tiny_unet(), Schedule.cosine(10))
    denoiser.save(tmp_path / "new")
    tensors, metadata = load_safetensors(tmp_path / "new", kind="denoiser", version=2)
    del metadata["patch"]
    save_safetensors(tmp_path / "old", tensors, kind="denoiser", version=1, metadata=metadata)
    assert Denoiser.load(tmp_path / "old").patch == 1


def changed(folder, file, **entries):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    "file, entries, message",
    [
        ("model_index.json", {"vae": ["diffusers", "AutoencoderKL"]}, "with vae"),
        (
            "model_index.json",
            {"vqvae": ["diffusers", "VQModel"], "_class_name": "LDMPipeline"},
            "LDMPipeline with vqvae",
        ),
        ("model_index.json", {"movq": ["diffusers", "VQModel"], "text_encoder": ["x", "y"]}, "with movq, text_encoder"),
        ("unet/config.json", {"in_channels": 4}, "takes 4 channels"),
        ("unet/config.json", {"num_class_embeds": 10}, "asks for a class"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "holds a UNet2DConditionModel"),
        ("unet/config.json", {"layers_per_block": 2}, "weights in|cannot read"),
        ("unet/config.json", {"block_out_channels": [64]}, "weights in|cannot read"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEuler"),
        ("scheduler/scheduler_config.json", {"clip_sample": False}, "clip_sample=False"),
        ("scheduler/scheduler_config.json", {"clip_sample_range": 3.0}, "clip_sample_range=3.0"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "thresholding=True"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "linear", "beta_start": "x"}, "cannot read"),
    ],
)
def test_from_pretrained_refuses_what_it_would_misread(pipeline, file, entries, message):
    changed(pipeline, file, **entries)
    with pytest.raises(TiramisuError, match=message):
        Denoiser.from_pretrained(pipeline)


def test_from_pretrained_understands_predict_epsilon_of_old_configs(pipeline):
    path = pipeline / "scheduler" / "scheduler_config.json"
    config = {key: value for key, value in json.loads(path.read_text()).items() if key != "prediction_type"}
    path.write_text(json.dumps(config | {"predict_epsilon": False}))
    assert Denoiser.from_pretrained(pipeline).prediction_type == "sample"


@pytest.mark.parametrize("change", ["missing", "left over", "NaN"])
def test_from_pretrained_refuses_weights_that_are_not_the_networks(pipeline, change):
    path = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    if change == "missing":
        del weights[name]
    elif change == "left over":
        weights["more"] = torch.zeros(1)
    else:
        weights[name] = weights[name] * torch.nan
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(FileError, match=str(pipeline)):
        Denoiser.from_pretrained(pipeline)
