"""Questions without a clip, with the answers that the model gives before it is trained: it should go on giving them."""

from __future__ import annotations

from mata_cpp import _core

QUESTIONS = [
    "What is the capital of France?",
    "What is two plus two?",
    "Name three colours.",
    "Who wrote Romeo and Juliet?",
    "What is the opposite of hot?",
    "How many days are in a week?",
    "What do bees make?",
    "Name a fruit.",
    "What is water made of?",
    "Which planet do we live on?",
    "Tell me a short joke.",
    "What does a dog eat?",
    "Write one sentence about the sea.",
    "What is the largest ocean?",
    "How do you say hello in Spanish?",
    "What is a guitar?",
    "Why is the sky blue?",
    "Give me a tip for sleeping well.",
    "What is the boiling point of water?",
    "Name two animals that can fly.",
    "What season comes after winter?",
    "Is the sun a star?",
    "What is a helicopter?",
    "How many legs has a spider?",
    "What is rain?",
    "Who are you?",
    "What can you do?",
    "Thank you.",
    "Hello!",
    "Good morning. How are you?",
    "What is the square of five?",
    "Name a European country.",
    "What is a violin made of?",
    "What is the fastest land animal?",
    "What is snow?",
    "Explain what a clock is.",
    "What do you use an umbrella for?",
    "What is the first month of the year?",
    "Name a musical instrument.",
    "How many hours are in a day?",
    "What is bread made from?",
    "What is the colour of grass?",
    "Which animal says moo?",
    "What is a train?",
    "What is ten minus four?",
    "Name a language spoken in Switzerland.",
    "What is the moon?",
    "Write a short greeting.",
    "What does a teacher do?",
    "Name something cold.",
]
LONGEST = 40


def answers(engine: _core.Engine, before: str, after: str) -> list[tuple[str, str]]:
    """(question, answer) for each question, greedy, at most LONGEST tokens; answers that do not end are left out."""
    found = []
    for question in QUESTIONS:
        session = engine.session()
        session.feed_tokens(engine.tokenize(before + question + after))
        said: list[int] = []
        while len(said) < LONGEST:
            token = int(session.logits().argmax())
            if engine.is_eog(token):
                text = b"".join(engine.token_bytes(t) for t in said).decode("utf-8", "replace")
                found.append((question, text))
                break
            said.append(token)
            session.feed_tokens([token])
        session.close()
    return found
