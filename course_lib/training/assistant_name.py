"""Which text can be an assistant's name."""

LONGEST_NAME = 40  # characters: longer ones are a pasted text, not a name
JOINERS = "\u200c\u200d"  # invisible, but part of many emoji and of Persian and Indian names


def name_problem(name: str) -> str:
    """Say why a text cannot be an assistant's name.

    Args:
        name: what the learner typed.

    Returns:
        One sentence with what to do, or an empty string when the name can be used. Quotes,
        apostrophes, emoji and any script are allowed.
    """
    if not name.strip():
        return "the name is empty: type at least one letter"
    if name != name.strip() or any(not c.isprintable() and c not in JOINERS for c in name):
        return "the name has blanks around it or a line break in it: type it on one line"
    if len(name) > LONGEST_NAME:
        return f"the name has {len(name)} characters: use at most {LONGEST_NAME}"
    if "{{" in name or "}}" in name:
        return "the name holds {{ or }}, which mark places to fill in: leave them out"
    if "<|" in name or "|>" in name:
        return "the name holds <| or |>, which mark control tokens: leave them out"
    return ""
