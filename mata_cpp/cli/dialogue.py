"""A conversation in mata-chat: the chat, the clips that wait for a question, and where each clip came from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import Audio
from ..checks import short_name, short_repr
from ..errors import MataError
from ..prompts.builder import Message
from ..readout.effect import MataEffect
from . import output, saved
from .settings import Settings
from .spinner import showing

if TYPE_CHECKING:
    from ..audio.encoder import EncodedClip
    from ..chat import AudioChat
    from ..options import AskOptions
    from ..records import Answer, Choice

SYSTEM = "system"


@dataclass(frozen=True)
class Sound:
    """A clip, and its file: None for a recording.  channel: as Audio takes it."""

    clip: EncodedClip
    path: str | None = None
    channel: int | str | None = None


class Dialogue:
    """waiting: the clips that go with the next question.  options: of AudioChat.stream.  quiet leaves out the facts.

    channel: which one of the clips to come is heard.
    """

    def __init__(
        self,
        chat: AudioChat,
        waiting: Sequence[Sound],
        *,
        quiet: bool,
        options: AskOptions,
        channel: int | str | None = None,
    ) -> None:
        self.chat = chat
        self.quiet = quiet
        self.waiting = list(waiting)
        self.settings = Settings(chat, options)
        self._channel = channel
        self._sounds = {sound.clip.content_id: sound for sound in waiting}
        self.effect: MataEffect | None = None  # of the latest answer
        self._warned = False
        self._file: Path | None = None  # that this conversation was saved to, or loaded from

    # Questions -------------------------------------------------------------------------------------

    def ask(self, question: str) -> None:
        """Print the answer; the clips that wait go with it, and still wait if there is none."""
        before = len(self.chat.messages)
        try:
            self._answer(self._clips(), question)
        finally:
            if len(self.chat.messages) > before:  # the clips are part of the conversation now
                self.waiting = []

    def retry(self) -> None:
        """Ask the last question again, with the next seed; the answer before stays if there is none.

        Raises ValueError.
        """
        before = self.chat.messages
        if len(before) < 2:
            raise ValueError("there is no question to ask again")
        question, last = before[-2:]
        if self.settings.sampling.temperature > 0:
            self.settings.next_seed()
        self.chat.messages = before[:-2]
        try:
            answer = self._answer(list(question.clips), question.text)
        finally:
            if len(self.chat.messages) < len(before):
                self.chat.messages = before
        if self.settings.sampling.temperature == 0 and answer.text == last.text:
            self.say("note: the same answer, as temperature is 0; /set temperature 0.8 lets it vary")

    def compare(self, question: str) -> None:
        """Print the answers with and without MATA; the conversation goes on with the first.  Raises ValueError."""
        before = len(self.chat.messages)
        try:
            with showing("thinking", quiet=self.quiet):
                answers = self.chat.compare(self._clips(), question, **self.settings.comparing)
        finally:
            if len(self.chat.messages) > before:
                self.waiting = []
        assert answers[0].mata is not None
        output.write(output.compared(answers, answers[0].mata) + "\n")
        for answer in answers:
            output.note_length(answer, quiet=self.quiet)
        self._keep_effect(answers[0])

    def choose(self, choices: list[str], question: str) -> Choice:
        """The choice, which is no part of the conversation; clips that wait still do.  Raises ValueError."""
        with showing("thinking", quiet=self.quiet):
            return self.chat.choose(self._clips(), question, choices, **self.settings.choosing)

    # Clips -----------------------------------------------------------------------------------------

    def hear(self, paths: Sequence[str]) -> None:
        """Keep the sound of files for the next question: of all, or of none.  Raises AudioError."""
        found: list[tuple[Audio, str | None]] = []
        with showing("reading", quiet=self.quiet) as shown:
            for path in paths:
                shown.text = f"reading {short_name(path)}"
                found.append((Audio(path, channel=self._channel), path))
        self._keep(found)

    def hear_recording(self, clip: Audio) -> None:
        self._keep([(clip, None)])

    def sounds(self) -> list[Sound]:
        """All clips, those of the conversation first."""
        heard = [clip for message in self.chat.messages for clip in message.clips]
        return [*(self._sounds[clip.content_id] for clip in heard), *self.waiting]

    def drop(self, number: int | None) -> str:
        """Take a clip away, by its number in sounds(); None: the last that waits, or the last question.

        The line that says what was taken.  Raises ValueError.
        """
        sounds = self.sounds()
        n_heard = len(sounds) - len(self.waiting)
        if number is None and not self.waiting:
            return self._drop_turn()
        index = len(sounds) - 1 if number is None else number - 1
        if not 0 <= index < len(sounds):
            there = {0: "there is no clip", 1: "there is 1 clip"}.get(len(sounds), f"there are {len(sounds)} clips")
            raise ValueError(f"no clip {number}: {there}; /show lists them")
        name = _name(sounds[index])
        if index >= n_heard:
            del self.waiting[index - n_heard]
            return f"taken away: {name}, which waited for the next question"
        messages, seen, question = self.chat.messages, 0, 0
        for place, message in enumerate(messages):
            question += message.role == "user"
            if index < seen + len(message.clips):
                clips = list(message.clips)
                del clips[index - seen]
                messages[place] = replace(message, clips=tuple(clips))
                self.chat.messages = messages
                break
            seen += len(message.clips)
        return f"taken away: {name}, from question {question}; the question and its answer stay"

    def clear(self) -> None:
        self.chat.reset()
        self.waiting = []

    # In a file -------------------------------------------------------------------------------------

    def save(self, path: str) -> str:
        """The line that says what was saved where.  Raises MataError."""
        file = Path(path)
        if file.exists() and not (self._file is not None and self._file.exists() and file.samefile(self._file)):
            raise MataError(f"{short_name(file)} is there already: /save another name, or remove it")
        beside = self._save_recordings(file)
        known = {content: _saved(sound) for content, sound in self._sounds.items() if sound.path is not None}
        messages = tuple(
            saved.SavedMessage(m.role, m.text, tuple(known[clip.content_id] for clip in m.clips))
            for m in self.chat.messages
        )
        waiting = tuple(known[sound.clip.content_id] for sound in self.waiting)
        saved.write(file, saved.Saved(self.chat.model_name, messages, waiting, self.settings.to_dict()))
        self._file = file.absolute()
        return f"saved in {short_name(file)}{beside}: {self._size()}"

    def load(self, path: str) -> str:
        """Go on with a saved conversation in place of this one, which stays if anything is wrong.

        The line that says what it is.  Raises MataError, ValueError.
        """
        file = Path(path)
        found = saved.read(file)
        try:
            self.settings.restore(found.settings, apply=False)
        except (ValueError, MataError) as error:
            raise MataError(f"{short_name(file)}: settings: {error}") from None
        sounds: dict[saved.SavedClip, Sound] = {}
        with showing(f"loading {short_name(file.name)}", quiet=self.quiet):
            for one in (*(clip for message in found.messages for clip in message.clips), *found.waiting):
                if one not in sounds:
                    audio, place = saved.open_clip(one, file.absolute().parent)
                    sounds[one] = Sound(self.chat.model.encode(audio)[0], place, one.channel)
        messages = [Message(m.role, m.text, tuple(sounds[one].clip for one in m.clips)) for m in found.messages]
        try:
            self.chat.messages = messages
        except ValueError as error:
            raise MataError(f"{short_name(file)}: {error}") from None
        self.settings.restore(found.settings)
        self.waiting = [sounds[one] for one in found.waiting]
        self._sounds = {sound.clip.content_id: sound for sound in sounds.values()}
        self._file = file.absolute()
        other = found.model != self.chat.model_name
        note = f"; {short_name(found.model)} answered, {self.chat.model_name} goes on" if other else ""
        return f"loaded {short_name(file)}: {self._size()}{note}"

    # -----------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """A line of facts, left out with -q."""
        output.say(line, quiet=self.quiet)

    def _answer(self, clips: Sequence[EncodedClip | Audio], question: str) -> Answer:
        answer = output.stream(self.chat.stream(list(clips), question, **self.settings.options), quiet=self.quiet)
        output.note_length(answer, quiet=self.quiet)
        self._keep_effect(answer)
        return answer

    def _keep_effect(self, answer: Answer) -> None:
        """For /status; told at once where MATA does what nobody wants, the first time."""
        self.effect = answer.mata_effect
        if output.lowered(answer):
            output.note_effect(answer, quiet=self.quiet or self._warned)
            self._warned = True

    def _clips(self) -> list[EncodedClip]:
        return [sound.clip for sound in self.waiting]

    def _keep(self, found: Sequence[tuple[Audio, str | None]]) -> None:
        model = self.chat.model
        clips = output.encoded(model, [audio for audio, _ in found], quiet=self.quiet)
        new = [Sound(clip, path, self._channel) for clip, (_, path) in zip(clips, found, strict=True)]
        self.waiting += new
        self._sounds.update((sound.clip.content_id, sound) for sound in new)
        for line in [output.facts(model, clips, self.chat.mata), *output.notes(clips)]:
            self.say(line)
        if len(self.waiting) > len(new):
            self.say(f"{len(self.waiting)} clips wait for the next question; /drop takes the last one away")

    def _drop_turn(self) -> str:
        messages = self.chat.messages
        if len(messages) < 2:
            raise ValueError("there is nothing to take away: no clip waits, and nothing was asked")
        question = messages[-2]
        rest = messages[:-2]
        self.chat.messages = [] if [message.role for message in rest] == [SYSTEM] else rest
        self.waiting = [self._sounds[clip.content_id] for clip in question.clips]
        names = ", ".join(map(_name, self.waiting))
        left = f"; {names} {'waits' if len(self.waiting) == 1 else 'wait'} for the next question" if names else ""
        return f"taken away: the question {short_repr(question.text)} and its answer{left}"

    def _save_recordings(self, file: Path) -> str:
        """Write the clips that have no file beside the saved conversation; what to say of it.  Raises MataError."""
        names = []
        for sound in {sound.clip.content_id: sound for sound in self.sounds() if sound.path is None}.values():
            number = 1
            while (place := file.with_name(f"{file.stem}.clip{number}.wav")).exists():
                number += 1
            saved.write_clip(place, sound.clip.audio)
            self._known_as(sound, str(place))
            names.append(short_name(place.name))
        return f" (the recording in {', '.join(names)})" if names else ""

    def _known_as(self, sound: Sound, path: str) -> None:
        named = replace(sound, path=path, channel=None)
        content = sound.clip.content_id
        self._sounds[content] = named
        self.waiting = [named if one.clip.content_id == content else one for one in self.waiting]

    def _size(self) -> str:
        turns = sum(message.role == "assistant" for message in self.chat.messages)
        clips = len(self.sounds())
        return f"{turns} question{'' if turns == 1 else 's'}, {clips} clip{'' if clips == 1 else 's'}"


def _name(sound: Sound) -> str:
    return short_name(sound.clip.name)


def _saved(sound: Sound) -> saved.SavedClip:
    assert sound.path is not None
    return saved.SavedClip(os.path.abspath(sound.path), sound.clip.content_id, sound.channel)
