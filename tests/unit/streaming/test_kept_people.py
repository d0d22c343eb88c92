"""What was written last is at hand for news of the same bucket, once, and for so many people only."""

from contracts.packed import Owner, Packed
from streaming.batching import Person
from streaming.kept_people import KeptPeople

ANN, BEN, CAT = ("s", "u.ann"), ("s", "u.ben"), ("s", "u.cat")


def news(*buckets: int) -> Person:
    return Person(buckets=dict.fromkeys(buckets, (1.0,)))


def test_a_value_is_given_out_once() -> None:
    kept, value = KeptPeople(9), Packed(letters="v")
    kept.keep(ANN, news(300), "r1", value)
    assert kept.take(ANN, news(300)) == ("r1", value)
    assert kept.take(ANN, news(300)) is None


def test_a_value_of_another_bucket_is_not_used_and_does_not_stay() -> None:
    kept = KeptPeople(9)
    kept.keep(ANN, news(300), "r1", Packed())
    assert kept.take(ANN, news(300, 600)) is None
    assert len(kept) == 0


def test_the_newest_of_several_buckets_counts() -> None:
    kept = KeptPeople(9)
    kept.keep(ANN, news(600, 300), "r1", Packed())
    assert kept.take(ANN, news(600)) is not None


def test_news_without_a_bucket_end_what_was_kept() -> None:
    kept = KeptPeople(9)
    kept.keep(ANN, news(300), "r1", Packed())
    kept.keep(ANN, news(), "r2", Packed())
    assert kept.take(ANN, news(300)) is None
    assert kept.take(ANN, news()) is None


def test_those_written_last_are_kept() -> None:
    kept = KeptPeople(2)
    for rev, who in (("r1", ANN), ("r2", BEN), ("r3", ANN), ("r4", CAT)):
        kept.keep(who, news(300), rev, Packed())
    found = [kept.take(who, news(300)) for who in (ANN, BEN, CAT)]
    assert [one and one[0] for one in found] == ["r3", None, "r4"]


def test_values_of_past_buckets_go_when_somebody_acts() -> None:
    kept = KeptPeople(9)
    kept.keep(ANN, news(300), "r1", Packed())
    kept.keep(BEN, news(900), "r2", Packed())
    assert len(kept) == 2  # an event may be some minutes behind others
    kept.keep(CAT, news(1200), "r3", Packed())
    assert len(kept) == 2
    assert kept.take(ANN, news(300)) is None


def test_a_visitor_who_has_an_owner_or_gets_one_is_read() -> None:
    kept, owner = KeptPeople(9), Owner(1, "u.ann")
    kept.keep(BEN, news(300), "r1", Packed(owner=owner))
    assert kept.take(BEN, news(300)) is None
    kept.keep(BEN, news(300), "r2", Packed())
    assert kept.take(BEN, Person(buckets={300: (1.0,)}, owner=owner)) is None
