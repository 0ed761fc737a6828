"""What the model may name: labels, their kinds, their other wordings, and which file of a package is which.

A rule is (pattern of the path inside the package, label).  The first rule that fits wins; a file that no rule
fits is not used.
"""

from __future__ import annotations

import re

KINDS = (
    "animal",
    "person",
    "speech",
    "music",
    "musical instrument",
    "machine or tool",
    "vehicle",
    "water and weather",
    "household",
)

KIND_WORDS = {
    "animal": ("animal", "an animal", "an animal or a bird", "animals", "animal sound"),
    "person": ("person", "a person, but not speech", "a human sound", "human", "human, not speech"),
    "speech": ("speech", "someone speaking", "a voice saying words", "spoken words", "human speech"),
    "music": ("music", "a piece of music", "several instruments playing", "a song or a tune", "recorded music"),
    "musical instrument": (
        "musical instrument",
        "a musical instrument",
        "one instrument",
        "instrument",
        "a single instrument",
    ),
    "machine or tool": (
        "machine or tool",
        "a machine or a tool",
        "a tool or a machine at work",
        "tool",
        "workshop sound",
    ),
    "vehicle": ("vehicle", "a vehicle", "a means of transport", "transport", "vehicles and traffic"),
    "water and weather": (
        "water and weather",
        "water or weather",
        "nature: water, wind or weather",
        "water or wind",
        "weather sound",
    ),
    "household": ("household", "a household sound", "something in a house", "home", "domestic sound"),
}

# label: (kind, other wordings)
_LABELS: dict[str, tuple[str, tuple[str, ...]]] = {
    # animals
    "dog barking": ("animal", ("dog", "a barking dog")),
    "cat meowing": ("animal", ("cat", "a meowing cat")),
    "cow mooing": ("animal", ("cow", "cattle")),
    "sheep bleating": ("animal", ("sheep", "a sheep")),
    "goat bleating": ("animal", ("goat", "a goat")),
    "pig grunting": ("animal", ("pig", "a pig")),
    "horse neighing": ("animal", ("horse", "a neighing horse")),
    "horse hooves": ("animal", ("horse galloping", "hooves")),
    "donkey braying": ("animal", ("donkey", "a donkey")),
    "rooster crowing": ("animal", ("rooster", "a crowing rooster")),
    "hen clucking": ("animal", ("hen", "chicken")),
    "duck quacking": ("animal", ("duck", "a quacking duck")),
    "goose honking": ("animal", ("goose", "a goose")),
    "birds chirping": ("animal", ("birds", "birdsong")),
    "crow cawing": ("animal", ("crow", "a crow")),
    "owl hooting": ("animal", ("owl", "an owl")),
    "seagulls": ("animal", ("seagull", "gulls crying")),
    "eagle": ("animal", ("hawk", "a bird of prey")),
    "peacock": ("animal", ("peacock calling", "a peacock")),
    "frog croaking": ("animal", ("frog", "frogs")),
    "crickets": ("animal", ("cricket chirping", "insects")),
    "bee buzzing": ("animal", ("bee", "buzzing insect")),
    "wolf howling": ("animal", ("wolf", "a howling wolf")),
    "lion roaring": ("animal", ("lion", "a big cat roaring")),
    "elephant trumpeting": ("animal", ("elephant", "an elephant")),
    "camel": ("animal", ("camel grunting", "a camel")),
    "sea lion": ("animal", ("sea lion barking", "seal")),
    "mouse squeaking": ("animal", ("mouse", "a squeaking mouse")),
    # people
    "baby crying": ("person", ("crying baby", "a baby")),
    "person sneezing": ("person", ("sneezing", "a sneeze")),
    "person coughing": ("person", ("coughing", "a cough")),
    "laughing": ("person", ("person laughing", "laughter")),
    "screaming": ("person", ("person screaming", "a scream")),
    "footsteps": ("person", ("person walking", "steps")),
    "applause": ("person", ("clapping", "people clapping")),
    "crowd": ("person", ("people talking and shouting", "a crowd of people")),
    "groaning": ("person", ("person in pain", "a groan")),
    "burping": ("person", ("a burp", "person burping")),
    "heartbeat": ("person", ("heart beating", "a heartbeat")),
    "beatboxing": ("person", ("beatbox", "mouth drumming")),
    "singing": ("person", ("person singing", "a singer")),
    "snapping fingers": ("person", ("finger snap", "fingers snapping")),
    "eating": ("person", ("chewing", "biting into food")),
    "drinking": ("person", ("a gulp", "someone drinking")),
    "snoring": ("person", ("a snore", "someone snoring")),
    # machines and tools
    "chainsaw": ("machine or tool", ("a chainsaw", "motor saw")),
    "hammering": ("machine or tool", ("hammer", "a hammer")),
    "hand saw": ("machine or tool", ("sawing", "a saw cutting wood")),
    "circular saw": ("machine or tool", ("buzz saw", "an electric saw")),
    "chopping wood": ("machine or tool", ("axe", "wood being chopped")),
    "mining": ("machine or tool", ("pickaxe", "stone being broken")),
    "jackhammer": ("machine or tool", ("pneumatic drill", "a jackhammer")),
    "factory machine": ("machine or tool", ("machinery", "a running machine")),
    "sewing machine": ("machine or tool", ("a sewing machine", "sewing")),
    "swords clashing": ("machine or tool", ("sword", "swords")),
    "gunshot": ("machine or tool", ("gun", "a shot")),
    "explosion": ("machine or tool", ("a blast", "an explosion")),
    "anvil": ("machine or tool", ("blacksmith", "metal being forged")),
    "camera shutter": ("machine or tool", ("camera", "taking a photo")),
    "digging": ("machine or tool", ("shovel", "digging in earth")),
    # vehicles
    "helicopter": ("vehicle", ("a helicopter", "helicopter flying")),
    "car engine": ("vehicle", ("car", "a car")),
    "motorcycle": ("vehicle", ("motorbike", "a motorcycle passing")),
    "truck": ("vehicle", ("lorry", "bus or truck")),
    "traffic": ("vehicle", ("road traffic", "cars passing")),
    "train": ("vehicle", ("railway", "a train")),
    "airplane": ("vehicle", ("plane", "an aeroplane")),
    "siren": ("vehicle", ("emergency siren", "a siren")),
    "car horn": ("vehicle", ("honking", "a car horn")),
    "ship horn": ("vehicle", ("boat horn", "foghorn")),
    "rocket": ("vehicle", ("rocket launch", "a rocket")),
    # water and weather
    "rain": ("water and weather", ("raining", "rainfall")),
    "sea waves": ("water and weather", ("waves", "the sea")),
    "thunder": ("water and weather", ("thunderstorm", "a clap of thunder")),
    "wind": ("water and weather", ("wind blowing", "a storm of wind")),
    "river": ("water and weather", ("stream", "flowing water")),
    "waterfall": ("water and weather", ("a waterfall", "falling water")),
    "water drops": ("water and weather", ("dripping water", "drops of water")),
    "splash": ("water and weather", ("water splashing", "something falling into water")),
    "bubbles": ("water and weather", ("bubbling water", "bubbling")),
    "fire crackling": ("water and weather", ("fire", "a burning fire")),
    # household
    "clock ticking": ("household", ("clock", "a ticking clock")),
    "alarm clock": ("household", ("alarm", "an alarm beeping")),
    "telephone ringing": ("household", ("telephone", "a ringing phone")),
    "doorbell": ("household", ("door bell", "a doorbell")),
    "door": ("household", ("door opening or closing", "a door closing")),
    "door creaking": ("household", ("creaking door", "creak")),
    "door knock": ("household", ("knocking", "knocking on a door")),
    "glass breaking": ("household", ("breaking glass", "glass shattering")),
    "keyboard typing": ("household", ("typing", "computer keyboard")),
    "toilet flush": ("household", ("toilet", "a toilet flushing")),
    "water tap": ("household", ("tap running", "water running from a tap")),
    "coins": ("household", ("money", "coins clinking")),
    "church bells": ("household", ("church bell", "bell tolling")),
    "mouse click": ("household", ("click", "a click")),
    "something falling": ("household", ("object falling", "things falling down")),
    "toaster": ("household", ("a toaster", "toaster popping")),
    "sizzling": ("household", ("frying", "food sizzling in a pan")),
    "turning pages": ("household", ("paper", "a page being turned")),
    # musical instruments
    "piano": ("musical instrument", ("a piano", "piano playing")),
    "organ": ("musical instrument", ("an organ", "church organ")),
    "harpsichord": ("musical instrument", ("a harpsichord", "harpsichord playing")),
    "accordion": ("musical instrument", ("an accordion", "accordion playing")),
    "harmonica": ("musical instrument", ("a harmonica", "mouth organ")),
    "guitar": ("musical instrument", ("a guitar", "guitar playing")),
    "electric guitar": ("musical instrument", ("an electric guitar", "distorted guitar")),
    "bass": ("musical instrument", ("bass guitar", "a bass")),
    "banjo": ("musical instrument", ("a banjo", "banjo playing")),
    "sitar": ("musical instrument", ("a sitar", "sitar playing")),
    "harp": ("musical instrument", ("a harp", "harp playing")),
    "violin": ("musical instrument", ("a violin", "fiddle")),
    "cello": ("musical instrument", ("a cello", "cello playing")),
    "strings": ("musical instrument", ("string orchestra", "string ensemble")),
    "choir": ("musical instrument", ("a choir", "choir singing")),
    "trumpet": ("musical instrument", ("a trumpet", "trumpet playing")),
    "trombone": ("musical instrument", ("a trombone", "trombone playing")),
    "tuba": ("musical instrument", ("a tuba", "tuba playing")),
    "horn": ("musical instrument", ("a horn", "French horn")),
    "saxophone": ("musical instrument", ("a saxophone", "sax")),
    "oboe": ("musical instrument", ("an oboe", "oboe playing")),
    "bassoon": ("musical instrument", ("a bassoon", "bassoon playing")),
    "clarinet": ("musical instrument", ("a clarinet", "clarinet playing")),
    "flute": ("musical instrument", ("a flute", "flute playing")),
    "bagpipes": ("musical instrument", ("bagpipe", "the pipes")),
    "xylophone": ("musical instrument", ("a xylophone", "marimba")),
    "bells": ("musical instrument", ("tubular bells", "chimes")),
    "music box": ("musical instrument", ("a music box", "celesta")),
    "drums": ("musical instrument", ("drum kit", "drumming")),
    "tabla": ("musical instrument", ("tabla drums", "Indian drums")),
    "timpani": ("musical instrument", ("kettledrum", "timpani roll")),
    "cymbal": ("musical instrument", ("cymbals", "a cymbal crash")),
    "gong": ("musical instrument", ("a gong", "gong struck")),
    "synthesizer": ("musical instrument", ("synth", "electronic instrument")),
    "didgeridoo": ("musical instrument", ("a didgeridoo", "didgeridoo playing")),
    # music, speech
    "music": ("music", ("a piece of music", "a tune")),
    "speech": ("speech", ("someone speaking", "a person talking")),
}

LABELS: tuple[str, ...] = tuple(_LABELS)
KIND = {label: kind for label, (kind, _) in _LABELS.items()}
WORDS = {label: (label, *words) for label, (_, words) in _LABELS.items()}

# Labels that may both be right for one clip: never offered against one another, never asked about as absent.
_CLOSE = (
    ("rain", "waterfall", "river", "water tap", "sea waves", "splash", "water drops", "thunder", "toilet flush"),
    ("wind", "sea waves", "rain", "airplane"),
    ("car engine", "motorcycle", "truck", "traffic", "factory machine", "train"),
    ("airplane", "helicopter", "rocket"),
    ("chainsaw", "circular saw", "motorcycle", "hand saw", "jackhammer"),
    ("hammering", "anvil", "chopping wood", "mining", "swords clashing", "door knock", "something falling"),
    ("gunshot", "explosion", "thunder", "something falling"),
    ("door", "door knock", "door creaking", "mouse click", "something falling"),
    ("mouse click", "keyboard typing", "clock ticking", "camera shutter", "coins"),
    ("alarm clock", "telephone ringing", "doorbell", "church bells", "bells", "siren", "music box", "xylophone"),
    ("car horn", "ship horn", "siren", "train", "horn", "trumpet"),
    ("goat bleating", "sheep bleating", "cow mooing", "donkey braying", "camel"),
    ("horse neighing", "donkey braying", "horse hooves"),
    ("duck quacking", "goose honking", "seagulls", "crow cawing", "hen clucking", "rooster crowing", "birds chirping"),
    ("eagle", "seagulls", "birds chirping", "peacock", "crow cawing"),
    ("owl hooting", "birds chirping", "wolf howling"),
    ("frog croaking", "crickets", "bee buzzing", "birds chirping"),
    ("wolf howling", "dog barking", "sea lion"),
    ("lion roaring", "elephant trumpeting", "camel", "pig grunting"),
    ("baby crying", "screaming", "laughing", "groaning", "cat meowing"),
    ("person sneezing", "person coughing", "burping", "groaning"),
    ("applause", "crowd", "rain", "laughing"),
    ("speech", "crowd", "singing", "beatboxing", "choir"),
    ("bubbles", "water drops", "river", "splash"),
    ("footsteps", "horse hooves", "door knock"),
    ("fire crackling", "rain", "applause"),
    ("piano", "harpsichord", "organ", "music box", "xylophone", "bells"),
    ("organ", "accordion", "harmonica", "bagpipes", "synthesizer"),
    ("guitar", "electric guitar", "bass", "banjo", "sitar", "harp"),
    ("violin", "cello", "strings", "synthesizer", "choir"),
    ("trumpet", "trombone", "tuba", "horn"),
    ("saxophone", "oboe", "bassoon", "clarinet", "flute", "bagpipes"),
    ("drums", "tabla", "timpani", "cymbal", "gong", "beatboxing"),
    ("music", "drums", "guitar", "piano", "strings", "synthesizer", "choir", "singing", "bass", "electric guitar"),
    ("didgeridoo", "synthesizer", "bagpipes"),
    ("factory machine", "sewing machine", "jackhammer", "circular saw", "chainsaw"),
    ("alarm clock", "clock ticking"),
    ("car horn", "car engine", "traffic"),
    ("gong", "church bells", "bells"),
    ("sizzling", "rain", "fire crackling", "applause"),
    ("digging", "mining", "footsteps", "hammering"),
    ("eating", "drinking", "burping"),
    ("snoring", "pig grunting", "groaning"),
    ("turning pages", "fire crackling"),
)


# Kinds that are right for a label beside its own.
_ALSO: dict[str, tuple[str, ...]] = {
    "clock ticking": ("machine or tool",),
    "alarm clock": ("machine or tool",),
    "telephone ringing": ("machine or tool",),
    "toaster": ("machine or tool",),
    "keyboard typing": ("machine or tool",),
    "mouse click": ("machine or tool",),
    "sewing machine": ("household",),
    "camera shutter": ("household",),
    "siren": ("machine or tool",),
    "singing": ("music", "musical instrument"),
    "beatboxing": ("music", "musical instrument"),
    "choir": ("person", "speech"),
    "church bells": ("musical instrument", "music"),
    "crowd": ("music",),
    "toilet flush": ("water and weather",),
    "water tap": ("water and weather",),
    "sizzling": ("water and weather",),
    "fire crackling": ("household",),
    "water drops": ("household",),
    "swords clashing": ("household",),
}


def close(label: str) -> frozenset[str]:
    """Labels that may be right where this one is."""
    found = {name for group in _CLOSE if label in group for name in group}
    if KIND[label] == "musical instrument":
        found.add("music")
    elif label == "music":
        found |= {name for name, kind in KIND.items() if kind == "musical instrument"}
    return frozenset(found)


def other_kinds(label: str) -> list[str]:
    """Kinds that are wrong for a label: neither its own, nor one of the same family, nor one that fits as well."""
    kind = KIND[label]
    families = ({"music", "musical instrument"}, {"person", "speech"})
    fits = {kind, *_ALSO.get(label, ())}.union(*(family for family in families if kind in family))
    return [name for name in KINDS if name not in fits]


def rules(*pairs: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    for _, label in pairs:
        if label and label not in _LABELS:
            raise KeyError(label)
    return tuple((re.compile(pattern, re.IGNORECASE), label) for pattern, label in pairs)


def label_of(path: str, table: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    """The label of a file, or None; an empty label in the table leaves the file out."""
    for pattern, label in table:
        if pattern.search(path):
            return label or None
    return None
