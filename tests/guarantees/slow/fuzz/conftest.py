from tests.guarantees.fuzz.conftest import fuzzed

__all__ = ["fuzzed"]
