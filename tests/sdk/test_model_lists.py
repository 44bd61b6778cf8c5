"""The model list as Anthropic's and Google's official packages page through it."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.gateway import KEY, Stack


@pytest.fixture(scope="module")
def names(stack: Stack) -> list[str]:
    """Every model, from the list that has no pages."""
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=stack.endpoint, api_key=KEY, http_client=http) as client:
        found = [model.id for model in client.models.list()]
    assert len(found) > 40, "more than a page of either format has by itself"
    return found


@pytest.fixture(scope="module")
def claude(stack: Stack) -> anthropic.Anthropic:
    http = anthropic.DefaultHttpxClient(trust_env=False)
    return anthropic.Anthropic(base_url=stack.url, api_key=KEY, max_retries=0, http_client=http)


@pytest.fixture(scope="module")
def gemini(stack: Stack) -> genai.Client:
    options = types.HttpOptions(base_url=stack.url, client_args={"trust_env": False})
    return genai.Client(api_key=KEY, http_options=options)


@pytest.mark.parametrize("limit", [None, 1, 7, 1000])
def test_anthropic_pages_forwards(
    claude: anthropic.Anthropic, names: list[str], limit: int | None
) -> None:
    page = claude.models.list(limit=anthropic.NOT_GIVEN if limit is None else limit)
    assert len(page.data) == min(limit or 20, len(names))
    assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
    assert page.has_more == (len(page.data) < len(names))
    found = list(page)
    assert [model.id for model in found] == names
    assert {model.lifecycle for model in found} == {"active"}
    assert {model.type for model in found} == {"model"}
    for model in found:
        assert not model.model_extra, "a member that Anthropic's list doesn't have"
        assert model.created_at.year == 1970


def test_anthropic_pages_backwards(claude: anthropic.Anthropic, names: list[str]) -> None:
    page = claude.models.list(limit=4, before_id=names[9])
    assert [model.id for model in page.data] == names[5:9]
    assert page.has_more
    pages = list(page.iter_pages())
    assert [[model.id for model in each.data] for each in pages] == [
        names[5:9], names[1:5], names[:1]
    ]  # fmt: skip
    assert not claude.models.list(limit=9, before_id=names[9]).has_more


def test_anthropic_past_the_end(claude: anthropic.Anthropic, names: list[str]) -> None:
    page = claude.models.list(after_id=names[-1])
    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)
    assert claude.models.retrieve(names[-1]).id == names[-1]


@pytest.mark.parametrize(
    "asked",
    [{"limit": "0"}, {"limit": "1001"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": "1" * 5000},
     {"limit": "\u0663"}, {"after_id": "no-such"}, {"before_id": "no-such"},
     {"after_id": "quick", "before_id": "two"}],
)  # fmt: skip
def test_anthropic_bad_pages(claude: anthropic.Anthropic, asked: dict[str, str]) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.models.list(extra_query=asked)
    assert any(f"'{name}'" in str(caught.value) for name in asked)


@pytest.mark.parametrize("size", [None, 0, 1, 7, 5000])
def test_gemini_pages(gemini: genai.Client, names: list[str], size: int | None) -> None:
    pager = gemini.models.list(config={} if size is None else {"page_size": size})
    assert len(pager.page) == min(size or 50, len(names))
    assert [model.name for model in pager] == [f"models/{name}" for name in names]


@pytest.mark.parametrize("asked", [{"page_size": -1}, {"page_token": "no-such"}])
def test_gemini_bad_pages(gemini: genai.Client, asked: types.ListModelsConfigDict) -> None:
    with pytest.raises(errors.ClientError, match=r"'page(Size|Token)'") as caught:
        gemini.models.list(config=asked)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_openai_has_no_pages(stack: Stack, names: list[str]) -> None:
    reply = stack.get("/v1/models?limit=nonsense&after_id=no-such")
    assert [model["id"] for model in reply.json()["data"]] == names
