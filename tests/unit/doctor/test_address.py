import pytest

from actions_cache_cli.doctor.address import NotAUrl, judge_url, read_address
from actions_cache_cli.doctor.finding import OK, TROUBLE


def test_a_url_at_the_root_with_its_slash_is_well() -> None:
    assert judge_url(read_address("https://cache.example.com/")).state == OK
    assert judge_url(read_address("http://127.0.0.1:3000/")).state == OK


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://cache.example.com", "no slash at its end"),
        ("https://cache.example.com/cache/", "the path /cache/, which @actions/cache drops"),
        ("http://cache.example.com/", "isn't https"),
        ("https://x1.execute-api.eu-west-1.amazonaws.com/prod/", "the API's own URL"),
        ("https://cache.example.com/?token=1", "a query or fragment"),
        ("https://me:secret@cache.example.com/", "a user name or password"),
    ],
)
def test_what_clients_make_wrong_addresses_of_is_trouble(url: str, said: str) -> None:
    finding = judge_url(read_address(url))
    assert finding.state == TROUBLE
    assert said in finding.detail
    assert "secret" not in finding.detail


def test_a_missing_slash_is_shown_with_the_host_that_v1_would_ask_and_the_right_url() -> None:
    detail = judge_url(read_address("https://cache.example.com")).detail
    assert "cache.example.com_apis" in detail
    assert detail.endswith("write https://cache.example.com/")


@pytest.mark.parametrize(
    "text",
    [
        "https://a..b/",
        f"https://{'a' * 64}.example/",
        "cache.example.com",
        "ftp://cache.example.com/",
        "https://",
        "https://[::1",
        "",
    ],
)
def test_what_is_no_url_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(NotAUrl, match="isn't a URL"):
        read_address(text)


def test_names_of_one_server_are_equal() -> None:
    bases = {
        read_address(url).base
        for url in ("https://C.example.com", "https://c.example.com:443/", "https://c.example.com/x")
    }
    assert bases == {"https://c.example.com"}
    assert read_address("http://[::1]:3000/").base == "http://[::1]:3000"


def test_githubs_hosts_are_known_by_their_domain() -> None:
    assert read_address("https://results-receiver.actions.githubusercontent.com/").is_githubs
    assert read_address("https://results.octo.ghe.com/").is_githubs
    assert not read_address("https://githubusercontent.com.example.org/").is_githubs
