"""A run in a process of its own, to be killed: batch_script.py SLIDES OUT WORKERS."""

import sys
from pathlib import Path

import fake_scoring


def main() -> int:
    from dtcseg.batch import score_jobs  # not above: the workers import this module again
    from dtcseg.config import ScoreConfig
    from dtcseg.manifest import find_slides

    jobs, failures = find_slides([Path(sys.argv[1])])
    config = ScoreConfig(out=Path(sys.argv[2]), workers=int(sys.argv[3]))
    return score_jobs(jobs, failures, config, scorer=fake_scoring.score, weights=fake_scoring.WEIGHTS).status


if __name__ == "__main__":
    sys.exit(main())
