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
NESTED = struct.pack("<Q", 200_000) + b"[" * 200_000


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
    "content", [b"", b"short", b"\xff" * 100, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2) + b"[]", NESTED]
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


def test_arrays_of_another_shape(weights):
    from safetensors.torch import load as from_bytes
    from safetensors.torch import save as to_bytes

    tensors = from_bytes(weights.read_bytes())
    tensors["screen.head.bias"] = torch.zeros(99)
    weights.write_bytes(to_bytes(tensors, {"dtcseg_card": json.dumps(CARD.__dict__)}))
    with pytest.raises(UsageError, match=r"w\.safetensors do not fit the network"):
        load(resolve(str(weights)))


@pytest.mark.parametrize("left", [0.9, 0.5])
def test_a_file_that_is_cut_off_is_refused_before_torch_sees_it(weights, left):
    data = weights.read_bytes()
    weights.write_bytes(data[: int(left * len(data))])
    with pytest.raises(
        UsageError, match=rf"cut off: {int(left * len(data))} of its {len(data)} bytes .* copy it again"
    ):
        resolve(str(weights))


def test_a_file_cut_off_in_its_header_is_refused(weights):
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(UsageError, match="is not a dtcseg weights file"):
        resolve(str(weights))


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.safetensors"])
def test_pickles_are_refused_whatever_they_are_called_and_never_opened(tmp_path, name):
    path = tmp_path / name
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (marker.touch, ())

    torch.save({"a": torch.zeros(3)}, path)
    for content in (path.read_bytes(), pickle.dumps(Bomb())):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="PyTorch or pickle file, which can run code"):
            resolve(str(path))
    assert not marker.exists()


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "w.onnx"
    path.write_bytes(b"anything")
    with pytest.raises(UsageError, match=r"w\.onnx is no \.safetensors file"):
        resolve(str(path))


def test_released_weights_that_are_not_what_the_index_says(weights, tmp_path, monkeypatch):
    index = {"default": "r", "weights": {"r": {"file": "w.safetensors", "sha256": "0" * 64}}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr("dtcseg.network.weights.resources.files", lambda package: tmp_path)
    with pytest.raises(UsageError, match=r"not what the index says .* install dtcseg again"):
        resolve()
    (tmp_path / "index.json").write_text('{"default": "gone", "weights": {}}')
    with pytest.raises(UsageError, match="index cannot be read"):
        resolve()
