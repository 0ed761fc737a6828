"""The package's fixtures; tests/ is on the path by the conftest above."""

from chat_fixtures import clip, fake, fake_model, make_chat, make_file, make_model, make_tone, sound_data  # noqa: F401
from hub_fixtures import hub  # noqa: F401
