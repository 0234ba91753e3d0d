"""The policies that assets name: when a leaf refreshes itself, and how fresh the spine must be."""

from datetime import timedelta

import dagster as dg

_LATEST = dg.AutomationCondition.in_latest_time_window()

WHEN_INPUTS_CHANGE = (
    dg.AutomationCondition.eager().without(_LATEST) & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("when_inputs_change")
"""For cheap leaves: again whenever an input was made again and its blocking checks passed, whichever day it was."""

DAILY_BY_MORNING = dg.FreshnessPolicy.cron(deadline_cron="0 8 * * *", lower_bound_delta=timedelta(hours=8), timezone="UTC")
"""For the spine: made between midnight and 08:00 UTC. It looks at the asset, not at a partition: making an old day again
counts as fresh."""
