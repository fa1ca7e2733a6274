import pytest
import torch
from torch import nn

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.files import load_safetensors, save_safetensors
from tiramisu_edu.lab.recipes.denoiser_training import target

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
    denoiser.network = Answer(target(denoiser, x_0, noise, i))
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
    with pytest.raises(TiramisuError, match="one of epsilon, v_prediction, sample"):
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
    for before, after in zip(denoiser(x, 20)[:2], loaded(x, 20)[:2]):
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


def test_files_of_version_1_say_less(tmp_path, tiny_unet):
    denoiser = Denoiser(tiny_unet(), Schedule.cosine(10))
    denoiser.save(tmp_path / "new")
    tensors, metadata = load_safetensors(tmp_path / "new", kind="denoiser", version=3)
    for name in ("patch", "clip", "label", "learned_range", "autoencoder"):
        del metadata[name]
    save_safetensors(tmp_path / "old", tensors, kind="denoiser", version=1, metadata=metadata)
    assert Denoiser.load(tmp_path / "old").patch == 1
