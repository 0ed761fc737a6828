"""Pictures of where a model listened; they need matplotlib."""
