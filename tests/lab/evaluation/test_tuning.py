"""Tuned guides: tried on validation images, kept as data, taken as defaults, and part of what a cell is."""

import json

import pytest
import torch

from tests.steering.fakes import FlatTokenizer, code_circuit, toy_world
from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.datafiles import write_checksums
from tiramisu_edu.lab.evaluation import tuning
from tiramisu_edu.lab.evaluation.cells import Cell, Method
from tiramisu_edu.lab.evaluation.comparison import Completed, make_cases
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.tuning import GRIDS, GUIDE_GRIDS, save_tuned
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.methods import make_guide
from tiramisu_edu.names import GUIDES


def test_every_name_has_as_many_tries():
    assert {len(grid) for grid in (GRIDS | GUIDE_GRIDS).values()} == {tuning.CANDIDATES}
    assert set(GUIDE_GRIDS) <= set(GUIDES) and not set(GRIDS) & set(GUIDE_GRIDS)
    for grid in (GRIDS | GUIDE_GRIDS).values():
        assert len({json.dumps(candidate) for candidate in grid}) == tuning.CANDIDATES


def test_a_guide_is_tuned_on_its_base_sampler(tmp_path, capsys, monkeypatch):
    """The command's numbers are those of the guide with each candidate, and the best is kept for the guide."""
    monkeypatch.setitem(GUIDE_GRIDS, "difference-kernel", [{"variance": 30.0}, {"variance": 0.1}])
    flags = ["--samplers", "", "--guides", "difference-kernel", "--masks", "left", "--steps", "2", "--images", "6"]
    assert main(["tune", "digits", *flags, "--measure", "mse", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("<-") == 1
    assert not (tmp_path / "digits" / "samplers.json").exists()
    found = json.loads((tmp_path / "digits" / "guides.json").read_text())["difference-kernel"]

    world = load("digits")
    cases = make_cases(world, ["left"], 6, split="validation")
    numbers = []
    for candidate in GUIDE_GRIDS["difference-kernel"]:
        guide = make_guide("difference-kernel", world, **candidate)
        generators = [torch.Generator().manual_seed(n) for n in range(6)]
        task = world, cases.images, cases.known
        done = inpaint(*task, sampler="replacement", guide=guide, num_inference_steps=2, generator=generators)
        numbers.append(hidden_mse(done.images, cases.images, cases.known).mean().item())
    assert [value for _, value in found["tried"]] == pytest.approx(numbers)
    assert found["options"] == GUIDE_GRIDS["difference-kernel"][min((0, 1), key=numbers.__getitem__)]
    assert main(["tune", "digits", "--samplers", "", "--guides", "difference"]) == 2
    assert "unknown guide to tune 'difference': did you mean 'difference-kernel'" in capsys.readouterr().err


def completions_with(monkeypatch, numbers):
    """The digits of `GRIDS["dps"]`'s candidates are the truth with the given number added; NaN in one picture."""

    def completed(world, cases, *, sampler, **_):
        images = cases.images.clone()
        images[0] += numbers[GRIDS["dps"].index(world.sampler_options[sampler])]
        return Completed(images, 1.0, 0.0, 2.0, 0.0)

    monkeypatch.setitem(GRIDS, "dps", GRIDS["dps"][: len(numbers)])
    monkeypatch.setattr(tuning, "run_method", completed)
    task = tuning.Task(["left"], steps=2, images=4, seed=0, measure="mse")
    return lambda: tuning.tune(load("digits"), "dps", task)


def test_a_candidate_that_is_not_finite_is_reported_and_never_best(monkeypatch):
    tune = completions_with(monkeypatch, [float("nan"), 0.5, 0.1, float("-inf")])
    with pytest.warns(UserWarning, match=r"dps: not finite, so left out: \{'zeta': 0.5\}, \{'zeta': 4.0\}"):
        found = tune()
    assert found["options"] == GRIDS["dps"][2]
    assert [value is None for _, value in found["tried"]] == [True, False, False, True]
    assert "NaN" not in json.dumps(found)


def test_by_the_energy_score_a_candidate_that_does_not_vary_is_not_the_best(monkeypatch):
    """The first candidate always errs by the same 0.3, the second by 0.3 either way; by the MSE they are equal."""

    def completed(world, cases, *, sampler, seed, **_):
        way = -1 if world.sampler_options[sampler] == GRIDS["dps"][1] and seed % 2 else 1
        return Completed(cases.images + 0.3 * way, 1.0, 0.0, 2.0, 0.0)

    monkeypatch.setitem(GRIDS, "dps", GRIDS["dps"][:2])
    monkeypatch.setattr(tuning, "run_method", completed)
    task = tuning.Task(["left"], steps=2, images=4, seed=0, measure="energy")
    found = tuning.tune(load("digits"), "dps", task)
    assert found["options"] == GRIDS["dps"][1]
    assert [value for _, value in found["tried"]] == pytest.approx([0.3, 0.0], abs=1e-6)


def test_nothing_finite_is_an_error(monkeypatch):
    with pytest.raises(TiramisuError, match="no candidate of dps has a finite mse"):
        completions_with(monkeypatch, [float("nan")] * 3)()


def test_what_was_tuned_is_the_default_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path))
    models = {"tokenizer": FlatTokenizer(), "code_circuits": {"hclt": code_circuit()}}
    write_checksums()
    assert make_guide("latent", toy_world(**models)).tau_hidden == 1.0
    for options in ({"settings": {"tau_hidden": 3.0}}, {"tau_hidden": 3.0}):
        save_tuned(tmp_path / "toy" / "guides.json", {"latent": {"options": options}})
        write_checksums()
        world = toy_world(**models)
        tuned = make_guide("latent", world, fraction=0.5)
        assert (tuned.tau_hidden, tuned.tau_known, tuned.fraction) == (3.0, 0.01, 0.5)
    assert make_guide("latent", world, tau_hidden=2.0).tau_hidden == 2.0
    assert make_guide("latent-published", world).tau_hidden == 0.1
    (tmp_path / "toy" / "guides.json").write_text('{"latent": {}}')
    write_checksums()
    with pytest.raises(FileError, match=r"guides\.json is truncated or damaged"):
        make_guide("latent", toy_world(**models))


def test_other_tuned_options_are_other_cells(tmp_path, monkeypatch):
    cells = [Cell("faces", "left", Method.parse(f"ddim+{name}"), 5, 0, 4) for name in ("latent", "difference")]
    names = []
    for folder, tuned in (("none", {}), ("three", {"tau_hidden": 3.0}), ("one", {"tau_hidden": 1.0})):
        if tuned:
            found = {"latent": {"options": {"settings": tuned}}}
            save_tuned(tmp_path / folder / "faces" / "guides.json", found)
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path / folder))
        write_checksums()
        names.append([cell.name for cell in cells])
    latent, difference = zip(*names)
    assert len(set(latent)) == 3 and len(set(difference)) == 1
