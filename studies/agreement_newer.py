"""The authors' own code of DAPS, DiffPIR and DiNG, called with our schedule and noise in their terms.

Where theirs knows measurement noise and ours does not, theirs is run at its limit; see each adapter.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from .agreement_run import SHAPE, STEPS, TOP, Run, modules, official


def daps(run: Run, folder: Path) -> None:
    """On the scale of σ = sqrt((1 - ᾱ) / ᾱ), with x = x_t / sqrt(ᾱ).

    Their Langevin chain keeps the published ratio of its step to the measurement noise, lr = tau² / 2, with tau
    near 0, and no noise on known pixels. What its steps add to hidden pixels is what our closed form draws at once. Its
    step falls over T levels, not T + 1.
    """
    tau, chain = 1e-6, 200
    sigmas = torch.from_numpy(np.append(run.spread / run.signal, 0.0))  # [-1] is the clean image
    x_T, order = run.draw(), []
    for _ in range(STEPS):
        order += [torch.where(run.known, 0, run.fresh()) for _ in range(chain)]
        run.noise.append(sum(order[-chain:]) / chain**0.5)
        order.append(run.draw())
    with official(folder, order):
        scheduler, sampler, operators = modules("cores.scheduler", "sampler", "forward_operator")
        kind: Any = scheduler.EDMScheduler

        class Levels(kind):
            """From a level of our schedule down to the clean image in at most so many steps."""

            def __init__(self, num_steps: int, sigma_max: Any = sigmas[TOP]) -> None:
                i = int((sigmas[:-1] - sigma_max).abs().argmin())
                k = min(num_steps, i + 1)
                self.times = sigmas[[round((i + 1) * (1 - n / k)) - 1 for n in range(k + 1)]]
                self.num_steps = k + 1
                self.discretize(self.times)

            def get_discrete_time_steps(self, num_steps: int) -> Tensor:
                return self.times

        class Score(nn.Linear):
            def score(self, x: Tensor, sigma: Tensor) -> Tensor:
                i = int((sigmas[:-1] - sigma).abs().argmin())
                return -run.predict(x * run.signal[i], i).epsilon / sigma

        scheduler.register_diffusion_scheduler("ours")(Levels)
        levels = [{"name": "ours", "num_steps": n} for n in (STEPS, 2)]
        falling = {"lr_min_ratio": 1 - 0.99 * (STEPS + 1) / STEPS}
        method = sampler.DAPS(*levels, {"num_steps": chain, "lr": tau**2 / 2, "tau": tau, **falling})
        operator = operators.get_operator("inpainting", mask_type="box")
        operator.mask = run.known
        method.sample(Score(1, 1), x_T / run.signal[TOP], operator, run.y)


def diffpir(run: Run, folder: Path) -> None:
    """Their script, with other settings in its first lines, reads the digit, and the mask, where it reads files.

    Its σ and ρ come from its betas, which are ours. It begins with y at the highest level, -1 where hidden: what it
    draws there leads it to our x_T.
    """
    settings = {"num_train_timesteps": STEPS, "iter_num": STEPS, "skip_type": "'uniform'", "load_mask": True}
    settings |= {"zeta": 0.3, "lambda_": 1e4, "n_channels": 1, "calc_LPIPS": False, "save_E": False}
    script = (folder / "main_ddpir_inpainting.py").read_text(encoding="utf-8")
    for name, value in settings.items():
        script, found = re.subn(rf"^(    {name} *= ).*$", rf"\g<1>{value}", script, count=1, flags=re.MULTILINE)
        assert found, name
    x_T, y = run.draw(), torch.where(run.known, run.image, -1)
    scale = run.signal[TOP] / run.signal[0]
    order: list[Tensor | None] = [(x_T - scale * y) / np.sqrt(run.spread[TOP] ** 2 - scale**2 * run.spread[0] ** 2)]
    for _ in range(TOP):
        order += [None, None, run.draw()]  # of a DDPM step that is not used, and of eta = 0
    run.draw()  # ours has one more step
    digit, known = (tensor[0].permute(1, 2, 0).numpy() for tensor in (run.image, run.known))
    with official(folder, [*order, None]):
        gd, util, log = modules("guided_diffusion.gaussian_diffusion", "utils.utils_image", "utils.utils_logger")
        kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
        process = gd.GaussianDiffusion(betas=run.betas, loss_type=gd.LossType.MSE, **kinds)
        network: Any = run.network()
        network.load_state_dict = lambda _: None
        places: Any = {"imread_uint": lambda path, n_channels: known if "gt_keep" in path else (digit + 1) * 127.5}
        places |= {"get_image_paths": lambda _: ["digit"], "mkdir": id, "calculate_psnr": lambda *_, **__: 0.0}
        module = ModuleType("main_ddpir_inpainting")
        with patch.multiple(util, **places), patch.object(log, "logger_info"), patch.object(torch, "load"):
            exec(compile(script, module.__name__, "exec"), module.__dict__)
            module.create_model_and_diffusion = lambda **_: (network, process)  # type: ignore[attr-defined]
            with patch.object(np, "linspace", lambda *_, **__: run.betas):
                module.main()


def ding(run: Run, folder: Path) -> None:
    """With our sqrt(ᾱ) and sqrt(1 - ᾱ) for its α and σ, the clean image being its index 0, and hardly any noise.

    Its velocity is that of flow matching. It is given the one that its formula turns into our ε.
    """
    order = [run.draw()]
    for _ in range(TOP):
        order += [run.draw(), torch.where(run.known, 0, run.draw())]
    run.draw()  # with s = 0
    with official(folder / "src", order):
        base, operators, algorithm = modules("fm.wrappers.base", "fm.operators", "fm.samplers.exact_algo")
        kind: Any = base.NetCFM

        class Model(kind):
            def pred_x0(self, x: Tensor, t: Tensor) -> Tensor:
                return run.predict(x, t - 1).x_0

            def pred_velocity(self, x: Tensor, t: Tensor) -> Tensor:
                return (run.predict(x, t - 1).epsilon - x) / self.alphas[t]

        levels = [torch.from_numpy(np.append(end, table)) for end, table in ((1, run.signal), (0, run.spread))]
        operator = operators.BoxInpainting(SHAPE[-1], (0, 0, 0, 0), is_latent=True)
        operator.mask_3d = run.known
        problem = SimpleNamespace(H_func=operator, obs=operator.H(run.image), obs_std=1e-12)
        model = Model(*levels, STEPS + 1, torch.float64, "cpu")
        algorithm.ding(model, problem, torch.zeros_like(run.image), STEPS + 1, "square")
