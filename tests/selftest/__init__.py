"""Tests of the self-test; nothing of it asks AWS."""
