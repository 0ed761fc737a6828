"""Which of a repository's or a folder's GGUF files are the model and which is its audio projector."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import ModelError

QUANTIZATION = re.compile(
    r"(?i)(?<![a-z0-9])((?:ud-)?(?:i?q[1-8]_[a-z0-9_]+|tq[12]_0|mxfp4(?:_moe)?|bf16|fp?16|fp?32))(?![a-z0-9])"
)
SPLIT = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
NO_MODEL = re.compile(r"(?i)(^|[-._/])(mmproj|imatrix|vocoder|tokenizer|mtp|draft|lora|adapter)(?=[-._]|$)")
"""In the names of GGUF files that come along with a model."""

PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "Q4_1", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")
"""Quantizations of a model, the one to take first."""

PROJECTORS = ("F16", "BF16", "Q8_0", "F32")
"""The same for a projector: it is small beside the model, and hearing suffers first from quantization."""

PROJECTORS_GEMMA_4 = ("BF16", "F16", "F32", "Q8_0")
"""Gemma 4 is trained in BF16, and llama.cpp's authors know the others to hear worse."""


def quantization(name: str) -> str | None:
    """ "x-Q4_K_M.gguf" -> "Q4_K_M"; None where the name has none."""
    found = QUANTIZATION.findall(SPLIT.sub("", name.rsplit("/", 1)[-1]))
    return normal(found[-1]) if found else None


def normal(tag: str) -> str:
    """A quantization as it is written here: "q4_k_m" -> "Q4_K_M", "fp16" -> "F16"."""
    return re.sub(r"^FP(?=16|32)", "F", tag.upper())


def is_projector(name: str) -> bool:
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(".gguf") and "mmproj" in base


def models(names: Iterable[str]) -> list[str]:
    """Those names that are models; of a split one the first part."""
    found = [name for name in names if name.lower().endswith(".gguf") and not NO_MODEL.search(name)]
    return sorted(name for name in found if (part := SPLIT.search(name)) is None or int(part[1]) == 1)


def choose_model(names: Sequence[str], wanted: str | None, where: str) -> str:
    """The model of this quantization; None: the one to take first.  where: as messages call the place.

    Raises ModelError, which lists what is there.
    """
    found = models(names)
    if not found:
        others = ", ".join(sorted(names)[:8])
        raise ModelError(f"{where} has no GGUF model" + (f": it has {others}" if others else ""))
    if wanted is None:
        return min(found, key=lambda name: (_rank(name, PREFERRED), name.count("/"), name))
    matching = [name for name in found if quantization(name) == normal(wanted)]
    if not matching:
        tags = sorted({tag for name in found if (tag := quantization(name)) is not None})
        have = f"has {', '.join(tags)}" if tags else f"names none: {', '.join(found)}"
        raise ModelError(f"{where} has no {normal(wanted)}: it {have}")
    return min(matching, key=lambda name: (name.count("/"), name))


def choose_projector(names: Sequence[str], model: str, repository: str = "") -> str | None:
    """The projector that goes with a model, or None where there is none: one near it, as exact as can be."""
    gemma_4 = re.search(r"(?i)gemma-?4", f"{repository}/{model}")
    order = PROJECTORS_GEMMA_4 if gemma_4 else PROJECTORS
    folder = model.rpartition("/")[0]

    def rank(name: str) -> tuple[bool, int, str]:
        return name.rpartition("/")[0] != folder, _rank(name, order), name

    return min((name for name in names if is_projector(name)), key=rank, default=None)


def parts(first: str) -> list[str]:
    """The names of all parts of a model, given that of any; [first] where it is not split."""
    found = SPLIT.search(first)
    if found is None:
        return [first]
    return [SPLIT.sub(f"-{number:05d}-of-{found[2]}", first) for number in range(1, int(found[2]) + 1)]


def _rank(name: str, order: Sequence[str]) -> int:
    tag = quantization(name)
    return order.index(tag) if tag in order else len(order)
