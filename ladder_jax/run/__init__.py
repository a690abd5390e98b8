"""Internals of a run; the public interface is ``loop``, ``population`` and ``estimators``."""
