"""The second look from all sides does not care how a crop lies."""

import numpy as np
import pytest
import torch

from dtcseg.network.engine import Engine
from dtcseg.network.model import LOOK_PX, Screen
from dtcseg.network.sides import look_from_all_sides, worth_all_sides
from dtcseg.network.weights import ARCHITECTURE, Card, load, resolve, save

SPREAD = torch.tensor(0.03)


@pytest.fixture
def look():
    return load(resolve(""))[1].eval()


@pytest.fixture
def crop():
    """Return a stained cell with its nucleus to one side."""
    rows, columns = np.mgrid[:LOOK_PX, :LOOK_PX] - LOOK_PX / 2
    planes = np.random.default_rng(1).normal(0, 0.02, (3, LOOK_PX, LOOK_PX))
    planes[0] += 0.6 * (np.hypot(rows + 3, columns - 5) < 10)
    planes[1] += 0.7 * (np.hypot(rows, 0.8 * columns) < 20)
    return torch.from_numpy(planes.astype(np.float32))


def test_a_turned_or_mirrored_crop_has_the_same_calls_and_turned_masks(look, crop):
    with torch.inference_mode():
        masks, calls = look_from_all_sides(look, crop, SPREAD)
        for turned, back in (
            (torch.rot90(crop, 1, (1, 2)), lambda m: torch.rot90(m, -1, (1, 2))),
            (torch.flip(crop, (2,)), lambda m: torch.flip(m, (2,))),
            (torch.flip(crop, (1,)), lambda m: torch.flip(m, (1,))),
        ):
            other_masks, other_calls = look_from_all_sides(look, turned, SPREAD)
            torch.testing.assert_close(other_calls, calls, atol=1e-5, rtol=0)
            torch.testing.assert_close(back(other_masks), masks, atol=1e-5, rtol=0)
            single = look(turned[None], SPREAD[None])[1][0] - look(crop[None], SPREAD[None])[1][0]
            assert single.abs().max() > 1e-3  # one look does care


def test_only_what_might_be_a_tumour_cell_is_looked_at_again(tmp_path, look, crop, monkeypatch):
    assert worth_all_sides(torch.tensor([[0.0, 0, 0, 5.0], [0.0, 0, 0, 1.0]])).tolist() == [False, True]
    save(tmp_path / "w.safetensors", Screen(), look, Card("test", ARCHITECTURE, 0.5, 0.5, 0.5, 1.0, 0.01))
    engine = Engine(resolve(str(tmp_path / "w.safetensors")), "cpu")
    crops = torch.stack([crop] * 3).numpy()
    _, all_sides = engine.look(crops, float(SPREAD))
    with torch.inference_mode():
        want = look_from_all_sides(look, crop, SPREAD)[1].softmax(0)
        assert worth_all_sides(look(crop[None], SPREAD[None])[1]).all()
    np.testing.assert_allclose(all_sides, want.numpy()[None].repeat(3, 0), atol=1e-4)
    monkeypatch.setattr("dtcseg.network.sides.CLOSER", 1.1)
    with torch.inference_mode():
        once = look(crop[None], SPREAD[None])[1][0].softmax(0)
    np.testing.assert_allclose(engine.look(crops, float(SPREAD))[1], once.numpy()[None].repeat(3, 0), atol=1e-4)
