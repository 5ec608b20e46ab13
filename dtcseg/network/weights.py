"""Weights files: safetensors with their card inside, found by name through `weights/index.json`.

Nothing here can run code: the format holds arrays and one text, and the text is read as JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from dtcseg.network.model import Look, Screen

ARCHITECTURE = "dtcseg-cascade-2"
_CARD_KEY = "dtcseg_card"
_MAX_HEADER_BYTES = 1 << 24


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


@dataclass(frozen=True)
class WeightsInfo:
    """A weights file that was found and whose card was read."""

    name: str
    path: Path
    sha256: str
    card: Card = field(compare=False)


def resolve(model: str = "") -> WeightsInfo:
    """Find weights by name or file; loads no torch.

    Parameters
    ----------
    model : str
        A name in the index, the path of a `.safetensors` file, or "" for the index's default.

    Raises
    ------
    UsageError
        There is no such name or file, it is not a dtcseg weights file, is of another architecture, or is not what the
        index says.
    """
    expected = ""
    if model.endswith(".safetensors"):
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"--model {model}: there is no such file")
    else:
        path, expected = _from_index(model)
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"weights {path} cannot be read ({error.strerror}); install dtcseg again") from error
    if expected and sha256 != expected:
        raise UsageError(f"weights {path.name} are not what the index says (sha256 differs); install dtcseg again")
    card = read_card(path)
    return WeightsInfo(name=card.name, path=path, sha256=sha256, card=card)


def _from_index(name: str) -> tuple[Path, str]:
    """Path and sha256 of weights in the index; "" is its default."""
    folder = Path(str(resources.files("dtcseg_weights")))
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        entries = {str(k): (str(v["file"]), str(v["sha256"])) for k, v in index["weights"].items()}
        default = str(index["default"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the weights index cannot be read ({error}); install dtcseg again") from error
    if (name or default) not in entries:
        raise UsageError(f"--model {name!r} is neither a .safetensors file nor one of: {', '.join(sorted(entries))}")
    file, sha256 = entries[name or default]
    return folder / file, sha256


def read_card(path: Path) -> Card:
    """Read the card in the header of a weights file; loads no torch.

    Raises
    ------
    UsageError
        The file is not a dtcseg weights file of this architecture.
    """
    problem = f"{path.name} is not a dtcseg weights file"
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if not 2 <= size <= _MAX_HEADER_BYTES:
                raise UsageError(f"{problem} (no safetensors header)")
            values = json.loads(json.loads(stream.read(size))["__metadata__"][_CARD_KEY])
        if not isinstance(values, dict):
            raise TypeError("card is not a table")
        if values.get("architecture") != ARCHITECTURE:
            found = str(values.get("architecture"))
            raise UsageError(f"{path.name} is of architecture {found!r}; this dtcseg runs {ARCHITECTURE!r}")
        known = {f.name for f in fields(Card)}
        card = Card(**{k: v for k, v in values.items() if k in known})
        for key in ("nucleus_threshold", "candidate_threshold", "tumour_threshold", "temperature", "count_relative_sd"):
            if not 0 <= float(getattr(card, key)) < 100:
                raise ValueError(f"{key} is out of range")
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{problem} ({type(error).__name__}: {error})") from error
    return card


def save(path: Path, screen: Screen, look: Look, card: Card) -> str:
    """Write weights and card into one file, whole or not at all; returns its sha256."""
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    for prefix, network in (("screen", screen), ("look", look)):
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
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    from dtcseg.network.model import Look, Screen

    screen, look = Screen(), Look()
    try:
        tensors = from_bytes(info.path.read_bytes())
        for prefix, network in (("screen", screen), ("look", look)):
            state = {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
            network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"weights {info.path.name} do not fit the network ({reason})") from error
    return screen.eval(), look.eval()
