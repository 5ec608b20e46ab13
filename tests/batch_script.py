"""A run in a process of its own, to be killed: batch_script.py SLIDES OUT WORKERS [watch]."""

import sys
from pathlib import Path

import fake_scoring


def main() -> int:
    from dtcseg import arrivals, batch  # not above: the workers import this module again
    from dtcseg.config import ScoreConfig
    from dtcseg.manifest import find_slides

    folder, config = Path(sys.argv[1]), ScoreConfig(out=Path(sys.argv[2]), workers=int(sys.argv[3]))
    fakes = {"scorer": fake_scoring.score, "weights": fake_scoring.WEIGHTS}
    if "watch" in sys.argv:
        arrivals.SETTLE_S, batch.LOOK_EVERY_S = 0.5, 0.2
        return batch.watch_folders([folder], config, **fakes).status
    jobs, failures = find_slides([folder])
    return batch.score_jobs(jobs, failures, config, **fakes).status


if __name__ == "__main__":
    sys.exit(main())
