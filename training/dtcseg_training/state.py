"""The state of a fit between two epochs, in one safetensors file: networks, optimiser, schedule and what was best."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from dtcseg.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

_VALUES = "values"


@dataclass
class FitState:
    """Everything that the next epoch depends on.

    Attributes
    ----------
    networks : dict
        By name: the one that learns, its average, the best average.
    optimiser : torch.optim.Optimizer
    schedule : torch.optim.lr_scheduler.LRScheduler
    values : dict
        Plain numbers: epochs done, steps, least loss.
    """

    networks: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    values: dict[str, float]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        optimiser = self.optimiser.state_dict()
        for index, moments in optimiser["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value for key, value in moments.items()}
        values = {**self.values, "groups": optimiser["param_groups"], "schedule": self.schedule.state_dict()}
        # safetensors takes what is contiguous and shares no memory
        own = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(to_bytes(own, {_VALUES: json.dumps(values)}))
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Take up the state of a file.

        Raises
        ------
        UsageError
            The file is damaged, or of another fit.
        """
        try:
            data = path.read_bytes()
            tensors = from_bytes(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            values = json.loads(header["__metadata__"][_VALUES])
            for name, network in self.networks.items():
                network.load_state_dict(_under(tensors, f"{name}/"))
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, "optimiser/").items():
                index, what = key.split("/")
                moments.setdefault(int(index), {})[what] = value
            self.optimiser.load_state_dict({"state": moments, "param_groups": values.pop("groups")})
            self.schedule.load_state_dict(values.pop("schedule"))
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(f"{path} is not the state of this fit ({reason}); remove it to begin anew") from error
        self.values.update(values)


def _under(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
