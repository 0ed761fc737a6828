"""From a conversation to the tokens and clips that the engine is fed."""
