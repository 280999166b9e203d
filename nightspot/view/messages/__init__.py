"""The texts by which people hear of a run: which happenings are told, when, and in which words."""
