"""Runs the authors' own code of each sampler and keeps what their network was given: tests/diffusion/agreement.npz.

python -m studies.agreement FOLDER

FOLDER holds checkouts of the repositories in `SOURCES`, each under its own name. Nothing of them is copied here. A run
is one digit under the mask "left", 12 steps, the shipped denoiser, float64. The respaced schedule is handed over as
betas, the noise is drawn beforehand and given to their code in its own order, and constants that it makes float32 stay
float64. Modules that are only imported and never used are replaced by empty ones where they are not installed.

For each sampler the file holds the noise in the order in which ours draws it, the images and indices that the network
was called with, and the repository, commit and licence. tests/diffusion/test_agreement.py compares.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch import Tensor, nn

from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask

STEPS, ROWS, SHAPE = 12, 4, (1, 8, 8)
TOP = STEPS - 1
SOURCES = {  # sampler -> repository, commit and licence
    "replacement": "CoPaint 0b728b02c2c09e123ca376cc04cc8e59a15e8e34, no licence stated",
    "repaint": "RePaint 8e2a0552a0cc306e623da807d353915f1af17726, CC BY-NC-SA 4.0",
    "ddrm": "ddrm 32b6b3ccfda532ba01c9cc5b6e7456c3a06a6ca2, MIT",
    "ddnm": "DDNM 00b58eac7843a4c99114fd8fa42da7aa2b6808af, MIT",
    "dps": "diffusion-posterior-sampling effbde7325b22ce8dc3e2c06c160c021e743a12d, no licence stated",
    "resampling": "twisted_diffusion_sampler 5b6af53a6588c1bdd83d8604a8352fefdcad7d69, no licence stated",
    "copaint": "CoPaint 0b728b02c2c09e123ca376cc04cc8e59a15e8e34, no licence stated",
}
UNUSED = ("cv2", "blobfile", "numba", "util.img_utils")


class Run:
    """One digit and its network, called by the authors' code with (x, index); what it was called with is noted."""

    def __init__(self) -> None:
        world = load("digits")
        self.image, self.known = world.images("test")[0][:1].double(), mask("left", 8, 8)[None]
        self.y, self.gaps = self.image * self.known, (~self.known).flatten().nonzero()[:, 0]
        self.denoiser = world.denoiser.double()
        self.schedule = self.denoiser.schedule.respace(STEPS)
        ab = self.schedule.alpha_bar.numpy()
        self.signal, self.spread = np.sqrt(ab), np.sqrt(1 - ab)
        self.betas = 1 - ab / np.append(1.0, ab[:-1])
        self.noise: list[Tensor] = []
        self.seen: list[tuple[Tensor, int]] = []
        self._generator = torch.Generator().manual_seed(0)

    def draw(self, rows: int = 1) -> Tensor:
        """Fresh noise, the next in the order of our own sampler."""
        self.noise.append(torch.randn(rows, *SHAPE, generator=self._generator, dtype=torch.float64))
        return self.noise[-1]

    def predict(self, x: Tensor, index: Any) -> Any:
        """The denoiser's prediction at an index of the respaced schedule."""
        i = int(torch.as_tensor(index).flatten()[0])
        same = self.seen and self.seen[-1][1] == i and torch.equal(self.seen[-1][0], x)
        if not same:  # CoPaint computes an accepted trial again to differentiate it
            self.seen.append((x.detach().clone(), i))
        return self.denoiser(x, int(self.schedule.timesteps[i]))

    def network(self, variance: bool = True) -> nn.Module:
        """As their code takes it: noise, and in further channels the least learned variance."""

        class Network(nn.Module):
            def __init__(self, run: Run) -> None:
                super().__init__()
                self.run, self.weight = run, nn.Parameter(torch.zeros(1), requires_grad=False)

            def forward(self, x: Tensor, t: Tensor, **_: Any) -> Tensor:
                epsilon = self.run.predict(x, t).epsilon
                return torch.cat([epsilon, -torch.ones_like(epsilon)], 1) if variance else epsilon

        return Network(self)


class Settings(dict):
    """A configuration that answers as a dictionary, by attribute and by `pget`; what is not there is None."""

    def __missing__(self, name: str) -> Any:
        return None

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def pget(self, name: str, default: Any = None) -> Any:
        return self.get(name, default)


@contextlib.contextmanager
def official(folder: Path, noise: Sequence[Tensor | None] | Callable[..., Tensor]) -> Iterator[None]:
    """Inside, modules are found in a folder, and randn gives these tensors in turn, None being zeros."""
    queue = iter(noise) if isinstance(noise, Sequence) else None

    def randn_like(x: Tensor, **_: Any) -> Tensor:
        if queue is None:
            return noise(x)  # type: ignore[operator]
        given = next(queue)
        return torch.zeros_like(x) if given is None else given.reshape(x.shape).clone()

    def randn(*size: Any, **_: Any) -> Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return randn_like(torch.empty(*shape))

    def to(x: Tensor, *where: Any, **more: Any) -> Tensor:
        places: list[Any] = ["cpu" if place == "cuda" else place for place in where]
        return move(x, *places, **more)

    move, before = Tensor.to, set(sys.modules)
    empty = {name: MagicMock() for name in UNUSED if name.split(".")[0] not in sys.modules}
    changed: list[Any] = [patch.object(torch, "randn", randn), patch.object(torch, "randn_like", randn_like)]
    changed += [patch.object(Tensor, "float", Tensor.double), patch.object(Tensor, "to", to)]
    changed += [patch.object(sys, "path", [str(folder), *sys.path])]
    sys.modules.update(empty)
    with contextlib.ExitStack() as stack:
        for change in changed:
            stack.enter_context(change)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)
            for name in set(sys.modules) - before:  # others stay: some of torch's can be imported only once
                if name in empty or str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                    del sys.modules[name]


def replacement(run: Run, folder: Path) -> None:
    x_T, known, fresh = run.draw(), {}, []
    for i in reversed(range(STEPS)):
        known[i] = run.draw()
        fresh += [run.draw()] if i > 0 else []
    with official(folder, [*(known[i] for i in range(STEPS)), *fresh]):
        conf = Settings({"ddim.ddim_sigma": 0.95})
        copaint_loop(run, "DDIMSampler", conf, x_T)


def copaint_loop(run: Run, kind: str, conf: Settings, x_T: Tensor) -> None:
    """One of the samplers of the CoPaint repository."""
    gd, ddim = (importlib.import_module(f"guided_diffusion.{name}") for name in ("gaussian_diffusion", "ddim"))
    steps = {"num_inference_steps": STEPS, "ddpm_num_steps": STEPS}
    conf["ddim.schedule_params"] = {**steps, **conf.get("ddim.schedule_params", {})}
    kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
    sampler = getattr(ddim, kind)(range(STEPS), conf=conf, betas=run.betas, loss_type=None, **kinds)
    given = {"gt": run.image, "gt_keep_mask": run.known.double()}
    sampler.p_sample_loop(run.network(), (1, *SHAPE), noise=x_T, model_kwargs=given, conf=conf)


def descent(**more: Any) -> Settings:
    """CoPaint's settings with their growth spread over 11 steps in place of 249."""
    growth = 249 / TOP
    chosen = {"optimize_xt": True, "num_iteration_optimize_xt": 2, "lr_xt": 0.02, "lr_xt_decay": 1.012**growth}
    chosen |= {"coef_xt_reg": 1e-4, "coef_xt_reg_decay": 1.01**growth, "use_smart_lr_xt_decay": True}
    chosen |= {"use_adaptive_lr_xt": True, "mid_interval_num": 1, "filter_xT": False}
    chosen |= {"optimize_before_time_travel": True}
    return Settings({f"optimize_xt.{name}": value for name, value in chosen.items()} | more)


def copaint(run: Run, folder: Path) -> None:
    with official(folder, torch.zeros_like):
        copaint_loop(run, "O_DDIMSampler", descent(), run.draw())


def repaint(run: Run, folder: Path) -> None:
    """Their first step does not overwrite the known pixels: they begin from the image that ours has after it."""
    x_T, first = run.draw(), run.draw()
    begun = torch.where(run.known, run.signal[TOP] * run.image + run.spread[TOP] * first, x_T)
    with official(folder, []):
        times = importlib.import_module("guided_diffusion.scheduler").get_schedule_jump(STEPS, 1, 3, 2)
    order: list[Tensor | None] = []
    for here, following in pairwise(times):
        if following > here:
            order.append(run.draw())
            continue
        known = run.draw() if order else None
        order += [run.draw() if here > 0 else None, *([known] if known is not None else [])]
    with official(folder, order):
        gd, respace = (importlib.import_module(f"guided_diffusion.{n}") for n in ("gaussian_diffusion", "respace"))
        jumps = {"t_T": STEPS, "n_sample": 1, "jump_length": 3, "jump_n_sample": 2}
        conf = Settings(inpa_inj_sched_prev=True, schedule_jump_params=jumps)
        kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
        sampler = respace.SpacedDiffusion(range(STEPS), conf=conf, betas=run.betas, loss_type=None, **kinds)
        given = {"gt": run.image, "gt_keep_mask": run.known.double()}
        sampler.p_sample_loop(run.network(), (1, *SHAPE), noise=begun, model_kwargs=given, conf=conf, progress=False)


def ddnm(run: Run, folder: Path) -> None:
    x_T, fresh = run.draw(), [run.draw() for _ in range(STEPS)]
    with official(folder, fresh):
        operators, steps = (importlib.import_module(f"functions.{n}") for n in ("svd_operators", "svd_ddnm"))
        A = operators.Inpainting(1, 8, run.gaps, "cpu")
        travel = SimpleNamespace(T_sampling=STEPS, travel_length=1, travel_repeat=1)
        conf = SimpleNamespace(diffusion=SimpleNamespace(num_diffusion_timesteps=STEPS), time_travel=travel)
        betas, y = torch.from_numpy(run.betas), A.A(run.image)
        steps.ddnm_diffusion(x_T, run.network(False), betas, 0.85, A, y, config=conf)


def ddrm(run: Run, folder: Path) -> None:
    x_T, known = run.draw(), run.draw()
    fresh = [run.draw() for _ in range(STEPS)]
    with official(folder, lambda x: torch.empty_like(x) if x.numel() == 0 else next(order)[:, : x.numel()]):
        H = importlib.import_module("functions.svd_replacement").Inpainting(1, 8, run.gaps, "cpu")
        order = iter([H.Vt(z) for z in fresh for _ in range(2)])  # the whole, and its known pixels
        begun = H.Vt(torch.where(run.known, known, x_T)).view(1, *SHAPE)
        y, betas = run.image.flatten(1)[:, H.kept_indices], torch.from_numpy(run.betas)
        steps = importlib.import_module("functions.denoising").efficient_generalized_steps
        steps(begun, range(STEPS), run.network(False), betas, H, y, 0.0, etaB=1.0, etaA=0.85, etaC=0.85)


def dps(run: Run, folder: Path) -> None:
    x_T, order = run.draw(), []
    for i in reversed(range(STEPS)):
        order += [run.draw() if i > 0 else None, None]  # the second is added to a measurement that is not used
    with official(folder, order):
        gd, method = (
            importlib.import_module(f"guided_diffusion.{n}") for n in ("gaussian_diffusion", "condition_methods")
        )
        kinds = {"model_mean_type": "epsilon", "model_var_type": "learned_range", "dynamic_threshold": False}
        sampler = gd.DDPM(range(STEPS), betas=run.betas, clip_denoised=True, rescale_timesteps=False, **kinds)
        masked = SimpleNamespace(forward=lambda x, **_: x * run.known)
        pull = method.PosteriorSampling(masked, SimpleNamespace(__name__="gaussian"), scale=8.0)
        sampler.p_sample_loop(run.network(), x_T, run.y, pull.conditioning, False, "")


def particles(run: Run, folder: Path, kind: str, order: list[Tensor | None], **more: Any) -> None:
    """A filter of the TDS repository that never resamples."""
    with official(folder, order):
        sys.path.insert(0, str(folder / "image_exp"))
        smc = importlib.import_module("image_diffusion.feynman_kac_image_ddpm")
        gd = importlib.import_module("image_diffusion.smc_diffusion")
        pf = importlib.import_module("smc_utils.feynman_kac_pf")
        kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
        base = {"particle_base_shape": SHAPE, "use_timesteps": range(STEPS), "betas": run.betas, "loss_type": None}
        sampler = smc.get_smc_ddpm(kind, **base, **kinds)
        own = {"mask": run.known[0], "measurement": run.y[0], "task": "inpainting", "t_truncate": 0}
        for name, value in (own | more).items():
            setattr(sampler, name, value)
        network = run.network()

        def moved(**given: Any) -> Any:
            return sampler.M(model=network, device="cpu", **given)

        def weighed(**given: Any) -> Any:
            return sampler.G(model=network, **given)

        pf.smc_FK(moved, weighed, "systematic", STEPS, ROWS, 0)


def resampling(run: Run, folder: Path) -> None:
    history = [run.signal[TOP] * run.image + run.spread[TOP] * run.draw()]
    order: list[Tensor | None] = [run.draw(ROWS)]
    for i in range(TOP, 0, -1):
        history.append(run.schedule.ddpm_step(history[-1], run.image, i, run.draw()))
        order.append(run.draw(ROWS))
    path = torch.cat([run.image, *reversed(history)])  # the clean image, then indices 0 to the top
    particles(run, folder, "smcdiff", [*order, None], _sample_forward=lambda x0: path)


_ALL = (replacement, repaint, ddrm, ddnm, dps, resampling, copaint)
ADAPTERS: dict[str, Callable[[Run, Path], None]] = {adapter.__name__: adapter for adapter in _ALL}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.agreement", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samplers", default=",".join(SOURCES))
    parser.add_argument("--out", type=Path, default=Path("tests/diffusion/agreement.npz"))
    options = parser.parse_args(arguments)
    kept: dict[str, Any] = dict(np.load(options.out)) if options.out.is_file() else {}
    for name in options.samplers.split(","):
        run = Run()
        ADAPTERS[name](run, options.folder / SOURCES[name].split()[0])
        kept[f"{name}.noise"] = torch.cat([z.detach().flatten() for z in run.noise]).numpy()
        kept[f"{name}.x"] = torch.stack([x for x, _ in run.seen]).numpy()
        kept[f"{name}.index"] = np.array([i for _, i in run.seen])
        print(f"{name}: {len(run.seen)} calls of the network, {len(run.noise)} draws", flush=True)
        np.savez_compressed(options.out, **kept | {"sources": np.array(json.dumps(SOURCES))})


if __name__ == "__main__":
    main()
