"""The Lambda handlers: decorate, parse, call, return."""
