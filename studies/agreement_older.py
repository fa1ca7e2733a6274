"""The authors' own code of the older samplers, called with our network, schedule and noise; see `studies.agreement`."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .agreement_run import SHAPE, STEPS, TOP, Run, Settings, modules, official

ROWS, UNIFORM = 4, 0.37  # particles, and the number that places systematic resampling


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
    gd, ddim = modules("guided_diffusion.gaussian_diffusion", "guided_diffusion.ddim")
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


def copaint_tt(run: Run, folder: Path) -> None:
    x_T, jumps = run.draw(), {"jump_length": 4, "jump_n_sample": 2}
    with official(folder, []):
        times = importlib.import_module("guided_diffusion.new_scheduler").ddim_repaint_timesteps(STEPS, STEPS, **jumps)
    order: list[Tensor | None] = []
    for before, here, following in zip([STEPS, *times], times, times[1:]):
        order += [None] if following < here or here < before else []  # of a DDIM step, which has eta = 0
        order += [run.draw()] if following > here else []
    travel = {"ddim.schedule_params.use_timetravel": True, "ddim.schedule_params": jumps}
    with official(folder, order):
        copaint_loop(run, "O_DDIMSampler", descent(**travel, **{"optimize_xt.num_iteration_optimize_xt": 1}), x_T)


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
        gd, respace = modules("guided_diffusion.gaussian_diffusion", "guided_diffusion.respace")
        jumps = {"t_T": STEPS, "n_sample": 1, "jump_length": 3, "jump_n_sample": 2}
        conf = Settings(inpa_inj_sched_prev=True, schedule_jump_params=jumps)
        kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
        sampler = respace.SpacedDiffusion(range(STEPS), conf=conf, betas=run.betas, loss_type=None, **kinds)
        given = {"gt": run.image, "gt_keep_mask": run.known.double()}
        sampler.p_sample_loop(run.network(), (1, *SHAPE), noise=begun, model_kwargs=given, conf=conf, progress=False)


def ddnm(run: Run, folder: Path) -> None:
    x_T, fresh = run.draw(), [run.draw() for _ in range(STEPS)]
    with official(folder, fresh):
        operators, steps = modules("functions.svd_operators", "functions.svd_ddnm")
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
        gd, method = modules("guided_diffusion.gaussian_diffusion", "guided_diffusion.condition_methods")
        kinds = {"model_mean_type": "epsilon", "model_var_type": "learned_range", "dynamic_threshold": False}
        sampler = gd.DDPM(range(STEPS), betas=run.betas, clip_denoised=True, rescale_timesteps=False, **kinds)
        masked = SimpleNamespace(forward=lambda x, **_: x * run.known)
        pull = method.PosteriorSampling(masked, SimpleNamespace(__name__="gaussian"), scale=8.0)
        sampler.p_sample_loop(run.network(), x_T, run.y, pull.conditioning, False, "")


def particles(run: Run, folder: Path, kind: str, order: list[Tensor | None], below: float, **more: Any) -> None:
    """A filter of the TDS repository, which resamples where fewer than `below` of its particles count."""
    with official(folder, order):
        sys.path.insert(0, str(folder / "image_exp"))
        names = ("feynman_kac_image_ddpm", "smc_diffusion", "operators")
        smc, gd, operators = modules(*(f"image_diffusion.{name}" for name in names))
        pf, utils = modules("smc_utils.feynman_kac_pf", "smc_utils.smc_utils")
        utils.random = SimpleNamespace(rand=lambda n: np.full(n, UNIFORM))
        kinds = {"model_mean_type": gd.ModelMeanType.EPSILON, "model_var_type": gd.ModelVarType.LEARNED_RANGE}
        base = {"particle_base_shape": SHAPE, "use_timesteps": range(STEPS), "betas": run.betas, "loss_type": None}
        sampler = smc.get_smc_ddpm(kind, **base, **kinds)
        method = operators.ConditioningMethod(operators.get_operator("inpainting", device="cpu"))
        misfit = partial(method.recon_prob, measurement=run.image[run.known], mask=run.known[0])
        own = {"mask": run.known[0], "measurement": run.y[0], "task": "inpainting", "t_truncate": 0}
        for name, value in (own | {"recon_prob_fn": misfit, "use_mean_pred": True, "tausq_": 0.12} | more).items():
            setattr(sampler, name, value)
        given = {"model": run.network(), "pred_xstart_var_type": 6}  # the variance that tausq_ belongs to
        pf.smc_FK(
            partial(sampler.M, device="cpu", **given), partial(sampler.G, **given), "systematic", STEPS, ROWS, below
        )


def resampling(run: Run, folder: Path) -> None:
    history = [run.signal[TOP] * run.image + run.spread[TOP] * run.draw()]
    order: list[Tensor | None] = [run.draw(ROWS)]
    for i in range(TOP, 0, -1):
        history.append(run.schedule.ddpm_step(history[-1], run.image, i, run.draw()))
        order.append(run.draw(ROWS))
    path = torch.cat([run.image, *reversed(history)])  # the clean image, then indices 0 to the top
    particles(run, folder, "smcdiff", [*order, None], 0, _sample_forward=lambda x0: path)


def tds(run: Run, folder: Path) -> None:
    particles(run, folder, "tds", [*(run.draw(ROWS) for _ in range(STEPS)), None], 1.0)
