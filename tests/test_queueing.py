"""The simulations behind the cost model give what can be worked out by hand."""

import numpy as np
import pytest
from benchmark_files import load_benchmark


@pytest.fixture(scope="module")
def queueing():
    return load_benchmark("queueing")


@pytest.mark.parametrize(
    ("work", "workers", "cores", "seconds"),
    [
        ([], 2, 2, 0),
        ([10, 20, 30], 1, 1, 60),
        ([10] * 16, 2, 2, 80),
        ([10] * 16, 4, 2, 80),  # four that share two cores are no faster than two
        ([10] * 3, 2, 2, 20),
        ([10] * 3, 3, 2, 15),  # three share two cores evenly
        ([5, 40], 2, 1, 45),
        ([30, 10, 10, 10], 2, 2, 30),
    ],
)
def test_batch(queueing, work, workers, cores, seconds):
    assert queueing.batch_seconds(work, workers, cores) == pytest.approx(seconds)


def test_batch_starts_and_writes(queueing):
    assert queueing.batch_seconds([10] * 4, 2, 2, start_s=3) == pytest.approx(23)
    assert queueing.batch_seconds([10] * 4, 2, 2, write_s=1) == pytest.approx(22)  # both end at once, one is written
    assert queueing.batch_seconds([1] * 4, 2, 2, write_s=5) == pytest.approx(21)  # writing cannot keep up


def test_waiting_is_that_of_theory(queueing):
    """Pollaczek, Khinchine: with arrivals at random and equal work, the mean wait is work * load / (2 (1 - load))."""
    load, service = 0.8, 10.0
    arrivals = np.cumsum(np.random.default_rng(1).exponential(service / load, 50_000))
    waited = np.mean(queueing.delays(arrivals.tolist(), service, 1)) - service
    assert waited == pytest.approx(service * load / (2 * (1 - load)), rel=0.1)


def test_arrivals_are_on_working_days(queueing):
    arrivals = np.array(queueing.arrivals_of_a_year(5000, seed=0))
    assert len(arrivals) == 5000
    day, hour = arrivals // 86400, arrivals % 86400 / 3600
    assert set(day % 7) == {0, 1, 2, 3, 4}
    assert len(set(day)) == 250
    assert hour.min() >= 8
    assert hour.max() <= 18


def test_fewest_workers_that_suffice(queueing):
    arrivals = queueing.arrivals_of_a_year(1000, seed=0)
    needed = queueing.workers_needed(arrivals, 3000, 4000)
    late = [np.quantile(queueing.delays(arrivals, 3000, number), 0.99) > 4000 for number in (needed - 1, needed)]
    assert late == [True, False]
    with pytest.raises(ValueError, match="longer"):
        queueing.workers_needed(arrivals, 100, 50)
