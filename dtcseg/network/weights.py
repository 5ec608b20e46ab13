"""Weights files: safetensors with their card inside, found by name through `weights/index.json`.

Nothing here can run code: the format holds arrays and one text, and the text is read as JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtcseg import __version__
from dtcseg.errors import UsageError
from dtcseg.network.history import VARIABLE, own_folder, own_names, read_history, standing, stored
from dtcseg.network.laboratory import laboratories_of
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn import Module

    from dtcseg.network.history import Line
    from dtcseg.network.model import Look, Screen

ARCHITECTURE = "dtcseg-cascade-2"
_CARD_KEY = "dtcseg_card"
_LABORATORY = "laboratory{}"
_MAX_HEADER_BYTES = 1 << 24
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of what `torch.save` (a ZIP file) and `pickle` write."""
_IS_PICKLED = (
    "a PyTorch or pickle file, which can run code when it is opened; dtcseg reads .safetensors files with its card only"
)
_HASH = "sha256:"
_LEAST_DIGITS = 8
_COPY = "copy it again from where it came from"
_REINSTALL = "install dtcseg again"
_ROLLBACK = "put it back from a copy, or go back with `dtcseg weights rollback`"


@dataclass(frozen=True)
class Card:
    """What a user of the weights must know, and what scoring with them needs.

    Attributes
    ----------
    name : str
    architecture : str
        Must equal `ARCHITECTURE`.
    nucleus_threshold, candidate_threshold : float
        Least screening probability (0..1) of a counted nucleus and of a candidate.
    tumour_threshold : float
        Least calibrated score of the call "tumour".
    temperature : float
        The call logits are divided by it (Guo et al. 2017, ICML: temperature scaling), fitted on slides not trained on.
    count_relative_sd : float
        Standard deviation of (counted - true) / true nuclei over slides not trained on; gives `mnc_low..high`.
    parent : str
        sha256 of the weights these were fitted from, "" when from scratch.
    trained_on : dict
        Sources, licences, numbers and seed, for the record.
    figures : dict
        Figures measured on slides not trained on, for the record.
    laboratories : list of dict
        `Laboratory.to_json` of those that were learned from; none in released weights.
    """

    name: str
    architecture: str
    nucleus_threshold: float
    candidate_threshold: float
    tumour_threshold: float
    temperature: float
    count_relative_sd: float
    parent: str = ""
    trained_on: dict[str, object] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)
    laboratories: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class WeightsInfo:
    """A weights file that was found and whose card was read."""

    name: str
    path: Path
    sha256: str
    card: Card = field(compare=False)


def resolve(model: str = "") -> WeightsInfo:
    """Find weights by name, hash or file; loads no torch.

    Parameters
    ----------
    model : str
        A name of released weights or of the laboratory's own (`dtcseg weights list`), eight or more hex digits of
        a SHA-256, the path of a `.safetensors` file, or "" for what is in use here: the laboratory's choice, else
        the default of the released weights.

    Raises
    ------
    UsageError
        There is no such name or file, it is not a dtcseg weights file, is of another architecture, or is not what the
        index says.
    """
    if model.endswith(".safetensors"):
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"--model {one_line(model)}: there is no such file")
        return _open(path)
    if Path(model).suffix.lower() in _PICKLED:
        raise UsageError(f"{one_line(Path(model).name)} is {_IS_PICKLED}")
    if model and Path(model).is_file():
        raise UsageError(f"{one_line(Path(model).name)} is no .safetensors file, which is all that dtcseg reads")
    path, sha256, name, remedy = _known(model)
    return replace(_open(path, sha256, name, remedy), name=name)


def find_sha256(sha256: str) -> WeightsInfo | None:
    """Find released or own weights by their whole SHA-256; None where they are not here, or not what they were."""
    try:
        return resolve(f"{_HASH}{sha256}") if sha256 else None
    except UsageError:
        return None


def released_weights() -> tuple[str, dict[str, tuple[Path, str]]]:
    """Read the index of the released weights: name of the default; file and SHA-256 by name.

    Raises
    ------
    UsageError
        It cannot be read.
    """
    folder = Path(str(resources.files("dtcseg_weights")))
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        entries = {str(k): (folder / str(v["file"]), str(v["sha256"])) for k, v in index["weights"].items()}
        default = str(index["default"])
        if default not in entries:
            raise KeyError(default)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the weights index cannot be read ({error}); install dtcseg again") from error
    return default, entries


def _known(model: str) -> tuple[Path, str, str, str]:
    """Path, SHA-256, name and remedy of weights by name or hash; "" is what is in use."""
    default, released = released_weights()
    folder = own_folder()
    if model in released:
        return (*released[model], model, _REINSTALL)
    history = read_history(folder)
    if not model:
        uses = standing(history)
        if not uses:
            return (*released[default], default, _REINSTALL)
        return _in_use(uses[-1], released, folder)
    own = own_names(history)
    if model in own:
        return stored(folder, own[model]), own[model], model, _ROLLBACK
    digits = model.removeprefix(_HASH).lower()
    if len(digits) >= _LEAST_DIGITS and set(digits) <= set("0123456789abcdef"):
        found = [(*entry, name, _REINSTALL) for name, entry in released.items() if entry[1].startswith(digits)]
        found += [(stored(folder, sha), sha, name, _ROLLBACK) for name, sha in own.items() if sha.startswith(digits)]
        if found:
            return found[0]
    if model.startswith(_HASH):
        raise UsageError(
            f"the weights {digits[:12]} are not on this machine; install the same dtcseg, or let {VARIABLE} name a "
            "folder that all machines see"
        )
    names = ", ".join(one_line(name) for name in (*sorted(released), *own))
    raise UsageError(f"--model {one_line(model)!r} is neither a .safetensors file nor one of: {names}")


def _in_use(line: Line, released: dict[str, tuple[Path, str]], folder: Path) -> tuple[Path, str, str, str]:
    """Find what a line of the history took into use."""
    if not line.released:
        return stored(folder, line.sha256), line.sha256, line.name, _ROLLBACK
    for name, (path, sha256) in released.items():
        if sha256 == line.sha256:
            return path, sha256, name, _REINSTALL
    raise UsageError(
        f"the weights in use, {one_line(line.name)}, do not come with dtcseg {__version__}; choose others with "
        "`dtcseg weights use NAME` or go back with `dtcseg weights rollback`"
    )


def _open(path: Path, expected: str = "", name: str = "", remedy: str = _COPY) -> WeightsInfo:
    """Hash a file, hold it against what it should be, and read its card."""
    name = one_line(name or path.name)
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"weights {name}: {one_line(path)} cannot be read ({error.strerror}); {remedy}") from error
    if expected and sha256 != expected:
        raise UsageError(f"weights {name} are not what the index says (sha256 differs); {remedy}")
    card = read_card(path)
    return WeightsInfo(name=card.name, path=path, sha256=sha256, card=card)


def read_card(path: Path) -> Card:
    """Read the card in the header of a weights file; loads no torch.

    Raises
    ------
    UsageError
        The file is not a dtcseg weights file of this architecture.
    """
    name = one_line(path.name)
    problem = f"{name} is not a dtcseg weights file"
    try:
        header = _header(path, problem)
        values = json.loads(header["__metadata__"][_CARD_KEY])
        if not isinstance(values, dict):
            raise TypeError("card is not a table")
        if values.get("architecture") != ARCHITECTURE:
            found = str(values.get("architecture"))
            raise UsageError(
                f"{name} is of architecture {one_line(found)!r}; this dtcseg runs {ARCHITECTURE!r}. Use the dtcseg "
                "that made it, or learn again with this one"
            )
        known = {f.name for f in fields(Card)}
        card = Card(**{k: v for k, v in values.items() if k in known})
        for key in ("nucleus_threshold", "candidate_threshold", "tumour_threshold", "temperature", "count_relative_sd"):
            if not 0 <= float(getattr(card, key)) < 100:
                raise ValueError(f"{key} is out of range")
        laboratories_of(card.laboratories)
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{problem} ({type(error).__name__}: {one_line(error)})") from error
    return card


def _header(path: Path, problem: str) -> dict[str, Any]:
    """Read the header of a safetensors file, and see whether all of the file is there.

    Raises
    ------
    UsageError
        It is a pickle, no safetensors file, or cut off.
    ValueError, KeyError, TypeError
        The header is damaged.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        size = int.from_bytes(start, "little")
        if not 2 <= size <= _MAX_HEADER_BYTES:  # what `_PICKLE_STARTS` begins is a larger number than any header's size
            pickled = start.startswith(_PICKLE_STARTS)
            raise UsageError(
                f"{one_line(path.name)} is {_IS_PICKLED}" if pickled else f"{problem} (no safetensors header)"
            )
        header = json.loads(stream.read(size))
    if not isinstance(header, dict):
        raise TypeError("its header is not a table")
    ends = [int(value["data_offsets"][1]) for key, value in header.items() if key != "__metadata__"]
    whole, there = 8 + size + max(ends, default=0), path.stat().st_size
    if there < whole:
        raise UsageError(f"{one_line(path.name)} is cut off: {there} of its {whole} bytes are there; {_COPY}")
    return header


def save(path: Path, screen: Screen, look: Look, card: Card, looks: Sequence[Look] = ()) -> str:
    """Write weights and card into one file, whole or not at all; returns its sha256.

    Parameters
    ----------
    path : Path
    screen, look : Screen, Look
    card : Card
    looks : sequence of Look
        Of the laboratories, in the order of the card.
    """
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    own = [(_LABORATORY.format(number), network) for number, network in enumerate(looks)]
    for prefix, network in (("screen", screen), ("look", look), *own):
        for key, value in network.state_dict().items():
            tensors[f"{prefix}.{key}"] = value.detach().cpu().contiguous()
    data = to_bytes(tensors, {_CARD_KEY: json.dumps(asdict(card), sort_keys=True)})
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(data)
    beside.replace(path)
    return hashlib.sha256(data).hexdigest()


def load(info: WeightsInfo) -> tuple[Screen, Look]:
    """Build both networks with these weights, on the CPU, ready to run.

    Raises
    ------
    UsageError
        The arrays do not fit the architecture.
    """
    from dtcseg.network.model import Look, Screen

    screen, look = Screen(), Look()
    _fill(info, [("screen", screen), ("look", look)])
    return screen.eval(), look.eval()


def load_looks(info: WeightsInfo) -> list[Look]:
    """Build the looks of the laboratories in the card, as `load`."""
    from dtcseg.network.model import Look

    looks = [Look().eval() for _ in info.card.laboratories]
    _fill(info, [(_LABORATORY.format(number), look) for number, look in enumerate(looks)])
    return looks


def _fill(info: WeightsInfo, networks: Sequence[tuple[str, Module]]) -> None:
    """Load the arrays whose names begin with each prefix."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    if not networks:
        return
    try:
        tensors = from_bytes(info.path.read_bytes())
        for prefix, network in networks:
            state = {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
            network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"weights {info.path.name} do not fit the network ({reason})") from error
