"""Rows for tests of whole data sets."""


def ask(question, answer="a", system=""):
    turns = [("system", system), ("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in turns if text]}
