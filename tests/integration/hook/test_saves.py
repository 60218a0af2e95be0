"""Saves by the hook straight to a store that fails as a test says: which way they go, and what reaches whom."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dev.local.template import ROOT
from tests.support.fake_cache_server import CREATE, Answer, Asked, FakeCacheServer, Fault, fake_cache_server
from tests.support.hooked_job import action_variables, install_hook, run_action, shorten

DRIVER = Path(__file__).with_name("saves.mjs")
CLIENT = ROOT / "dev" / "clients" / "node_modules" / "@actions" / "cache" / "package.json"

BLOCK = 1000
CONTENT = bytes(range(256)) * 13
"""Three blocks, and a shorter one."""
PARTS = {1: CONTENT[:BLOCK], 2: CONTENT[BLOCK : 2 * BLOCK], 3: CONTENT[2 * BLOCK : 3 * BLOCK], 4: CONTENT[3 * BLOCK :]}
SIGNATURES = [f"{number:064x}" for number in range(8)]

TOKEN = "a job's token"
OK = {"ETag": '"1"', "x-amz-request-id": "1"}
SENT_TO_S3 = {"host", "connection", "user-agent", "content-length", "content-type", "if-none-match"}


@dataclass
class Store:
    """S3 as the hook sees it: parts by their number, and one object."""

    server: FakeCacheServer
    parts: dict[int, bytes] = field(default_factory=dict)
    blob: bytes | None = None
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """What becomes of the first requests of a kind: `look`, `blob`, or a part's number."""

    def kind(self, asked: Asked) -> str:
        query = parse_qs(urlsplit(asked.path).query)
        return "look" if asked.method == "GET" else query.get("partNumber", ["blob"])[0]

    def fault(self, asked: Asked) -> Fault | None:
        waiting = self.faults.get(self.kind(asked))
        return waiting.pop(0) if waiting else None

    def answer(self, asked: Asked, body: bytes) -> Answer:
        kind = self.kind(asked)
        if kind.isdecimal():
            number = int(kind)
            assert f"X-Amz-Signature={SIGNATURES[number - 1]}" in asked.path
            self.parts[number] = body
        elif kind == "blob":
            self.blob = body
        return Answer(200, b"", headers=OK)

    @property
    def offer(self) -> dict[str, Any]:
        url = f"{self.server.url}/bucket/key?X-Amz-Date=20261201T000000Z"
        headers = {"content-type": "application/octet-stream", "if-none-match": "*"}
        return {
            "version": 1,
            "look": f"{url}&X-Amz-Signature=1",
            "blob": {"url": f"{url}&X-Amz-Signature=2", "headers": headers},
            "parts": {"url": url, "signatures": SIGNATURES},
        }

    @property
    def kinds(self) -> list[str]:
        return [self.kind(asked) for asked in self.server.asked]


@pytest.fixture
def store() -> Iterator[Store]:
    with fake_cache_server() as server:
        store = Store(server)
        server.fault_of = store.fault
        server.answer = store.answer  # type: ignore[method-assign]
        yield store


@pytest.fixture
def offering(ours: FakeCacheServer, store: Store) -> FakeCacheServer:
    """Return the server, which answers as usual and offers the store."""
    offers(ours, lambda: store.offer)
    return ours


def offers(ours: FakeCacheServer, offer: Callable[[], object]) -> None:
    usual = ours.answer

    def answer(asked: Asked, body: bytes) -> Answer:
        answered = usual(asked, body)
        if asked.call != CREATE or "vnd.actions-cache.direct.v1+json" not in asked.header("accept")[0]:
            return answered
        return replace(answered, body=json.dumps({**json.loads(answered.body), "direct": offer()}).encode())

    ours.answer = answer  # type: ignore[method-assign]


@pytest.fixture
def save(ours: FakeCacheServer, tmp_path: Path, temporary: Path) -> Callable[..., str | None]:
    hook = install_hook(tmp_path / "hook", f"{ours.url}/", "fast")
    shorten(hook, LEAST_PART_BYTES=BLOCK, LARGEST_ARCHIVE_BYTES=4 * BLOCK, STORE_LOOK_MS=700, SILENCE_MS=1500)
    (tmp_path / "archive").write_bytes(CONTENT)
    variables = action_variables(hook, temporary, CLIENTS=str(CLIENT), ACTIONS_RUNTIME_TOKEN=TOKEN)

    def run(single: int = 100, block: int = BLOCK, size: int | None = None) -> str | None:
        if size is not None:
            (tmp_path / "archive").write_bytes(CONTENT[:size])
        cases = [{"key": "k", "file": str(tmp_path / "archive"), "single": single, "block": block}]
        given = json.dumps(json.dumps(cases))
        script = f"process.argv.splice(1, 0, 'x'); process.argv[2] = {given}; import({json.dumps(str(DRIVER))})"
        result: str | None = json.loads(run_action(script, variables).splitlines()[-1])[0]
        return result

    return run


def block_requests(ours: FakeCacheServer) -> list[str]:
    return [found[1] for asked in ours.asked if (found := re.search(r"comp=(block|blocklist)\b", asked.path))]


def blobs(ours: FakeCacheServer) -> int:
    return sum(asked.method == "PUT" and "comp=" not in asked.path for asked in ours.asked)


def test_blocks_go_to_the_store_and_their_list_to_the_server(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None]
) -> None:
    assert save() is None
    assert store.parts == PARTS
    assert store.kinds[0] == "look"
    assert block_requests(offering) == ["blocklist"]


def test_one_put_goes_to_the_store(offering: FakeCacheServer, store: Store, save: Callable[..., str | None]) -> None:
    assert save(single=10_000) is None
    assert store.blob == CONTENT
    [put] = [asked for asked in store.server.asked if asked.method == "PUT"]
    assert (put.header("content-type"), put.header("if-none-match")) == (["application/octet-stream"], ["*"])
    assert blobs(offering) == 0


@pytest.mark.parametrize("single", [100, 10_000])
def test_nothing_of_the_job_reaches_the_store(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], single: int
) -> None:
    assert save(single=single) is None
    for asked in store.server.asked:
        assert {name.lower() for name, _ in asked.headers} <= SENT_TO_S3
        assert TOKEN not in str(asked.headers)
        assert asked.header("user-agent") == ["actions-cache-hook/1 (fast)"]
    assert any(TOKEN in str(asked.headers) for asked in offering.asked)


LOOKS: Mapping[str, Fault] = {
    "refused": Answer(403),
    "gone": Answer(404),
    "failing": Answer(503),
    "broken": "reset",
    "silent": "silent",
}


@pytest.mark.parametrize("fault", LOOKS.values(), ids=LOOKS)
def test_store_out_of_reach_is_known_before_the_first_byte(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], fault: Fault
) -> None:
    store.faults["look"] = [fault]
    assert save() is None
    assert store.kinds == ["look"]
    assert block_requests(offering) == [*["block"] * 4, "blocklist"]


def test_one_put_goes_to_the_server_without_a_store(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None]
) -> None:
    store.faults["look"] = [Answer(403)]
    assert save(single=10_000) is None
    assert store.kinds == ["look"]
    assert offering.archives["k"] == CONTENT


def changed(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda offer: {**offer, **changes}


ODD_OFFERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "newer": changed(version=2),
    "no URL": changed(look="x"),
    "other host": changed(look="http://127.0.0.2:1/"),
    "by https": lambda offer: json.loads(json.dumps(offer).replace("http://", "https://")),
    "no blob": changed(blob=None),
    "odd signatures": lambda offer: {**offer, "parts": {**offer["parts"], "signatures": ["&x=1"]}},
    "a word": lambda _: "direct",
    "a list": lambda _: [1],
}


@pytest.mark.parametrize("change", ODD_OFFERS.values(), ids=ODD_OFFERS)
def test_odd_offer_is_none(
    ours: FakeCacheServer, store: Store, save: Callable[..., str | None], change: Callable[[dict[str, Any]], object]
) -> None:
    offers(ours, lambda: change(store.offer))
    assert save() is None
    assert store.server.asked == []
    assert block_requests(ours) == [*["block"] * 4, "blocklist"]


def test_server_without_offers_saves_as_ever(
    ours: FakeCacheServer, store: Store, save: Callable[..., str | None]
) -> None:
    assert save() is None
    assert store.server.asked == []
    assert block_requests(ours) == [*["block"] * 4, "blocklist"]


@pytest.mark.parametrize(("block", "size"), [(BLOCK - 1, None), (BLOCK, 900)], ids=["short blocks", "one short block"])
def test_blocks_that_dont_fit_go_to_the_server(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], block: int, size: int | None
) -> None:
    assert save(block=block, size=size) is None
    assert store.kinds == ["look"]
    assert block_requests(offering)[-1] == "blocklist"


def test_too_few_urls_are_not_begun_with(ours: FakeCacheServer, store: Store, save: Callable[..., str | None]) -> None:
    offers(ours, lambda: {**store.offer, "parts": {**store.offer["parts"], "signatures": SIGNATURES[:3]}})
    assert save() is None
    assert store.kinds == ["look"]
    assert block_requests(ours) == [*["block"] * 4, "blocklist"]


TEMPORARY: Mapping[str, Fault] = {
    "503": Answer(503, b"<Error><Code>SlowDown</Code></Error>"),
    "500": Answer(500),
    "502": Answer(502),
    "429": Answer(429),
    "a stall": Answer(400, b"<Error><Code>RequestTimeout</Code></Error>"),
    "a reset": "reset",
    "silence": "silent",
}


@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_part_that_fails_is_sent_again_to_the_store(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], fault: Fault
) -> None:
    store.faults["2"] = [fault, fault]
    assert save() is None
    assert store.parts == PARTS
    assert store.kinds.count("2") == 3
    assert block_requests(offering) == ["blocklist"]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_part_that_is_refused_ends_the_save(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], status: int
) -> None:
    """Nothing is mixed: no block goes to the server then."""
    store.faults["2"] = [Answer(status, b"<Error><Code>NoSuchUpload</Code><Message>no</Message></Error>")] * 9
    assert str(save()).startswith(str(status))
    assert store.kinds.count("2") == 1
    assert block_requests(offering) == []


@pytest.mark.parametrize("fault", [Answer(503), Answer(403), Answer(412), "reset"], ids=str)
def test_one_put_that_fails_is_sent_again_to_the_server(
    offering: FakeCacheServer, store: Store, save: Callable[..., str | None], fault: Fault
) -> None:
    store.faults["blob"] = [fault]
    assert save(single=10_000) is None
    assert store.blob is None
    assert offering.archives["k"] == CONTENT
