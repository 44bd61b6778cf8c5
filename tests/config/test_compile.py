"""The snapshot that a file and the catalogue come to."""

from pathlib import Path

import msgspec

from ferryman.catalog import prices as catalogue_prices
from ferryman.catalog.load import providers as catalogue_providers
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import load
from ferryman.config.seal import derive_for
from ferryman.config.secret import activate, localise
from ferryman.config.snapshot import (
    Budget,
    Condition,
    Filter,
    ModelRow,
    Provider,
    Route,
    Rule,
    Secret,
    Snapshot,
)
from ferryman.ir.price import PICO
from tests.config.catalogue import KEYS, KNOWN, loaded

SEAL = derive_for("seal key", "sealed secrets")


def compiled(folder: Path, text: str, env: dict[str, str] | None = None) -> Snapshot:
    env = KEYS if env is None else env
    found = loaded(folder, text, env=env)
    return compile_snapshot(found, seal_key=SEAL, env=env, known=KNOWN)


def row_of(snapshot: Snapshot, provider: str, model: str) -> ModelRow:
    return msgspec.msgpack.decode(snapshot.models[provider], type=dict[str, ModelRow])[model]


def _active(snapshot: Snapshot, env: dict[str, str]) -> set[str]:
    return {n for n, p in snapshot.providers.items() if activate(p, env, SEAL) is not None}


def test_without_a_file_the_environment_decides() -> None:
    found = load(None, env={}, known=KNOWN)
    snapshot = compile_snapshot(found, seal_key=SEAL, env={}, known=KNOWN)
    assert list(snapshot.providers) == list(KNOWN.providers)
    assert _active(snapshot, {}) == set()
    assert _active(snapshot, {"GROQ_API_KEY": "x", "GOOGLE_API_KEY": "y"}) == {"groq", "gemini"}
    assert snapshot.bare == KNOWN.bare
    assert snapshot.providers["gemini"] == Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        keys=(Secret("env", "GEMINI_API_KEY"), Secret("env", "GOOGLE_API_KEY")),
        alternatives=True,
        endpoints=("chat.completions",),
    )


def test_the_real_catalogue_compiles_and_is_whole() -> None:
    snapshot = compile_snapshot(load(None, env={}), seal_key=SEAL, env={})
    assert set(snapshot.providers) == set(catalogue_providers())
    assert _active(snapshot, {"OPENAI_API_KEY": "x"}) == {"openai"}
    row = row_of(snapshot, "openai", "gpt-4o")
    assert row.prices == catalogue_prices.lookup("openai", "gpt-4o")
    assert row.context > 0
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot)
    assert again == snapshot


def test_the_version_is_a_hash_of_the_content(tmp_path: Path) -> None:
    text = "providers: { openai: { key: sk-literal } }\nmodels: { a: openai/gpt-4o }\n"
    first = compiled(tmp_path, text)
    assert compiled(tmp_path, text + "# a remark\n").version == first.version
    assert compiled(tmp_path, text) == first
    turned = "models: { a: openai/gpt-4o }\nproviders: { openai: { key: sk-literal } }\n"
    assert compiled(tmp_path, turned).version == first.version
    two = ["  a: openai/gpt-4o", "  b: openai/gpt-4o-mini"]
    there, back = (compiled(tmp_path, "\n".join(["models:", *lines])) for lines in (two, two[::-1]))
    assert there == back
    versions = {
        first.version,
        compiled(tmp_path, text.replace("gpt-4o", "gpt-4o-mini")).version,
        compiled(tmp_path, text.replace("sk-literal", "sk-litera1")).version,
        compiled(tmp_path, text + "timeouts: { total: 601 }\n").version,
        compiled(tmp_path, text, {**KEYS, "FERRYMAN_GROQ_BASE_URL": "http://a/v1"}).version,
    }
    assert len(versions) == 5


def test_what_the_file_says_wins_over_the_catalogue(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
providers:
  openai: { base_url: https://eu.example/v1, region: eu, quirks: [], endpoints: [embeddings],
    auth: x-api-key, headers: { X-Org: env:LAB_KEY, X-Team: search } }
  groq: { keys: [env:LAB_KEY, env:GROQ_API_KEY] }
  ollama: {}
  anthropic: { auth: none, base_url: http://127.0.0.1:1/v1 }
  lab: { base_url: http://10.0.0.7:8000/v1, region: eu }
  lab2: { base_url: http://10.0.0.8:8000/v1, key: env:LAB_KEY }
""",
    )
    providers = snapshot.providers
    assert providers["openai"] == Provider(
        name="openai",
        base_url="https://eu.example/v1",
        auth="x-api-key",
        enabled=True,
        headers=(("X-Org", "env:LAB_KEY"), ("X-Team", "search")),
        endpoints=("embeddings",),
        region="eu",
        region_stated=True,
    )
    assert activate(providers["openai"], KEYS) is None, "its key is for another host"
    assert activate(providers["groq"], KEYS) == ["lab-value", "gsk-groq-value"]
    assert activate(providers["ollama"], KEYS) == []
    assert activate(providers["anthropic"], KEYS) == []
    assert providers["anthropic"].auth == "none"
    assert providers["lab"] == Provider(
        name="lab",
        base_url="http://10.0.0.7:8000/v1",
        auth="none",
        keyless=True,
        enabled=True,
        region="eu",
        region_stated=True,
    )
    assert providers["lab2"].auth == "bearer"
    assert not providers["lab2"].keyless
    assert list(providers)[-2:] == ["lab", "lab2"]


def test_a_key_for_a_keyless_server_is_sent(tmp_path: Path) -> None:
    provider = compiled(tmp_path, "providers: { ollama: { key: env:LAB_KEY } }").providers["ollama"]
    assert (provider.auth, activate(provider, KEYS)) == ("bearer", ["lab-value"])
    assert activate(provider, {}) is None


def test_base_urls_come_from_the_environment(tmp_path: Path) -> None:
    env = {
        **KEYS,
        "CLOUDFLARE_ACCOUNT_ID": "acct",
        "CLOUDFLARE_API_TOKEN": "x",
        "FERRYMAN_OLLAMA_BASE_URL": "http://127.0.0.1:5/v1/",
        "FERRYMAN_LAB_2_BASE_URL": "http://127.0.0.1:6/{WHERE}",
        "WHERE": "there",
    }
    text = "providers: { lab-2: { base_url: 'http://a/v1' } }\n"
    snapshot = compiled(tmp_path, text, env)
    urls = {name: provider.base_url for name, provider in snapshot.providers.items()}
    assert urls["cloudflare"] == "https://api.cloudflare.com/accounts/acct/ai/v1"
    assert urls["ollama"] == "http://127.0.0.1:5/v1"
    assert urls["lab-2"] == "http://127.0.0.1:6/there"
    assert _active(snapshot, env) == {
        "openai",
        "anthropic",
        "groq",
        "cloudflare",
        "ollama",
        "lab-2",
    }
    bare = compiled(tmp_path, text)
    assert "{CLOUDFLARE_ACCOUNT_ID}" in bare.providers["cloudflare"].base_url
    assert "cloudflare" not in _active(bare, {**KEYS, "CLOUDFLARE_API_TOKEN": "x"})
    assert "cloudflare" in _active(bare, env), "filled where the provider is called"


def test_rows_of_other_formats_are_whole() -> None:
    env = {"ANTHROPIC_API_KEY": "x"}
    snapshot = compile_snapshot(load(None, env={}), seal_key=SEAL, env=env)
    claude = snapshot.providers["anthropic"]
    assert (claude.format, claude.auth) == ("anthropic_messages", "x-api-key")
    assert claude.headers == (("anthropic-version", "2023-06-01"),)
    assert dict(snapshot.providers["vertex"].paths)["count_content"].endswith(":countTokens")
    assert snapshot.aliases["google"] == "gemini"


def test_a_server_of_ones_own_is_spoken_to_as_is_usual_in_its_format(tmp_path: Path) -> None:
    text = """\
providers:
  plain: { base_url: "http://127.0.0.1:9/v1", key: env:K }
  messages: { format: anthropic_messages, base_url: "http://127.0.0.1:9/v1", key: env:K }
  generate: { format: gemini_generate, base_url: "http://127.0.0.1:9/v1", key: env:K }
  told:
    format: anthropic_messages
    base_url: "http://127.0.0.1:9/v1"
    auth: bearer
    key: env:K
    headers: { Anthropic-Version: "2099-01-01" }
"""
    path = tmp_path / "ferryman.yaml"
    path.write_text(text)
    found = compile_snapshot(load(path, env={}), seal_key=SEAL, env={}).providers
    own = ("plain", "messages", "generate", "told")
    spoken = {name: (found[name].auth, found[name].headers) for name in own}
    version = ("anthropic-version", "2023-06-01")
    assert spoken == {
        "plain": ("bearer", ()),
        "messages": ("x-api-key", (version,)),
        "generate": ("header:x-goog-api-key", ()),
        "told": ("bearer", (("Anthropic-Version", "2099-01-01"),)),
    }


def test_another_format_leaves_the_rows_interface_out(tmp_path: Path) -> None:
    text = """\
providers:
  anthropic: { format: openai_chat, auth: bearer }
  gemini: { headers: { X-Team: a, X-Goog-User-Project: b } }
  deepseek: { base_url: http://10.0.0.7/v1 }
"""
    path = tmp_path / "ferryman.yaml"
    path.write_text(text)
    env = {"ANTHROPIC_API_KEY": "x", "FERRYMAN_ZAI_BASE_URL": "http://10.0.0.8/v4"}
    found = compile_snapshot(load(path, env=env), seal_key=SEAL, env=env).providers
    claude = found["anthropic"]
    assert (claude.format, claude.base_url) == ("openai_chat", "https://api.anthropic.com/v1")
    assert (claude.endpoints, claude.paths, claude.headers) == ((), (), ())
    assert found["gemini"].paths == (("embeddings", "/openai/embeddings"),)
    assert found["gemini"].headers == (("X-Team", "a"), ("X-Goog-User-Project", "b"))
    assert found["deepseek"].paths == found["zai"].paths == (), "another host has other paths"
    assert found["moonshot"].paths == (("messages", "//anthropic/v1/messages"),)


def test_headers_of_the_file_come_beside_those_of_therow_of(tmp_path: Path) -> None:
    path = tmp_path / "ferryman.yaml"
    path.write_text("providers: { anthropic: { headers: { X-Team: a } } }\n")
    found = compile_snapshot(load(path, env={}), seal_key=SEAL, env={}).providers["anthropic"]
    assert found.headers == (("anthropic-version", "2023-06-01"), ("X-Team", "a"))
    path.write_text("providers: { anthropic: { headers: { Anthropic-Version: 2026-10-21 } } }\n")
    found = compile_snapshot(load(path, env={}), seal_key=SEAL, env={}).providers["anthropic"]
    assert found.headers == (("Anthropic-Version", "2026-10-21"),)


def test_clouds_are_active_once_they_are_named(tmp_path: Path) -> None:
    env = {"AWS_REGION": "eu-west-1", "VERTEX_PROJECT": "p", "VERTEX_LOCATION": "us-east5"}
    nothing = compile_snapshot(load(None, env=env), seal_key=SEAL, env=env)
    assert _active(nothing, env) == set()
    path = tmp_path / "ferryman.yaml"
    path.write_text(
        """\
providers:
  bedrock: { auth: sigv4 }
  bedrock-invoke: {}
  vertex-claude: {}
  mine: { format: bedrock_converse, base_url: http://127.0.0.1:9, auth: sigv4 }
  keyed: { format: bedrock_converse, base_url: http://127.0.0.1:9, key: env:BEARER }
"""
    )
    env["BEARER"] = "x"
    found = load(path, env=env)
    assert not found.problems
    snapshot = compile_snapshot(found, seal_key=SEAL, env=env)
    assert _active(snapshot, env) == {"bedrock", "bedrock-invoke", "vertex-claude", "mine", "keyed"}
    auths = {name: snapshot.providers[name].auth for name in _active(snapshot, env)}
    assert auths == {
        "bedrock": "sigv4", "bedrock-invoke": "sigv4", "vertex-claude": "google", "mine": "sigv4",
        "keyed": "bearer",
    }  # fmt: skip
    assert snapshot.providers["vertex-claude"].base_url == (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5"
    )
    assert activate(snapshot.providers["bedrock"], {**env, "AWS_BEARER_TOKEN_BEDROCK": "k"}) == []


def test_a_second_name_of_a_provider_is_a_target(tmp_path: Path) -> None:
    env = {"GEMINI_API_KEY": "x"}
    path = tmp_path / "ferryman.yaml"
    text = "models: { a: google/gemini-2.5-flash, b: google/made-up }\n"
    path.write_text(text)
    routes = compile_snapshot(load(path, env=env), seal_key=SEAL, env=env).routes
    assert routes["a"].targets == (("gemini", "gemini-2.5-flash"),)
    assert routes["b"].targets == (("gemini", "made-up"),)
    path.write_text(text + "providers: { google: { base_url: http://127.0.0.1:9/v1 } }\n")
    snapshot = compile_snapshot(load(path, env=env), seal_key=SEAL, env=env)
    assert snapshot.routes["a"].targets == (("google", "gemini-2.5-flash"),)
    assert "google" not in snapshot.aliases


# -- routes --------------------------------------------------------------------------------------

MINI = ("openai", "gpt-4o-mini")
BIG = ("openai", "gpt-4o")
CLAUDE = ("anthropic", "claude-sonnet-4-5")
LLAMA = ("groq", "llama-3.3-70b-versatile")


def _is(task: str) -> Condition:
    return Condition(op="eq", fact="metadata.task", value=task)


def test_routes_come_down_to_pairs(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
models:
  outer: { targets: [inner, openai/gpt-4o-mini], fallbacks: [last, openai/gpt-4o] }
  inner: { targets: [openai/gpt-4o], fallbacks: [anthropic/claude-sonnet-4-5], strategy: latency }
  last: { targets: [groq/llama-3.3-70b-versatile], fallbacks: [mini] }
  mini: openai/gpt-4o-mini
  bare: gpt-4o
policies:
  - { when: { metadata.task: x, metadata.n: 2 }, use: outer }
  - { when: { metadata.task: y }, budget: { usd: 1, per: day } }
  - { when: { metadata.task: z }, on_unsupported: reject }
""",
    )
    assert list(snapshot.routes) == ["outer", "inner", "last", "mini", "bare"]
    assert snapshot.routes["outer"] == Route(targets=(BIG, MINI), fallbacks=(CLAUDE, LLAMA))
    assert snapshot.routes["inner"].strategy == "latency"
    assert snapshot.routes["last"] == Route(targets=(LLAMA,), fallbacks=(MINI,))
    assert snapshot.routes["bare"] == Route(targets=(BIG,))
    two = Condition(op="eq", fact="metadata.n", value=2)
    assert snapshot.rules == (
        Rule(name="policy-1", when=Condition(op="all", parts=(_is("x"), two)), use="outer"),
        Rule(name="policy-2", when=_is("y"), budgets=(Budget(unit="usd", most=PICO, per="day"),)),
        Rule(name="policy-3", when=_is("z"), on_unsupported="reject"),
    )


def test_a_bare_target_is_the_first_active_candidate(tmp_path: Path) -> None:
    text = "models: { a: gpt-4o }\n"
    for env, pair in [
        (KEYS, BIG),
        ({"GROQ_API_KEY": "x"}, ("groq", "gpt-4o")),
        ({}, BIG),
    ]:
        assert compiled(tmp_path, text, env).routes["a"].targets == (pair,)


def test_the_weight_of_a_group_is_its_own(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
models:
  w: { targets: [pair, anthropic/claude-sonnet-4-5, openai/gpt-4o], strategy: weighted,
    weights: { pair: 4 } }
  pair: { targets: [openai/gpt-4o, openai/gpt-4o-mini], strategy: weighted,
    weights: { openai/gpt-4o: 3 } }
""",
    )
    route = snapshot.routes["w"]
    assert route.targets == (BIG, MINI, CLAUDE)
    assert (route.tiers, route.weights) == ((("pair", CLAUDE, BIG),), (4.0, 1.0, 1.0))
    assert snapshot.routes["pair"].tiers == ()


def test_groups_stay_groups_where_that_makes_a_difference(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
models:
  one: { targets: [openai/gpt-4o], strategy: latency }
  plain: { targets: [openai/gpt-4o, openai/gpt-4o-mini] }
  quick: { targets: [openai/gpt-4o, openai/gpt-4o-mini], strategy: weighted, sticky: end_user }
  spliced: { targets: [plain, one, anthropic/claude-sonnet-4-5] }
  group: { targets: [plain, one, anthropic/claude-sonnet-4-5], strategy: cost }
  tiers: { targets: [[one, quick], plain], strategy: weighted, weights: { quick: 2, plain: 3 } }
  first: { targets: [[openai/gpt-4o], [openai/gpt-4o-mini]] }
  last: { targets: [anthropic/claude-sonnet-4-5], fallbacks: [plain, quick], sticky: key,
    strategy: weighted }
""",
    )
    routes = snapshot.routes
    assert (routes["spliced"].targets, routes["spliced"].tiers) == ((BIG, MINI, CLAUDE), ())
    assert routes["group"].tiers == (("plain", BIG, CLAUDE),)
    assert routes["group"].targets == (BIG, MINI, CLAUDE)
    assert routes["tiers"].tiers == ((BIG, "quick"), ("plain",))
    assert routes["tiers"].weights == (1.0, 2.0, 3.0)
    assert (routes["tiers"].identities, routes["tiers"].strategies) == (
        ("end_user",), ("weighted", "ordered"),
    )  # fmt: skip
    assert routes["first"].tiers == (), "as written anyway"
    assert routes["last"].fallbacks == (BIG, MINI)
    assert routes["last"].last == (BIG, MINI, "quick")
    assert routes["last"].identities == ("key", "end_user")


def test_a_long_chain_of_names_is_worked_out(tmp_path: Path) -> None:
    lines = ["models:", "  n0: openai/gpt-4o"]
    lines += [f"  n{i}: {{ targets: [n{i - 1}, m{i - 1}] }}" for i in range(1, 2000)]
    lines += ["  m0: openai/gpt-4o-mini"]
    lines += [f"  m{i}: {{ targets: [m{i - 1}, n{i - 1}] }}" for i in range(1, 2000)]
    routes = compiled(tmp_path, "\n".join(lines)).routes
    assert routes["n1999"].targets == (BIG, MINI)
    assert routes["m1999"].targets == (MINI, BIG)


def test_settings_reach_the_snapshot(tmp_path: Path) -> None:
    text = "server: { max_headers: 9 }\ntimeouts: { total: 5m }\ntls: { ca_files: [/x/ca.pem] }\n"
    snapshot = compiled(tmp_path, text)
    assert snapshot.server.max_headers == 9
    assert snapshot.timeouts.total == 300.0
    assert snapshot.ca_files == ("/x/ca.pem",)


def test_weighted_routes_with_priorities_within_each_other(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
models:
  in: { targets: [[openai/a, openai/b], groq/c], strategy: weighted, weights: { openai/a: 3 } }
  mid: { targets: [in, groq/c], strategy: weighted, weights: { in: 3 } }
  out: { targets: [mid, openai/z], strategy: weighted, weights: { mid: 3 } }
""",
    )
    out = snapshot.routes["out"]
    names = ["openai/a", "openai/b", "groq/c", "openai/z"]
    assert ["/".join(pair) for pair in out.targets] == names
    assert (out.tiers, out.weights) == ((("mid", ("openai", "z")),), (3.0, 1.0))


def test_each_target_has_the_filters_on_its_way(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
models:
  in: { targets: [openai/a], fallbacks: [groq/b], filter: { max_price: { input: 90, request: 1 } } }
  out: { targets: [in, groq/c], filter: { ignore: [openai/a], require_parameters: true } }
  plain: { targets: [groq/c] }
policies:
  - name: p
    when: always
    filter: { quantizations: [bf16, unknown, bf16], data_policy: no_training }
providers:
  groq: { data_policy: zero_retention }
""",
    )
    inner = Filter(source="models.in", input_price=90 * 10**6, request_price=10**12)
    outer = Filter(source="models.out", ignore=("openai/a",), require_parameters=True)
    out = snapshot.routes["out"]
    assert out.targets == (("openai", "a"), ("groq", "c"))
    assert out.filters == ((outer, inner), (outer,), (outer, inner))
    assert snapshot.routes["plain"].filters == ()
    [rule] = snapshot.rules
    quantizations = ("bf16", "unknown")
    assert rule.filter == Filter(
        source="policy p", quantizations=quantizations, data_policy="no_training"
    )
    assert snapshot.providers["groq"].data_policy == "zero_retention"


def test_the_catalogues_region_holds_for_the_catalogues_address_only(tmp_path: Path) -> None:
    known = msgspec.structs.replace(
        KNOWN,
        providers={
            **KNOWN.providers,
            "groq": msgspec.structs.replace(KNOWN.providers["groq"], region="us"),
        },
    )

    def region(text: str, **env: str) -> str:
        """As it is compiled, and as it is where only the data plane's environment says this."""
        (tmp_path / "f.yaml").write_text(text)
        found = []
        for here, there in ((env, {}), ({}, env)):
            checked = load(tmp_path / "f.yaml", env={**KEYS, **here}, known=known)
            snapshot = compile_snapshot(checked, seal_key=SEAL, env={**KEYS, **here}, known=known)
            found.append(localise(snapshot, {**KEYS, **there}).providers["groq"].region)
        first, second = found
        assert first == second
        return first

    def passes(text: str, **env: str) -> bool:
        """Whether a filter for its region finds it, when the file is checked."""
        (tmp_path / "f.yaml").write_text(text + "\nmodels: { m: { targets: [groq/x], "
                                         "filter: { regions: [us] } } }\n")  # fmt: skip
        return not load(tmp_path / "f.yaml", env={**KEYS, **env}, known=known).errors

    elsewhere = {"FERRYMAN_GROQ_BASE_URL": "http://10.0.0.7:8000/v1"}
    assert region("providers: { groq: {} }") == "us"
    assert region("providers: { groq: { base_url: http://10.0.0.7:8000/v1 } }") == ""
    assert region("providers: {}", **elsewhere) == ""
    assert region("providers: { groq: { region: eu } }", **elsewhere) == "eu"
    assert passes("providers: { groq: {} }")
    assert not passes("providers: { groq: {} }", **elsewhere)
    assert not passes("providers: { groq: { base_url: http://10.0.0.7:8000/v1 } }")
    assert passes("providers: { groq: { region: us } }", **elsewhere)


def test_facts_about_models_replace_the_catalogues(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
providers:
  lab:
    base_url: http://10.0.0.7:8000/v1
    models:
      m: { abilities: [document, tools], context: 5, max_output: 3, quantization: fp8, region: eu }
      n: { data_policy: no_training }
""",
    )
    assert row_of(snapshot, "lab", "m") == ModelRow(
        abilities=("pdf", "tools"), context=5, max_output=3, quantization="fp8", region="eu"
    )
    assert row_of(snapshot, "lab", "n") == ModelRow(data_policy="no_training")
