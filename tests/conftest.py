"""Hypothesis profiles: HYPOTHESIS_PROFILE=ci runs ten times as many examples as the default."""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None)
settings.register_profile("quick", max_examples=10, deadline=None)  # for interpreted and bounds-checked kernels
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
