"""Tests of orchestrator/publish: no process, no socket; registries are in memory."""
