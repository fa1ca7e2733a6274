"""The command line as a user meets it: the main job, its files, and one clear line for every mistake."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from tiramisu_edu.lab import doctor
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.common import fast_bfloat16
from tiramisu_edu.lab.pictures import load_image

COMMANDS = ("inpaint", "fuse", "evaluate", "tune", "show", "train", "bench", "doctor")
QUICK = ["--world", "digits", "--num-inference-steps", "3", "--batch", "3"]


def picture(path, pixels):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return str(path)


@pytest.fixture
def mask_file(tmp_path):
    pixels = np.zeros((8, 8))
    pixels[:, 4:] = 255  # white = fill in
    return picture(tmp_path / "mask.png", pixels)


@pytest.mark.parametrize("sampler", ["ddim", "replacement", "copaint"])
@pytest.mark.parametrize("guide", ["none", "mixture", "difference"])
def test_every_sampler_takes_every_guide(tmp_path, capsys, sampler, guide):
    out, numbers = tmp_path / "a" / "picture.png", tmp_path / "numbers.json"
    flags = ["--sampler", sampler, "--guide", guide, "--out", str(out), "--json", str(numbers)]
    assert main(["inpaint", *QUICK, *flags]) == 0
    printed = capsys.readouterr().out
    assert "seed 0" in printed and f"picture: {out}" in printed
    with Image.open(out) as sheet:
        assert sheet.size[0] > 200
    report = json.loads(numbers.read_text())
    expected = {sampler, "circuit alone"} | ({f"{sampler} + {guide}"} if guide != "none" else set())
    assert set(report["methods"]) == expected
    if guide != "none":
        assert "the guide's share of the sampling time" in printed
        assert 0 < report["guide_share"]["at_20_percent"] < 1


def test_same_seed_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        assert main(["inpaint", *QUICK, "--mask", "wide", "--seed", "7", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_and_a_mask_of_ones_own(tmp_path, capsys, suffix):
    """In the photo's size, and not a bit changed outside the mask."""
    photo = picture(tmp_path / f"photo.{suffix}", np.random.default_rng(0).integers(0, 255, (20, 30, 3)))
    hidden = np.zeros((20, 30), dtype=bool)
    hidden[3:18, 10:25] = True
    mask, out = picture(tmp_path / "mask.png", hidden * 255), tmp_path / "out.png"
    assert main(["inpaint", *QUICK, "--image", photo, "--mask", mask, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "completed at 1 / 2.5 of its size" in printed and "holes become grey" in printed and out.exists()
    assert ("written as PNG, since .jpg would change every pixel" in printed) == (suffix == "jpg")
    with Image.open(photo) as before:
        before = np.array(before)
    for n in (1, 2, 3):
        with Image.open(tmp_path / f"out_photo_{n}.png") as after:
            after = np.array(after)
        assert (after[~hidden] == before[~hidden]).all() and (after[hidden] != before[hidden]).any()
    picture(tmp_path / "small.png", np.eye(8) * 255)
    assert main(["inpaint", *QUICK, "--image", photo, "--mask", str(tmp_path / "small.png"), "--out", str(out)]) == 2
    assert "the mask is 8 x 8 pixels (width x height) and the image 30 x 20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--world", "mars"], "unknown world 'mars'"),
        (["--sampler", "magic"], "unknown sampler 'magic'"),
        (["--guide", "magic"], "unknown guide 'magic'"),
        (["--mask", "magic"], "unknown mask 'magic'"),
        (["--guided-fraction", "1.5"], "--guided-fraction must lie in [0, 1]"),
        (["--num-inference-steps", "0"], "--num-inference-steps must lie in"),
        (["--batch", "0"], "--batch must lie in [1, 10,000]"),
        (["--batch", "9999"], "ask for 1 to 300"),
        (["--device", "abacus"], "device 'abacus' is not available"),
        (["--image", "{tmp}/none.png"], "no such file"),
        (["--image", "{tmp}/text.png"], "not a picture"),
        (["--mask", "{tmp}/text.png"], "not a picture"),
        (["--mask", "{tmp}/large.png"], "the mask is 9 x 9 pixels"),
        (["--mask", "{tmp}/black.png"], "black everywhere"),
        (["--mask", "{tmp}/white.png"], "white everywhere"),
        (["--mask", "{tmp}/colour.png"], "colours in its 3 channels"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    (tmp_path / "text.png").write_text("not a picture")
    picture(tmp_path / "large.png", np.eye(9) * 255)
    picture(tmp_path / "black.png", np.zeros((8, 8)))
    picture(tmp_path / "white.png", np.full((8, 8), 255))
    picture(tmp_path / "colour.png", np.random.default_rng(0).integers(0, 255, (8, 8, 3)))
    out = tmp_path / "out.png"
    arguments = [a.replace("{tmp}", str(tmp_path)) for a in arguments]
    assert main(["inpaint", "--world", "digits", "--num-inference-steps", "3", "--out", str(out), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("tiramisu-edu: ") and captured.err.count("\n") == 1
    assert not out.exists()


def test_a_tampered_model_is_refused_without_a_traceback(tmp_path):
    """The whole program, on a copy of the data with one byte of the circuit changed, then cut short."""
    import shutil

    from tiramisu_edu.lab.datafiles import data_root

    shutil.copytree(data_root(), tmp_path / "data")
    circuit = tmp_path / "data" / "faces" / "circuit.safetensors"
    whole = circuit.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    for broken in (flipped, whole[:1000]):
        circuit.write_bytes(broken)
        command = [sys.executable, "-m", "tiramisu_edu.lab.cli", "inpaint", "--out", str(tmp_path / "out.png")]
        environment = os.environ | {"TIRAMISU_DATA": str(tmp_path / "data")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        assert "circuit.safetensors is not the published file" in done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "out.png").exists()


def test_help_needs_no_torch():
    code = "import sys; from tiramisu_edu.lab import cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_help_of_every_command(capsys):
    for command in ([], *([name] for name in COMMANDS)):
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--help"])
        assert "usage: tiramisu-edu" in capsys.readouterr().out


def test_train_makes_the_circuit_again(tmp_path):
    """The shipped circuit, made from its recipe: the same structure, parameters to the last digits."""
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.lab.datafiles import data_path

    assert main(["train", "digits", "--part", "circuit", "--out", str(tmp_path)]) == 0
    made = Circuit.load(tmp_path / "digits" / "circuit.safetensors")
    shipped = Circuit.load(data_path("digits/circuit.safetensors"))
    assert made.graph == shipped.graph
    assert made.facts["test_bits_per_pixel"] == pytest.approx(shipped.facts["test_bits_per_pixel"], abs=0.02)
    assert shipped.facts["test_bits_per_pixel"] <= 2.05
    assert list((tmp_path / "digits").iterdir()) == [tmp_path / "digits" / "circuit.safetensors"]


def test_the_digit_stays_where_it_is_known(tmp_path, mask_file):
    """Through the Python API: known pixels come back exactly, hidden ones never leak."""
    from tiramisu_edu import inpaint, load

    world = load("digits")
    images, _ = world.images("test")
    known = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    results = []
    for hidden in (images[:2], torch.where(known, images[:2], torch.nan)):
        g = torch.Generator().manual_seed(0)
        result = inpaint(world, hidden, known, num_inference_steps=4, generator=g, record=True)
        assert torch.equal(result.images[..., :4], images[:2, ..., :4])
        results.append(result)
    assert torch.equal(results[0].images, results[1].images)
    assert [m.index for m in results[0].trajectory] == [3, 2, 1, 0]
    assert results[0].trajectory[0].circuit.shape == images[:2].shape
    assert 0 < results[0].guide_seconds < results[0].seconds
    assert load_image(mask_file, (8, 8), 1).notice == ""


def test_the_names_are_those_of_the_registries():
    from tiramisu_edu import names
    from tiramisu_edu.diffusion.samplers import SAMPLERS
    from tiramisu_edu.lab.commands.tune import TUNED
    from tiramisu_edu.lab.evaluation.tuning import CANDIDATES, GRIDS
    from tiramisu_edu.lab.recipes.denoiser import SCALES
    from tiramisu_edu.lab.zoo import WORLDS
    from tiramisu_edu.masks import PAPER_COLUMNS

    assert (tuple(SAMPLERS), tuple(WORLDS)) == (names.SAMPLERS, names.WORLDS)
    assert (tuple(PAPER_COLUMNS), tuple(SCALES)) == (names.PAPER_MASKS, names.SCALES)
    assert set(GRIDS) == set(TUNED)
    assert all(len(grid) == CANDIDATES for grid in GRIDS.values())  # the same effort for each


def test_fuse_draws_digits_and_refuses_nonsense(tmp_path, capsys):
    out = tmp_path / "fuse.png"
    flags = ["--world", "digits", "--num-inference-steps", "2", "--coherence", "0.2,0.8", "--out", str(out)]
    assert main(["fuse", *flags, "--pairs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "contradiction" in printed and f"picture: {out}" in printed and out.exists()
    labels = picture(tmp_path / "labels.png", np.kron([[0, 100], [200, 0]], np.ones((4, 4))))
    assert main(["fuse", *flags, "--regions", labels]) == 0
    assert main(["fuse", *flags, "--temperature", "0.1,1"]) == 0
    assert "pair  temperature  log Z" in capsys.readouterr().out
    for wrong, message in [
        (["--regions", "magic"], "unknown regions 'magic'"),
        (["--regions", picture(tmp_path / "black.png", np.zeros((8, 8)))], "black everywhere"),
        (["--regions", picture(tmp_path / "large.png", np.eye(9) * 255)], "the label picture is (9, 9)"),
        (["--coherence", "2"], "coherence must lie in [0, 1]"),
        (["--coherence", "much"], "--coherence takes numbers"),
        (["--temperature", "0"], "--temperature must lie in"),
        (["--pairs", "0"], "--pairs must lie in"),
        (["--reference", labels, "--regions", "left-right"], "for 2 references, not 1"),
        (["--model", "codes"], "no tokenizer"),
    ]:
        capsys.readouterr()
        assert main(["fuse", *flags, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_show_draws_a_sheet_and_names_what_masks_hide(tmp_path, capsys, monkeypatch):
    from functools import partial

    from tiramisu_edu.lab import contact

    monkeypatch.setattr(contact, "save_contact_sheet", partial(contact.save_contact_sheet, columns=2, steps=2))
    assert main(["show", "sheet", "--worlds", "digits", "--out", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 5_000
    assert main(["show", "visibility", "--worlds", "rooms"]) == 0
    assert "| rug pattern | S | h | h | h | h | h |" in capsys.readouterr().out
    assert main(["show", "sheet", "--worlds", "digits,faces"]) == 2


def test_tune_keeps_what_it_finds(tmp_path, capsys, monkeypatch):
    from tiramisu_edu.lab.evaluation import tuning
    from tiramisu_edu.lab.file_world import load_tuned

    monkeypatch.setitem(tuning.GRIDS, "dps", tuning.GRIDS["dps"][:2])
    flags = ["--masks", "left", "--steps", "2", "--images", "3", "--measure", "mse", "--out", str(tmp_path)]
    assert main(["tune", "digits", "--samplers", "dps", *flags]) == 0
    assert capsys.readouterr().out.count("<-") == 1
    tuned = load_tuned(tmp_path / "digits" / "samplers.json")
    assert tuned["dps"].options["zeta"] in (0.5, 1.0)
    assert main(["tune", "digits", "--samplers", "ddim", *flags]) == 2
    assert "unknown sampler to tune 'ddim'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "printed"),
    [(UserWarning, "warning: it is late\n"), (RuntimeWarning, "file.py:3: RuntimeWarning: it is late\n")],
)
def test_a_warning_to_users_is_one_line_without_its_place_in_the_code(capsys, monkeypatch, kind, printed):
    said = ("it is late", kind, "file.py", 3)
    monkeypatch.setattr(doctor, "run", lambda options: print(warnings.formatwarning(*said), end="") or 0)
    before = warnings.formatwarning
    assert main(["doctor"]) == 0 and warnings.formatwarning is before
    assert capsys.readouterr().out == printed


def test_of_a_torch_that_does_not_tell_a_processor_is_slow_in_bfloat16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_bfloat16("cuda") and not fast_bfloat16("cpu")
