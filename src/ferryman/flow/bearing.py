"""Calls under way count in budgets that come, or are counted anew, while they run.

Records say which limits bear a call by their names, and so the ledger counts it in any budget that
such a limit has later. But it has a call only once that has ended.
"""

from ferryman.flow.call import Call, Plane
from ferryman.meter.counters import forms
from ferryman.meter.limits import Limit, Moment


def bear_all(plane: Plane) -> None:
    """Let all calls under way count in the budgets that there are now."""
    limiter = plane.limits
    for call in list(limiter.bearing.values()) if limiter is not None else ():
        bear(call)


def bear(call: Call) -> None:
    """Let all that the call has taken of a limit's budgets count in those that it has now."""
    limiter, counters = call.plane.limits, call.plane.counters
    if limiter is None or call.grant is None:
        return
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    for grant in (call.grant, *call.more, *call.rooms):
        added = []
        for key in dict.fromkeys(grant.budgets):
            name = key.partition("|")[0]
            for meter in limiter.budgets.get(name, ()):
                if not grant.bear(meter, key, at):
                    continue
                added.append((Limit(name, [meter], 402), key))
                if not meter.known():
                    meter.spending.without.add(call.id)
        if added and counters is not None and grant.id:
            counters.extend(grant.id, forms(added, grant.asked, at))
