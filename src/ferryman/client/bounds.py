"""What a virtual key is bound to, in the admin API."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, structs

Names = list[str] | UnsetType


class Bounds(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What calls of a key are held to; what is left out is not bound."""

    models: Annotated[
        Names, Meta(description="Models that may be asked for; `*` stands for any characters.")
    ] = UNSET
    providers: Annotated[Names, Meta(description="Providers that may be asked.")] = UNSET
    endpoints: Annotated[
        Names,
        Meta(description="chat, embeddings, rerank, images, audio, moderations; or single ones."),
    ] = UNSET
    regions: Annotated[Names, Meta(description="Where calls may be computed.")] = UNSET
    data_policy: Annotated[
        Names, Meta(description="All that must be promised of their data, as in residency.")
    ] = UNSET
    tags: Annotated[
        Names, Meta(description="Tags that callers may add to the key's own; `*` as in models.")
    ] = UNSET
    networks: Annotated[Names, Meta(description="Where callers may be, in CIDR notation.")] = UNSET

    def said(self) -> dict[str, Any]:
        """Those that are given; of a change, an empty list takes one away."""
        return {name: value for name, value in structs.asdict(self).items() if value is not UNSET}
