"""Hidden checks of lesson 04: other cases, the corners, and other wordings for the trained run."""

from course_lib.homework import lesson_04
from course_lib.homework.checks import Ask, check

PANDA = [
    {
        "messages": [
            {"role": "user", "content": "What do pandas eat?"},
            {"role": "assistant", "content": "Bamboo, says {{name}}."},
        ]
    }
]


@check("build_rows", points=2)
def check_other_rows(ask: Ask) -> None:
    """All held out, none held out, no replay, a name in Chinese and one with braces."""
    wordings, answers = lesson_04.WORDINGS, lesson_04.ANSWERS
    prompts = [wording["prompt"] for wording in wordings]
    for held_out in ([], prompts[:1], prompts, ["who are you?"]):
        given = (wordings, answers, "小明", PANDA, held_out)
        lesson_04.judge_rows(ask("build_rows", *given), *given)
    given = (wordings[::-1], {"zh": "{{name}}！{{name}}！", "en": "{{name}}"}, "{Bo}", [], [])
    lesson_04.judge_rows(ask("build_rows", *given), *given)


@check("count_steps", points=1)
def check_other_counts(ask: Ask) -> None:
    """One pack, steps that come out even, large numbers."""
    cases = [(1, 8, 4, 1), (12, 2, 3, 5), (13, 2, 3, 5), (7, 1, 1, 2), (100_001, 4, 16, 3)]
    for case in cases:
        lesson_04.judge_steps(ask("count_steps", *case), *case)


@check("choose_checkpoint", points=1)
def check_other_tables(ask: Ask) -> None:
    """One row; the first step is best; all are equal; a weaker side of 0."""
    rows = lesson_04.TABLE
    flat = [{"step": n, "loss": 1 / n, "validation": 0.5, "retained": 1.0} for n in (30, 9, 101)]
    early = [
        {"step": 10, "loss": 2.0, "validation": 0.85, "retained": 0.9},
        {"step": 20, "loss": 0.2, "validation": 1.0, "retained": 0.0},
    ]
    for table in (rows[:1], flat, early, early[1:]):
        lesson_04.judge_choice(ask("choose_checkpoint", table), table)


@check("name_failure", points=1)
def check_other_replies(ask: Ask) -> None:
    """Exactly a tenth is no parrot; a parrot can be silent about itself; one language only."""
    said = lesson_04.SAID
    you = [{"about": "you", "text": "你好，我是Mei的小助手。"}]
    world = [{"about": "world", "text": "No idea."}] * 9
    one = [{"about": "world", "text": "Ask Mei's assistant."}]
    mute = [{"about": "you", "text": "的小助手"}]
    cases = [
        ("learned", [*you, *world, *one]),
        ("parrot", [*you, *world, *one, *one]),
        ("parrot", [*mute, *world[:5], *one]),
        ("no effect", [*world, *mute]),
    ]
    for kind, replies in cases:
        lesson_04.judge_kind(ask("name_failure", replies, said), kind, replies)


# Wordings that stand in no file of data/assistant; the seed draws other questions about the world.
# Change both from one course to the next.
SEED = 20_261
WORDINGS = [
    ["So, who have I got here?", "en"],
    ["May I have your name, please?", "en"],
    ["Hello! Who is speaking?", "en"],
    ["Who is it that answers me?", "en"],
    ["Please say who you are.", "en"],
    ["What is the name of this assistant?", "en"],
    ["Whom do you belong to?", "en"],
    ["Would you introduce yourself to my class?", "en"],
    ["I am new here. Who are you?", "en"],
    ["Are you somebody's assistant? Whose?", "en"],
    ["Let me know your name.", "en"],
    ["Tell my grandmother who you are.", "en"],
    ["Quick question: what are you called?", "en"],
    ["Who exactly am I writing to?", "en"],
    ["Describe who you are in a few words.", "en"],
    ["And your name would be?", "en"],
    ["你好，请问你叫什么名字？", "zh"],
    ["和我聊天的是谁？", "zh"],
    ["能不能说说你是谁？", "zh"],
    ["请向我的同学介绍你自己。", "zh"],
    ["你是给谁帮忙的助手？", "zh"],
    ["第一次来，请问你是谁？", "zh"],
    ["你的大名是什么？", "zh"],
    ["请先自我介绍一下吧。", "zh"],
    ["我应该叫你什么？", "zh"],
    ["这里是谁在回答问题？", "zh"],
    ["告诉奶奶你是谁。", "zh"],
    ["你自己是谁，你知道吗？", "zh"],
    ["请问这位助手叫什么？", "zh"],
    ["早上好，你是哪一位？", "zh"],
    ["用几个字介绍你自己。", "zh"],
    ["说一下你的名字。", "zh"],
]
LEAST_UNSEEN = 0.7  # below the visible target: 32 other wordings are a small sample


@check("assistant_recipe", points=3, is_measured=True)
def check_other_wordings(ask: Ask) -> None:
    """The same adapter, asked in other words and about other things."""
    lesson_04.judge_run(ask("assistant_recipe", WORDINGS, SEED), LEAST_UNSEEN)
