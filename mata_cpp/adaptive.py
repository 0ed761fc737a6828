"""MATA's strength by how sure the model is without it: the rule of AdaptVis, arXiv 2503.01773, made for images.

    alpha = high if p >= threshold else low,   p: probability of the first token of the answer with MATA off

AdaptVis multiplies the scores towards the image by w in all layers, with w > 1 where the model is sure, which sharpens
its attention, and w < 1 where it is not, which spreads it.  w is 1 + alpha of MATA in mode "scale".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import checks
from .mata import Mata

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import AudioModel
    from .options import AskOptions, AudioLike
    from .records import Answer

EVERY_LAYER = Mata(layers=":")


def adaptive_setting(
    model: AudioModel,
    audio: AudioLike,
    question: str,
    *,
    low: float,
    high: float,
    threshold: float,
    like: Mata = EVERY_LAYER,
) -> Mata:
    """The setting for this question, as ask and choose take it: like, with alpha low or high.

    threshold: 0.3 to 0.4 in the paper.  Raises ValueError, and what ask raises.
    """
    if not 0 <= checks.number(threshold, "threshold") <= 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold:g}")
    settings = {sure: replace(like, alpha=alpha) for sure, alpha in ((False, low), (True, high))}
    confidence = model.ask(audio, question, mata=None, max_tokens=1).confidence
    return settings[(confidence or 0.0) >= threshold]


def ask_adaptively(
    model: AudioModel,
    audio: AudioLike,
    question: str,
    *,
    low: float,
    high: float,
    threshold: float,
    like: Mata = EVERY_LAYER,
    **given: Unpack[AskOptions],
) -> Answer:
    """The answer under that setting; the prompt before its last token is computed once."""
    setting = adaptive_setting(model, audio, question, low=low, high=high, threshold=threshold, like=like)
    given["mata"] = setting
    return model.ask(audio, question, **given)
