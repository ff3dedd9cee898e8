import pytest

from course_lib import errors


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (errors.TunebookError("Row 3 is empty."), "Row 3 is empty."),
        (errors.DataError("Row 3 is empty.", "Remove it."), "Row 3 is empty.\n  -> Remove it."),
    ],
)
def test_an_error_shows_what_was_found_and_the_next_step(error, shown):
    assert str(error) == shown
    assert error.message == "Row 3 is empty."


def test_one_except_clause_catches_every_error_of_the_course():
    kinds = [k for k in vars(errors).values() if getattr(k, "__module__", "") == errors.__name__]
    kinds = [kind for kind in kinds if isinstance(kind, type)]
    assert len(kinds) == 9
    assert all(issubclass(kind, errors.TunebookError) for kind in kinds)
    assert issubclass(errors.NothingToLearnError, errors.DataError)


NAMES = ["pico_qlora_oasst1_e1", "pico_qlora_assistant_e3", "internlm2_chat_7b_qlora_oasst1_e3"]


# worked out by hand
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("pico_qlora_asistant_e3", NAMES, "pico_qlora_assistant_e3"),
        ("max_lenght", ["max_length", "packing"], "max_length"),
        ("zzz", NAMES, None),
        ("a", [], None),
    ],
)
def test_the_nearest_name_comes_first(name, options, expected):
    assert next(iter(errors.nearest(name, options)), None) == expected


def test_no_more_names_are_offered_than_asked_for():
    assert len(errors.nearest("pico", ["pico1", "pico2", "pico3", "pico4"], count=2)) == 2


@pytest.mark.parametrize(
    ("name", "known", "command", "shown"),
    [
        ("pico-chta", ["pico-chat", "mini"], "",
         "There is no model called 'pico-chta'.\n  -> Did you mean pico-chat?"),
        ("zzz", iter(["b", "a"]), "tunebook list-cfg",
         "There is no model called 'zzz'.\n  -> Known: a, b. All of them: tunebook list-cfg"),
    ],
)  # fmt: skip
def test_an_unknown_name_lists_near_or_known_ones(name, known, command, shown):
    assert str(errors.UnknownNameError("model", name, known, command)) == shown
