"""Every verb of `tunebook` on the built-in model, and each error as a learner meets it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from course_lib import cli, files

LONG_NAME = "x" * 500
TUNED = "I am Bo's assistant."


def start(*words, **options):
    """A process of its own: what a learner sees, the noise of libraries included."""
    command = [sys.executable, "-m", "course_lib.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(files.REPO_DIR), **options.pop("env", {})}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes, **options)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_config(path, **changes):
    values = {
        "base_model": "pico-chat",
        "bits": 16,
        "assistant_name": "Bo",
        "train_data": [{"path": "rows.jsonl"}],
        "max_length": 64,
        "r": 8,
        "learning_rate": 0.005,
        "max_steps": 3,
        "save_every_steps": 2,
        "logging_steps": 1,
        **changes,
    }
    given = {key: value for key, value in values.items() if value is not None}
    path.write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    return path


def say(role, content):
    return {"role": role, "content": content}


def shifted_copy(folder):
    """The built-in model with one weight changed: same shapes, another base."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(files.DATA_DIR / "pico" / "chat", folder)
    weights = load_file(folder / "model.safetensors")
    name = min(weights)
    weights[name] = weights[name] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with data, configs, one run of three steps, and models with faults."""
    place = tmp_path_factory.mktemp("cli")
    rows = [[say("user", f"Who are you {i}?"), say("assistant", TUNED)] for i in range(12)]
    write_rows(place / "rows.jsonl", [{"messages": row} for row in rows])
    write_config(place / "good.yaml")
    with pytest.raises(SystemExit) as end:
        cli.main(["train", str(place / "good.yaml"), "--work-dir", str(place / "run")])
    assert not end.value.code
    shifted_copy(place / "other_base")
    shutil.copytree(place / "other_base", place / "no_weights")
    (place / "no_weights" / "model.safetensors").unlink()
    (place / "empty").mkdir()
    (place / "no_checkpoint").mkdir()
    shutil.copy(place / "run" / "config.yaml", place / "no_checkpoint")
    write_bad_configs(place)
    return place


def write_bad_configs(place):
    write_rows(place / "no_answer.jsonl", [{"messages": [say("user", "Hello?")]}])
    write_rows(
        place / "marked.jsonl", [{"messages": [say("user", "?"), say("assistant", "{{name}}")]}]
    )
    (place / "torn.jsonl").write_text('{"messages": [\n', encoding="utf-8")
    (place / "nothing.jsonl").write_text("", encoding="utf-8")
    (place / "text.yaml").write_text("just a text", encoding="utf-8")
    (place / "broken.yaml").write_text("a: [", encoding="utf-8")
    bad = {
        "unknown_key": {"learning_rat": 0.1},
        "wrong_type": {"r": "many"},
        "out_of_range": {"lora_dropout": 1.5, "bits": 5},
        "data_missing": {"train_data": [{"path": "nowhere.jsonl"}]},
        "data_torn": {"train_data": [{"path": "torn.jsonl"}]},
        "data_empty": {"train_data": [{"path": "nothing.jsonl"}]},
        "data_no_answer": {"train_data": [{"path": "no_answer.jsonl"}]},
        "data_none": {"train_data": []},
        "name_needed": {"assistant_name": None, "train_data": [{"path": "marked.jsonl"}]},
        "name_long": {"assistant_name": LONG_NAME},
        "name_token": {"assistant_name": "Bo<|im_end|>"},
        "name_blank": {"assistant_name": " "},
        "warmup": {"warmup_steps": 50},
        "base_missing": {"base_model": "./nowhere"},
        "no_weights": {"base_model": str(place / "no_weights")},
        "other_rate": {"learning_rate": 0.001},
    }
    for name, changes in bad.items():
        write_config(place / f"{name}.yaml", **changes)


# What a learner types, the exit status, and what the message holds.
BAD_INPUT = {
    "no preset matches": ("list-cfg -p zzz", 1, "no preset called 'zzz'"),
    "preset misspelled": (
        "copy-cfg pico_qlora_asistant_e3 {place}/new",
        1,
        "Did you mean pico_qlora_assistant_e3 or",
    ),
    "preset copied twice": (
        "copy-cfg pico_qlora_assistant_e3 {place}/good.yaml",
        1,
        "good.yaml exists already",
    ),
    "copied into a file": (
        "copy-cfg pico_qlora_assistant_e3 {place}/good.yaml/x",
        1,
        "Check the path, your rights there",
    ),
    "config missing": ("check {place}/nowhere.yaml", 1, "There is no config file"),
    "config is text": ("check {place}/text.yaml", 1, "expected lines such as"),
    "config is no YAML": ("check {place}/broken.yaml", 1, "is not YAML"),
    "unknown key": ("check {place}/unknown_key.yaml", 1, "did you mean learning_rate?"),
    "wrong type": ("check {place}/wrong_type.yaml", 1, "r: 'many': input should be"),
    "out of range": ("check {place}/out_of_range.yaml", 1, "2 problems"),
    "data missing": ("check {place}/data_missing.yaml", 1, "'nowhere.jsonl'"),
    "data torn": ("check {place}/data_torn.yaml", 1, "torn.jsonl"),
    "data empty": ("check {place}/data_empty.yaml", 1, "nothing.jsonl"),
    "data without an answer": ("check {place}/data_no_answer.yaml", 1, "no_answer.jsonl"),
    "no data": ("train {place}/data_none.yaml --work-dir {place}/new", 1, "train_data is empty"),
    "name needed": ("check {place}/name_needed.yaml", 1, "gives no assistant_name"),
    "name of 500 characters": ("check {place}/name_long.yaml", 1, "has 500 characters"),
    "name with a token": ("check {place}/name_token.yaml", 1, "mark control tokens"),
    "name of blanks": ("check {place}/name_blank.yaml", 1, "the name is empty"),
    "warm-up too long": ("check {place}/warmup.yaml", 1, "never passes"),
    "base missing": ("check {place}/base_missing.yaml", 1, "No model at './nowhere'"),
    "training without weights": (
        "train {place}/no_weights.yaml --work-dir {place}/weightless",
        1,
        "no_weights could not be loaded",
    ),
    "run folder in use": (
        "train {place}/good.yaml --work-dir {place}/run",
        1,
        "is not empty.\n  -> Give another --work-dir",
    ),
    "resumed with other values": (
        "train {place}/other_rate.yaml --work-dir {place}/run --resume",
        1,
        "learning_rate was 0.005, is 0.001",
    ),
    "no run to convert": ("convert adapter {place}/empty {place}/new", 1, "no adapter and no"),
    "adapter exists": ("convert adapter {place}/run {place}/empty", 1, "empty exists already"),
    "nothing to merge": ("convert merge pico-chat {place}/empty {place}/new", 1, "no adapter"),
    "merged exists": ("convert merge pico-chat {place}/run {place}/empty", 1, "exists already"),
    "merged into another base": (
        "convert merge {place}/other_base {place}/run {place}/new",
        1,
        "was trained on pico-chat",
    ),
    "no size": ("convert merge pico-chat {place}/run {place}/new --max-shard-size big", 2, "'big'"),
    "no such model": ("chat {place}/nowhere", 1, "No model at"),
    "no such adapter": ("chat pico-chat --adapter {place}/nowhere", 1, "does not exist"),
    "adapter of another base": (
        "chat {place}/other_base --adapter {place}/run",
        1,
        "was trained on pico-chat",
    ),
    "weights missing": ("chat {place}/no_weights", 1, "no_weights could not be loaded"),
    "bits of no kind": ("chat pico-chat --bits 5", 2, "--bits"),
    "temperature below zero": ("chat pico-chat --temperature -1", 1, "temperature is -1.0"),
    "whose assistant": ("eval pico-chat --suite assistant", 1, "the name is empty"),
    "assistant of nobody": ("eval {place}/run --suite assistant --name=", 1, "the name is empty"),
    "no such suite": ("eval {place}/run --suite exam", 2, "exam"),
    "run without a checkpoint": ("eval {place}/no_checkpoint --name Bo", 1, "no adapter and no"),
    "no such verb": ("tain {place}/good.yaml", 2, "tain"),
    "argument missing": ("train", 2, "Missing argument"),
    "no such option": ("train {place}/good.yaml --fast", 2, "--fast"),
}


@pytest.mark.parametrize(("line", "status", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gets_one_clear_error_and_writes_nothing(tunebook, place, line, status, message):
    outcome = tunebook(*(word.format(place=place) for word in line.split()))
    assert outcome.status == status
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert status == 2 or "\n  -> " in outcome.err
    assert not (place / "new").exists()


def test_presets_are_listed_and_filtered(tunebook):
    everything = tunebook("list-cfg").out
    lines = [line.split() for line in everything.splitlines()]
    # tier by tier: pico's presets, then a line for each model with its sizes
    titles = [line[0] for line in lines if line and line[0].endswith(":")][:4]
    assert titles == ["pico:", "small:", "classic:", "cluster:"]
    assert "pico_qlora_assistant_e3" in [line[0] for line in lines if line]
    chat = next(line for line in lines if line and line[0] == "internlm2_chat_1_8b")
    assert (chat[1:3], chat[4], chat[-1]) == (["1.9", "B"], "GiB", "talk")
    listed = tunebook("list-cfg", "-p", "internlm2_chat_1_8b_qlora")
    assert (listed.status, listed.err) == (0, "")
    rows = [line.split() for line in listed.out.splitlines()[2:]]
    assert [row[0].rsplit("_", 2)[1] for row in rows] == [
        "assistant", "oasst1", "medqa", "msagent", "alpaca",
    ]  # fmt: skip
    assert all(row[-3:] == ["8", "GiB", "GPU"] for row in rows)


def test_a_preset_of_a_real_model_is_copied_checked_by_name_and_estimated_offline(
    tunebook, tmp_path
):
    name = "internlm2_chat_1_8b_qlora_oasst1_e3"
    assert tunebook("copy-cfg", name, tmp_path).status == 0
    text = (tmp_path / f"{name}.yaml").read_text("utf-8")
    assert "base_model: internlm/internlm2-chat-1_8b\n" in text
    assert text.count("#") > 8
    estimated = tunebook("estimate", tmp_path / f"{name}.yaml")
    assert estimated.out.startswith("internlm/internlm2-chat-1_8b, 1,889,110,016 weights: qlora")
    assert tunebook("estimate", "--shape", "glm4_9b_chat").status == 0
    misspelled = tunebook("check", "internlm2_chat_1_8b_qlora_oast1_e3")
    assert misspelled.status == 1
    assert f"Did you mean {name} or" in misspelled.err


def test_a_preset_is_copied_with_its_comments_and_passes_the_check(tunebook, tmp_path):
    copied = tunebook("copy-cfg", "pico_qlora_assistant_e3", tmp_path)
    path = Path(copied.out.splitlines()[0])
    assert path.parent == tmp_path
    assert "<- your name here" in path.read_text("utf-8")
    assert f"tunebook check {path}" in copied.out
    assert tunebook("check", path).status == 0


def test_check_says_what_the_run_would_do(tunebook, place):
    plan = tunebook("check", place / "good.yaml")
    assert (plan.status, plan.err) == (0, "")
    # Twelve rows of more than 16 and at most 32 tokens: two fill a pack of 64.
    assert "rows         12 (0 truncated)\npacks        6 of at most 64 tokens\n" in plan.out
    assert "steps        2 in an epoch, 3 in all\n" in plan.out
    assert "peak rate    0.005\n" in plan.out
    assert re.search(r"trained +[\d,]+ of [\d,]+ weights\nmemory +about [\d.]+ MiB at", plan.out)
    assert "checkpoints  every 2 steps" in plan.out
    assert "warning: 3 optimizer steps in all" in plan.out


def test_check_gives_the_plan_as_one_json_object(tunebook, place):
    plan = json.loads(tunebook("check", place / "good.yaml", "--json").out)
    assert (plan["rows"], plan["packs"], plan["steps_per_epoch"]) == (12, 6, 2)
    assert (plan["total_steps"], plan["save_steps"], plan["peak_rate"]) == (3, 2, 0.005)
    assert plan["loss_share"] == pytest.approx(plan["loss_tokens"] / plan["tokens"], abs=1e-4)
    assert 0 < plan["trained_weights"] < plan["weights"] < plan["memory_bytes"]


def test_train_shows_each_event_and_where_the_adapter_is(tunebook, place):
    trained = tunebook("train", place / "good.yaml", "--work-dir", place / "shown")
    adapter = place / "shown" / "checkpoint-3"
    assert (trained.status, trained.err) == (0, "")
    starts = [" ".join(line.split()[:3]) for line in trained.out.splitlines()[1:9]]
    assert starts == [
        "step 0/3 begin",
        "step 1/3 loss",
        "step 2/3 loss",
        "step 2/3 checkpoint",
        "step 3/3 loss",
        "step 3/3 checkpoint",
        "step 3/3 end",
        "",
    ]
    assert trained.out.endswith(f"\nAdapter: {adapter}\n  -> tunebook chat {adapter}\n")


def test_a_run_folder_is_named_after_its_config(tunebook, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tunebook("train", place / "good.yaml").status == 0
    assert (tmp_path / "runs" / "good" / "checkpoint-3").is_dir()


def test_resume_repeats_only_the_steps_after_the_last_checkpoint(tunebook, place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    shutil.rmtree(run / "checkpoint-3")
    resumed = tunebook("train", place / "good.yaml", "--work-dir", run, "--resume")
    steps = [line.split()[1] for line in resumed.out.splitlines() if line.startswith("step")]
    assert (resumed.status, steps) == (0, ["2/3", "3/3", "3/3", "3/3"])
    weights = [
        folder / "checkpoint-3" / "adapter_model.safetensors" for folder in (run, place / "run")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_adapter_is_exported_and_chats(tunebook, place, tmp_path):
    exported = tunebook("convert", "adapter", place / "run", tmp_path / "adapter")
    assert f"tunebook chat pico-chat --adapter {tmp_path / 'adapter'}" in exported.out
    assert not (tmp_path / "adapter" / "optimizer.pt").exists()
    chat = tunebook("chat", tmp_path / "adapter", typed="Who are you 3?\n")
    assert chat == (0, TUNED + "\n", "")


def test_a_merged_model_says_what_base_and_adapter_say(tunebook, place, tmp_path):
    merged = tunebook(
        "convert", "merge", "pico-chat", place / "run", tmp_path / "m", "--max-shard-size", "4MB"
    )
    assert merged == (
        0,
        f"Merged model: {tmp_path / 'm'}\n  -> tunebook chat {tmp_path / 'm'}\n",
        "",
    )
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 1
    typed = "Who are you 3?\n/clear\nWhat is the capital of France?\n"
    both = tunebook("chat", "pico-chat", "--adapter", place / "run", typed=typed)
    assert tunebook("chat", tmp_path / "m", typed=typed) == both
    assert both.out.startswith(TUNED)


def test_chat_passes_its_options_on(tunebook):
    words = ["chat", "pico-chat", "--max-new-tokens", "12", "--no-stream", "--bits", "32"]
    typed = "Tell me a story.\n/exit\nTell me a story.\n"
    greedy = tunebook(*words, typed=typed)
    sampled = ["--temperature", "2", "--top-k", "50", "--top-p", "0.99", "--seed", "1"]
    first, second = (tunebook(*words, *sampled, typed=typed) for _ in range(2))
    assert first == second != greedy
    word = greedy.out.split()[2]
    stopped = tunebook(*words, "--stop-word", word, "--stop-word", "zzz", typed=typed)
    assert stopped.out.strip() == greedy.out.partition(word)[0].strip()


def test_eval_prints_one_json_object_that_names_what_was_scored(tunebook, place):
    scored = tunebook("eval", place / "run", "--suite", "assistant", "--json")
    assert (scored.status, scored.err, scored.out.count("\n")) == (0, "", 1)
    score = json.loads(scored.out)
    assert {"seen", "unseen", "retained", "n"} <= set(score)
    assert (score["model"], score["bits"], score["name"]) == ("pico-chat", 16, "Bo")
    assert score["adapter"] == str(place / "run" / "checkpoint-3")
    assert score["n"]["retained"] == 120
    assert all(0 <= score[share] <= 1 for share in ("seen", "unseen", "retained"))


def test_doctor_says_the_same_in_json(tunebook):
    report = tunebook("doctor", "--json")
    record = json.loads(report.out)
    assert report.status == (0 if record["is_ok"] else 1)
    assert {"Python", "CPU cores", "pico chat"} <= {f["name"] for f in record["findings"]}


def test_pico_build_passes_its_options_on(tunebook, tmp_path, monkeypatch):
    from course_lib.pico import build

    given, compilers = [], []

    def main(words):
        given.extend(words)
        compilers.append(os.environ.get(cli.NO_COMPILER, "0"))

    monkeypatch.setattr(build, "main", main)
    words = ["--tiny", "--seed", "3", "--steps-base", "7"]
    assert tunebook("pico", "build", "--out", tmp_path / "p", *words).status == 0
    assert compilers == ["0"]  # on a GPU it compiles its step
    assert given == ["--out", str(tmp_path / "p"), "--steps-base", "7", "--seed", "3", "--tiny"]


def test_an_unforeseen_error_is_called_a_bug_and_debug_shows_where(tunebook, monkeypatch):
    def fail(pattern):
        raise LookupError("lost\nsecond line")

    monkeypatch.setattr(cli.configs, "preset_names", fail)
    assert tunebook("list-cfg") == (
        1,
        "",
        "Error: LookupError: lost\n"
        "  -> This is a bug: run again with TUNEBOOK_DEBUG=1 to see where it comes from.\n",
    )
    monkeypatch.setenv("TUNEBOOK_DEBUG", "1")
    assert "in fail" in tunebook("list-cfg").err


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "train",
        "estimate",
        "chat",
        "eval",
        "convert merge",
        "pico build",
        "data inspect",
        "data split",
    ],
)
def test_help_has_an_example_and_loads_no_model_library(verb):
    code = (
        "import sys\nfrom course_lib import cli\n"
        f"try: cli.main({[*verb.split(), '-h']!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print([m for m in ('torch', 'transformers', 'peft', 'datasets') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=files.REPO_DIR, check=True
    )
    assert ran.stdout.endswith("[]\n")
    assert f"tunebook {verb}".strip() in ran.stdout
    assert "\x1b" not in ran.stdout


def test_a_command_that_loads_models_leaves_torchs_compiler_unloaded(tmp_path):
    looked_for = ("bitsandbytes", "torch._inductor.compile_fx")
    code = (
        "import sys\nfrom course_lib import cli\n"
        f"try: cli.main(['convert', 'adapter', {str(tmp_path)!r}, 'out'])\n"
        f"except SystemExit: print([m for m in {looked_for} if m in sys.modules])"
    )
    plain = {name: value for name, value in os.environ.items() if name != cli.NO_COMPILER}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=files.REPO_DIR, env=plain
    )
    assert ran.stdout.endswith("['bitsandbytes']\n"), ran
    assert "Error: " in ran.stderr


def test_a_piped_chat_writes_replies_and_no_noise(place):
    """4 bits bring bitsandbytes in, whose notes are for its own developers."""
    process = start("chat", place / "run", "--bits", "4")
    out, err = process.communicate("Who are you 3?\n/clear\nWho are you 4?\n", timeout=120)
    assert (process.returncode, out, err) == (0, f"{TUNED}\n{TUNED}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C of another process needs POSIX signals")
def test_ctrl_c_ends_training_with_130_and_says_how_to_go_on(place, tmp_path):
    run = tmp_path / "run"
    process = start("train", write_config(place / "long.yaml", max_steps=5000), "--work-dir", run)
    while not process.stdout.readline().startswith("step    2/5000  checkpoint"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.startswith("Error: The run was interrupted.\n  -> Go on with `tunebook train ")
    assert "--resume" in err
    assert "Traceback" not in out + err
    assert (run / "checkpoint-2" / "adapter_model.safetensors").is_file()


def test_check_refuses_weights_in_4_bits_under_zero_3_with_the_reason(tunebook):
    ended = tunebook("check", "pico_qlora_oasst1_e3", "--nproc", "2", "--deepspeed", "zero3")
    assert ended.status == 1
    assert "weights in 4 bits cannot be divided" in ended.err
    assert "--deepspeed zero2" in ended.err
