"""How much a model of Claude shall think, in the fields that it takes beside the Converse format's.

https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html. With a
budget, no tool may be forced, and a turn that goes on after a tool's result must have begun with
thoughts.
"""

from typing import Any

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Reasoning, Request
from ferryman.wire.carry import summary_wanted
from ferryman.wire.effort import NONE, budget_of, effort_of, nearest
from ferryman.wire.format import Aim

LEAST_BUDGET = 1024
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS = {"none": "omitted", "auto": "summarized", "concise": "summarized",
             "detailed": "summarized"}  # fmt: skip
_OFF = {"type": "disabled"}

Wire = dict[str, Any]


def asks_to_think(reasoning: Reasoning | None) -> bool:
    """Whether the caller says anything about how much, be it not at all."""
    return reasoning is not None and bool(
        reasoning.effort or reasoning.budget >= 0 or reasoning.adaptive
    )


def is_off(reasoning: Reasoning) -> bool:
    """Whether it says: not at all."""
    return reasoning.budget == 0 or (reasoning.budget < 0 and reasoning.effort == NONE)


def thinking_out(request: Request, aim: Aim, receipt: Receipt, body: Wire) -> Wire | None:
    """The field ``thinking``; effort and tool choice are set in ``body``."""
    reasoning = request.reasoning
    if reasoning is None or not asks_to_think(reasoning):
        return None
    choice = body.get("toolConfig", {}).get("toolChoice", {})
    forced = "any" in choice or "tool" in choice
    if "adaptive_thinking" in aim.quirks or "adaptive_only" in aim.quirks:
        return _adaptive(request, reasoning, aim, receipt, body, forced)
    if is_off(reasoning):
        return None  # these models don't think unless they are told how much
    return _with_budget(request, reasoning, aim, receipt, body, forced)


def _adaptive(
    request: Request, reasoning: Reasoning, aim: Aim, receipt: Receipt, body: Wire, forced: bool
) -> Wire | None:
    only = "adaptive_only" in aim.quirks
    thinking: Wire = {"type": "adaptive"}
    if is_off(reasoning):
        if not only:
            return _OFF
        receipt.alter("reasoning", "low: this model always thinks")
        effort = "low"
    else:
        if forced and not only:
            receipt.alter("reasoning", "off: a tool is forced")
            return _OFF
        offered = _EFFORTS[:3] + tuple(e for e in _EFFORTS[3:] if f"effort_{e}" in aim.quirks)
        effort = nearest(reasoning.effort or effort_of(reasoning.budget), offered)
        if effort and effort != reasoning.effort:
            receipt.alter("reasoning", f"effort {effort}")
        summary = summary_wanted(request)
        if summary in _DISPLAYS:
            thinking["display"] = _DISPLAYS[summary]
    if forced:
        del body["toolConfig"]["toolChoice"]
        receipt.alter("tool_choice", "auto: this model thinks and that excludes a forced tool")
    if effort in _EFFORTS:
        body.setdefault("outputConfig", {})["effort"] = effort
    return thinking


def _with_budget(
    request: Request, reasoning: Reasoning, aim: Aim, receipt: Receipt, body: Wire, forced: bool
) -> Wire | None:
    limit = request.max_output or aim.max_output
    why = ""
    if forced:
        why = "a tool is forced"
    elif _unthought(body["messages"]):
        why = "the turn began without this model's thoughts"
    elif 0 < limit <= LEAST_BUDGET:
        why = f"max_output leaves no room for {LEAST_BUDGET} tokens of it"
    if why:
        receipt.alter("reasoning", f"off: {why}")
        return None
    budget = reasoning.budget
    if budget < 0:
        budget = budget_of(reasoning.effort, limit)
        if budget < 0:
            budget = budget_of("medium", limit)
    budget = max(budget, LEAST_BUDGET)
    if limit:
        budget = min(budget, max(LEAST_BUDGET, limit * 4 // 5), limit - 1)  # room to answer
    if budget != reasoning.budget:
        receipt.alter("reasoning", f"a budget of {budget} tokens")
    return {"type": "enabled", "budget_tokens": budget}


def _unthought(messages: list[Wire]) -> bool:
    """Whether the model is to go on after a tool's result with a turn that has no thoughts."""
    if len(messages) < 2:
        return False
    result, first = messages[-1]["content"][0], messages[-2]["content"][0]
    going_on = isinstance(result, dict) and "toolResult" in result
    return going_on and isinstance(first, dict) and "reasoningContent" not in first
