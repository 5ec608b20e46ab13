"""Weights files: saved and loaded bit for bit; anything else is refused with the reason."""

import json
import pickle
import struct

import pytest
import torch

from dtcseg.errors import UsageError
from dtcseg.network.model import Look, Screen
from dtcseg.network.weights import ARCHITECTURE, Card, load, read_card, resolve, save

CARD = Card("test", ARCHITECTURE, 0.4, 0.2, 0.5, 1.2, 0.01, trained_on={"fields": 3}, figures={"f1": 0.5})


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "w.safetensors"
    save(path, Screen(), Look(), CARD)
    return path


def test_round_trip(weights):
    info = resolve(str(weights))
    assert info.card == CARD
    torch.manual_seed(2)
    expected = Screen(), Look()
    for got, want in zip(load(info), expected, strict=True):
        assert not got.training
        for key, value in want.state_dict().items():
            assert torch.equal(got.state_dict()[key], value)


def test_no_half_file_is_left(weights):
    assert [p.name for p in weights.parent.iterdir()] == ["w.safetensors"]


def test_unknown_name_and_missing_file():
    with pytest.raises(UsageError, match=r"neither a \.safetensors file nor one of"):
        resolve("nosuch")
    with pytest.raises(UsageError, match="no such file"):
        resolve("nosuch.safetensors")


def _with_card(path, card):
    header = json.dumps({"__metadata__": {"dtcseg_card": card}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (json.dumps({"name": "x", "architecture": "other-1"}), "architecture 'other-1'"),
        ("[]", "not a table"),
        ("{not json", "not a dtcseg weights file"),
        (json.dumps({"name": "x", "architecture": ARCHITECTURE}), "missing"),
        (json.dumps({**CARD.__dict__, "temperature": -1}), "temperature is out of range"),
    ],
)
def test_wrong_cards(tmp_path, card, reason):
    path = tmp_path / "w.safetensors"
    _with_card(path, card)
    with pytest.raises(UsageError, match=reason):
        read_card(path)


@pytest.mark.parametrize(
    "content", [b"", b"short", pickle.dumps({"a": 1}), b"\xff" * 100, struct.pack("<Q", 10) + b"{}"]
)
def test_other_files(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"w\.safetensors is not a dtcseg weights file"):
        resolve(str(path))


def test_arrays_that_do_not_fit(weights):
    from safetensors.torch import load as from_bytes
    from safetensors.torch import save as to_bytes

    tensors = from_bytes(weights.read_bytes())
    tensors.pop("screen.head.bias")
    weights.write_bytes(to_bytes(tensors, {"dtcseg_card": json.dumps(CARD.__dict__)}))
    with pytest.raises(UsageError, match="do not fit the network"):
        load(resolve(str(weights)))


def test_truncated(weights):
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match="do not fit the network"):
        load(resolve(str(weights)))
