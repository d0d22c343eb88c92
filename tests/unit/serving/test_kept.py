"""An answer of before is sent again only where everything that it is made of is the very same."""

from serving.kept import Encoded, KeptAnswers, MadeOf

CATALOGUE, RULES = object(), object()
ANSWER = Encoded(b"{}", '"t"')


def made(value: bytes = b"1", shared: tuple[object, ...] = (CATALOGUE, RULES), hour: int = 7) -> MadeOf:
    return MadeOf({"key": value}, shared, hour)


def test_whatever_changes_the_answer_is_made_anew() -> None:
    kept = KeptAnswers()
    kept.keep("ada", made(), ANSWER, now_ms=0)
    assert kept.get("ada", made(), now_ms=1) == ANSWER
    for other in (made(value=b"2"), made(shared=(object(), RULES)), made(shared=(CATALOGUE, object())), made(hour=8)):
        assert kept.get("ada", other, now_ms=1) is None
    assert kept.get("grace", made(), now_ms=1) is None


def test_an_answer_is_never_older_than_a_minute() -> None:
    kept = KeptAnswers()
    kept.keep("ada", made(), ANSWER, now_ms=0)
    assert [kept.get("ada", made(), now_ms=at) is None for at in (59_999, 60_000)] == [False, True]


def test_only_so_many_are_kept_and_those_that_are_asked_for_stay() -> None:
    kept = KeptAnswers(most=2)
    kept.keep("ada", made(), ANSWER, 0)
    kept.keep("grace", made(), ANSWER, 0)
    assert kept.get("ada", made(), 0)
    kept.keep("emmy", made(), ANSWER, 0)
    assert [bool(kept.get(name, made(), 0)) for name in ("ada", "grace", "emmy")] == [True, False, True]


def test_an_answer_that_is_too_old_is_not_held_either() -> None:
    kept = KeptAnswers()
    kept.keep("ada", made(), ANSWER, now_ms=0)
    kept.keep("grace", made(), ANSWER, now_ms=59_999)
    assert len(kept) == 2
    kept.keep("emmy", made(), ANSWER, now_ms=60_000)
    assert len(kept) == 2
