"""Every fact by its id."""

from __future__ import annotations

from collections.abc import Mapping

from nightspot.facts import of_sagemaker, of_services
from nightspot.facts.model import Fact

FACTS: Mapping[str, Fact] = {fact.id: fact for fact in (*of_sagemaker.FACTS, *of_services.FACTS)}
