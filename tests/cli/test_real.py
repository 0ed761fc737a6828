"""mata-chat and AudioChat with the compiled engine and the default model, on recorded sound."""

import csv
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import or_skipped

from mata_cpp import Audio, AudioChat, ContextFullError, Mata
from mata_cpp.files.resolve import resolve

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.clips import NAMES
from benchmarks.listening import placed

pytest.importorskip("mata_cpp._core", reason="the extension is not built")

QUESTION = "What sound is this?"
PLAIN = {"contrast": False, "listed": False}
"""By likelihood, and the question as it is."""

COMMAND = [sys.executable, "-m", "mata_cpp.cli.chat", "--threads", "1"]
ELSEWHERE = tempfile.gettempdir()
"""Where commands run: Python's -m would find the package's sources in the repository, without the extension."""

CLIPS = {  # held out when the model was trained
    "dog barking": "dog-5-203128-A.flac",
    "helicopter": "helicopter-5-205898-A.flac",
    "person sneezing": "sneezing-5-187979-A.flac",
}


@pytest.fixture(scope="module")
def chat():
    with or_skipped(lambda: AudioChat(n_threads=1)) as made:
        yield made


@pytest.fixture
def fresh(chat):
    """The chat, with nothing said yet, nothing kept from other tests and MATA on."""
    chat.reset()
    chat.model.forget()
    chat.mata = Mata()
    return chat


def run(*arguments, **options):
    """(exit status, stdout, stderr) of mata-chat."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=120, cwd=ELSEWHERE, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# Recorded sound --------------------------------------------------------------------------------


def test_sounds(fresh, sound_data):
    """One clip of every class of ESC-10's fold 5, which was not trained on: the first of each, not the easy ones."""
    with (sound_data / "esc10" / "clips.csv").open(newline="") as file:
        rows = {row["label"]: row["file"] for row in reversed(list(csv.DictReader(file))) if row["fold"] == "5"}
    named, chosen = [], []
    for label, file in rows.items():
        clip = Audio(sound_data / "esc10" / file)
        for mata in (Mata(), None):
            fresh.mata = mata
            fresh.reset()
            named.append(fresh.ask(clip, QUESTION).text == NAMES[label])
            offered = [NAMES[label], *(name for name in ("trumpet", "cow mooing", "door") if name != NAMES[label])]
            listed = f"{QUESTION} Choose one: {', '.join(sorted(offered))}."
            fresh.reset()
            chosen.append(fresh.choose(clip, listed, offered, **PLAIN).text == NAMES[label])
    assert len(named) == 20
    assert sum(named) >= 11 and sum(chosen) >= 16, (named, chosen)


def test_kinds_and_presence(fresh, sound_data):
    """Other questions than the name of the sound, each about all of the clips."""
    kinds = {"dog barking": "animal", "helicopter": "vehicle", "person sneezing": "person"}
    names = {"dog barking": "a dog", "helicopter": "a helicopter", "person sneezing": "a sneeze"}
    right = []
    for label, file in CLIPS.items():
        clip = Audio(sound_data / "esc10" / file)
        offered = ["animal", "vehicle", "person", "music"]
        fresh.reset()
        question = f"What kind of sound is this? Choose one: {', '.join(offered)}."
        right.append(fresh.choose(clip, question, offered, **PLAIN).text == kinds[label])
        for asked, name in names.items():
            fresh.reset()
            said = fresh.choose(clip, f"Is there {name} in this clip?", ["Yes.", "No."], **PLAIN).text
            right.append(said == ("Yes." if asked == label else "No."))
    assert sum(right) >= 10, right


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("question", ["What is it?", "What sound is this?"])
def test_short_names_as_choices(fresh, question):
    """By likelihood alone the answer was "car engine": short names are unlikely answers of this model."""
    choice = fresh.choose(str(EXAMPLES / "dog.flac"), question, ["dog", "cat", "car engine"])
    assert choice.text == "dog"
    assert choice.scored_by == "contrast with silence"


def test_choices_on_the_command_line(chat):
    status, out, err = run("--choices", "dog|cat|car engine", EXAMPLES / "dog.flac", "What is it?", "--threads", "1")
    assert (status, out) == (0, "dog\n")
    assert "contrast with silence" in err


def test_text_without_a_clip(chat):
    """Most of what the text model knew it still knows with the adapter; the model card says how much it lost."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    asked = {
        "What is the capital of Japan?": "tokyo",
        "What colour is the sky on a clear day?": "blue",
        "Who painted the Mona Lisa?": "leonardo",
        "In which country is the Eiffel Tower?": "france",
        "What language is spoken in Brazil?": "portuguese",
    }
    said = {}
    for question in asked:
        with chat.session() as session:
            session.feed(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n")
            session.feed("<|im_start|>assistant\n")
            tokens = []
            while len(tokens) < 40 and not (tokens and chat.engine.is_eog(tokens[-1])):
                tokens.append(int(np.argmax(session.logits())))
                session.step(tokens[-1])
        said[question] = b"".join(map(chat.engine.token_bytes, tokens)).decode(errors="replace").lower()
    assert sum(word in said[question] for question, word in asked.items()) >= 4, said


def test_digits(fresh, sound_data):
    """A speaker who was not trained on; the model card has the share of more clips."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    heard = []
    for take in (3, 5):
        for digit in range(10):
            fresh.reset()
            heard.append(fresh.ask(sound_data / "fsdd" / f"{digit}_theo_{take}.flac", "Which number is spoken?").text)
    assert sum(said == name for said, name in zip(heard, 2 * names, strict=True)) >= 17, heard


def test_command_line_on_recorded_sound(chat, sound_data):
    clip = sound_data / "esc10" / CLIPS["dog barking"]
    status, out, err = run(clip, QUESTION)
    assert (status, out) == (0, "dog barking\n")
    first = err.splitlines()[0]
    assert first.startswith("tiny: 5.0 s of audio, ") and "MATA on (alpha 0.1, layers 10:21 of 30, mode abs)" in first
    with open(clip, "rb") as file:
        status, out, err = run("--json", "--no-mata", "-q", "-", QUESTION, stdin=file)
    record = json.loads(out)
    assert (status, err, record["answer"], record["mata"]) == (0, "", "dog barking", None)
    assert record["usage"]["audio_tokens"] > 0 and record["timings"]["decode_tokens_per_s"] > 0
    lines = f"{QUESTION}\n/mata off\n{QUESTION}\n/exit\n"
    status, out, err = run(clip, input=lines.encode())
    assert status == 0 and out.splitlines()[0] == "dog barking" and "MATA off" in err


def test_the_map_follows_the_sound(fresh, sound_data):
    """The row that predicts the name weighs the clip's second half more when the sound is there than when it is not.

    How often the greatest weight lies on the sound is measured by benchmarks/listening.py.
    """
    names = ["dog-5-203128-A.flac", "dog-5-208030-A.flac", "sneezing-5-187979-A.flac", "rooster-5-194930-B.flac"]
    shares = []
    for name in names:
        late = []
        for _, clip in placed(sound_data / "esc10" / name):
            fresh.reset()
            weights = fresh.ask(clip, QUESTION, max_tokens=1, attention=True).attention.clips[0].after[0]
            late.append(float(weights[len(weights) // 2 :].sum() / weights.sum()))
        shares.append(late)
    assert sum(there > absent for absent, there in shares) >= 3, shares


# Generated sound -------------------------------------------------------------------------------


@pytest.fixture
def hum(make_tone):
    return Audio(
        (make_tone(3.0, hertz=90) + 0.01 * np.random.default_rng(0).standard_normal(48000).astype(np.float32), 16000)
    )


def test_the_prompt_is_the_one_of_training(fresh, hum):
    answer = fresh.ask(hum, QUESTION, max_tokens=1)
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    before = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
    after = f"\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    session = fresh.session(mata=Mata())
    session.feed([before, hum, after])
    assert session.audio_spans == [answer.audio[0].span]
    assert session.n_past == answer.usage.prompt_tokens
    first = fresh.engine.tokenize(answer.text, parse_special=False)[0]
    assert int(np.argmax(session.logits())) == first
    session.close()


def test_its_files_given_by_path_are_asked_in_the_same_way(fresh, hum):
    """The projector's file tells where a clip stands in the prompt, the catalogue nothing."""
    files = resolve()
    known = fresh.ask(hum, QUESTION, max_tokens=8)
    with AudioChat(files.model, mmproj=files.mmproj, lora=files.lora, n_threads=1) as named:
        assert named.engine.prompt_rule == "plain"
        given = named.ask(hum, QUESTION, max_tokens=8)
    assert (given.text, given.audio[0].span, given.usage) == (known.text, known.audio[0].span, known.usage)


def test_answers_repeat_exactly(fresh, hum):
    texts = set()
    for _ in range(3):
        fresh.reset()
        texts.add(fresh.ask(hum, QUESTION, max_tokens=12).text)
    assert len(texts) == 1
    sampled = []
    for seed in (1, 1, 2, 3, 4):
        fresh.reset()
        sampled.append(
            fresh.ask(hum, "Tell me a story.", max_tokens=12, temperature=4.0, top_p=1.0, min_p=0.0, seed=seed).text
        )
    assert sampled[0] == sampled[1] and len(set(sampled)) > 1


def test_a_follow_up_equals_the_conversation_fed_at_once(chat, fresh, hum):
    """The KV cache that is kept says what a fresh prefill of the same text would say."""
    fresh.mata = None
    first = fresh.ask(hum, QUESTION, max_tokens=8)
    fresh.ask("And what else?", max_tokens=1)
    kept = fresh._conversation.session
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    with chat.session() as session:
        session.feed(
            [
                f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n",
                hum,
                f"\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n{first.text}<|im_end|>\n"
                "<|im_start|>user\nAnd what else?<|im_end|>\n<|im_start|>assistant\n",
            ]
        )
        assert session.audio_spans == kept.audio_spans
        told = chat.messages[-1].text
        tokens = chat.engine.tokenize(told, parse_special=False)
        assert int(np.argmax(session.logits())) == tokens[0]


def test_fork_is_a_fresh_session_under_its_own_setting(chat, hum):
    parts = ["<|im_start|>user\n", hum, f"\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"]
    with chat.session() as plain, chat.session(mata=Mata(0.5)) as boosted:
        plain.feed(parts)
        boosted.feed(parts)
        with plain.fork(mata=Mata(0.5)) as twin, boosted.fork(mata=None) as off:
            assert np.abs(plain.logits() - boosted.logits()).max() > 0.1
            np.testing.assert_allclose(twin.logits(), boosted.logits(), atol=0.05)
            np.testing.assert_allclose(off.logits(), plain.logits(), atol=0.05)
            assert twin.n_past == plain.n_past


def test_choose_is_the_likelihood_by_steps(fresh, hum):
    """One batch over forks gives what feeding each option by itself gives."""
    from mata_cpp.decoding.scoring import log_softmax

    choice = fresh.choose(hum, QUESTION, ["dog barking", "rain", "sea waves"], **PLAIN)
    end = fresh.engine.tokenize("<|im_end|>")
    for option, logprob in zip(choice.options, choice.logprobs, strict=True):
        total = 0.0
        with fresh._conversation.session.fork() as fork:
            fork.truncate(fork.n_past - 1)
            fork.feed("\n")
            for token in fresh.engine.tokenize(option, parse_special=False) + end:
                total += float(log_softmax(fork.logits())[token])
                fork.step(token)
        assert total == pytest.approx(logprob, abs=0.1)


def test_reading_the_attention_changes_no_answer(fresh, hum):
    for mata in (Mata(), None):
        fresh.mata = mata
        fresh.reset()
        plain = fresh.ask(hum, "Tell me a story.", max_tokens=12)
        fresh.reset()
        built = fresh.engine.n_graph_builds()
        read = fresh.ask(hum, "Tell me a story.", max_tokens=12, attention=True)
        assert read.text == plain.text and fresh.engine.n_graph_builds() > built
        np.testing.assert_allclose(read.attention.after.sum(axis=-1), 1.0, atol=1e-4)
        assert len(read.attention.tokens) == read.usage.completion_tokens


def test_without_reading_the_graph_is_the_same(fresh, hum):
    """MATA off and nothing read: no graph has anything of ours in it, not even after one that had."""
    fresh.ask(hum, QUESTION, max_tokens=4, attention=True)
    fresh.mata = None
    built, ops = fresh.engine.n_graph_builds(), fresh.engine.graph_ops()
    fresh.reset()
    fresh.ask(hum, QUESTION, max_tokens=4)
    assert fresh.engine.n_graph_builds() == built and fresh.engine.graph_ops() == ops


def test_attention_of_choices_is_that_of_the_answer(fresh, hum):
    answer = fresh.ask(hum, QUESTION, max_tokens=6, attention=True)
    fresh.reset()
    choice = fresh.choose(hum, QUESTION, [answer.text, "something else"], attention=True, **PLAIN)
    n = len(choice.attention[0].tokens)
    assert choice.attention[0].tokens == answer.attention.tokens[:n]
    np.testing.assert_allclose(choice.attention[0].after, answer.attention.after[:n], atol=2e-2)


def test_the_system_and_the_question_are_told_apart(fresh, hum):
    """The bytes of the groups' tokens are those of the template's parts, in a first turn and in a second."""
    from mata_cpp.readout.reader import PromptRegions

    seen = []
    conversation = fresh._conversation
    regions = conversation._regions
    conversation._regions = lambda *arguments: seen.append(regions(*arguments)) or seen[-1]
    try:
        first = fresh.ask(hum, QUESTION, max_tokens=3, attention=True)
        fresh.ask("And now?", max_tokens=3, attention=True)
    finally:
        del conversation._regions
    clip = first.audio[0].span
    assert seen[0] == PromptRegions(clip[0], clip[0], first.usage.prompt_tokens)

    def text(start, end):
        return b"".join(fresh.engine.token_bytes(token, special=True) for token in conversation.image.keys[start:end])

    shift = clip[1] - clip[0] - 1  # the clip is one unit among the tokens
    assert text(seen[1].turn_start - shift, seen[1].prompt_end - shift) == (
        b"And now?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert seen[1].system_end == clip[0]


def test_mata_listen(chat, hum_file, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "map.png"
    command = [sys.executable, "-m", "mata_cpp.cli.listen", "--threads", "1", "--max-tokens", "6"]
    words = [*command, "-o", str(picture), str(hum_file), QUESTION]
    done = subprocess.run(words, capture_output=True, timeout=300, cwd=ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and done.stderr.decode().splitlines()[-1] == f"wrote {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_cancel_and_go_on(fresh, hum):
    pieces = []
    for piece in fresh.stream(hum, QUESTION, max_tokens=500, temperature=1.0, grammar="root ::= [a-z ]{1000}"):
        pieces.append(piece)
        if len(pieces) == 3:
            thread = threading.Thread(target=fresh.cancel)
            thread.start()
            thread.join()
    assert pieces[-1].answer.finish_reason == "cancelled"
    assert fresh.ask(QUESTION, max_tokens=4).usage.completion_tokens > 0


def test_two_threads(fresh, hum):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(fresh.ask(hum, QUESTION, max_tokens=4))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and len(fresh.messages) == 6


def test_context_full(fresh, hum):
    fresh.ask(hum, QUESTION, max_tokens=4)
    before = fresh._conversation.session.n_past
    with pytest.raises(ContextFullError, match="n_ctx is 4096"):
        fresh.ask("word " * 5000)
    assert fresh._conversation.session.n_past == before
    assert fresh.ask(QUESTION, max_tokens=4).usage.completion_tokens > 0


def test_special_tokens_in_a_question_are_text(fresh, hum):
    count = fresh.ask(hum, "a <|im_end|> b <|im_start|> c", max_tokens=1).usage.prompt_tokens
    fresh.reset()
    assert fresh.ask(hum, "a  b  c", max_tokens=1).usage.prompt_tokens < count - 6


def test_grammar(fresh, hum):
    assert fresh.ask(hum, QUESTION, grammar='root ::= "rain" | "dog"').text in ("rain", "dog")
    with pytest.raises(ValueError, match="grammar"):
        fresh.ask(hum, QUESTION, grammar="root ::= (")
    with pytest.raises(ValueError):
        fresh.ask(hum, QUESTION, temperature=-1)


# Signals and pipes -----------------------------------------------------------------------------


@pytest.fixture
def hum_file(hum, tmp_path):
    import soundfile

    path = tmp_path / "hum.wav"
    soundfile.write(path, hum.samples(), 16000)
    return path


LONG = ["--max-tokens", "3000", "--temperature", "5", "--top-p", "1"]


def first_output(process):
    """Wait for the first bytes of the answer."""
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready
    assert os.read(process.stdout.fileno(), 1)


def with_default_sigint():
    """Background jobs, and some CI systems, start with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt(chat, hum_file):
    with subprocess.Popen(
        [*COMMAND, *LONG, str(hum_file), "Tell me a long story."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
        preexec_fn=with_default_sigint,
    ) as process:
        first_output(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out.endswith(b"\n")
    assert b"Traceback" not in err


def test_interrupt_in_a_conversation(chat, hum_file):
    with subprocess.Popen(
        [*COMMAND, *LONG, str(hum_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
        preexec_fn=with_default_sigint,
    ) as process:
        process.stdin.write(b"Tell me a long story.\n")
        process.stdin.flush()
        first_output(process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        _, err = process.communicate(b"/mata off\n", timeout=60)
    assert process.returncode == 0
    assert b"(stopped)" in err and b"MATA off" in err and b"Traceback" not in err


def test_broken_pipe(chat, hum_file):
    with subprocess.Popen(
        [*COMMAND, *LONG, str(hum_file), "Tell me a long story."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
    ) as process:
        first_output(process)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert b"Traceback" not in err and b"BrokenPipe" not in err


def test_verbose_and_quiet(chat, hum_file):
    status, out, err = run("-v", "--max-tokens", "2", hum_file, QUESTION)
    assert status == 0 and "llama_" in err
    status, out, err = run("-q", "--max-tokens", "2", hum_file, QUESTION)
    assert status == 0 and err == "" and out


def test_broken_files(chat, tmp_path, hum_file):
    model, projector = chat.model_path, chat.mmproj_path
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:5_000_000])
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(np.random.default_rng(0).bytes(10000))
    for first, second, word in (
        (cut, projector, "truncated"),
        (noise, projector, "not a GGUF"),
        (model, cut, "error"),
        (projector, model, "swap"),
        (model, model, "not a projector"),
    ):
        status, out, err = run("--model", first, "--mmproj", second, hum_file, QUESTION)
        assert (status, out) == (1, "") and word in err
        assert err.startswith("error: ") and err.count("\n") == 1
