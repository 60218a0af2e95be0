"""Two shapes of real use, replayed by the clients that have it, beside plain GETs and PUTs of the same bytes.

The shapes are public figures (docs/design/performance.md names the sources). Seconds are of one machine, with emulators
for AWS; dollars are list prices of the requests that the design takes (actions_cache/cost.py).
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path

from actions_cache.cost import GIGABYTE, Line, Saving, entry_saved, missed, restored, total
from dev.bench.environment import MIB, Emulators, Environment, Row, environment, new_token
from dev.bench.load_generator import exchange_all
from dev.clients.actions_cache import ActionsCache, Outcome
from dev.clients.buildkit import BLOCK_BYTES, BuildKit, Entry

MILLISECONDS = 30
"""Delay of each request to the store, on both sides: about S3's first byte."""

MOST_ROUNDS = 3
"""Each round leaves 2 GB in the store."""

MERGED_SECONDS, RESTORES = 5, 6
"""Time in which a cache is mostly merged, and restores until it is."""

SCOPE = "buildkit"

MERGE_SECONDS = 120
"""Time in which all layers are merged."""

JOBS = 1000
"""Dollars are for so many."""


@dataclass(frozen=True)
class Npm:
    """Describes the cache of a job with `setup-node` and `cache: npm`: one archive of compressed packages."""

    bytes: int = 316_835_510
    packages: int = 2_165
    """Files of one package each, and as many of their index."""
    block_bytes: int = 64 * MIB
    """The client's blocks, eight of which it sends at a time."""
    key: str = "node-cache-Linux-x64-npm-8f9be462a69aefeb721a1b7a5f4f4106e9666dd85a9d3ce1bb7e9aa05449e9ef"
    restore_key: str = "node-cache-Linux-x64-npm-"


@dataclass(frozen=True)
class Image:
    """Describes an export of BuildKit with `type=gha`: a blob for each layer, and the index that names them.

    The layers are the 40 largest of a data-science image of 44, each a tenth of its size.
    """

    layers: Sequence[int] = (
        *(2_669_209, 3_536, 85, 40_317_073, 8_111_709, 686, 14_437_636, 155_190_187, 46_706, 32, 45, 21, 52, 45),
        *(2_108_912, 10_959_542, 27_805_222, 20_793_787, 9_647_460, 10_801_760, 102_676_078, 7_496_056, 4_604_753),
        *(5_909_987, 39_426_801, 4_639_447, 10_526_459, 89_000_781, 17_978_047, 1_062_416, 184_519, 7_928_730, 326),
        *(216, 126, 64, 204, 87, 37, 21),
    )
    index_bytes: int = 10_701
    changed: int = 3
    """Layers that a later build makes anew, the last large ones."""

    @property
    def bytes(self) -> int:
        return sum(self.layers)

    @property
    def changed_layers(self) -> Sequence[int]:
        return [size for size in self.layers if size >= BLOCK_BYTES][-self.changed :]

    @property
    def blobs(self) -> Sequence[int]:
        """Return the sizes of all entries of an export."""
        return (*self.layers, self.index_bytes)


NPM, IMAGE = Npm(), Image()


# ---------------------------------------------------------------- what it costs


def npm_saving(npm: Npm) -> Saving:
    return Saving(npm.bytes, npm.block_bytes, restores=0)


def layer_saving(size: int) -> Saving:
    return Saving(size, BLOCK_BYTES, restores=0, seeks=True)


def layer_read(size: int, read: int) -> tuple[Line, ...]:
    """Return the cost of reading so much of a layer, which BuildKit does through the edge wherever it runs."""
    return (
        *restored(layer_saving(size)),
        Line("to the runner, through the edge", "CloudFront to internet", read / GIGABYTE),
    )


def cost_of(*operations: Sequence[Line]) -> float:
    """Return the dollars of so many JOBS, each of which takes these."""
    return JOBS * sum(map(total, operations))


def plain_cost(*, puts: int = 0, gets: int = 0) -> float:
    """Return the dollars of JOBS that ask S3 alone, in its region."""
    return cost_of((Line("PUTs", "S3 write", puts), Line("GETs", "S3 read", gets)))


def blocks(size: int, block_bytes: int) -> list[int]:
    """Return the sizes of an upload's blocks; what is empty has one."""
    return [min(block_bytes, size - start) for start in range(0, size, block_bytes)] or [0]


# ---------------------------------------------------------------- rows


@dataclass
class Measured:
    """The turns of one step on each side, with what one of them takes."""

    what: str
    plain_requests: int
    plain_usd: float
    usd: float
    plain: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    requests: int = 0
    more: str = ""

    def row(self) -> Row:
        plain, ours = statistics.median(self.plain), statistics.median(self.ours)
        return Row(
            self.what,
            _side(plain, self.plain_requests, self.plain_usd),
            _side(ours, self.requests, self.usd),
            plain / ours,
            "",
            self.more,
        )


def _side(seconds: float, requests: int, usd: float) -> str:
    return f"{seconds:.2f} s, {requests} {'request' if requests == 1 else 'requests'}, ${usd:.3g} for {JOBS:,}"


def workloads(emulators: Emulators, rounds: int) -> Iterator[Row]:
    rounds = min(rounds, MOST_ROUNDS)
    with environment(emulators, MILLISECONDS, 1, merge_trigger="finalize") as at:
        yield from setup_node(at, rounds, NPM)
        yield from image_build(at, rounds, IMAGE)


# ---------------------------------------------------------------- setup-node


def setup_node(at: Environment, rounds: int, npm: Npm) -> Iterator[Row]:
    """Replay a job that misses and saves, then one that hits, by the real @actions/cache.

    Seconds are from the client's first request to its last byte; the whole step, with tar and zstd, is in `more`.
    """
    sizes = blocks(npm.bytes, npm.block_bytes)
    saving = npm_saving(npm)
    save = Measured(
        f"npm cache of {npm.bytes / 1e6:.0f} MB: a job that misses, and saves",
        len(sizes),
        plain_cost(puts=len(sizes)),
        cost_of(missed(saving), entry_saved(saving)),
    )
    hit = Measured("the same: a job that hits", 1, plain_cost(gets=1), cost_of(restored(saving)))
    steps: dict[str, list[float]] = {"save": [], "restore": []}
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        make_npm_cache(workspace / ".npm", npm)
        for _ in range(rounds):
            client = ActionsCache(at.server, workspace, new_token())
            looked_up = client.restore([".npm"], npm.key, [npm.restore_key])
            saved = client.save([".npm"], npm.key)
            save.ours.append(on_the_wire(looked_up) + on_the_wire(saved))
            save.requests = len(looked_up.requests) + len(saved.requests)
            archive = sum(request.sent_bytes for request in saved.parts)
            save.plain.append(_put_plain(at, blocks(archive, npm.block_bytes)))
            found = _restored_when_merged(client, npm)
            hit.ours.append(on_the_wire(found))
            hit.requests = len(found.requests)
            url = at.plain_object("npm", archive)
            hit.plain.append(exchange_all([("GET", url, 0)], at_once=1))
            steps["save"].append(looked_up.seconds + saved.seconds)
            steps["restore"].append(found.seconds)
    save.more, hit.more = (f"with tar and zstd {statistics.median(them):.2f} s" for them in steps.values())
    yield from (save.row(), hit.row())


def make_npm_cache(directory: Path, npm: Npm) -> None:
    """Make files like those of npm's cache: a compressed package and a line of the index for each package."""
    size = npm.bytes // npm.packages
    for number in range(npm.packages):
        for kind, content in (("content-v2", os.urandom(size)), ("index-v5", b"%d" % number)):
            file = directory / "_cacache" / kind / f"{number % 256:02x}" / f"{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def on_the_wire(outcome: Outcome) -> float:
    """Return the seconds from the first request to the end of the last answer."""
    return max(request.ended for request in outcome.requests) - min(request.began for request in outcome.requests)


def _restored_when_merged(client: ActionsCache, npm: Npm) -> Outcome:
    """Restore the cache once it is one object, which the store itself then serves, and return that restore.

    Raises:
        RuntimeError: it wasn't restored, or never by the store.
    """
    for _ in range(RESTORES):
        time.sleep(MERGED_SECONDS)
        shutil.rmtree(client.workspace / ".npm")
        found = client.restore([".npm"], npm.key, [npm.restore_key])
        if found.result != npm.key:
            raise RuntimeError("\n".join(found.log))
        if not any(request.url.startswith(client.server) for request in found.downloads):
            return found
    raise RuntimeError(f"not merged after {RESTORES} restores")


def _put_plain(at: Environment, sizes: Sequence[int]) -> float:
    """PUT as many objects as the client sends blocks, eight at a time as it does."""
    return exchange_all([("PUT", at.plain_target(f"{at_}"), size) for at_, size in enumerate(sizes)], at_once=8)


# ---------------------------------------------------------------- an image


@dataclass
class CountingBuildKit(BuildKit):
    """Counts the requests that it sends."""

    requests: int = 0

    def open(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HTTPResponse:
        self.requests += 1
        return super().open(method, url, headers, body)


@dataclass(frozen=True)
class Blobs:
    """The bytes of an image's layers, none of which compress, and their keys.

    BuildKit knows its layers' digests; here they would be work that isn't the cache's, so the keys have numbers.
    """

    random: bytes
    sizes: Sequence[int]
    first: int = 0
    """Number of the first key."""

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for number, size in enumerate(self.sizes):
            yield f"buildkit-blob-1-sha256:{self.first + number:064x}", self.random[number : number + size]


@dataclass(frozen=True)
class Builds:
    """Exports and imports an image as BuildKit does, layer after layer, and does likewise with the store alone.

    Both sides send and read by the same client, so that what it takes itself counts for neither.

    Args:
        at: the server, and the store.
        client: BuildKit's client.
        plain: the same, for the store alone.
        layers: of the first build.
        changed: those that the later build has instead.
        kept: keys of the layers that it keeps.
        index: names the layers.
        objects: URLs and sizes of objects as large as the blobs.
    """

    at: Environment
    client: CountingBuildKit
    plain: BuildKit
    layers: Blobs
    changed: Blobs
    kept: Sequence[str]
    index: bytes
    objects: Sequence[tuple[str, int]]

    def export(self) -> None:
        self._send(self.layers)

    def export_changed(self) -> None:
        for key in self.kept:
            self._found(key)
        self._send(self.changed)

    def _send(self, layers: Blobs) -> None:
        for key, data in layers:
            if self.client.load(key) is not None:
                raise RuntimeError(f"{key} is there already")
            self.client.save(key, data)
        self.client.export_index(SCOPE, self.index)

    def read(self) -> None:
        if self.client.import_index(SCOPE) != self.index:
            raise RuntimeError("the index is missing, or another one")
        for key, data in self.layers:
            if self._found(key).read() != data:
                raise RuntimeError(f"{key} has other bytes")

    def read_halves(self) -> None:
        for key, data in self.layers:
            if (
                len(data) >= BLOCK_BYTES
                and self._found(key).read_at(len(data) // 2, len(data)) != data[len(data) // 2 :]
            ):
                raise RuntimeError(f"the second half of {key} has other bytes")

    def wait_until_merged(self) -> None:
        deadline = time.monotonic() + MERGE_SECONDS
        for key, _ in self.layers:
            while "/blobs/download/" in self._found(key).url:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{key} wasn't merged in {MERGE_SECONDS} s")
                time.sleep(1)

    def _found(self, key: str) -> Entry:
        entry = self.client.load(key)
        if entry is None:
            raise RuntimeError(f"{key} is missing")
        return entry

    # ---------------------------------------------------------------- the store alone

    def put(self) -> None:
        self._put(self.layers)

    def put_changed(self) -> None:
        self._put(self.changed)

    def _put(self, layers: Blobs) -> None:
        """PUT each block as an object of its own."""
        for key, data in [*layers, ("index", self.index)]:
            for start in range(0, len(data), BLOCK_BYTES):
                self._ask("PUT", self.at.plain_target(f"{key}/{start}"), {}, data[start : start + BLOCK_BYTES])

    def get(self) -> None:
        for url, size in self.objects:
            self._ask("GET", url, {}, size=size)

    def get_halves(self) -> None:
        for url, size in self.objects:
            if size >= BLOCK_BYTES:
                self._ask("GET", url, {"Range": f"bytes={size // 2}-"}, size=size - size // 2)

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, size: int = 0) -> None:
        """Send a request, and read the answer, which must have this size."""
        answer = self.plain.open(method, url, headers, body)
        data = answer.read()
        if answer.status not in (200, 206) or len(data) != size:
            raise RuntimeError(f"{method} {url}: {answer.status}, {len(data)} bytes, not {size}")


def image_build(at: Environment, rounds: int, image: Image) -> Iterator[Row]:
    """Replay an image's first build, a build of it elsewhere, and one that changes some layers."""
    steps = image_steps(image)
    changed = image.changed_layers
    random = os.urandom(max(image.layers) + len(image.layers))
    layers = Blobs(random, image.layers)
    objects = [(at.plain_object(f"layer-{number}", size), size) for number, size in enumerate(image.blobs)]
    kept = [key for key, data in layers if len(data) not in changed]
    for _ in range(rounds):
        with closing(CountingBuildKit(at.server, new_token())) as client, closing(BuildKit("", "")) as plain:
            later = Blobs(random, changed, first=len(image.layers))
            builds = Builds(at, client, plain, layers, later, kept, random[: image.index_bytes], objects)
            steps["export"].turn(client, builds.export, builds.put)
            builds.wait_until_merged()
            steps["import"].turn(client, builds.read, builds.get)
            steps["halves"].turn(client, builds.read_halves, builds.get_halves)
            steps["again"].turn(client, builds.export_changed, builds.put_changed)
    yield from (step.row() for step in steps.values())


def image_steps(image: Image) -> dict[str, "BuildStep"]:
    """Return the steps, with what each takes of the store alone, and costs."""
    what = f"image of {len(image.layers)} layers, {image.bytes / 1e6:.0f} MB"
    large = [size for size in image.layers if size >= BLOCK_BYTES]
    changed = (*image.changed_layers, image.index_bytes)
    kept = len(image.layers) - len(image.changed_layers)
    puts, changed_puts = (sum(len(blocks(size, BLOCK_BYTES)) for size in sizes) for sizes in (image.blobs, changed))
    return {
        "export": BuildStep(
            f"{what}: first export",
            puts,
            plain_cost(puts=puts),
            cost_of(*(lines for size in image.blobs for lines in _layer_saved(size))),
        ),
        "import": BuildStep(
            f"{what}: import, every layer read",
            len(image.blobs),
            plain_cost(gets=len(image.blobs)),
            cost_of(*(layer_read(size, size) for size in image.blobs)),
        ),
        "halves": BuildStep(
            "its layers of 1 MiB or more: the second half of each, by a range",
            len(large),
            plain_cost(gets=len(large)),
            cost_of(*(layer_read(size, size - size // 2) for size in large)),
        ),
        "again": BuildStep(
            f"its export after a build that changes {len(image.changed_layers)} layers",
            changed_puts,
            plain_cost(puts=changed_puts),
            cost_of(*[restored(layer_saving(1))] * kept, *(lines for size in changed for lines in _layer_saved(size))),
        ),
    }


@dataclass
class BuildStep(Measured):
    def turn(self, client: CountingBuildKit, ours: Callable[[], None], plain: Callable[[], None]) -> None:
        """Measure one turn of each side."""
        before = client.requests
        self.ours.append(_seconds(ours))
        self.requests = client.requests - before
        self.plain.append(_seconds(plain))


def _layer_saved(size: int) -> tuple[Sequence[Line], Sequence[Line]]:
    """Return the cost of the lookup before a save, and of the save."""
    return missed(layer_saving(size)), entry_saved(layer_saving(size))


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
