"""What carries out a run; private: ``loop``, ``population`` and ``estimators`` are its face."""
