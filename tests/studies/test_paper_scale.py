"""The paper's configuration at reduced width, from end to end: saved pipeline, VQ-GAN checkpoint, PyJuice circuit."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from studies.paper_scale import main
from studies.saved_models import model
from tests.test_vq_tokenizer import taming_weights


def test_both_methods_on_a_folder_go_on_where_they_were(tmp_path, capsys):
    """6 x 6 pixels, 3 x 3 codes of 3, for the Poon-Domingos circuit that PyJuice wrote over 3 x 3 variables."""
    model(unet={"sample_size": 6})(tmp_path / "model")
    save_file(taming_weights(codes=3), tmp_path / "vqgan.safetensors")
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for n in range(150):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "pictures" / f"{n}.png")
    out = tmp_path / "table.md"
    files = {"denoiser": "model", "tokenizer": "vqgan.safetensors", "pictures": "pictures", "out": "table.md"}
    flags = [text for name, file in files.items() for text in (f"--{name}", str(tmp_path / file))]
    flags += ["--circuit", "tests/data/pyjuice/pd.jpc", "--images", "1", "--steps", "5"]
    main(["celeba-hq", *flags, "--masks", "left"])
    table = out.read_text()
    assert "CelebA-HQ, 1 pictures: hidden-pixel MSE" in table and "| tiramisu |" in table and "| copaint |" in table
    found = json.loads(out.with_suffix(".json").read_text())["done"]
    assert found["left copaint 0"]["hidden-pixel MSE"] != found["left tiramisu 0"]["hidden-pixel MSE"] > 0
    main(["celeba-hq", *flags, "--masks", "left,top"])
    again = json.loads(out.with_suffix(".json").read_text())["done"]
    assert len(again) == 4 and {key: again[key] for key in found} == found
    for wrong, message in ((["--masks", "right"], "unknown mask 'right'"), (["--label", "3"], "label must be")):
        with pytest.raises(SystemExit, match=message):
            main(["celeba-hq", *flags, *wrong])
