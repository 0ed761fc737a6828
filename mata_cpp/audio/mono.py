"""From channels to the one that is heard, how loud it is, and what is kept of a long clip.

The channels are mixed by their mean.  Where they cancel each other out, the loudest channel is heard instead.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

Channel = int | str | None
"""Which channel to hear: its number from 1, "left", "right", "mix"; None: the mix, unless channels cancel out in it."""

MAX_SECONDS = 4 * 3600
FULL_SCALE_LIMIT = 32.0
"""Float samples above this are integers that nobody divided, not loud sound."""

SILENT_DB = -80.0
"""What never gets louder than this (dB of full scale, RMS without its mean, in the loudest 50 ms) is silent.  16-bit
dither has about -92, a dog with its peak at -60 about -64: docs/formats.md."""

WINDOW_S = 0.05

CANCELLED = 10**2.5
"""A mix that is so many times weaker than the loudest channel (25 dB) has lost what that channel holds."""

PART_CANCELLED_S = 1.0
"""A clip of which so much cancels out, and not all, is told of."""

KEPT_WHOLE = 1 << 25
"""Clips of up to so many frames are kept at their own rate (128 MiB); longer ones at KEPT_RATE."""

BLOCK_BYTES = 1 << 20

KEPT_RATE = 16000
"""Hz; what all models listen to."""


class CancelsOut(Exception):
    """The channels cancel out in the mix: channel (from 1) is to be heard."""

    def __init__(self, channel: int, decibels: float) -> None:
        super().__init__()
        self.channel, self.decibels = channel, decibels


class SilentError(AudioError):
    """There is sound, but nothing to hear in it."""


class Collector:
    """Takes blocks of [frames, channels] and keeps the mono sound.  Raises AudioError for what cannot be heard."""

    def __init__(self, name: str, channel: Channel, at: int | None = None) -> None:
        """at: the rate (Hz) to keep, whatever the length."""
        self._name, self._channel, self._at = name, channel, at
        self.rate = self.channels = self.frames = 0
        self._kept_bytes = bytearray()  # grows in place: an hour must not be there twice
        self._resampler: _Resampler | None = None
        self._converter: tuple[int, _Resampler] | None = None
        self._power: _Power | None = None
        self.notes: list[str] = []
        self._level = _Level()
        self._peak = 0.0
        self._zero = True

    def add(self, block: NDArray[np.float32], rate: int) -> None:
        """rate may change within a file; the first one holds."""
        if not self.rate:
            self.rate, self.channels = rate, block.shape[1]
            self._power = _Power(self.channels) if self._channel is None and self.channels > 1 else None
        if not block.size:
            return
        self._check_finite(block)
        self._zero = self._zero and not block.any()
        mono = self._mono(block)
        if rate != self.rate:
            mono = self._converted(mono, rate)
        elif self._converter is not None:
            mono = np.concatenate([self._converter[1].last(), mono])
            self._converter = None
        self._take(mono)

    def finish(self) -> None:
        """After the last block."""
        if self._converter is not None:
            self._take(self._converter[1].last())
        if self._resampler is not None:
            self._keep(self._resampler.last())
        name = self._name
        if not self.frames:
            raise AudioError(f"{name} holds no samples")
        if self._peak > FULL_SCALE_LIMIT:
            raise AudioError(
                f"{name} has float samples up to {self._peak:g}: scale them to [-1, 1], e.g. samples / 32768"
            )
        if self._power is not None:
            each, mix = self._power.means()
            loudest = int(np.argmax(each))
            power = float(each[loudest])
            if power > mix * CANCELLED and _decibels(power) > SILENT_DB:
                raise CancelsOut(loudest + 1, _decibels(power) - _decibels(mix))
            if self._power.cancelled > PART_CANCELLED_S * self.rate:
                seconds = self._power.cancelled / self.rate
                self.notes.append(
                    f"cancels out for {seconds:.1f} s when its channels are mixed: hear one (--channel left)"
                )
        level = self._level.decibels(self.rate)
        if self._zero:
            raise SilentError(f"{name} is silent: every sample is 0")
        if level < SILENT_DB:
            how = "its signal never changes" if level == -math.inf else f"it never gets louder than {level:.0f} dB"
            raise SilentError(f"{name} is silent: {how}")

    def samples(self) -> NDArray[np.float32]:
        """What was kept, at kept_rate."""
        return np.frombuffer(self._kept_bytes, np.float32)

    @property
    def kept_rate(self) -> int:
        return self.rate if self._resampler is None else self._kept

    @property
    def _kept(self) -> int:
        return KEPT_RATE if self._at is None else self._at

    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        count = block.shape[1]
        if count == 1 and self._channel in (None, "mix", "left", 1):
            return np.ascontiguousarray(block[:, 0])
        if self._channel is None or self._channel == "mix":
            if self._power is not None and count == self.channels:
                self._power.add(block)
            return mix_down(block)
        number = {"left": 1, "right": 2}.get(str(self._channel), self._channel)
        if not isinstance(number, int) or not 1 <= number <= count:
            plural = "s" if count > 1 else ""
            raise AudioError(f"{self._name} has {count} channel{plural}: there is no channel {self._channel}")
        return np.ascontiguousarray(block[:, number - 1])

    def _take(self, mono: NDArray[np.float32]) -> None:
        if not len(mono):
            return
        self.frames += len(mono)
        if self.frames > MAX_SECONDS * self.rate:
            raise AudioError(f"{self._name} is longer than {MAX_SECONDS // 3600} hours: cut it into pieces")
        self._peak = max(self._peak, float(mono.max()), -float(mono.min()))
        self._level.add(mono, self.rate)
        if self._resampler is None and self.rate > self._kept and (self._at is not None or self.frames > KEPT_WHOLE):
            self._resampler = _Resampler(self.rate, self._kept)
            whole, self._kept_bytes = self._kept_bytes, bytearray()
            for first in range(0, len(whole), BLOCK_BYTES):
                self._keep(self._resampler.next(np.frombuffer(whole[first : first + BLOCK_BYTES], np.float32)))
        self._keep(mono if self._resampler is None else self._resampler.next(mono))

    def _keep(self, mono: NDArray[np.float32]) -> None:
        self._kept_bytes += np.ascontiguousarray(mono).data.cast("B")

    def _converted(self, mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        rest = np.zeros(0, np.float32)
        if self._converter is None or self._converter[0] != rate:
            if self._converter is not None:
                rest = self._converter[1].last()
            self._converter = rate, _Resampler(rate, self.rate)
        return np.concatenate([rest, self._converter[1].next(mono)])

    def _check_finite(self, block: NDArray[np.float32]) -> None:
        flat = block.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.dot(flat, flat)  # the quickest thing that every sample takes part in
        if not np.isfinite(total):
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                where = (self.frames + int(np.argmin(finite))) / self.rate
                raise AudioError(f"{self._name} holds NaN or infinite samples (first at {where:.3f} s)")


def mix_down(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """[frames, channels] -> their mean, [frames]."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    if block.shape[1] == 2:  # the same as below, to the last bit
        return np.asarray((block[:, 0] + block[:, 1]) * np.float32(0.5), np.float32)
    mean: NDArray[np.float64] = block.mean(axis=1, dtype=np.float64)
    return mean.astype(np.float32)


def check_channel(channel: object) -> Channel:
    """channel, if it can name one.  Raises AudioError."""
    if channel is None or (isinstance(channel, str) and channel in ("left", "right", "mix")):
        return channel
    if isinstance(channel, numbers.Integral) and not isinstance(channel, bool) and int(channel) >= 1:
        return int(channel)
    raise AudioError(f'channel must be "left", "right", "mix" or a number from 1, not {channel!r}')


class _Resampler:
    """soxr's HQ recipe, block by block."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")

    def next(self, mono: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._stream.resample_chunk(mono), np.float32)

    def last(self) -> NDArray[np.float32]:
        return np.asarray(self._stream.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


PIECE = 8192
"""Frames that are judged by themselves."""


class _Power:
    """Mean power of each channel and of their mix, without their means: one product of a block with itself has all."""

    def __init__(self, channels: int) -> None:
        self._products: NDArray[np.float64] = np.zeros((channels, channels))
        self._frames = self.cancelled = 0

    def add(self, block: NDArray[np.float32]) -> None:
        for first in range(0, len(block), PIECE):
            piece = block[first : first + PIECE]
            with np.errstate(over="ignore", invalid="ignore"):
                sums = np.ones(len(piece), np.float32) @ piece
                products = piece.T @ piece - np.outer(sums, sums) / len(piece)
            self._products += products
            power = float(np.diagonal(products).max()) / len(piece)
            if power > products.mean() / len(piece) * CANCELLED and _decibels(power) > SILENT_DB:
                self.cancelled += len(piece)
        self._frames += len(block)

    def means(self) -> tuple[NDArray[np.float64], float]:
        """(of each channel, of the mix)"""
        products = self._products / max(1, self._frames)
        return np.diagonal(products), float(products.mean())


class _Level:
    """The RMS of the loudest window, without each window's mean.  Nothing is measured once it is loud enough."""

    def __init__(self) -> None:
        self._rest: Sequence[NDArray[np.float32]] = ()
        self._power = -1.0
        self._changes = False

    def add(self, mono: NDArray[np.float32], rate: int) -> None:
        if self._power > 10 ** (SILENT_DB / 10):
            return
        length = max(2, round(rate * WINDOW_S))
        mono = np.concatenate([*self._rest, mono])
        count = len(mono) // length
        self._rest = [mono[count * length :]]
        if count:
            self._measure(mono[: count * length].reshape(count, length))

    def decibels(self, rate: int) -> float:
        """After the last block; -inf for a signal that never changes."""
        rest = np.concatenate([*self._rest, np.zeros(0, np.float32)])
        if len(rest) and (self._power < 0 or len(rest) > rate * WINDOW_S / 2):
            self._measure(rest[None, :])
        return _decibels(self._power)

    def _measure(self, windows: NDArray[np.float32]) -> None:
        self._power = max(self._power, float(windows.var(axis=1, dtype=np.float64).max()))


def _decibels(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf


def content_id(samples: NDArray[np.float32], rate: int) -> str:
    """sha256 of sound at rate (Hz)."""
    digest = hashlib.sha256(f"{rate} float32 ".encode())
    digest.update(np.ascontiguousarray(samples).data)
    return digest.hexdigest()
