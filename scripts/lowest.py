"""Print the oldest versions that pyproject.toml allows for the core, as pip constraints.

Usage: lowest.py pyproject.toml
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_BOUND = re.compile(r"^([A-Za-z0-9._-]+)>=([^;,\s]+)")


def main(path: Path) -> None:
    """Print one `name==version` a dependency; a dependency without a lower bound is an error."""
    for requirement in tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]:
        bound = _BOUND.match(requirement)
        if bound is None:
            sys.exit(f"{requirement}: has no lower bound")
        print(f"{bound[1]}=={bound[2]}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
