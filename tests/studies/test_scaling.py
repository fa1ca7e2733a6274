"""Circuits over pixels, patches and codes: exact where they can be, and the whole study on a tiny budget."""

import math
from dataclasses import replace

import pytest
import torch

from studies import scaling
from studies.scaling import QUICK, ScalingRow, ScalingSettings, main, measure_scaling
from studies.scaling_models import CodeModel, PatchModel, squared_error, train_model
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.zoo import SCENES, load
from tiramisu_edu.masks import mask_batch

TINY = replace(QUICK, images=64, held_out=6, completions=3, models=replace(QUICK.models, teach_images=48))


@pytest.fixture(scope="module")
def pictures():
    images = SCENES["faces"].images("train", 70)[0]
    return images[:64], images[64:]


@pytest.fixture(scope="module")
def models(pictures):
    return {kind: train_model(kind, *pictures, TINY.models) for kind in ("patch", "code")}


@pytest.mark.parametrize("kind", ["patch", "code"])
def test_completions_keep_what_is_known_and_repeat(models, pictures, kind):
    model, images = models[kind], pictures[1]
    known = mask_batch("wide", len(images), 32, 32, generator=torch.Generator().manual_seed(1))
    drawn, again, other = (model.draw(images, known, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    for result in (drawn, model.mean(images, known)):
        assert result.shape == images.shape
        assert torch.equal(result[known.expand_as(result)], images[known.expand_as(images)])
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)


@pytest.mark.parametrize("kind", ["patch", "code"])
def test_hidden_pixels_are_not_read(models, pictures, kind):
    model, images = models[kind], pictures[1]
    known = mask_batch("wide", len(images), 32, 32, generator=torch.Generator().manual_seed(1))
    garbage = torch.where(known, images, 0.77)
    assert torch.equal(model.mean(images, known), model.mean(garbage, known))


def test_the_mean_of_a_patch_circuit_is_that_of_its_samples(models, pictures):
    model, image = models["patch"], pictures[1][:1].expand(600, -1, -1, -1)
    known = mask_batch("left", 600, 32, 32)
    drawn = model.draw(image, known, torch.Generator().manual_seed(0))
    spread = drawn.var(0).sum() / 600  # what chance alone makes of the sum of squares
    assert (drawn.mean(0) - model.mean(image[:1], known[:1])[0]).square().sum() < 3 * spread


def test_patch_density_is_the_mixture_written_out(models, pictures):
    """log p(x) = log sum_z p(z) prod_j N(x_j; mu, s2): the circuit's log Z of the Gaussians' log densities."""
    model, images = models["patch"], pictures[1][:2]
    patches = images.reshape(2, 3, 8, 4, 8, 4).permute(0, 2, 4, 1, 3, 5).reshape(2, 64, 1, 48).double()
    mu, s2 = model.codebook.means.double(), model.codebook.variances.double()
    log_w = torch.distributions.Normal(mu, s2.sqrt()).log_prob(patches).sum(-1)
    assert model.nats(images) == pytest.approx(model.circuit.log_partition(log_w).mean().item(), rel=1e-4)


def test_the_bound_of_a_code_circuit_is_one_term_of_its_density(models, pictures):
    model, images = models["code"], pictures[1]
    codes = model.tokenizer.encode(images)
    normal = torch.distributions.Normal(model.tokenizer.decode(codes), math.sqrt(model.error))
    term = model.circuit.log_likelihood(codes) + normal.log_prob(images).flatten(1).sum(1)
    assert model.nats(images) == pytest.approx(term.mean().item(), rel=1e-4)
    assert model.error == pytest.approx(squared_error(model.tokenizer, pictures[0]))


def test_evidence_on_codes_is_sharp_where_known_and_absent_where_hidden(models, pictures):
    model, images = models["code"], pictures[1]
    known = mask_batch("left", len(images), 32, 32)
    log_w = model.evidence(images, known).unflatten(1, (8, 8))
    assert (log_w[:, :, 4:] == 0).all()
    best = log_w[:, :, :4].argmax(-1)
    assert torch.equal(best, model.tokenizer.encode(images).unflatten(1, (8, 8))[:, :, :4])


def test_bytes_count_every_parameter(models):
    patch, code = models["patch"], models["code"]
    assert isinstance(patch, PatchModel) and isinstance(code, CodeModel)
    stored = sum(p.numel() for p in patch.circuit.parameter_list) + 2 * patch.codebook.means.numel()
    assert patch.bytes == 4 * stored
    stored = [*code.circuit.parameter_list, *code.tokenizer.state_dict().values()]
    assert code.bytes == 4 * sum(value.numel() for value in stored)


def test_bits_per_dimension_of_a_known_density():
    """Independent pixels with 256 equally likely levels: density 1/2 on [-1, 1], 8 bits but for the ends' half bins."""
    nats = 3 * 32**2 * math.log(0.5)
    row = ScalingRow(32, "pixel", 256, nats, None, None, {}, 0, 0, 0, 0)
    assert row.bits_per_dimension == pytest.approx(math.log2(255))


def test_the_study_of_a_world_judges_every_kind(tmp_path, capsys, monkeypatch):
    world = load("faces")
    settings = replace(TINY, sizes=(64,), kinds=("patch", "code"), masks=("left", "wide"))
    rows = measure_scaling(world, settings)
    assert [(row.size, row.kind, row.variables) for row in rows] == [(64, "patch", 256), (64, "code", 256)]
    for row in rows:
        assert all(values.shape == (3,) for masks in row.measures.values() for values in masks.values())
        assert (row.bits_per_code is None) == (row.kind == "patch")

    monkeypatch.setattr(scaling, "QUICK", replace(settings, sizes=(32,), kinds=("patch",)))
    main(["--quick", "--out", str(tmp_path)])
    table = (tmp_path / "scaling.md").read_text(encoding="utf-8")
    assert table.strip() in capsys.readouterr().out
    assert "| 32 x 32 | patch | 64 |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert (tmp_path / "scaling.png").stat().st_size > 5_000


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(TiramisuError, match="digits cannot be drawn at other sizes"):
        measure_scaling(load("digits"), ScalingSettings())
