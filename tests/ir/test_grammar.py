"""The grammar of an answer: what may follow what, and that folding and unfolding keep to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import (
    Begin,
    Choice,
    Cite,
    Close,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
    Seal,
)
from ferryman.ir.fold import FailedReplyError, OutputFromTool, fold, output_from_tool, unfold
from ferryman.ir.grammar import Grammar, GrammarError
from ferryman.ir.request import (
    Block,
    Citation,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.ir.usage import Usage

STOP = Finish(reason=FinishReason.STOP)
TEXT = Open(index=0, block=Text(text=""))
CALL = Open(index=0, block=ToolCall(id="c", name="f", arguments=""))
SEAL = Seal(index=0, signature=Signature("s", "x"))
WRONG: dict[str, list[Event]] = {
    "nothing before Begin": [STOP],
    "one Begin": [Begin(), Begin()],
    "nothing after End": [Begin(), STOP, End(), Count(usage=Usage())],
    "nothing after Failed": [Failed(kind=ErrorKind.INTERNAL, message=""), End()],
    "End needs a Finish": [Begin(), End()],
    "every choice finishes": [
        Begin(), TEXT, Close(index=0), Open(index=0, block=Text(text=""), choice=1),
        Close(index=0, choice=1), STOP, End(),
    ],
    "a block is closed before its choice": [Begin(), TEXT, STOP],
    "a choice finishes once": [Begin(), STOP, STOP],
    "one block at a time": [Begin(), TEXT, Open(index=1, block=Text(text=""))],
    "blocks have no gaps": [Begin(), Open(index=1, block=Text(text=""))],
    "no results in an answer": [Begin(), Open(index=0, block=ToolResult(call_id="c"))],
    "text is of an open block": [Begin(), Delta(index=0, text="a")],
    "text is of the open block": [Begin(), TEXT, Delta(index=1, text="a")],
    "data is for media": [Begin(), TEXT, Data(index=0, data="AA==")],
    "citations are of text": [Begin(), CALL, Cite(index=0, citation=Citation())],
    "one seal a block": [Begin(), CALL, SEAL, SEAL],
    "refusals are not sealed": [Begin(), Open(index=0, block=Refusal(text="")), SEAL],
    "nothing of a finished choice": [Begin(), STOP, TEXT],
}  # fmt: skip


@pytest.mark.parametrize("events", WRONG.values(), ids=WRONG)
def test_the_last_event_may_not_come_there(events: list[Event]) -> None:
    grammar = Grammar()
    for event in events[:-1]:
        grammar.check(event)
    with pytest.raises(GrammarError):
        grammar.check(events[-1])


words = st.text(max_size=20)
signatures = st.none() | st.builds(Signature, st.text(min_size=1, max_size=8), st.just("x"))
citations = st.lists(st.builds(Citation, url=words, quote=words), max_size=2).map(tuple)
blocks = st.one_of(
    st.builds(Text, text=words, citations=citations, signature=signatures),
    st.builds(Thinking, text=words, signature=signatures, encrypted=st.booleans()),
    st.builds(ToolCall, id=words, name=words, arguments=words, signature=signatures),
    st.builds(Refusal, text=words),
    st.builds(
        Media,
        kind=st.just(MediaKind.AUDIO),
        source=st.builds(Source, data=words),
        transcript=words,
    ),
    st.builds(Opaque, origin=words, kind=words, raw=st.binary(max_size=5)),
)
finishes = st.builds(Finish, reason=st.sampled_from(FinishReason), detail=words)


def choice_of(number: int, said: list[Block], finish: Finish) -> Choice:
    """A whole choice whose finish names its number."""
    return Choice(
        blocks=tuple(said),
        finish=Finish(reason=finish.reason, detail=finish.detail, choice=number),
        logprobs=(Raw(b'{"token":"a"}'),) if number else (),
    )


replies = st.lists(st.tuples(st.lists(blocks, max_size=4), finishes), min_size=1, max_size=3).map(
    lambda many: Reply(
        begin=Begin(id="r", model="m"),
        choices=tuple(choice_of(n, said, finish) for n, (said, finish) in enumerate(many)),
        usage=Usage(1, output=2),
    )
)


@given(replies)
def test_a_reply_told_as_events_keeps_the_grammar_and_folds_into_itself(reply: Reply) -> None:
    grammar = Grammar()
    events = list(unfold(reply))
    for event in events:
        grammar.check(event)
    assert grammar.over
    assert fold(events) == reply


def test_events_without_their_end_fold_into_nothing() -> None:
    with pytest.raises(FailedReplyError) as none:
        fold([Begin(), TEXT])
    assert none.value.failed is None
    failed = Failed(kind=ErrorKind.UPSTREAM_ERROR, message="it broke")
    with pytest.raises(FailedReplyError, match="it broke"):
        fold([Begin(), TEXT, failed])


def calls(*names: str) -> Reply:
    blocks_ = tuple(ToolCall(id=name, name=name, arguments='{"a":1}') for name in names)
    finish = Finish(reason=FinishReason.TOOL_CALLS)
    return Reply(begin=Begin(), choices=(Choice(blocks=blocks_, finish=finish),))


def test_a_call_that_stands_for_structured_output_becomes_text() -> None:
    [choice] = output_from_tool(calls("out"), "out").choices
    assert choice.blocks == (Text(text='{"a":1}'),)
    assert choice.finish.reason is FinishReason.STOP


def test_other_calls_beside_it_stay_calls_and_say_so() -> None:
    [choice] = output_from_tool(calls("out", "other"), "out").choices
    assert [type(block) for block in choice.blocks] == [Text, ToolCall]
    assert choice.finish.reason is FinishReason.TOOL_CALLS


def test_a_signature_on_it_is_nobodys() -> None:
    turn = OutputFromTool("out")
    opening = Open(index=0, block=ToolCall(id="1", name="out", arguments=""))
    assert turn.take(opening) == Open(index=0, block=Text(text=""))
    assert turn.take(SEAL) is None
