"""The shapes of `make bench --case workloads` are what their sources say, and cost what their requests do."""

import dataclasses
from pathlib import Path

import pytest

from actions_cache.cost import PRICES, entry_saved, missed
from dev.bench.environment import MB, MIB
from dev.bench.workloads import (
    IMAGE,
    JOBS,
    NPM,
    Blobs,
    Image,
    Measured,
    Npm,
    blocks,
    cost_of,
    image_steps,
    layer_read,
    layer_saving,
    make_npm_cache,
    on_the_wire,
    plain_cost,
)
from dev.clients.actions_cache import Outcome, SentRequest


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, [0]), (1, [1]), (MIB, [MIB]), (MIB + 1, [MIB, 1]), (3 * MIB, [MIB] * 3)],
)
def test_upload_is_split_into_blocks(size: int, expected: list[int]) -> None:
    assert blocks(size, MIB) == expected


def test_image_has_40_layers_and_changes_the_last_large_ones() -> None:
    assert len(IMAGE.layers) == 40
    assert round(IMAGE.bytes / MB) == 594
    assert IMAGE.changed_layers == [17_978_047, 1_062_416, 7_928_730]
    assert len(set(IMAGE.changed_layers)) == sum(size in IMAGE.changed_layers for size in IMAGE.layers)


def test_layers_of_equal_size_have_other_keys_and_bytes() -> None:
    layers = list(Blobs(bytes(range(20)), (5, 5, 7)))
    assert [len(data) for _, data in layers] == [5, 5, 7]
    assert len({key for key, _ in layers}) == len({data for _, data in layers}) == 3


def test_npm_cache_has_files_and_bytes_of_its_source(tmp_path: Path) -> None:
    small = dataclasses.replace(NPM, bytes=3_000, packages=300)
    make_npm_cache(tmp_path, small)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 2 * small.packages
    assert sum(file.stat().st_size for file in files if "content-v2" in file.parts) == small.bytes
    assert len(blocks(Npm().bytes, Npm().block_bytes)) == 5


def test_seconds_on_the_wire_leave_out_packing() -> None:
    requests = [SentRequest("GET", "u", 200, 0, 0, began, ended) for began, ended in ((5.0, 6.5), (6.0, 9.0))]
    assert on_the_wire(Outcome(None, 20.0, requests, [])) == 4.0


def test_plain_side_costs_its_requests_alone() -> None:
    assert plain_cost(puts=1) == pytest.approx(JOBS * PRICES["S3 write"].of(1))
    assert plain_cost(puts=2, gets=3) == pytest.approx(plain_cost(puts=2) + plain_cost(gets=3))


def test_steps_of_an_image_cost_what_their_requests_do() -> None:
    image = Image(layers=(10, 3 * MIB, 2 * MIB), index_bytes=5, changed=1)
    steps = image_steps(image)
    assert [step.plain_requests for step in steps.values()] == [1 + 3 + 2 + 1, 4, 2, 2 + 1]
    assert steps["export"].usd > steps["again"].usd
    assert steps["import"].usd > steps["halves"].usd
    lookups = [missed(layer_saving(size)) for size in image.blobs]
    assert steps["export"].usd == pytest.approx(cost_of(*lookups, *(entry_saved(layer_saving(n)) for n in image.blobs)))
    assert all(step.usd > step.plain_usd for step in steps.values())


def test_reading_a_layer_costs_the_way_through_the_edge() -> None:
    whole, half = (cost_of(layer_read(2 * MIB, read)) for read in (2 * MIB, MIB))
    assert whole - half == pytest.approx(JOBS * PRICES["CloudFront to internet"].of(MIB / 1e9))


def test_row_has_the_medians_and_what_each_side_takes() -> None:
    measured = Measured("a step", 1, 0.0004, 22.125, plain=[1.0, 2.0, 9.0], ours=[4.0, 3.0, 8.0], requests=2)
    assert measured.row().cells == (
        "a step",
        "2.00 s, 1 request, $0.0004 for 1,000",
        "4.00 s, 2 requests, $22.1 for 1,000",
        "0.50",
        "",
        "",
    )
