"""docs/design/scale.md has the tables that follow from the code, and each limit its page of AWS's."""

from dev.scale.__main__ import DOCUMENT, asked_by_flows, documented, tables
from dev.scale.limits import LIMITS, SCENARIOS, Limit


def test_page_has_these_tables() -> None:
    document = DOCUMENT.read_text()
    assert document == documented(document, tables(asked_by_flows())), "run: python -m dev.scale --write"


def test_each_limit_names_its_source() -> None:
    assert all(limit.source == "setting" or limit.source.startswith("https://docs.aws.amazon.com/") for limit in LIMITS)
    assert len({(limit.what, limit.asked) for limit in LIMITS}) == len(LIMITS)


def test_some_flow_asks_for_each_limit() -> None:
    """A renamed amount would count as nothing asked."""
    asked = asked_by_flows()

    def most(limit: Limit) -> float:
        return max(scenario.demand(limit, asked) for scenario in SCENARIOS)

    assert [limit.what for limit in LIMITS if not most(limit)] == []
