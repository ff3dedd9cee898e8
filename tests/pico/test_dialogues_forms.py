import json
import random
import re

import pytest

from course_lib.pico import corpus, form_tables, tokenizer
from course_lib.pico import dialogues_forms as forms
from course_lib.pico import form_replies as replies

LESSON_MARKS = ("Action", "Observation", "Final Answer", "Thought")


def drawn(count, seed=0):
    """Dialogues in both languages."""
    rng = random.Random(seed)
    return [forms.dialogue(rng, ("en", "zh")[number % 2]) for number in range(count)]


def filled_in(dialogue):
    """The replies that are forms, with what stands before them."""
    for place, message in enumerate(dialogue):
        follows = dialogue[place + 1]["content"] if place + 1 < len(dialogue) else ""
        marks = tuple(m for marks in forms.FAMILIES["results"].values() for m in marks)
        if message["role"] == "assistant" and follows.startswith(marks):
            yield message["content"], "\n".join(m["content"] for m in dialogue[1:place])


def read_form(text):
    """Name and fields of a form, in any of the four shapes."""
    if text.count(": ") >= 3 and text.endswith("}") and text.count("\n") == 2:
        _, name, inside = (line.split(": ", 1)[1] for line in text.split("\n"))
        return name, json.loads(inside)
    if text.startswith("{"):
        fields = json.loads(text)
        return fields.pop("form"), fields
    if text.endswith("}"):
        name, _, inside = text.partition(" ")
        return name, json.loads(inside)
    name, *lines = text.split("\n")
    return name, dict(line.split(": ", 1) for line in lines)


def test_every_form_that_is_filled_in_is_on_offer_with_just_its_fields():
    found = 0
    for dialogue in drawn(600):
        offers = dict(re.findall(r"^(\w+): .* (\{.*\})$", dialogue[0]["content"], re.M))
        for text, _ in filled_in(dialogue):
            name, fields = read_form(text)
            assert re.findall(r'"(\w+)": ', offers[name]) == list(fields)
            found += 1
    assert found > 500


def test_what_stands_in_a_form_was_said_before():
    for dialogue in drawn(600, seed=1):
        for text, before in filled_in(dialogue):
            _, fields = read_form(text)
            if "expression" not in text and not re.search(r"\d [-+x/] \d", text):
                for value in fields.values():
                    assert str(value).lower() in before.lower(), (text, before)


def test_no_mark_of_lesson_05_and_none_of_its_new_tools_occurs():
    text = "\n".join(message["content"] for dialogue in drawn(1500, seed=2) for message in dialogue)
    assert not [mark for mark in LESSON_MARKS if mark in text]
    names = {name for form in forms.SMALL_FORMS.values() for name in form["names"]}
    assert not names & {"weather", "price", "phone"}


def test_sums_that_are_kept_back_stay_out_but_for_those_that_no_score_asks():
    found = 0
    for dialogue in drawn(1500, seed=3):
        for message in dialogue:
            for a, sign, b in re.findall(r"\b(\d+) ([-+x]) (\d+)\b", message["content"]):
                shown = (sign, int(a), int(b)) in forms.shown_sums()
                assert shown or not corpus.is_held_out_sum(sign, int(a), int(b)), message
                found += 1
    assert found > 200


def test_no_score_asks_for_a_sum_that_a_form_may_show(monkeypatch):
    write = lambda rng, language, operation, a, b: f"{a} and {b}"  # noqa: E731
    monkeypatch.setattr(corpus.numbers, "ask_sum", write)
    asked = 0
    for group in ("held_out", "validation"):
        for item in corpus.held_out_items(random.Random(8), group):
            if item["kind"] == "arithmetic":
                a, b = map(int, re.findall(r"\d+", item["prompt"]))
                asked += 1
                assert (item["relation"], a, b) not in forms.shown_sums()
    assert asked > 100


def test_a_sum_in_a_form_gives_its_result():
    rng = random.Random(4)
    for _ in range(300):
        request = forms._request_sum(rng, "en")
        (step,) = request.steps
        a, sign, b = step.values[0].split()
        if b == "0" and sign == "/":
            assert "0" in request.answer
            continue
        right = {"+": int(a) + int(b), "-": int(a) - int(b), "x": int(a) * int(b)}
        right["/"] = int(a) // int(b) if int(b) else None
        assert step.result == str(right[sign])
        assert step.result in request.answer


@pytest.mark.parametrize("family", forms.OTHER_FAMILIES)
def test_each_small_form_can_be_asked_for_in_both_languages(family):
    rng, form = random.Random(5), forms.SMALL_FORMS[family]
    for language in ("en", "zh"):
        for _ in range(20):
            request = forms.request_form(rng, family, language)
            assert "{" not in request.question + request.answer
            assert request.steps[0].result.lower() in request.answer.lower()
    marks = [set(re.findall(r"\{(\w+)\}", ask)) for asks in form["asks"].values() for ask in asks]
    assert all(found == set(form["fields"]) for found in marks)


def test_a_small_form_brings_back_the_same_for_the_same_values():
    values = {"code": "AB-1207"}
    first = forms.result_of("parcel", values, "en")
    assert first == forms.result_of("parcel", dict(values), "en")
    others = {forms.result_of("parcel", {"code": f"AB-{n}"}, "en") for n in range(20)}
    assert len(others) > 1


def test_replay_has_no_forms_since_they_are_long():
    for messages in corpus.general_dialogues(2000, seed=6):
        assert not any('": string' in message["content"] for message in messages)


def test_a_filled_in_form_looks_as_the_offer_says():
    form = replies.Form("parcel", "track", "Where it is.", {"code": "string"})
    assert form.describe() == 'track: Where it is. {"code": string}'

    def filled(shape, labels=()):
        return replies.fill_in(form, ["A1"], replies.Style("en", shape, labels), "Look.")

    assert filled("line") == 'track {"code": "A1"}'
    assert filled("json") == '{"form": "track", "code": "A1"}'
    assert filled("fields") == "track\ncode: A1"
    labels = ("Plan", "Form", "Fields", "Reply")
    assert filled("noted", labels) == 'Plan: Look.\nForm: track\nFields: {"code": "A1"}'
    assert replies.finish("It is here.", replies.Style("en", "noted", labels)) == (
        "Reply: It is here."
    )
    assert replies.finish("It is here.", replies.Style("en", "json")) == "It is here."


def test_a_form_about_one_thing_names_it_as_its_questions_do():
    form = form_tables.small_forms()["shoe size of person"]
    assert form["names"] == ["shoe_size", "shoe_size_of", "find_shoe_size"]
    assert form["fields"] == {"name": "person"}
    assert form["about"]["en"][0] == "The shoe size of a person."
    assert form["about"]["zh"][0] == "人的鞋码。"
    assert form["asks"]["en"][4] == "{name}: shoe size?"
    owner = form_tables.small_forms()["owner of thing"]
    assert owner["asks"]["en"][4] in {f"The {{{f}}}: owner?" for f in ("item", "thing", "object")}


def test_labels_stand_in_the_offer_and_before_each_answer():
    found = 0
    for dialogue in drawn(300, seed=4):
        if re.search(r"^[^\n]*: [^\n]*\n[^\n]*: \w+\n[^\n]*: \{", dialogue[2]["content"]):
            labels = [line.split(": ")[0] for line in dialogue[2]["content"].split("\n")]
            offer = dialogue[0]["content"].split("\n")[0]
            assert all(label in offer for label in labels)
            label, _, answer = dialogue[-1]["content"].partition(": ")
            assert label in offer
            assert answer
            found += 1
    assert found > 50


def test_forms_fit_the_context_many_times():
    longest = max(len(tokenizer.render(dialogue)) for dialogue in drawn(500, seed=7))
    assert longest < 2500  # signs; a token has one or more
