"""A cohort to fill."""

import pytest
from making_study import Cohort


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)
