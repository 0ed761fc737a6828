"""What all pictures share: matplotlib if it is there, colours, fonts, and how a picture is written."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import short_name, short_repr
from ..errors import MataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 12.0
"""Of every figure, in inches."""

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 160

# Okabe and Ito's colours, which differ for every kind of colour vision.
ORANGE, GREEN, BLUE = "#E69F00", "#009E73", "#0072B2"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
GREY, PALE = "#5F5F5F", "#EDEDED"
HEAT, SOUND = "viridis", "Greys"  # both read the same in grey

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # TrueType, whose text can be searched and edited
    "text.parse_math": False,
    "figure.dpi": 100,
}
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "MS Gothic",
    "Noto Sans",
)


def matplotlib() -> Any:
    """The package, set up to draw without a screen.  Raises MataError when it is not installed.

    MPLBACKEND may name what is not there, as the one that a notebook sets for its commands; nothing here needs it.
    """
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matplotlib as package
            import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MataError(
            "a picture needs matplotlib, which is not installed: pip install matplotlib, or ask for --json"
        ) from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise MataError(f"matplotlib cannot read its settings (matplotlibrc): {reason}") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend is not None:
        with contextlib.suppress(ValueError):
            package.rcParams["backend"] = backend
    return package


def check_path(path: str | os.PathLike[str]) -> Path:
    """path if a picture can be written there, before anything is computed.  Raises MataError, ValueError."""
    found = Path(path)
    if found.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a picture's name must end in {', '.join(SUFFIXES)}, not {short_repr(found.name)}")
    check_place(found)
    return found


def check_place(path: Path) -> None:
    """Raises MataError where no file can be written."""
    try:
        if path.is_dir():
            raise MataError(f"cannot write {short_name(path)}: it is a directory")
        if not path.parent.is_dir():
            raise MataError(f"cannot write {short_name(path)}: there is no directory {short_name(path.parent)}")
    except OSError as error:
        raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None


def write(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw in this package's style, whatever the user's settings are, and write the picture.  Raises MataError."""
    data = drawn(path.suffix[1:].lower(), draw)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None


def drawn(kind: str, draw: Callable[[], Figure], **changes: Any) -> bytes:
    """The picture as a file of this kind ("png", "svg", "pdf").  changes: of the style.  Raises MataError."""
    package = matplotlib()
    style = dict(STYLE)
    if "text.parse_math" not in package.rcParams:  # before 3.6
        del style["text.parse_math"]
    data = io.BytesIO()
    with package.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs and fonts: see printable
        package.rcdefaults()
        package.rcParams.update({**style, "font.family": fonts(), **changes})
        metadata = {"Date": None} if kind == "svg" else None
        draw().savefig(data, format=kind, dpi=DPI, facecolor="white", metadata=metadata)
    return data.getvalue()


def fonts() -> list[str]:
    """DejaVu Sans, and after it those at hand that know more characters."""
    from matplotlib import font_manager

    present = {entry.name for entry in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in present)]


def printable(text: str, limit: int = 0) -> str:
    """text in one line that the fonts can show, cut to limit characters (0: as long as it is)."""
    from matplotlib import font_manager

    known: set[int] = set()
    for name in fonts():
        face = font_manager.get_font(font_manager.findfont(name))
        known.update(face.get_charmap())
    shown = []
    for character in text.replace("\r\n", "\n"):
        if character == "\n":
            shown.append("\u21b5")
        elif unicodedata.category(character) in ("Mn", "Me", "Cf") and shown:
            shown.append(character if ord(character) in known else "")
        elif unicodedata.category(character).startswith(("C", "Z")):
            shown.append(" ")
        else:
            shown.append(character if ord(character) in known else "\u25af")
    line = "".join(shown)
    return line if not limit or len(line) <= limit else line[: limit - 1] + "\u2026"
