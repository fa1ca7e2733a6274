"""Which diffusers models are read: tiny ones saved in every format, each loaded, and compared with diffusers' own.

    python -m studies.saved_models

A model that is read has to predict the same x_0 as diffusers' DDPM scheduler with the model's own settings; one that
cannot be used has to be refused in one sentence. The tests take the same two lists.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from studies import common
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.table import Table

diffusers: Any = importlib.import_module("diffusers")  # its types are incomplete
Save = Callable[[Path], None]
TIMES = (3, 500, 999)
UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
CODER: dict[str, Any] = {
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


def model(
    name: str = "DDPM", unet: Any = (), variant: str | None = None, coder: str | None = None, **scheduler: Any
) -> Save:
    """What saves a tiny pipeline to a folder, with weights of a seed."""

    def save(folder: Path) -> None:
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


def network_alone(folder: Path) -> None:
    diffusers.UNet2DModel(**UNET).save_pretrained(folder)


def both_at_the_top(folder: Path) -> None:
    model()(folder)
    for file in [*(folder / "unet").iterdir(), *(folder / "scheduler").iterdir()]:
        file.rename(folder / file.name)
    (folder / "model_index.json").unlink()
    (folder / "unet").rmdir()


def pickled(folder: Path) -> None:
    torch.manual_seed(0)
    pipeline = diffusers.DDPMPipeline(diffusers.UNet2DModel(**UNET), diffusers.DDPMScheduler())
    pipeline.save_pretrained(folder, safe_serialization=False)


def edited(file: str, **entries: Any) -> Save:
    """A sound pipeline with other entries in one of its configs."""

    def save(folder: Path) -> None:
        model()(folder)
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return save


LEARNED, CLASSES, INDEX, SCHEDULER = {"out_channels": 6}, {"num_class_embeds": 10}, "model_index.json", "scheduler"
PLAIN = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}  # attention is for few pixels
READ: dict[str, Save] = {
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
    "64 x 64": model(unet=PLAIN | {"sample_size": 64}),
    "256 x 256": model(unet=PLAIN | {"sample_size": 256}),
    "grey": model(unet={"in_channels": 1, "out_channels": 1}),
    "classes": model(unet=CLASSES),
    "fp16": model(variant="fp16"),
    "no folders": both_at_the_top,
    "predict_epsilon of old": edited(f"{SCHEDULER}/scheduler_config.json", predict_epsilon=False),
    "VQ latents": model("DDIM", coder="vqvae", clip_sample=False),
    "KL latents": model("DDIM", coder="vae", clip_sample=False),
}
REFUSED: dict[str, tuple[Save, str]] = {
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


@torch.no_grad()
def predictions(name: str, folder: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Save and load a model of `READ`: at each of `TIMES` our x_0 of the same x_t, and diffusers'."""
    READ[name](folder)
    label = 3 if name == "classes" else None
    denoiser = Denoiser.from_pretrained(folder, label=label)
    inside = (folder / "unet").is_dir()
    unet, settings = (folder / "unet", folder / SCHEDULER) if inside else (folder, folder)
    variant = "fp16" if name == "fp16" else None
    network = diffusers.UNet2DModel.from_pretrained(unet, low_cpu_mem_usage=False, variant=variant)
    config = json.loads((settings / "scheduler_config.json").read_text())
    if config.pop("predict_epsilon", None) is False:
        config["prediction_type"] = "sample"
    scheduler = diffusers.DDPMScheduler.from_config(config | {"variance_type": "fixed_small"})
    side = network.config.sample_size
    x_t = 1.5 * torch.randn(2, network.config.in_channels, side, side, generator=torch.Generator().manual_seed(1))
    found = []
    for t in TIMES:
        output = network(x_t, t, **({} if label is None else {"class_labels": torch.tensor([3, 3])})).sample
        expected = scheduler.step(output[:, : x_t.shape[1]], t, x_t).pred_original_sample
        found.append((denoiser(x_t, t).x_0, expected))
    return found


def refusal(name: str, folder: Path) -> str:
    """Save a model of `REFUSED` and try to load it: what is said; empty where it loads."""
    REFUSED[name][0](folder)
    try:
        Denoiser.from_pretrained(folder)
    except TiramisuError as error:
        return str(error).replace(str(folder), "FOLDER")
    return ""


def tables() -> list[Table]:
    """The models that are read, and those that are refused."""
    with tempfile.TemporaryDirectory() as place:
        read = []
        for number, name in enumerate(READ):
            pairs = predictions(name, Path(place) / str(number))
            largest = max(float(theirs.abs().max()) for _, theirs in pairs)
            off = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
            read.append({"saved as": name, "largest absolute x_0": f"{largest:.3g}", "off by at most": f"{off:.1e}"})
        refused = [{"saved as": name, "refused with": refusal(name, Path(place) / name)} for name in REFUSED]
    return [
        Table(f"Read: x_0 beside that of diffusers at t = {', '.join(map(str, TIMES))}", pd.DataFrame(read)),
        Table("Refused", pd.DataFrame(refused)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("saved_models", __doc__, "docs/results/saved_models.md", worlds="")
    common.run(lambda asked: common.write_page(asked.out, tables()), options.parse_args(arguments))


if __name__ == "__main__":
    main()
