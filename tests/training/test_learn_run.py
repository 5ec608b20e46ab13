"""Learning as a whole, on small slides and with far too few steps to be of use: what is written, refused, resumed."""

import re
import shutil
from dataclasses import replace

import pytest
from dtcseg_training.learn import Refused, Sizes, Stopped
from dtcseg_training.learn.outcome import GateResult
from dtcseg_training.learn.pages import card_text
from dtcseg_training.learn.run import _figures, learn
from dtcseg_training.learn.tune import FitPlan
from dtcseg_training.state import FitState
from making_reviews import make_results, read_all
from typer.testing import CliRunner

from dtcseg.cli import app
from dtcseg.errors import UsageError
from dtcseg.network.laboratory import laboratories_of
from dtcseg.network.weights import load, load_looks, resolve

SIZES = Sizes(alike=2, aside=1, judging=1, reference=2)
HOSTILE = "<script>alert(1)</script>"


def few_steps(said, controls, seed, device):
    return FitPlan(4, 2, 2 if controls else 0, 1e-3, seed, device)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("learn")
    results = make_results(root, "abcd", patients=["p1", HOSTILE, "p3", "donor"], control="d")
    read_all(results)
    return root


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("dtcseg_training.learn.tune.plan_for", few_steps)
    monkeypatch.setattr("dtcseg_training.learn.tune._BATCH", 6)
    monkeypatch.setattr("dtcseg_training.learn.run.cores", lambda: 1)
    monkeypatch.setattr("dtcseg_training.learn.tune._SAVE_EVERY", 2)
    monkeypatch.setattr("dtcseg_training.learn.alike._PILOTS", 6)


def run(place, out, **options):
    return learn([place / "out"], out, work=place / "work", sizes=SIZES, device="cpu", **options)


@pytest.fixture(scope="module")
def refused(place):
    """The first run, which draws the simulated fields; the gate is told to refuse."""
    patch = pytest.MonkeyPatch()
    patch.setattr("dtcseg_training.learn.tune.plan_for", few_steps)
    patch.setattr("dtcseg_training.learn.tune._BATCH", 6)
    patch.setattr("dtcseg_training.learn.alike._PILOTS", 6)
    patch.setattr("dtcseg_training.learn.run.cores", lambda: 1)
    patch.setattr("dtcseg_training.learn.contest.decide", decided(False))
    told = []
    outcome = run(place, place / "refused.safetensors", progress=told.append)
    patch.undo()
    return outcome, told, outcome.challenger.read_bytes()


def decided(promoted):
    return lambda *found, alike=None: GateResult(promoted, f"because {HOSTILE}", *found)


def test_a_refused_challenger_is_not_written(refused, place):
    outcome, told, _ = refused
    assert not outcome.promoted
    assert outcome.weights is None
    assert not (place / "refused.safetensors").exists()
    assert not (place / "refused.md").exists()
    assert resolve(str(outcome.challenger)).card.parent == resolve().sha256
    assert [t.share for t in told] == sorted(t.share for t in told)
    assert told[-1].share == 1
    assert {t.step for t in told} == {"collect", "alike", "reference", "fit", "gate", "write"}
    assert outcome.data.split_by == "patient"
    assert 0 < outcome.data.held_out < sum(outcome.data.cells.values())
    assert outcome.data.from_controls == 7  # of the slide that nobody read
    assert not any("contradict" in line for line in outcome.gate.warnings)


def test_the_report_shows_what_changed_and_runs_nothing(refused):
    outcome, _, _ = refused
    page = outcome.report.read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:image/png;base64,|#)""", page)
    assert page.count("data:image/png;base64") == sum(bool(cell.picture) for cell in outcome.changed)


def test_forced_weights_say_so_for_ever(refused, place, monkeypatch):
    monkeypatch.setattr("dtcseg_training.learn.contest.decide", decided(False))
    forced = run(place, place / "forced.safetensors", force=True)
    assert forced.forced
    info = resolve(str(place / "forced.safetensors"))
    assert info.sha256 == forced.sha256
    assert info.card.figures["overridden"] == [f"forced: gate overridden: because {HOSTILE}"]
    card = (place / "forced.md").read_text()
    assert "The gate was overridden" in card
    assert HOSTILE not in card
    assert "written all the same" in forced.report.read_text()
    assert forced.summary.startswith("refused, and written all the same")
    child = _figures(info.card, forced.gate, forced.threshold, [])
    assert child["overridden"] == info.card.figures["overridden"]
    assert "gate overridden" in card_text(forced, info, replace(info, card=replace(info.card, figures=child)))


def test_what_the_gate_lets_through_is_written(refused, place, monkeypatch):
    monkeypatch.setattr("dtcseg_training.learn.contest.decide", decided(True))
    outcome = run(place, place / "ours.safetensors")
    assert outcome.promoted
    info = resolve(str(place / "ours.safetensors"))
    assert (info.sha256, info.name) == (outcome.sha256, "ours")
    assert "overridden" not in info.card.figures
    assert info.card.trained_on["reviews"]["training_set_sha256"] == outcome.data.sha256
    assert f"sha256 `{info.sha256}`" in (place / "ours.md").read_text()
    for released, same in zip(load(resolve()), load(info), strict=True):  # other slides are seen as before
        values = zip(released.state_dict().values(), same.state_dict().values(), strict=True)
        assert all((a == b).all() for a, b in values)
    (laboratory,) = laboratories_of(info.card.laboratories)
    assert len(laboratory.slides) == 1  # these slides are stained the same
    recall, figures = outcome.gate.reference.recall[1], info.card.figures
    seen, called = figures["candidate_recall_of_tumour"], figures["call_recall_tumour"]
    assert round(recall.total * seen * called) == recall.count  # what the screen misses is counted once


def test_stopped_and_run_again_it_makes_the_same_bits(refused, place, monkeypatch):
    """Stopped at the fit and killed in it: the state of every fit begins anew in a work folder of its own."""
    work = place / "other work"
    shutil.copytree(place / "work", work, ignore=shutil.ignore_patterns("runs", "sets"))
    saved, stops = FitState.save, []

    def stop_after_two(state, path):
        saved(state, path)
        if state.values["steps"] == 2 and not stops:
            stops.append("killed")
            raise KeyboardInterrupt

    monkeypatch.setattr(FitState, "save", stop_after_two)
    monkeypatch.setattr("dtcseg_training.learn.contest.decide", decided(False))
    options = {"work": work, "sizes": SIZES, "device": "cpu"}
    out = place / "refused.safetensors"
    with pytest.raises(KeyboardInterrupt):
        learn([place / "out"], out, **options)
    steps = []
    with pytest.raises(Stopped):
        learn(
            [place / "out"],
            out,
            **options,
            progress=lambda t: steps.append(t.text) if t.step == "fit" else None,
            stop=lambda: len(steps) >= 1,
        )
    assert steps == ["step 3 of 4"]
    again = learn([place / "out"], out, **options)
    assert again.challenger.read_bytes() == refused[2]
    assert again.data.sha256 == refused[0].data.sha256
    before = dict(load(resolve())[1].named_parameters())
    after = dict(load_looks(resolve(str(again.challenger)))[0].named_parameters())
    assert any((before[name] != after[name]).any() for name in before)
    other = learn([place / "out"], out, **{**options, "seed": 2})
    assert other.challenger.read_bytes() != refused[2]


def test_a_reference_set_that_was_changed_is_refused(refused, place, tmp_path):
    shutil.copytree(place / "work", tmp_path / "work")
    folder = next((tmp_path / "work").glob("reference-*"))
    (folder / "00001.npz").write_bytes((folder / "00000.npz").read_bytes())
    options = {"sizes": SIZES, "device": "cpu", "work": tmp_path / "work"}
    with pytest.raises(UsageError, match="not the one that was locked"):
        learn([place / "out"], tmp_path / "new.safetensors", **options)
    (folder / "00001.npz").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="draws it again"):
        learn([place / "out"], tmp_path / "new.safetensors", **options)


def test_the_command_line(refused, place, monkeypatch):
    asked = {}

    def answer(results, out, **options):
        asked.update(options, results=results, out=out)
        return refused[0]

    monkeypatch.setattr("dtcseg_training.learn.run.learn", answer)
    done = CliRunner().invoke(app, ["train", str(place / "out"), "--out", "x.safetensors", "--force", "--seed", "4"])
    assert done.exit_code == 1
    assert done.output.splitlines()[-3].startswith("refused: because")
    assert (asked["force"], asked["seed"], asked["annotations"]) == (True, 4, ())


@pytest.mark.parametrize(
    ("out", "problem"), [("new.pt", "NAME.safetensors"), ("out/new.safetensors", "lies in a results folder")]
)
def test_places_that_cannot_be_written(place, out, problem):
    with pytest.raises(UsageError, match=problem):
        run(place, place / out)


@pytest.mark.parametrize(
    ("patients", "lie", "problem"),
    [
        (["one", "one", "one"], lambda word: word, "at least two patients"),
        (["p1", "p2", "p3"], lambda word: "tumour", "all of one kind"),
        (["p1", "p2", "p3"], lambda word: "artefact" if word == "tumour" else "tumour", "seem to be swapped"),
    ],
)
def test_what_nothing_can_judge_is_refused_before_the_wait(tmp_path, patients, lie, problem):
    results = make_results(tmp_path, patients=patients)
    read_all(results, lie=lie)
    with pytest.raises(Refused, match=problem):
        learn([results], tmp_path / "new.safetensors", sizes=SIZES)
    assert not list((tmp_path / "dtcseg-learn").glob("[ar]*"))


def test_nothing_to_learn_from(tmp_path):
    results = make_results(tmp_path, names=("a",))
    with pytest.raises(UsageError, match="no cell of these results has a verdict"):
        learn([results], tmp_path / "new.safetensors", sizes=SIZES)
