"""When a copy that somebody else vouches for is evidence, and which objects of a bucket are looked at."""

import pytest

from schemas.verification.seals import Held
from services.reporter.copies import _first_versions, _spread

MINUTE = 60_000_000
SEALED, NOW = 1_000 * MINUTE, 5_000 * MINUTE


@pytest.mark.parametrize(
    ("made", "until", "counts"),
    [
        (SEALED, None, True),
        (SEALED + 15 * MINUTE, None, True),
        (SEALED + 16 * MINUTE, None, False),
        (SEALED - 4 * MINUTE, None, True),
        (SEALED - 6 * MINUTE, None, False),
        (SEALED, NOW + 1, True),
        (SEALED, NOW, False),
    ],
)
def test_a_copy_counts_if_it_was_made_with_its_last_seal_and_cannot_be_taken_back(made, until, counts):
    assert Held("W", made, until).counts(SEALED, NOW) is counts


def test_of_many_objects_some_at_growing_distance_are_looked_at():
    keys = [f"{number:020}" for number in range(1000, 0, -1)]
    ranks = [keys.index(key) for key in _spread(keys)]
    assert ranks == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 999]
    assert (_spread([]), _spread(keys[:1])) == ([], keys[:1])
    for forged in range(1, 999):  # so many newest ones are a thief's
        assert any(forged <= rank <= 2 * forged for rank in ranks)


def test_of_an_object_the_oldest_version_counts():
    versions = [{"Key": "a", "LastModified": at, "VersionId": str(at)} for at in (3, 1, 2)]
    assert _first_versions(versions)["a"]["VersionId"] == "1"
