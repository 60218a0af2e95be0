from tests.fuzz.conftest import fuzzed

__all__ = ["fuzzed"]
