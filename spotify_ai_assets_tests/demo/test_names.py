from spotify_ai_assets.catalog.ids import fold_name
from spotify_ai_assets.demo.names import HOSTILE_ARTISTS, draw_from, invent_artists, invent_ids, invent_titles


def test_no_two_artists_are_the_same_when_folded() -> None:
    names = [*invent_artists(draw_from(1, "test"), 3_000), *HOSTILE_ARTISTS]
    assert len({fold_name(name) for name in names}) == 3_000 + len(HOSTILE_ARTISTS)


def test_ids_look_like_spotifys() -> None:
    ids = invent_ids(draw_from(1, "test"), 1_000)
    assert len(set(ids)) == 1_000
    assert all(len(one) == 22 and one.isalnum() and one.isascii() for one in ids)


def test_each_purpose_and_day_draws_on_its_own() -> None:
    draws = [draw_from(*key).random() for key in ((1, "a", 1), (1, "a", 2), (1, "b", 1), (2, "a", 1))]
    assert len(set(draws)) == 4
    assert draw_from(1, "a", 1).random() == draws[0]


def test_titles_are_invented_for_every_track() -> None:
    titles = invent_titles(draw_from(1, "test"), 500)
    assert len(titles) == 500
    assert all(titles)
    assert len(set(titles)) > 400
