"""What every test shares: reproducible Hypothesis runs that fit into a loaded machine.

`HYPOTHESIS_PROFILE=hunt` draws other examples every time and ten times as many: for a search, not for a verdict.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=60,
                          suppress_health_check=QUIET)
settings.register_profile("hunt", deadline=None, max_examples=600, print_blob=True, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
