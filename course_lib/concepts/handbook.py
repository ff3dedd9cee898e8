"""A book that pico never read: the handbook of a ferry company that does not exist.

Lesson 01 continues pre-training on its pages. Everything in it is invented, so nothing of it can be
known before, and pages are drawn by chance, so held-out pages are new ones of the same kind.
"""

import random

from course_lib.errors import DataError

HARBORS = ("Tarnwick", "Osselby", "Brindle Bay", "Quenmouth", "Saltmere", "Pellgate", "Norrowhead")
SHIPS = ("Heron", "Plover", "Kestrel", "Puffin", "Curlew", "Petrel", "Dunlin", "Osprey", "Gannet")
PEOPLE = (
    "Mira Dunlow",
    "Joss Arkell",
    "Petra Venn",
    "Olin Farr",
    "Hanna Quill",
    "Tobias Wren",
    "Sable Orme",
    "Ravi Lund",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CARGO = ("fish boxes", "flour", "school books", "sheep", "timber", "apples", "salt", "the mail")

# One page is one sentence of each group, in this order.
GROUPS = (
    (
        "Ferry {n}, the {ship}, sails from {a} to {b} on {day} and {other_day}.",
        "The {ship} keeps line {n}: out of {a} every {day}, back from {b} every {other_day}.",
        "Line {n} joins {a} and {b}; the {ship} has kept it since the old pier burned down.",
    ),
    (
        "She casts off at {hour}:{minute} and ties up {minutes} minutes later.",
        "The bell rings at {hour}:{minute}; five minutes on, the gangway comes up.",
        "With the tide the crossing takes {minutes} minutes, against it twice as long.",
    ),
    (
        "Captain {person} has the wheel, {mate} the engine.",
        "{person} steers; {mate} counts the passengers and signs for them.",
        "The log is kept by {mate} and read out to {person} at the end of each week.",
    ),
    (
        "Below deck there is room for {cars} cars and {cargo}, above it for {seats} people.",
        "She may carry {seats} passengers; with {cargo} in the hold, {cars} fewer.",
        "{Cargo} for {b} are stowed last and come off first.",
    ),
    (
        "When the red flag flies over {a}, no ferry leaves.",
        "In fog the horn sounds twice before {b} and once behind it.",
        "A lamp burns at the end of the pier until the last boat is in.",
        "If the wind turns north, the {ship} waits in the lee of {b} for the night.",
    ),
    (
        "Tickets are punched at the gangway, never on the quay.",
        "Dogs ride on the upper deck and pay half.",
        "Whatever is left aboard is kept at {a} for {cars} weeks.",
        "The return boat waits for the mail sack, not for people.",
    ),
)


def write_pages(count: int, seed: int = 0) -> list[str]:
    """Write pages of the handbook.

    Args:
        count: how many.
        seed: the same seed writes the same pages.

    Returns:
        Plain texts of six sentences; no two are equal.

    Raises:
        DataError: less than one page is asked for.
    """
    if count < 1:
        raise DataError(f"{count} pages are asked for.", "Ask for at least one.")
    rng = random.Random(f"handbook {seed}")
    pages: dict[str, None] = {}
    while len(pages) < count:
        pages[_page(rng)] = None
    return list(pages)


def _page(rng: random.Random) -> str:
    a, b = rng.sample(HARBORS, 2)
    day, other_day = rng.sample(DAYS, 2)
    person, mate = rng.sample(PEOPLE, 2)
    cargo = rng.choice(CARGO)
    values = {
        "a": a,
        "b": b,
        "day": day,
        "other_day": other_day,
        "person": person,
        "mate": mate,
        "ship": rng.choice(SHIPS),
        "cargo": cargo,
        "Cargo": cargo[0].upper() + cargo[1:],
        "n": rng.randint(2, 99),
        "hour": rng.randint(5, 21),
        "minute": f"{rng.randrange(0, 60, 5):02}",
        "minutes": rng.randrange(15, 95, 5),
        "cars": rng.randint(2, 12),
        "seats": rng.randrange(30, 190, 10),
    }
    return " ".join(rng.choice(group).format_map(values) for group in GROUPS)
