"""The laboratory's own weights: taken into use, given up, kept whole; what is not sound is refused with the reason."""

import json
import struct

import pytest
import torch
from typer.testing import CliRunner

from dtcseg import registry
from dtcseg.cli import app
from dtcseg.errors import UsageError
from dtcseg.network.history import HISTORY, append, read_history, stored
from dtcseg.network.model import Look, Screen
from dtcseg.network.weights import ARCHITECTURE, Card, find_sha256, released_weights, resolve, save

RELEASED = released_weights()[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "own"
    monkeypatch.setenv("DTCSEG_WEIGHTS", str(place))
    return place


@pytest.fixture
def make(tmp_path):
    def write(name, seed, **more):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        sha256 = save(path, Screen(), Look(), Card(name, ARCHITECTURE, 0.4, 0.2, 0.5, 1.2, 0.01, **more))
        return path, sha256

    return write


def test_released_weights_are_in_use_until_others_are(folder, make):
    assert registry.in_use().released
    assert resolve().name == RELEASED
    path, sha256 = make("ours", 1)
    done = registry.use(str(path))
    assert (done.now.sha256, done.before) == (sha256, RELEASED)
    path.unlink()  # the laboratory's folder holds a copy
    assert resolve().sha256 == sha256
    assert resolve("ours").sha256 == resolve(sha256[:8]).sha256 == resolve(f"sha256:{sha256}").sha256 == sha256
    assert resolve(RELEASED).name == RELEASED
    assert find_sha256(sha256).name == "ours"
    assert find_sha256("0" * 64) is None


def test_rollback_goes_back_one_after_the_other_and_the_history_keeps_all(folder, make):
    (first, one), (second, two) = make("ours", 1), make("ours", 2)
    registry.use(str(first))
    registry.use(str(second))
    lines = (folder / HISTORY).read_bytes()
    known = registry.list_weights()
    assert [(k.name, k.in_use) for k in known] == [(RELEASED, False), ("ours", False), (f"ours-{two[:8]}", True)]
    assert registry.rollback().now.sha256 == one
    assert (folder / HISTORY).read_bytes().startswith(lines)
    assert registry.rollback().now.name == RELEASED
    with pytest.raises(UsageError, match="nothing was before them"):
        registry.rollback()
    assert [line.action for line in read_history(folder)] == ["use", "use", "rollback", "rollback"]
    assert registry.use("ours").now.sha256 == one  # given up is not gone


def test_the_same_again_changes_nothing(folder, make):
    path, _ = make("ours", 1)
    registry.use(str(path))
    assert not registry.use("ours").changed
    assert len(read_history(folder)) == 1


def test_released_weights_can_be_chosen_and_cannot_be_replaced(folder, make):
    path, sha256 = make(RELEASED, 3)
    registry.use(str(path))
    assert resolve(RELEASED).sha256 == released_weights()[1][RELEASED][1]
    assert resolve(f"{RELEASED}-{sha256[:8]}").sha256 == sha256
    assert registry.use(RELEASED).now.name == RELEASED
    assert not list(folder.glob(f"{resolve(RELEASED).sha256}*"))  # they stay where they came with dtcseg


def test_names_lead_nowhere_else(folder, make):
    path, sha256 = make("../../x\n<b>.safetensors", 4)
    registry.use(str(path))
    assert registry.list_weights()[-1].name == "x-b"
    assert sorted(p.name for p in folder.iterdir() if p.name != ".lock") == sorted([f"{sha256}.safetensors", HISTORY])


def test_a_file_in_use_that_is_changed_or_gone_is_refused_and_given_up(folder, make):
    path, sha256 = make("ours", 1)
    registry.use(str(path))
    place = stored(folder, sha256)
    content = place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match=r"not what the index says .*`dtcseg weights rollback`"):
        resolve()
    assert "sha256 differs" in registry.list_weights()[-1].problem
    place.unlink()
    with pytest.raises(UsageError, match=r"cannot be read .*`dtcseg weights rollback`"):
        resolve()
    assert registry.rollback().now.name == RELEASED
    registry.use(str(path))  # from the file again: the copy is made anew
    assert place.read_bytes() == content


def test_rollback_to_what_is_gone_says_so_and_changes_nothing(folder, make):
    (first, one), (second, two) = make("first", 1), make("second", 2)
    registry.use(str(first))
    registry.use(str(second))
    stored(folder, one).unlink()
    with pytest.raises(UsageError, match="`dtcseg weights use NAME`"):
        registry.rollback()
    assert resolve().sha256 == two


def _other_architecture(path):
    header = json.dumps(
        {"__metadata__": {"dtcseg_card": json.dumps({"name": "x", "architecture": "other-9"})}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def _broken_numbers(path):
    screen = Screen()
    with torch.no_grad():
        next(iter(screen.parameters())).flatten()[0] = float("nan")
    save(path, screen, Look(), Card("nan", ARCHITECTURE, 0.4, 0.2, 0.5, 1.2, 0.01))


def _without_an_array(path):
    from safetensors.torch import save as to_bytes

    card = Card("few", ARCHITECTURE, 0.4, 0.2, 0.5, 1.2, 0.01)
    path.write_bytes(to_bytes({"screen.x": torch.zeros(2)}, {"dtcseg_card": json.dumps(card.__dict__)}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not a dtcseg weights file|cut off"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "cut off"),
        (_other_architecture, "architecture 'other-9'"),
        (_broken_numbers, "values that are no numbers"),
        (_without_an_array, "do not fit the network"),
        (lambda path: torch.save({"a": 1}, path), "can run code"),
        (lambda path: path.write_bytes(b""), "no safetensors header"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_what_is_not_sound_is_never_taken_into_use(folder, make, damage, reason):
    path, _ = make("ours", 1)
    damage(path)
    result = CliRunner().invoke(app, ["weights", "use", str(path)])
    with pytest.raises(UsageError, match=reason) as caught:
        registry.use(str(path))
    assert "\n" not in str(caught.value)
    assert isinstance(result.exception, UsageError)
    assert not (folder / HISTORY).exists()
    assert resolve().name == RELEASED


@pytest.mark.parametrize("row", [b"{", b"[]", b'{"n": 2}', b"\xff\xfe"])
def test_a_damaged_history_is_never_guessed_at(folder, make, row):
    registry.use(str(make("ours", 1)[0]))
    with (folder / HISTORY).open("ab") as file:
        file.write(row + b"\n")
    with pytest.raises(UsageError, match=rf"{HISTORY}:2: cannot be read"):
        resolve()
    assert resolve(RELEASED).name == RELEASED  # named weights need no history


def test_two_who_change_at_once_do_not_overwrite_each_other(folder, make):
    registry.use(str(make("ours", 1)[0]))
    with pytest.raises(UsageError, match="changed just now"):
        append(folder, "rollback", "", "", released=True, after=0)
    assert len(read_history(folder)) == 1


def test_the_command_line_shows_hash_gate_and_force(folder, make):
    path, sha256 = make("ours", 1, parent="a" * 64, trained_on={"verdicts": 200}, figures={"recall": 0.9})
    run = CliRunner().invoke
    assert run(app, ["weights", "use", str(path)]).exit_code == 0
    listed = run(app, ["weights", "list"]).output
    assert [line.split()[:3] for line in listed.splitlines()[1:3]] == [
        [RELEASED, resolve(RELEASED).sha256[:12], "released"],
        ["*", "ours", sha256[:12]],
    ]
    shown = run(app, ["weights", "show"]).output
    for text in (sha256, ARCHITECTURE, "a" * 64, "verdicts: 200", "recall: 0.9", "since 20"):
        assert text in shown
    forced, _ = make(
        "forced", 2, figures={"gate": "refused: recall is lower", "overridden": ["forced: recall is lower"]}
    )
    assert run(app, ["weights", "use", str(forced)]).exit_code == 0
    assert "FORCED: forced: recall is lower" in run(app, ["weights", "show"]).output
    assert "FORCED" in run(app, ["weights", "list"]).output.splitlines()[-2]
    assert "FORCED" not in run(app, ["weights", "show", "ours"]).output
    assert "given up: forced" in run(app, ["weights", "rollback"]).output
