"""The queue against a model of it in a few lines, whatever comes in whatever order."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from impasto.errors import (
    JobStateError,
    MissingJobError,
    OptionError,
    QueueFullError,
    StorageFullError,
)
from impasto.jobs.job import ENDED_STATES, JobInput, JobOrder, JobResult
from impasto.jobs.leases import MOST_ATTEMPTS, MOST_STEPS, Leases
from impasto.jobs.queue import JobQueue
from impasto.jobs.store import STORE_FILE, JobStore

DIGESTS = ["a" * 64, "b" * 64]


def make_order(number: int = 0, digest: str = DIGESTS[0]) -> JobOrder:
    inputs = {"content": (JobInput("photo.png", digest),), "names": (JobInput("a word"),)}
    return JobOrder("paint", inputs, {"steps": number + 1, "mask": None}, {})


@dataclass
class Row:
    """What the model knows of a job."""

    client: str
    digest: str
    state: str = "queued"
    attempts: int = 0
    wish: str | None = None
    taken: object = None  # the job as its worker has it
    steps: int = 0


class QueueMachine(RuleBasedStateMachine):
    """All that clients, workers, kills and the clock do to a queue."""

    jobs = Bundle("jobs")

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.rows: dict[str, Row] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.queues: dict[str, list[str]] = {}  # of each client, in its order
        self.turns: list[str] = []  # clients, the one served last at the end
        self.open()

    def open(self):
        self.store = JobStore(self.folder)
        self.queue = JobQueue(self.store, longest=6, share=4)
        self.leases = Leases(self.queue, seconds=60, clock=lambda: self.now)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def waiting(self, client: str | None = None) -> list[str]:
        return [
            id_
            for id_, row in self.rows.items()
            if row.state in ("queued", "paused") and client in (None, row.client)
        ]

    # --- clients

    @rule(
        target=jobs,
        client=st.sampled_from("xy"),
        key=st.sampled_from([None, "1", "2"]),
        number=st.integers(0, 1),
        digest=st.sampled_from(DIGESTS),
    )
    def submit(self, client, key, number, digest):
        order = make_order(number, digest)
        known = self.keys.get((client, key)) if key else None
        if known is not None:
            if self.queue.get(known).order == order:
                job, is_new = self.queue.submit(order, client=client, key=key)
                assert (job.id, is_new) == (known, False)
            else:
                with pytest.raises(JobStateError, match="idempotency key"):
                    self.queue.submit(order, client=client, key=key)
            return known
        if len(self.waiting()) >= 6 or len(self.waiting(client)) >= 4:
            with pytest.raises(QueueFullError):
                self.queue.submit(order, client=client, key=key)
            return "unknown"
        job, is_new = self.queue.submit(order, client=client, key=key)
        assert is_new
        assert job.order == order
        self.rows[job.id] = Row(client, digest)
        self.queues.setdefault(client, []).append(job.id)
        if key:
            self.keys[client, key] = job.id
        return job.id

    @rule(job=jobs, wish=st.sampled_from(["cancel", "pause"]))
    def ask(self, job, wish):
        row = self.rows.get(job)
        if row is None:
            with pytest.raises(MissingJobError, match="unknown job"):
                self.queue.ask(job, wish)
        elif row.state in ENDED_STATES:
            with pytest.raises(JobStateError, match=f"{row.state} already"):
                self.queue.ask(job, wish)
        else:
            self.queue.ask(job, wish)
            if row.state == "running":
                row.wish = wish
            else:
                row.state = "paused" if wish == "pause" else "cancelled"

    @rule(job=jobs)
    def resume(self, job):
        row = self.rows.get(job)
        if row is None:
            with pytest.raises(MissingJobError):
                self.queue.resume(job)
        elif row.state in ENDED_STATES:
            with pytest.raises(JobStateError):
                self.queue.resume(job)
        else:
            self.queue.resume(job)
            row.wish = None if row.wish == "pause" else row.wish
            row.state = "queued" if row.state == "paused" else row.state

    @rule(job=jobs, before=jobs | st.none())
    def move(self, job, before):
        row, other = self.rows.get(job), self.rows.get(before)
        mine = row is not None and row.state in ("queued", "paused")
        fits = before is None or (
            mine and other and other.client == row.client and other.state in ("queued", "paused")
        )
        if not (mine and fits):
            with pytest.raises((JobStateError, MissingJobError)):
                self.queue.move(job, before)
            return
        self.queue.move(job, before)
        if job != before:
            line = [each for each in self.queues[row.client] if each in self.waiting()]
            places = [n for n, each in enumerate(self.queues[row.client]) if each in line]
            line.remove(job)
            line.insert(len(line) if before is None else line.index(before), job)
            for place, each in zip(places, line, strict=True):
                self.queues[row.client][place] = each

    @rule(job=jobs)
    def cancel_others(self, job):
        if job not in self.rows:
            with pytest.raises(MissingJobError):
                self.queue.cancel_others(job)
            return
        others = {id_ for id_, r in self.rows.items() if r.state not in ENDED_STATES} - {job}
        assert set(self.queue.cancel_others(job)) == others
        for other in others:
            row = self.rows[other]
            if row.state == "running":
                row.wish = "cancel"
            else:
                row.state = "cancelled"

    @rule(job=jobs)
    def delete(self, job):
        row = self.rows.get(job)
        if row is None or row.state == "running":
            with pytest.raises(MissingJobError if row is None else JobStateError):
                self.queue.delete(job)
            return
        others = {r.digest for id_, r in self.rows.items() if id_ != job}
        freed = self.queue.delete(job)
        assert (row.digest in freed) == (row.digest not in others)
        del self.rows[job]
        self.queues[row.client].remove(job)
        self.keys = {key: value for key, value in self.keys.items() if value != job}

    @rule(target=jobs, job=jobs)
    def run_again(self, job):
        row = self.rows.get(job)
        if row is None:
            with pytest.raises(MissingJobError):
                self.queue.run_again(job)
            return job
        if len(self.waiting()) >= 6 or len(self.waiting(row.client)) >= 4:
            with pytest.raises(QueueFullError):
                self.queue.run_again(job)
            return job
        again = self.queue.run_again(job)
        self.rows[again.id] = Row(row.client, row.digest)
        self.queues[row.client].append(again.id)
        assert again.order == self.queue.get(job).order
        return again.id

    # --- workers

    @rule()
    def take(self):
        first = {
            client: next((j for j in line if self.rows[j].state == "queued"), None)
            for client, line in self.queues.items()
        }
        able = [client for client, job in first.items() if job]
        job = self.leases.take()
        if not able:
            assert job is None
            return
        assert job is not None
        expected = min(able, key=lambda c: self.turns.index(c) if c in self.turns else -1)
        new = [client for client in able if client not in self.turns]
        assert job.client in new if new else job.client == expected
        assert job.id == first[job.client]
        self.turns = [*(client for client in self.turns if client != job.client), job.client]
        row = self.rows[job.id]
        row.state, row.taken, row.attempts = "running", job, row.attempts + 1

    def running(self):
        return [(id_, row) for id_, row in self.rows.items() if row.state == "running"]

    @precondition(lambda self: self.running())
    @rule(data=st.data(), more=st.integers(0, 2))
    def record(self, data, more):
        id_, row = data.draw(st.sampled_from(self.running()))
        row.steps += more
        steps = [{"number": row.steps}] if row.steps else []
        self.leases.record(row.taken, steps, ["a note"])
        if more:
            row.attempts = 1
        assert self.leases.renew(row.taken) == row.wish
        assert self.queue.get(id_).notes == ("a note",)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "give back", "lose"]))
    def end(self, data, how):
        _, row = data.draw(st.sampled_from(self.running()))
        if how == "finish":
            self.leases.finish(row.taken, [JobResult("output.png", "c" * 64, 3)])
            row.state = "done"
        elif how == "fail":
            self.leases.fail(row.taken, "a reason")
            row.state = "failed"
        elif how == "lose":
            self.leases.lose(row.taken, "died")
            if row.attempts >= MOST_ATTEMPTS and not row.wish:
                row.state = "failed"
            else:
                self.let_go(row, charged=True)
        else:
            self.leases.give_back(row.taken)
            self.let_go(row, charged=False)
        row.wish = None
        with pytest.raises(JobStateError, match="was given to another"):
            self.leases.finish(row.taken, [])

    def let_go(self, row, *, charged):
        row.state = {None: "queued", "pause": "paused", "cancel": "cancelled"}[row.wish]
        row.wish = None
        if not charged and row.state != "cancelled":
            row.attempts -= 1

    @rule()
    def expire(self):
        """A minute later, what no worker has renewed goes to another."""
        self.now += 61
        assert set(self.leases.expire()) == {id_ for id_, _ in self.running()}
        for _, row in self.running():
            self.let_go(row, charged=False)

    @rule()
    def kill(self):
        """Nothing is closed; another process opens what there is."""
        self.open()
        assert set(self.leases.recover()) == {id_ for id_, _ in self.running()}
        for _, row in self.running():
            self.let_go(row, charged=False)

    # --- always

    @invariant()
    def is_as_the_model(self):
        if not hasattr(self, "rows"):
            return
        found = {job.id: job for job in self.queue.list_jobs()}
        assert {id_: job.state for id_, job in found.items()} == {
            id_: row.state for id_, row in self.rows.items()
        }
        for id_, row in self.rows.items():
            job = found[id_]
            assert (job.wish, job.client, job.progress.get("number", 0)) == (
                row.wish,
                row.client,
                row.steps,
            )
            if row.state not in ENDED_STATES:
                assert job.attempts == row.attempts
            assert bool(job.results) == (row.state == "done")
            assert (job.error is not None) == (row.state == "failed")
            assert (job.ended is not None) == (row.state in ENDED_STATES)
            assert (job.lease is not None) == (row.state == "running")
        order = self.queue.list_queue()
        for client, line in self.queues.items():
            mine = [id_ for id_ in order if self.rows[id_].client == client]
            assert mine == [id_ for id_ in line if self.rows[id_].state == "queued"]
        assert sum(self.queue.count().values()) == len(self.rows)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


@pytest.mark.slow
class TestQueueForLong(QueueMachine.TestCase):
    settings = settings(max_examples=500, stateful_step_count=80, deadline=None)


@pytest.fixture
def queue(tmp_path):
    store = JobStore(tmp_path)
    yield JobQueue(store, longest=1000)
    store.close()


def test_versions_grow_and_tell_what_has_changed(queue):
    first, _ = queue.submit(make_order())
    second, _ = queue.submit(make_order())
    assert first.version < second.version == queue.store_version()
    queue.ask(first.id, "pause")
    assert [job.id for job in queue.list_changed(second.version)] == [first.id]


def test_lists_go_on_where_they_ended(queue):
    ids = [queue.submit(make_order())[0].id for _ in range(5)]
    page = queue.list_jobs(most=3)
    rest = queue.list_jobs(most=3, before=page[-1].id)
    assert sorted(job.id for job in [*page, *rest]) == sorted(ids)


def test_clients_take_turns(queue):
    for client in "aaab":
        queue.submit(make_order(), client=client)
    leases = Leases(queue)
    taken = [leases.take().client for _ in range(4)]
    assert sorted(taken[:2]) == ["a", "b"]
    assert taken[2:] == ["a", "a"]


def test_steps_are_thinned_and_the_last_stays(queue):
    queue.submit(make_order())
    leases = Leases(queue)
    job = leases.take()
    leases.record(job, [{"number": n} for n in range(1, MOST_STEPS + 2)], [])
    steps = [step["number"] for step in queue.list_steps(job.id)]
    assert len(steps) == MOST_STEPS // 2 + 1
    assert steps[-1] == MOST_STEPS + 1


def test_two_hundred_threads_are_each_answered(queue):
    orders = [make_order(n) for n in range(200)]
    ids = [""] * 200
    threads = [
        threading.Thread(target=lambda n=n: ids.__setitem__(n, queue.submit(orders[n])[0].id))
        for n in range(200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [queue.get(id_).order for id_ in ids] == orders


def test_the_same_key_at_once_is_one_job(queue):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(queue.submit(make_order(), key="k")))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job, _ in found}) == 1
    assert sum(is_new for _, is_new in found) == 1


def test_a_newer_schema_is_refused_and_damage_is_told(tmp_path):
    store = JobStore(tmp_path)
    store.write(lambda run: run.execute("PRAGMA user_version = 99"))
    store.close()
    with pytest.raises(OptionError, match="newer version of Impasto"):
        JobStore(tmp_path)
    (tmp_path / STORE_FILE).write_bytes(b"no database" * 100)
    for more in ("-wal", "-shm"):
        (tmp_path / f"{STORE_FILE}{more}").unlink(missing_ok=True)
    with pytest.raises(OptionError, match="cannot open the jobs in"):
        JobStore(tmp_path)


def test_a_store_of_the_first_version_is_taken_along(tmp_path):
    queue = JobQueue(JobStore(tmp_path))
    kept = queue.submit(make_order())[0].id

    def go_back(run):
        run.execute("ALTER TABLE jobs DROP COLUMN favourite")
        run.execute("PRAGMA user_version = 1")

    queue.store.write(go_back)
    queue.store.close()
    queue = JobQueue(JobStore(tmp_path))
    assert queue.get(kept).is_favourite is False
    assert queue.mark_favourite(kept, True).is_favourite is True
    assert queue.get(kept).is_favourite is True


def test_a_full_disk_is_told_and_nothing_accepted_is_lost(queue):
    kept = [queue.submit(make_order(n))[0].id for n in range(5)]
    pages = queue.store.read("PRAGMA page_count")[0][0]
    queue.store.write(lambda run: run.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    def fill():
        for n in range(1000):
            kept.append(queue.submit(make_order(n), label="x" * 2000)[0].id)

    with pytest.raises(StorageFullError, match="cannot keep it: database or disk is full"):
        fill()
    assert sorted(job.id for job in queue.list_jobs()) == sorted(kept)
    queue.store.write(lambda run: run.execute("PRAGMA max_page_count = 1000000").fetchall())
    queue.submit(make_order())


def test_orders_come_back_as_they_were():
    folder = JobInput("folder", members=(("cats/1.png", "d" * 64), ("dogs/ü.png", "e" * 64)))
    order = JobOrder("augment", {"source": (folder,)}, {"x": [1, None]}, {"mask": (folder,)})
    assert JobOrder.unpack(order.packed) == order
    assert order.list_digests() == {"d" * 64, "e" * 64}
    assert order.digest() != make_order().digest()
