"""Names and bundles as C2SP tlog-tiles has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.ledger.archive.files import bundle, tile_name, unbundle


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tile_name(0, 0), "tile/0/000"),
        (tile_name("entries", 1234067), "tile/entries/x001/x234/067"),
        (tile_name(2, 999, 17), "tile/2/999.p/17"),
        (tile_name(0, 1000), "tile/0/x001/000"),
    ],
)
def test_a_tile_is_named_as_the_specification_says(made: str, expected: str) -> None:
    assert made == expected


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(bodies: list[bytes]) -> None:
    assert unbundle(bundle(bodies)) == bodies


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_bundle_that_is_cut_within_an_entry_is_refused(cut: int) -> None:
    whole = bundle([b"abc", b"def"])
    with pytest.raises(ValueError, match="cut"):
        unbundle(whole[:-cut])
