"""Latent variable distillation against a random start: the bookkeeping by hand, the whole study on a tiny world."""

from dataclasses import replace

import pytest
import torch

from studies import lvd
from studies.lvd import (
    CodeData,
    LVDRun,
    LVDSettings,
    gain,
    lvd_table,
    main,
    measure_lvd,
    steps_to_match,
    train_from,
    with_latents,
)
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit, bits_per_dimension
from tiramisu_edu.circuits.learning import mean_log_likelihood
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.zoo import load

TINY = LVDSettings(epochs=2, longer=2, batch_size=32, seeds=(3, 4), latents=(4,), structures=("quad_tree",))


def coherent_data(count=160, seed=0):
    """Pictures of 8 x 8 pixels whose four quarters have one colour of five, and the colours as codes."""
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randint(5, (count,), generator=generator)
    codes = colour[:, None].expand(-1, 4).contiguous()
    images = (colour / 2 - 1)[:, None, None, None].expand(-1, 3, 8, 8)
    return codes, images + 0.01 * torch.randn(images.shape, generator=generator)


def split_data():
    codes, images = coherent_data()
    return CodeData(images[:96], codes[:96], codes[96:128], codes[128:])


def test_circuits_keep_their_shape_with_other_latents():
    small = structures.hclt(coherent_data()[0], num_categories=5, num_latents=2)
    assert with_latents(small, 7) == structures.hclt(coherent_data()[0], num_categories=5, num_latents=7)
    assert with_latents(with_latents(small, 7), 2) == small


def test_a_teachers_start_wins_where_counting_is_all_there_is_to_learn():
    """Five colours, five states: the clusters are the colours, and the first counts are already right."""
    data = split_data()
    graph = structures.quad_tree(2, 2, num_categories=5, num_latents=5)
    teacher, random = (train_from(graph, data, start, seed=0, settings=TINY) for start in ("teacher", "random"))
    assert teacher.bits[0] < 0.75 < 2 < random.bits[0]  # the truth: log2(5) / 4 = 0.58 bits per code
    assert teacher.test_bits.mean() < random.test_bits.mean()
    assert torch.equal(teacher.steps, torch.tensor([0, 3, 6]))  # 96 pictures, 32 per step
    again = train_from(graph, data, "teacher", seed=0, settings=TINY)
    assert torch.equal(again.test_bits, teacher.test_bits)
    whole = train_from(graph, data, "teacher", seed=0, settings=replace(TINY, batch_size=None))
    assert whole.steps.tolist() == [0, 1, 2]
    longer = train_from(graph, data, "longer", seed=0, settings=TINY)
    assert longer.steps.tolist() == [0, 3, 6, 9, 12]
    assert longer.bits[0] == random.bits[0]


def test_the_curve_begins_with_the_start_itself():
    data = split_data()
    graph = structures.quad_tree(2, 2, num_categories=5, num_latents=3)
    run = train_from(graph, data, "random", seed=9, settings=TINY)
    start = Circuit(graph, generator=torch.Generator().manual_seed(9))
    assert run.bits[0].item() == pytest.approx(bits_per_dimension(mean_log_likelihood(start, data.validation), 4))


def run_of(start, seed, bits, test_bits):
    steps = 10 * torch.arange(len(bits))
    return LVDRun("hclt", 8, start, seed, steps, torch.tensor(bits), torch.tensor(test_bits), 1.0, 2.0)


def test_gain_is_paired_by_picture_and_averaged_over_seeds():
    runs = [
        run_of("random", 0, [8.0, 4.0, 3.2], [3.0, 5.0, 4.0] * 3),
        run_of("random", 1, [8.0, 4.2, 3.0], [4.0, 6.0, 5.0] * 3),
        run_of("teacher", 0, [5.0, 3.0, 2.9], [3.0, 5.0, 4.0] * 3),
        run_of("longer", 0, [8.0, 4.0, 3.2, 2.8], [2.0, 4.0, 3.0] * 3),
    ]
    found = gain(runs, "hclt", 8)
    assert found == (-0.5, -0.5, -0.5)
    assert gain(runs, "hclt", 8, "longer").mean == 1.0
    assert steps_to_match(runs, "hclt", 8) == 10  # 3.0 <= the mean 3.1 of the random runs at their best
    assert steps_to_match([*runs[:2], run_of("teacher", 0, [5.0, 4.0, 3.5], [3.0, 5.0, 4.0] * 3)], "hclt", 8) is None
    (row,) = lvd_table("toy", runs).frame.to_numpy().tolist()
    assert row == [
        *("hclt", 8, "4.000 / 5.000", "4.000", "-0.500 [-0.500, -0.500]", "10 of 20", "2", "1 + 2"),
        *("3.000", "+1.000 [+1.000, +1.000]", "2"),
    ]
    other = [run._replace(num_latents=4) for run in runs[:3]]
    assert lvd_table("toy", [*runs, *other]).frame.iloc[1, -3:].tolist() == ["", "", ""]


def test_the_study_of_a_world_runs_every_start(tmp_path, capsys, monkeypatch):
    world = load("faces")
    settings = replace(TINY, images=64, held_out=8, latents=(2, 3), epochs=1)
    runs = measure_lvd(world, settings)
    kinds = [(run.num_latents, run.start, run.seed) for run in runs]
    both = [(k, start, seed) for k in (2, 3) for start, seed in (("random", 3), ("random", 4), ("teacher", 3))]
    assert kinds == [*both, (3, "longer", 3)]
    assert all(run.structure == "quad_tree" and run.test_bits.shape == (8,) for run in runs)

    monkeypatch.setattr(lvd, "QUICK", replace(settings, latents=(2,)))
    main(["--quick", "--seed", "3", "--out", str(tmp_path)])
    table = (tmp_path / "lvd.md").read_text(encoding="utf-8")
    assert table.strip() in capsys.readouterr().out
    assert f"| quad_tree | 2 | {runs[0].test_bits.mean():.3f} / {runs[1].test_bits.mean():.3f} |" in table
    assert (tmp_path / "lvd.png").stat().st_size > 5_000

    with pytest.raises(TiramisuError, match="faces has no code circuit 'hmm'; it has hclt, quad_tree"):
        measure_lvd(world, replace(settings, structures=("hmm",)))
    with pytest.raises(TiramisuError, match="digits has no code circuit 'quad_tree'; it has none"):
        measure_lvd(load("digits"), settings)
