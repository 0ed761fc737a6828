"""The default model without sound: its adapter is for sound, and off."""

from pathlib import Path

import pytest
from cli_fixtures import or_skipped

from mata_cpp import AudioModel

DOG = Path(__file__).resolve().parents[2] / "examples" / "dog.flac"
QUESTION = "Name three animals."


@pytest.fixture(scope="module")
def model():
    with or_skipped(lambda: AudioModel(n_threads=1)) as made:
        yield made


def test_a_conversation_without_sound_is_the_language_models(model):
    with AudioModel(model.model_path, mmproj=model.mmproj_path, n_threads=1) as bare:
        wanted = bare.chat().ask([], QUESTION, max_tokens=24).text
    with model.chat() as chat:
        assert chat.ask([], QUESTION, max_tokens=24).text == wanted


def test_a_clip_turns_the_adapter_on_for_the_whole_conversation(model):
    with model.chat() as chat:
        chat.ask([], QUESTION, max_tokens=24)
        chat.messages = []
        assert chat.ask(DOG, "What sound is this?").text == "dog barking"
        assert chat.ask([], "Is it a dog?").text.startswith("Yes")
    with model.chat() as chat:
        text = chat.ask([], QUESTION, max_tokens=24).text
        assert chat.ask(DOG, "What sound is this?").text
        chat.messages = chat.messages[:-2]
        chat.messages = chat.messages[:-2]
        assert chat.ask([], QUESTION, max_tokens=24).text == text
