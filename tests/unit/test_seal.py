"""The seal leaf is injective, sorted and of one version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.seal import MOST_CHAINS, Seal, SealedChain, decode_seal, encode_seal

u64 = st.integers(0, 2**64 - 1)
chains = st.builds(
    SealedChain, st.binary(min_size=16, max_size=16), u64, st.binary(min_size=32, max_size=32), u64
)
seals = st.builds(
    Seal,
    u64,
    u64,
    st.lists(chains, max_size=5, unique_by=lambda item: item.chain_id).map(
        lambda items: tuple(sorted(items))
    ),
)
ONE = SealedChain(bytes(range(16)), 3, bytes([7]) * 32, 2)


def test_a_seal_has_the_bytes_of_the_specification():
    made = encode_seal(Seal(1, 2, (ONE,)))
    wanted = "61756469742d7365616c2f76310a 0000000000000001 0000000000000002 00000001"
    chain = f"{bytes(range(16)).hex()} 0000000000000003 {'07' * 32} 0000000000000002"
    assert made.hex() == (wanted + chain).replace(" ", "")


@given(seals)
def test_a_seal_reads_back(made):
    assert decode_seal(encode_seal(made)) == made
    for item in made.chains:
        assert made.chain(item.chain_id) == item
    assert made.chain(b"") is None


@given(seals, seals)
def test_two_seals_have_the_same_bytes_only_if_they_are_equal(one, other):
    assert (encode_seal(one) == encode_seal(other)) == (one == other)


def test_as_many_chains_as_fit_into_a_bundle_entry_are_sealed():
    many = tuple(ONE._replace(chain_id=number.to_bytes(16, "big")) for number in range(MOST_CHAINS + 1))
    assert len(encode_seal(Seal(0, 0, many[:-1]))) <= 65_535
    with pytest.raises(ValueError, match="do not fit"):
        encode_seal(Seal(0, 0, many))


@pytest.mark.parametrize(
    "seal",
    [
        Seal(0, 0, (ONE, ONE)),
        Seal(0, 0, (ONE, ONE._replace(chain_id=bytes(16)))),
        Seal(0, 0, (ONE._replace(chain_id=b"short"),)),
        Seal(0, 0, (ONE._replace(root=bytes(33)),)),
        Seal(-1, 0, ()),
        Seal(0, 2**64, ()),
        Seal(0, 0, (ONE._replace(size=-1),)),
    ],
)
def test_a_seal_that_cannot_be_is_not_made(seal):
    with pytest.raises(ValueError, match=r"seal|root"):
        encode_seal(seal)


@given(seals, st.data())
def test_a_seal_of_other_length_order_or_label_is_refused(made, data):
    leaf = encode_seal(made)
    for wrong in (leaf[:-1], leaf + b"\0", b"A" + leaf[1:], b""):
        with pytest.raises(ValueError, match=r"seal"):
            decode_seal(wrong)
    if len(made.chains) > 1:
        swapped = leaf[:34] + leaf[98:162] + leaf[34:98] + leaf[162:]
        with pytest.raises(ValueError, match="sorted"):
            decode_seal(swapped)
