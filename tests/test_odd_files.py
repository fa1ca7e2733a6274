"""Whatever stands in a file, reading it gives the object or one FileError: flips, and odd contents under a seal."""

import json
import random
import time

import pytest
import torch

from tiramisu_edu import Circuit, structures
from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.circuits.jpc_file import read_jpc
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import FileError
from tiramisu_edu.files import load_safetensors, save_safetensors
from tiramisu_edu.lab.file_world import load_tuned
from tiramisu_edu.lab.worlds.judge import Judge
from tiramisu_edu.steering.beyond.difference import WeightTable
from tiramisu_edu.steering.low_rank import load_codebook
from tiramisu_edu.steering.patches import PatchCodebook
from tiramisu_edu.tokenizer import Tokenizer

from .diffusion.conftest import make_tiny_unet

REQUEST = {"seed": 0}


def write_all(folder):
    Denoiser(make_tiny_unet(), Schedule.cosine(4)).save(folder / "denoiser")
    Tokenizer(num_codes=4, code_size=2, width=4, channels=1).save(folder / "tokenizer", {})
    PatchCodebook(torch.zeros(4, 3, 4), torch.ones(4, 3, 4), 2, (1, 4, 4)).save(folder / "codebook")
    Judge([2, 3], size=4, channels=1, patch=1, widths=[4, 4], num_features=4).save(folder / "judge")
    WeightTable(torch.tensor([0.0, 1.0]), torch.tensor([0.5]), torch.ones(2, 2)).save(folder / "table")
    Circuit(structures.mixture(3, num_categories=2, num_latents=2)).save(folder / "circuit")
    Checkpoint(folder / "checkpoint", REQUEST).save({"step": 3, "weights": [torch.ones(2)]})
    (folder / "tuned").write_text(json.dumps({"ddim": {"options": {"eta": 0.5}}}))


LOADERS = {
    "denoiser": Denoiser.load,
    "circuit": Circuit.load,
    "tokenizer": Tokenizer.load,
    "codebook": load_codebook,
    "judge": Judge.load,
    "table": WeightTable.load,
    "checkpoint": lambda path: Checkpoint(path, REQUEST).load(),
    "tuned": load_tuned,
}
SEALED = {
    "denoiser": ("denoiser", 3),
    "circuit": ("circuit", 1),
    "tokenizer": ("tokenizer", 1),
    "codebook": ("patch codebook", 1),
    "judge": ("judge", 1),
    "table": ("guide weights", 1),
    "checkpoint": ("checkpoint", 1),
}
ODD_VALUES = [None, [], 3, -1, "x", {}, [[[]]], 1e400, True, [None, 2], {"class": []}]

MEANT = {
    "facts": ({}, {"class": []}),
    "autoencoder": (None, [], {}),
    "label": (None, 3, True),
    "learned_range": (True,),
    "patch": (3, True),
    "state": ([],),
}
"""Those that a part of a file may be. Note that True is 1."""


@pytest.fixture
def folder(tmp_path):
    write_all(tmp_path)
    return tmp_path


def read_or_refused(kind, path):
    """Whether the file was refused, in one line that names it."""
    try:
        LOADERS[kind](path)
    except FileError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    return False


def test_200_flipped_cut_and_grown_files(folder):
    draw = random.Random(0)
    refused = 0
    whole = {kind: (folder / kind).read_bytes() for kind in LOADERS}
    for n in range(203):
        kind = list(LOADERS)[n % len(LOADERS)]
        content = bytearray(whole[kind])
        place = draw.randrange(min(len(content), 1200))  # the header, mostly
        match draw.randrange(4):
            case 0:
                content[place] ^= 1 << draw.randrange(8)
            case 1:
                del content[place:]
            case 2:
                content[place:place] = bytes(draw.randrange(1, 9))
            case 3:
                content[-1 - place % len(content)] ^= 255
        (folder / kind).write_bytes(content)
        refused += read_or_refused(kind, folder / kind)
    assert refused >= 200  # 201: two changes leave the content as it was


@pytest.mark.parametrize("kind", SEALED)
def test_odd_metadata_and_tensors_under_a_seal(folder, kind):
    name, version = SEALED[kind]
    tensors, metadata = load_safetensors(folder / kind, kind=name, version=version)
    del metadata["version"]
    path = folder / "odd"

    def refused(tensors, metadata):
        save_safetensors(path, tensors, kind=name, version=version, metadata=metadata)
        return read_or_refused(kind, path)

    assert not refused(tensors, metadata)
    for key in metadata:
        gone = refused(tensors, {k: v for k, v in metadata.items() if k != key})
        assert gone or key == "facts"  # of a codebook and a table, which have no use for them
        taken = [odd for odd in ODD_VALUES if not refused(tensors, metadata | {key: odd})]
        assert all(odd in MEANT.get(key, ()) for odd in taken)
        for n, inner in enumerate(metadata[key] if isinstance(metadata[key], dict) else ()):
            for odd in (ODD_VALUES[n % len(ODD_VALUES)], ODD_VALUES[(n + 4) % len(ODD_VALUES)]):
                refused(tensors, metadata | {key: metadata[key] | {inner: odd}})
    if kind == "checkpoint":
        return  # its tensors are what the run makes of them
    for key in list(tensors)[:6]:
        tensor, others = tensors[key], {k: v for k, v in tensors.items() if k != key}
        assert refused(others, metadata)
        for odd in (tensor.new_zeros(7, 7), tensor.to(torch.complex64)):
            assert refused(others | {key: odd}, metadata)
        if tensor.is_floating_point():
            assert refused(others | {key: tensor * torch.nan}, metadata)


HUGE = 10**9


def every_number_huge(value):
    """Copies of a JSON value, in each of which one whole number is huge; JSON in a text counts too."""
    if isinstance(value, str) and value.startswith("["):
        yield from (json.dumps(changed) for changed in every_number_huge(json.loads(value)))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield HUGE
    elif isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            for changed in every_number_huge(value[key]):
                copy = value.copy()
                copy[key] = changed
                yield copy


@pytest.mark.parametrize("kind", SEALED)
def test_no_number_in_a_file_sizes_a_loop_or_memory(folder, kind):
    """Each whole number of the metadata in turn a thousand million, under a seal: refused or harmless, and at once."""
    resource = pytest.importorskip("resource")
    name, version = SEALED[kind]
    tensors, metadata = load_safetensors(folder / kind, kind=name, version=version)
    del metadata["version"]
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    changed = list(every_number_huge(metadata))
    assert changed or kind == "table"
    for odd in changed:
        save_safetensors(folder / "odd", tensors, kind=name, version=version, metadata=odd)
        read_or_refused(kind, folder / "odd")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    assert time.process_time() - started < 20


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"ddim": 3}', '{"ddim": {"options": 1}}', "[" * 10_000, "²", "{"])
def test_odd_tuned_options(tmp_path, text):
    (tmp_path / "samplers.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match="truncated or damaged"):
        load_tuned(tmp_path / "samplers.json")


@pytest.mark.parametrize("opcode", [b"\x96", b"\x8e", b"\x8d", b"\x8b", b"\x8a", b"T", b"X", b"B"])
def test_nine_bytes_of_a_jpc_file_reserve_no_gigabyte(tmp_path, opcode):
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.jpc"
    path.write_bytes(opcode + (2**30).to_bytes(8, "little"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FileError):
        read_jpc(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
