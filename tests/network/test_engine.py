"""Devices, batches and memory."""

import numpy as np
import pytest
import torch

from dtcseg.errors import UsageError
from dtcseg.network.cpu import FusedConvolution, can_fuse
from dtcseg.network.device import choose_device
from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_PX, Look, Screen, fuse
from dtcseg.network.weights import ARCHITECTURE, Card, load, resolve, save

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save(path, Screen(), Look(), Card("test", ARCHITECTURE, 0.5, 0.5, 0.5, 1.0, 0.01))
    return resolve(str(path))


def test_batches_give_the_same_bits(info):
    engine = Engine(info, "cpu")
    planes = RNG.normal(size=(5, 3, 96, 128)).astype(np.float32)
    together = engine.screen(planes)
    assert all(torch.equal(engine.screen(planes[i : i + 1])[0], together[i]) for i in range(5))
    crops = RNG.normal(size=(19, 3, LOOK_PX, LOOK_PX)).astype(np.float32)
    masks, calls = engine.look(crops, 0.03)
    assert masks.shape == (19, 2, LOOK_PX, LOOK_PX)
    np.testing.assert_allclose(calls.sum(1), 1, atol=1e-5)
    for part in (slice(0, 1), slice(7, 12)):
        got = engine.look(crops[part], 0.03)
        np.testing.assert_array_equal(got[0], masks[part])
        np.testing.assert_array_equal(got[1], calls[part])
    assert engine.look(crops[:0], 0.03)[1].shape == (0, 4)


def test_the_networks_of_a_cpu_give_the_bits_of_plain_ones(info):
    """Fewer passes, the same arithmetic."""
    engine, (screen, look) = Engine(info, "cpu"), load(info)
    planes = RNG.normal(size=(1, 3, 96, 160)).astype(np.float32)
    crops = RNG.normal(size=(16, 3, LOOK_PX, LOOK_PX)).astype(np.float32)
    with torch.inference_mode():
        for network in (screen, look):
            fuse(network)
            network.to(memory_format=torch.channels_last)
        inputs = [torch.from_numpy(a).to(memory_format=torch.channels_last) for a in (planes, crops)]
        spread = torch.full((16,), 0.03)
        assert torch.equal(engine.screen(planes), screen(inputs[0]))
        for got, want in zip(engine._looks[0][0](inputs[1], spread), look(inputs[1], spread), strict=True):
            assert torch.equal(got, want)
    passes = [type(module) for module in engine._screen.modules()]
    assert can_fuse() == (FusedConvolution in passes)


def test_without_fused_convolutions_the_plain_ones_run(info, monkeypatch):
    planes = RNG.normal(size=(1, 3, 64, 64)).astype(np.float32)
    fast = Engine(info, "cpu").screen(planes)
    monkeypatch.setattr("dtcseg.network.engine.can_fuse", lambda: False)
    torch.testing.assert_close(Engine(info, "cpu").screen(planes), fast, atol=1e-4, rtol=1e-4)


def test_out_of_memory_halves_the_batch(info):
    """The way of a GPU, with a network that has memory for two tiles."""
    engine, sizes = Engine(info, "cpu"), []

    def small_memory(part):
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return part * 2

    planes = RNG.normal(size=(5, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(torch.cat(engine._in_parts(planes, small_memory)), planes * 2)
    assert sizes == [5, 2, 3, 1, 2]
    with pytest.raises(torch.OutOfMemoryError):
        engine._in_parts(planes, lambda part: small_memory(torch.cat([part] * 3)))


def test_other_errors_are_not_swallowed(info, monkeypatch):
    engine = Engine(info, "cpu")

    def broken(x):
        raise RuntimeError("something else")

    monkeypatch.setattr(engine._screen, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        engine.screen(np.zeros((2, 3, 64, 64), np.float32))


@pytest.mark.parametrize("device", ["mps", "cuda:99", "gpu", "meta", ""])
def test_a_device_that_is_not_there_is_an_error(device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is an Apple GPU")
    with pytest.raises(UsageError, match="--device"):
        choose_device(device, Screen().eval())


def test_auto_finds_something():
    assert choose_device("auto", Screen().eval()).type in ("cpu", "cuda", "mps")
    assert choose_device("cpu", Screen().eval()).type == "cpu"


@pytest.mark.gpu
def test_gpu_agrees_with_the_cpu(info):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    planes = RNG.normal(size=(3, 3, 256, 256)).astype(np.float32)
    crops = RNG.normal(size=(19, 3, LOOK_PX, LOOK_PX)).astype(np.float32)
    cpu, gpu = Engine(info, "cpu"), Engine(info, "cuda")
    torch.testing.assert_close(gpu.screen(planes), cpu.screen(planes), atol=0.05, rtol=0.05)
    for got, want in zip(gpu.look(crops, 0.03), cpu.look(crops, 0.03), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-3)
