"""What network evaluations cost here: measured once, then read."""

import json

import torch

from tiramisu_edu.lab.evaluation import price
from tiramisu_edu.lab.zoo import load

CPU = torch.device("cpu")


def test_the_price_is_measured_once_and_kept(tmp_path, monkeypatch):
    kept = tmp_path / "price.json"
    first = price.price_of(load("digits"), CPU, kept)
    assert first.forward > 0 and 0.3 < first.backward < 4  # a busy machine
    monkeypatch.setattr(price, "measured", None)
    assert price.price_of(load("digits"), CPU, kept) == first
    (key,) = json.loads(kept.read_text())
    assert key.startswith("digits, ")


def test_a_slow_bfloat16_is_noticed():
    assert price.bfloat16_slowdown(CPU) > 0
