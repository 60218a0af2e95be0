"""The cost tables add up, follow the template, and are those in the documentation."""

from dataclasses import replace

import pytest

from actions_cache.cost import (
    HOURS_A_MONTH,
    IDLE_MONTH_USD,
    NOT_CHECKED,
    PRICES,
    TERABYTE,
    CostPart,
    Line,
    Saving,
    entry_saved,
    month_like,
    total,
)
from actions_cache.domain.budgets import NO_USAGE, Tally, Usage
from actions_cache.domain.errors import CacheError
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import ERRORS, METRICS
from dev.clients.hook import ranges
from dev.cost.cost import (
    BY_THE_SCHEDULE,
    DOCUMENT,
    LARGE_IDLE_USD,
    MOST_VALUES,
    NEVER_WELL,
    USUAL_VALUES,
    documented,
    hooked_restores,
    idle_month,
    main,
    markdown,
    metrics_month,
    page_tables,
    runs_a_month,
    schedules,
    storage_a_month,
    terabyte_saved,
    transfer_out,
    usual_columns,
)
from dev.local.template import Template

PLAIN, BUILDKIT = Saving(), Saving(block_bytes=1024 * 1024, seeks=True)


def usd(lines: tuple[Line, ...], what: str) -> float:
    (found,) = [line.usd for line in lines if line.what == what]
    return found


def test_half_the_size_costs_the_same_bytes_and_twice_the_calls() -> None:
    whole, halves = terabyte_saved(PLAIN), terabyte_saved(replace(PLAIN, entry_bytes=PLAIN.entry_bytes / 2))
    bytes_cost = "CloudFront, bytes to the bucket"
    assert usd(halves, bytes_cost) == pytest.approx(usd(whole, bytes_cost))
    for what in ("API Gateway", "DynamoDB, writes", "SQS", "S3, create and complete"):
        assert usd(halves, what) == pytest.approx(2 * usd(whole, what))


def test_direct_saves_cost_less_than_a_dollar_a_terabyte() -> None:
    """Neither the edge nor the merge handles their bytes."""
    direct = terabyte_saved(replace(PLAIN, direct=True))
    assert total(direct) <= 1.0 < total(terabyte_saved(PLAIN)) / 20
    for what in ("CloudFront, bytes to the bucket", "S3, copies of the merge", "Lambda, merge: time", "SQS"):
        assert usd(direct, what) == 0
    assert usd(direct, "S3, PUTs of blocks and manifest") == pytest.approx(11 * 1418 * 5e-6, rel=0.01)


def test_twice_the_restores_cost_twice_the_transfer() -> None:
    twice = replace(PLAIN, restores=2 * PLAIN.restores)
    once_out, twice_out = (transfer_out(saving, outside_aws=True).usd for saving in (PLAIN, twice))
    assert twice_out == pytest.approx(2 * once_out) == pytest.approx(2 * 3 * 90)
    for what in ("S3, PUTs of blocks and manifest", "S3, copies of the merge", "Lambda, merge: time"):
        assert usd(terabyte_saved(twice), what) == pytest.approx(usd(terabyte_saved(PLAIN), what))
    assert transfer_out(PLAIN, outside_aws=False).usd == 0
    for outside in (False, True):
        assert transfer_out(BUILDKIT, outside_aws=outside).usd == pytest.approx(3 * 85)


def test_terabyte_has_the_numbers_of_the_design() -> None:
    """A terabyte is 1,418 entries of 705 MB."""
    lines = terabyte_saved(PLAIN)
    assert round(PLAIN.entries) == 1418
    assert len(PLAIN.manifest.parts) == 11
    assert PLAIN.manifest.size == pytest.approx(PLAIN.entry_bytes, abs=1)
    assert usd(lines, "CloudFront, bytes to the bucket") == pytest.approx(TERABYTE / 1e9 * 0.02)
    assert usd(lines, "S3, copies of the merge") == pytest.approx(0.078, abs=0.001)
    assert usd(lines, "S3, PUTs of blocks and manifest") == pytest.approx(0.085, abs=0.001)
    assert round(total(storage_a_month(PLAIN))) == 23


def test_merge_uploads_small_and_copies_large_blocks() -> None:
    plain, small = terabyte_saved(PLAIN), terabyte_saved(BUILDKIT)
    assert usd(plain, "S3, uploads of the merge") == 0 == usd(small, "S3, copies of the merge")
    assert usd(small, "S3, uploads of the merge") > 0 < usd(plain, "S3, copies of the merge")
    assert usd(small, "Lambda, merge: time") > usd(plain, "Lambda, merge: time")


def test_entry_of_one_part_costs_no_merge() -> None:
    one, two = (entry_saved(Saving(size, MIB, restores=0)) for size in (MIB, MIB + 1))
    merging = {line.what for line in two if "merge" in line.what or line.what in ("S3, create and complete", "SQS")}
    assert {line.what for line in one if line.quantity == 0} >= merging - {"Lambda, downloads that wait for the merge"}
    assert usd(one, "S3, PUTs of blocks and manifest") * 3 == pytest.approx(usd(two, "S3, PUTs of blocks and manifest"))


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("rate(1 hour)", 1),
        ("rate(2 hours)", 2),
        ("rate(1 day)", 24),
        ("rate(${CleanupIntervalMinutes} minutes)", 1 / 12),
    ],
)
def test_rate_determines_monthly_runs(template: Template, expression: str, hours: float) -> None:
    assert runs_a_month(template, expression) == pytest.approx(HOURS_A_MONTH / hours)
    for other in ("cron(0 12 * * ? *)", "rate(x hours)", "rate(5 weeks)", ""):
        with pytest.raises(ValueError, match="is no rate"):
            runs_a_month(template, other)


def test_idle_month_counts_template_resources(template: Template) -> None:
    lines = idle_month(template)
    assert usd(lines, "alarms") == pytest.approx(0.10 * len(template.of_type("AWS::CloudWatch::Alarm")))
    # The edge's secret only comes with a web ACL.
    assert usd(lines, "the secrets: of URLs, of those who manage") == pytest.approx(
        0.40 * (len(template.of_type("AWS::SecretsManager::Secret")) - 1)
    )
    assert set(schedules(template)) == {"CleanupFunction", "RotateFunction"}
    # The schedule's custom metrics cost two hours of a day.
    each = 0.30 * 2 / 24
    assert usd(lines, "custom metrics: what is stored, what the month costs") == pytest.approx(
        each * (2 + len(CostPart))
    )
    month = month_like(NO_USAGE, Tally(), 24)
    assert month.total == IDLE_MONTH_USD == pytest.approx(total(lines), abs=0.005)
    assert month.transfer_out == 0


def test_month_is_the_sum_of_its_parts_and_its_services() -> None:
    done = Tally(hits=30, misses=10, saves=10, bytes_restored=3 * 10**9, bytes_saved=10**9)
    month = month_like(Usage(10**12, 100), done, 168)
    assert month.total == pytest.approx(sum(month.by_part.values())) == pytest.approx(sum(month.by_service.values()))
    assert month.by_part[CostPart.STORAGE] == pytest.approx(23, abs=0.01)
    assert month.transfer_out == pytest.approx(3 * 0.09 * HOURS_A_MONTH / 168)
    assert all(usd > 0 for usd in (*month.by_part.values(), *month.by_service.values()))
    one, two = (month_like(NO_USAGE, Tally(misses=count, hits=count), 24) for count in (100, 200))
    for part in (CostPart.RESTORES, CostPart.MISSES):
        assert two.by_part[part] == pytest.approx(2 * one.by_part[part])


def test_month_costs_saves_and_restores_like_a_terabyte() -> None:
    """The month has as many entries as the terabyte, each restored as often."""
    count = 1000
    done = Tally(hits=3 * count, saves=count, bytes_saved=int(count * PLAIN.entry_bytes))
    month = month_like(NO_USAGE, done, HOURS_A_MONTH)
    saved = total(terabyte_saved(PLAIN)) / PLAIN.entries * count
    assert month.by_part[CostPart.SAVES] + month.by_part[CostPart.RESTORES] == pytest.approx(saved)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_month_counts_direct_saves_apart(share: float) -> None:
    size = int(1000 * PLAIN.entry_bytes)
    month = month_like(NO_USAGE, Tally(saves=1000, bytes_saved=size, bytes_direct=int(share * size)), HOURS_A_MONTH)
    edge, direct = (total(entry_saved(replace(PLAIN, restores=0, direct=way))) for way in (False, True))
    assert direct < edge / 10
    assert month.by_part[CostPart.SAVES] == pytest.approx(1000 * ((1 - share) * edge + share * direct))


def test_hooked_restore_costs_a_get_for_each_range() -> None:
    for size in (MIB, MIB + 1, 705 * 10**6):
        one = hooked_restores(replace(PLAIN, entry_bytes=size, restores=1))
        assert one.price == "S3 read"
        assert one.quantity == pytest.approx(ranges([size]) * TERABYTE / size)
    assert [ranges([size]) for size in (MIB, MIB + 1, 705 * 10**6)] == [1, 2, 88]
    assert hooked_restores(replace(PLAIN, seeks=True)).usd == 0


def test_metric_costs_by_the_hour_and_by_dimension_value() -> None:
    usual = metrics_month(HOURS_A_MONTH, USUAL_VALUES)
    of_jobs = [metric for metric in METRICS if metric not in (*NEVER_WELL, *BY_THE_SCHEDULE)]
    values = [USUAL_VALUES[metric.dimension] for metric in of_jobs if metric.dimension]
    assert usual.usd == pytest.approx(0.30 * (len(of_jobs) - len(values) + sum(values)))
    assert metrics_month(HOURS_A_MONTH / 2, USUAL_VALUES).usd == pytest.approx(usual.usd / 2)
    assert metrics_month(0, MOST_VALUES).usd == 0
    assert metrics_month(HOURS_A_MONTH, MOST_VALUES).usd > usual.usd


def test_no_dimension_has_more_values_than_are_counted() -> None:
    assert {error.__name__ for error in subclasses(CacheError)} < ERRORS.values
    assert all(USUAL_VALUES[name] <= most for name, most in MOST_VALUES.items())
    assert len(CostPart) == USUAL_VALUES["part"] == MOST_VALUES["part"]


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(subclass) for subclass in kind.__subclasses__()))


def test_no_resource_of_the_template_costs_by_the_hour(template: Template) -> None:
    """A type that is new here has to be looked up, and to get a line if it costs something while idle."""
    free_while_idle = {
        *(f"AWS::CloudFront::{it}" for it in ("Distribution", "Function", "KeyValueStore", "OriginAccessControl")),
        *("AWS::CloudFront::OriginRequestPolicy", "AWS::CloudFront::ResponseHeadersPolicy"),
        *(f"AWS::Serverless::{it}" for it in ("Api", "Function", "LayerVersion")),
        *("AWS::DynamoDB::Table", "AWS::IAM::Role", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::S3::BucketPolicy"),
        *("AWS::SNS::Topic", "AWS::SQS::Queue", "Custom::EdgeSecrets"),
    }
    itemised = {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::SecretsManager::Secret"}
    assert {resource["Type"] for resource in template.body["Resources"].values()} <= free_while_idle | itemised


def test_each_price_names_its_source_or_says_it_has_none() -> None:
    assert all(price.usd > 0 and price.per > 0 for price in PRICES.values())
    assert [name for name, price in PRICES.items() if not (NOT_CHECKED in price.seen or "." in price.seen)] == []


def test_page_has_these_tables(template: Template) -> None:
    document = DOCUMENT.read_text()
    tables = page_tables(usual_columns(PLAIN, template), template)
    assert document == documented(document, tables), "run: python -m dev.cost.cost --write"
    with pytest.raises(ValueError, match="lacks the line"):
        documented("# What it costs\n", "tables")


def test_idle_month_names_its_large_lines(template: Template) -> None:
    tables = markdown(usual_columns(PLAIN, template), template)
    (sentence,) = [row for row in tables.splitlines() if row.startswith("Over $1 a month")]
    for line in idle_month(template):
        assert (line.what in sentence) == (line.usd > LARGE_IDLE_USD)


def test_page_tables_add_up(template: Template) -> None:
    """A row's last cells are the sums of the others, and a column's last rows those of its lines."""
    rows = [
        [cell.strip(" *+").replace(",", "") for cell in row.strip("|").split(" | ")]
        for row in page_tables(usual_columns(PLAIN, template), template).splitlines()
        if row.startswith("| ")
    ]
    months = [list(map(float, row[1:])) for row in rows if len(row) == 8 and row[1][:1].isdigit() and row[7].strip()]
    assert len(months) == 4
    for *parts, seen, whole, ten, fifty in months:
        assert whole == pytest.approx(sum(parts) + seen, abs=0.5)
        assert (ten, fifty) == pytest.approx((10 * sum(parts) + seen, 50 * sum(parts) + seen), abs=1)
    idle = [float(row[1]) for row in rows if len(row) == 2 and row[1][:1].isdigit()]
    assert idle[-3] == pytest.approx(sum(idle[:-3]), abs=0.02)
    hour = [float(row[3]) for row in rows if len(row) == 6 and row[3][:1].isdigit()]
    assert hour[-1] == pytest.approx(sum(hour[:-1]), abs=0.5)


def test_command_line_options_change_result(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--entry-mb", "100", "--block-mib", "32", "--restores", "10", "--early", "0.5"])
    printed = capsys.readouterr().out
    assert "10,000 entries of 100 MB, each restored 10 times; 50% of the restores" in printed
    assert "actions/cache, 32 MiB blocks" in printed
