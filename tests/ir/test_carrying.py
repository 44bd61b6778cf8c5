"""What travels beside an answer: signatures through foreign formats, and receipts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.receipt import LONGEST, MAX_ENTRIES, Receipt
from ferryman.ir.request import Signature
from ferryman.ir.signature import unwrap, wrap

FORMATS = st.sampled_from(("gemini_generate", "anthropic_messages", "openai_responses"))


@given(st.text(min_size=1).filter(lambda text: not text.startswith("fm1:")), FORMATS, FORMATS)
def test_a_signature_comes_back_as_it_went(value: str, origin: str, carrier: str) -> None:
    signature = Signature(value, origin)
    assert unwrap(wrap(signature, carrier), carrier) == signature


@given(st.text(min_size=1).filter(lambda text: not text.startswith("fm1:")), FORMATS)
def test_among_its_own_it_has_no_envelope(value: str, origin: str) -> None:
    assert wrap(Signature(value, origin), origin) == value


@pytest.mark.parametrize("text", ["", "fm1", "fm1:half"])
def test_what_is_no_envelope_is_a_signature_of_the_carrier(text: str) -> None:
    assert unwrap(text, "x") == (Signature(text, "x") if text else None)
    assert wrap(None, "x") == ""


def test_an_empty_envelope_says_who_made_what_has_no_proof() -> None:
    unsigned = wrap(Signature("", "openai_chat"), "anthropic_messages")
    assert unsigned == "fm1:openai_chat:"
    assert unwrap(unsigned, "anthropic_messages") is None
    assert wrap(Signature("", "openai_chat"), "openai_chat") == ""


def test_a_receipt_keeps_order_says_things_once_and_fits_a_header() -> None:
    receipt = Receipt()
    receipt.drop("seed")
    receipt.alter("temperature", "1.0 instead of 1.7")
    receipt.drop("seed")
    receipt.drop("messages[0].näme\r\nset-cookie: a")
    receipt.drop("x" * 500)
    assert receipt.dropped[0] == "seed"
    assert receipt.altered == ("temperature=1.0 instead of 1.7",)
    assert len(receipt.dropped) == 3
    assert all(entry.isprintable() and entry.isascii() for entry in receipt.dropped)
    assert len(receipt.dropped[2]) == LONGEST


def test_a_receipt_is_bounded() -> None:
    receipt = Receipt()
    for number in range(MAX_ENTRIES + 7):
        receipt.drop(f"messages[{number}]")
    assert len(receipt.dropped) == MAX_ENTRIES
    assert receipt.more == 7
