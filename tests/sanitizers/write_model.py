"""Write a small random model that hears, and its projector: python write_model.py FOLDER"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parity.audio import models  # noqa: E402
from parity.prompts import templates  # noqa: E402
from parity.prompts.vocabulary import add_tokenizer  # noqa: E402

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
print(models.write_text("qwen2_audio", folder / "text.gguf", tokenizer))
print(models.write_mmproj("qwen2_audio", folder / "mmproj.gguf"))
