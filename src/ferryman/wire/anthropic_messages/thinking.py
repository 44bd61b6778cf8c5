"""How much a model shall think: https://platform.claude.com/docs/en/build-with-claude/thinking.

Newer models think adaptively and are told an effort, older ones get a budget of at least 1,024
tokens that must be less than ``max_tokens``. With a budget, no tool may be forced, and a turn that
goes on after a tool's result must have begun with thoughts.
"""

from typing import Any

from ferryman.ir.request import Reasoning
from ferryman.wire.anthropic_messages.history import Turn
from ferryman.wire.anthropic_messages.scope import Scope
from ferryman.wire.carry import summary_wanted
from ferryman.wire.effort import NONE, budget_of, effort_of, nearest

LEAST_BUDGET = 1024

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS = {"none": "omitted", "auto": "summarized", "concise": "summarized",
             "detailed": "summarized"}  # fmt: skip
Thinking = dict[str, Any] | None


def thinking_out(scope: Scope, limit: int, turns: list[Turn], forced: bool) -> tuple[Thinking, str]:
    """``thinking``, and the effort for ``output_config``; ``limit`` is ``max_tokens``."""
    reasoning = scope.request.reasoning
    if reasoning is None:
        return None, ""
    if scope.native:
        return _as_said(scope, reasoning, turns)
    if scope.lacks("reasoning") and not scope.can("adaptive_thinking", "adaptive_only"):
        if not _is_off(reasoning):
            scope.receipt.drop("reasoning")
        return None, ""
    asked = bool(reasoning.effort) or reasoning.budget >= 0 or reasoning.adaptive
    if scope.can("adaptive_thinking", "adaptive_only"):
        if asked or reasoning.summary in _DISPLAYS:
            return _adaptive(scope, reasoning, forced)
        return None, ""
    if _is_off(reasoning) or not asked:
        return None, ""  # these models don't think unless they are told how much
    return _with_budget(scope, reasoning, limit, turns, forced)


def _is_off(reasoning: Reasoning) -> bool:
    return reasoning.budget == 0 or (reasoning.budget < 0 and reasoning.effort == NONE)


def _as_said(scope: Scope, reasoning: Reasoning, turns: list[Turn]) -> tuple[Thinking, str]:
    thinking: Thinking = None
    if reasoning.adaptive:
        thinking = {"type": "adaptive"}
    elif reasoning.budget == 0:
        thinking = {"type": "disabled"}
    elif reasoning.budget > 0:
        if _lacks_thoughts(turns):
            scope.receipt.alter("reasoning", "off: the turn began without this model's thoughts")
            return {"type": "disabled"}, reasoning.effort
        thinking = {"type": "enabled", "budget_tokens": reasoning.budget}
    if thinking is not None and reasoning.summary in _DISPLAYS:
        thinking["display"] = _DISPLAYS[reasoning.summary]
    return thinking, reasoning.effort


def _adaptive(scope: Scope, reasoning: Reasoning, forced: bool) -> tuple[Thinking, str]:
    only = scope.can("adaptive_only")
    if _is_off(reasoning):
        if only:
            scope.receipt.alter("reasoning", "low: this model always thinks")
            return {"type": "adaptive"}, "low"
        return {"type": "disabled"}, ""
    if forced and not only:
        scope.receipt.alter("reasoning", "off: a tool is forced")
        return {"type": "disabled"}, ""
    offered = _EFFORTS[:3] + tuple(name for name in _EFFORTS[3:] if scope.can(f"effort_{name}"))
    said = reasoning.effort or effort_of(reasoning.budget)
    effort = nearest(said, offered)
    if effort != reasoning.effort and effort:
        scope.receipt.alter("reasoning", f"effort {effort}")
    thinking: dict[str, Any] = {"type": "adaptive"}
    summary = summary_wanted(scope.request)
    if summary in _DISPLAYS:
        thinking["display"] = _DISPLAYS[summary]
        if summary in ("concise", "detailed"):
            scope.receipt.alter("reasoning.summary", "summarized")
    return thinking, effort if effort in _EFFORTS else ""


def _with_budget(
    scope: Scope, reasoning: Reasoning, limit: int, turns: list[Turn], forced: bool
) -> tuple[Thinking, str]:
    why = ""
    if forced:
        why = "a tool is forced"
    elif _lacks_thoughts(turns):
        why = "the turn began without this model's thoughts"
    elif limit <= LEAST_BUDGET:
        why = f"max_output leaves no room for {LEAST_BUDGET} tokens of it"
    if why:
        scope.receipt.alter("reasoning", f"off: {why}")
        return None, ""
    budget = reasoning.budget
    if budget < 0:
        budget = budget_of(reasoning.effort, limit)
        if budget < 0:
            budget = budget_of("medium", limit)
    room = max(LEAST_BUDGET, limit * 4 // 5)
    fitting = min(max(budget, LEAST_BUDGET), room, limit - 1)
    if fitting != reasoning.budget:
        scope.receipt.alter("reasoning", f"a budget of {fitting} tokens")
    if reasoning.summary in ("none", "concise", "detailed"):
        scope.receipt.drop("reasoning.summary")
    return {"type": "enabled", "budget_tokens": fitting}, ""


def _lacks_thoughts(turns: list[Turn]) -> bool:
    """Whether the model is to go on after a tool's result with a turn that has no thoughts."""
    if len(turns) < 2 or turns[-1]["role"] != "user" or turns[-2]["role"] != "assistant":
        return False
    content, before = turns[-1]["content"], turns[-2]["content"]
    if isinstance(content, str) or not any(_type(block) == "tool_result" for block in content):
        return False
    return isinstance(before, str) or _type(before[0]) not in ("thinking", "redacted_thinking")


def _type(block: Any) -> str:
    return str(block["type"]) if isinstance(block, dict) else "thinking"
