"""Questions without a clip, with what the model says to them before it is trained: it should go on saying it."""

from __future__ import annotations

import re

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
# (wording, what is put into it); nothing of HELD
FILLED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "What is the capital of {}?",
        ("Greece", "Norway", "Poland", "Russia", "China", "Canada", "Egypt", "Austria", "Portugal", "Ireland", "India"),
    ),
    (
        "In which country is {}?",
        (
            "Paris",
            "Barcelona",
            "Moscow",
            "Chicago",
            "Sydney",
            "Munich",
            "Milan",
            "Kyoto",
            "Mumbai",
            "Oxford",
            "Toronto",
        ),
    ),
    ("What language is spoken in {}?", ("France", "Mexico", "Austria", "Japan", "Italy", "Canada", "Australia")),
    ("On which continent is {}?", ("Kenya", "Peru", "Vietnam", "Sweden", "Argentina", "Nigeria", "Korea")),
    (
        "What is the opposite of {}?",
        ("big", "fast", "old", "wet", "light", "happy", "open", "hard", "early", "left", "day", "rich", "full", "loud"),
    ),
    ("What is {} plus {}?", ("one|two", "four|five", "ten|ten", "seven|one", "two|six", "five|five", "nine|three")),
    ("What is {} times {}?", ("two|two", "three|five", "ten|six", "four|four", "five|two")),
    ("What is {} minus {}?", ("nine|two", "five|three", "eight|eight", "twenty|five")),
    (
        "Which {} comes after {}?",
        ("month|March", "month|June", "day|Friday", "day|Wednesday", "letter|B", "number|seven", "season|spring"),
    ),
    (
        "What colour is {}?",
        ("snow", "a tomato", "a lemon", "coal", "an orange", "a frog", "blood", "a carrot", "the sea", "chocolate"),
    ),
    ("What do {} eat?", ("cats", "horses", "lions", "birds", "rabbits", "pandas", "sharks", "mice")),
    ("What do you call a baby {}?", ("dog", "cow", "sheep", "horse", "duck", "frog")),
    ("How many legs does {} have?", ("a cat", "a bird", "an ant", "a horse", "a table")),
    (
        "Who wrote {}?",
        ("Hamlet", "Don Quixote", "War and Peace", "The Odyssey", "Oliver Twist", "Pride and Prejudice", "Faust"),
    ),
    ("Who invented the {}?", ("telephone", "light bulb", "steam engine", "printing press", "airplane", "radio")),
    ("Who painted {}?", ("The Starry Night", "Guernica", "The Scream", "the Sistine Chapel")),
    ("Who was {}?", ("Napoleon", "Isaac Newton", "Mozart", "Marie Curie", "Abraham Lincoln", "Julius Caesar")),
    (
        "What is {}?",
        ("a volcano", "gravity", "a river", "music", "a computer", "bread", "democracy", "an island", "electricity")
        + ("a poem", "coffee", "a bridge", "history", "the internet", "a doctor", "salt", "a forest", "philosophy"),
    ),
    (
        "What is the {} in the world?",
        ("highest mountain", "longest river", "largest country", "smallest country", "biggest desert", "deepest lake"),
    ),
    ("What is the chemical symbol of {}?", ("gold", "oxygen", "iron", "salt", "silver", "carbon")),
    (
        "Explain in one sentence what {} does.",
        ("a pilot", "a baker", "the heart", "a magnet", "a nurse", "a compass", "the brain", "an engine"),
    ),
    ("Write one sentence about {}.", ("winter", "a friend", "the city", "music", "a garden", "the night", "a journey")),
    ("Name three {}.", ("animals", "countries", "vegetables", "sports", "planets", "tools", "rivers", "trees")),
    ("Translate to {}: good morning.", ("French", "Italian", "German")),
    ("Give me a short definition of {}.", ("courage", "science", "weather", "a verb", "art", "a triangle")),
    (
        "How do I {}?",
        ("boil an egg", "learn a language", "make tea", "clean a window", "write a letter", "plant a tree"),
    ),
    ("Why do {}?", ("birds fly", "leaves fall", "people sleep", "cats purr", "we need water", "dogs bark")),
)
HELD = (  # never trained on: (question, what a right answer has in it)
    ("What is the capital of Italy?", "rome"),
    ("What is the capital of Japan?", "tokyo"),
    ("What is the capital of Spain?", "madrid"),
    ("What is the capital of Germany?", "berlin"),
    ("What is the capital of England?", "london"),
    ("What is three plus three?", "6|six"),
    ("What is two times four?", "8|eight"),
    ("How many months are in a year?", "12|twelve"),
    ("How many minutes are in an hour?", "60|sixty"),
    ("How many legs does a dog have?", "4|four"),
    ("What is the opposite of up?", "down"),
    ("What is the opposite of black?", "white"),
    ("What colour is the sky on a clear day?", "blue"),
    ("What colour is a banana?", "yellow"),
    ("What do cows drink?", "water|milk"),
    ("What is frozen water called?", "ice"),
    ("Which planet is closest to the sun?", "mercury"),
    ("Who painted the Mona Lisa?", "leonardo|vinci"),
    ("Who was the first president of the United States?", "washington"),
    ("Who developed the theory of relativity?", "einstein"),
    ("In which country is the Eiffel Tower?", "france"),
    ("In which country is the Great Wall?", "china"),
    ("On which continent is Egypt?", "africa"),
    ("What language is spoken in Brazil?", "portuguese"),
    ("What is the chemical symbol of water?", "h2o|h₂o"),
    ("What gas do people breathe in to live?", "oxygen"),
    ("What is the largest animal on earth?", "whale"),
    ("What do you call a baby cat?", "kitten"),
    ("Which animal gives wool?", "sheep"),
    ("Which day comes after Monday?", "tuesday"),
)
LONGEST = 40


def said(engine: _core.Engine, prompt: str) -> tuple[str, bool]:
    """The greedy answer, and whether it ended within LONGEST tokens."""
    session = engine.session()
    session.feed_tokens(engine.tokenize(prompt))
    tokens: list[int] = []
    ended = False
    while len(tokens) < LONGEST and not ended:
        token = int(session.logits().argmax())
        ended = engine.is_eog(token)
        if not ended:
            tokens.append(token)
            session.feed_tokens([token])
    session.close()
    return b"".join(engine.token_bytes(token) for token in tokens).decode("utf-8", "replace"), ended


def asked() -> list[str]:
    filled = [wording.format(*words.split("|")) for wording, group in FILLED for words in group]
    return [*QUESTIONS, *filled]


def answers(engine: _core.Engine, before: str, after: str, end: str) -> list[tuple[str, str]]:
    """(question, what the model says to it, with `end` where it ends within LONGEST tokens), greedy."""
    made = [(question, *said(engine, before + question + after)) for question in asked()]
    return [(question, text + (end if ended else "")) for question, text, ended in made]


def right(engine: _core.Engine, before: str, after: str) -> list[bool]:
    """For each question of HELD, whether the answer has the right word in it."""
    return [
        re.search(rf"\b({words})s?\b", said(engine, before + question + after)[0].lower()) is not None
        for question, words in HELD
    ]
