"""Sonivox, the General MIDI synthesizer of Android (Apache-2.0, Sonic Network), with its own samples inside it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import soxr
from clips import RATE

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
SIZE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Config(ctypes.Structure):
    """The first fields of S_EAS_LIB_CONFIG."""

    _fields_ = (
        ("version", ctypes.c_ulong),
        ("checked", ctypes.c_uint),
        ("voices", ctypes.c_long),
        ("channels", ctypes.c_long),
        ("rate", ctypes.c_long),
        ("samples", ctypes.c_long),
    )


class File(ctypes.Structure):
    """EAS_FILE."""

    _fields_ = (("handle", ctypes.c_void_p), ("read", READ), ("size", SIZE))


def play(library: Path, song: bytes, seconds: float) -> np.ndarray:
    """A MIDI file rendered to 16 kHz mono.  library: libsonivox.so.  Raises RuntimeError where it refuses the file."""
    eas = ctypes.CDLL(str(library))
    eas.EAS_Config.restype = ctypes.POINTER(Config)
    config = eas.EAS_Config().contents

    def read(_: int | None, target: int, offset: int, size: int) -> int:
        part = song[offset : offset + size]
        ctypes.memmove(target, part, len(part))
        return len(part)

    file = File(1, READ(read), SIZE(lambda _: len(song)))
    engine, stream, made = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_long()

    def check(result: int, what: str) -> None:
        if result:
            raise RuntimeError(f"sonivox: {what} failed with {result}")

    check(eas.EAS_Init(ctypes.byref(engine)), "EAS_Init")
    try:
        check(eas.EAS_OpenFile(engine, ctypes.byref(file), ctypes.byref(stream)), "EAS_OpenFile")
        check(eas.EAS_Prepare(engine, stream), "EAS_Prepare")
        block = np.zeros((config.samples, config.channels), np.int16)
        blocks = []
        for _ in range(round(seconds * config.rate / config.samples)):
            target = block.ctypes.data_as(ctypes.c_void_p)
            check(eas.EAS_Render(engine, target, ctypes.c_long(config.samples), ctypes.byref(made)), "EAS_Render")
            blocks.append(block[: made.value].mean(1) / 32768)
        check(eas.EAS_CloseFile(engine, stream), "EAS_CloseFile")
    finally:
        eas.EAS_Shutdown(engine)
    return soxr.resample(np.concatenate(blocks).astype(np.float32), config.rate, RATE)
