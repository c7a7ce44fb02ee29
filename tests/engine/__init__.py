"""An app of the engine's tests: job kinds that only do what a test needs (tests/engine_settings.py installs it)."""
