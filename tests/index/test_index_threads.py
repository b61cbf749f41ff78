"""Several threads in a search, and several searches and changes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from index_cases import ENGINES, check_range, check_search, filled_index, made, oracle, random_codes

from embcompress.index import HammingIndex, native, storage, threads
from embcompress.index.threads import SharedLock, available_cores, run_jobs

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest.fixture
def jobs(monkeypatch):
    """Numbers of jobs that searches were divided into; small work is divided too."""
    monkeypatch.setattr(native, "_JOB", 1000)
    monkeypatch.setattr(native, "_JOB_ALONE", 1000)
    numbers = []

    def counted(some):
        numbers.append(len(some))
        return run_jobs(some)

    monkeypatch.setattr(native, "run_jobs", counted)
    return numbers


def asymmetric_oracle(codes, queries, n_bits, k):
    signs = 2.0 * np.unpackbits(codes, axis=1, count=n_bits) - 1
    scores = (queries @ signs.T).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("n_queries", [1, 5, 9, 70])
def test_results_do_not_depend_on_threads(n_queries, n_threads, fixed, jobs):
    codes = random_codes(1500, 300, n_free=8)
    queries = random_codes(n_queries, 300, seed=1, n_free=10)
    if fixed:
        index = HammingIndex.over(codes, 300, engine="native", n_threads=n_threads)
    else:
        index = filled_index(codes, 300, "native", n_threads=n_threads)
    for k in (1, 50, 65, 1500, 1600):
        check_search(index, codes, queries, k)
    check_range(index, codes, queries, 3)
    check_search(index, codes, queries, 20, np.arange(0, 1500, 7))
    weights = np.random.default_rng(0).integers(-3, 4, (n_queries, 300))
    for k in (3, 70):
        expected = asymmetric_oracle(codes, weights, 300, k)
        for got, right in zip(index.search_asymmetric(weights, k), expected, strict=True):
            np.testing.assert_array_equal(got, right)
    assert max(jobs) == n_threads


def test_more_threads_than_groups_of_codes(jobs):
    codes = random_codes(130, 300, n_free=5)
    index = filled_index(codes, 300, "native", n_threads=9)
    check_search(index, codes, codes[:1], 100)
    check_range(index, codes, codes[:1], 300)
    assert max(jobs) > 2


def test_little_work_wakes_no_thread(monkeypatch):
    monkeypatch.setattr(threads, "_threads", lambda: pytest.fail("a thread was woken"))
    index, codes = made(engine="native", n_threads=8)
    check_search(index, codes, codes[:9], 5)


@pytest.mark.parametrize("k", [1, 40, 100])
def test_more_queries_than_lists_fit_in_memory(k, monkeypatch, jobs):
    monkeypatch.setattr(native, "_LIST_VALUES", 16 * 2 * k)
    codes = random_codes(700, 77, n_free=8)
    queries = random_codes(75, 77, seed=1, n_free=9)
    index = filled_index(codes, 77, "native", n_threads=2)
    check_search(index, codes, queries, k)
    assert len(jobs) == 5
    weights = np.random.default_rng(0).integers(-3, 4, (75, 77))
    expected = asymmetric_oracle(codes, weights, 77, k)
    for got, right in zip(index.search_asymmetric(weights, k), expected, strict=True):
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_bits", [30, 300])
def test_codes_in_pieces(n_bits, n_threads, monkeypatch, jobs):
    """Those of a map are laid into blocks a few at a time; those in blocks are many per call."""
    width = -(-n_bits // 8)
    codes = random_codes(2000, n_bits, n_free=8)
    queries = random_codes(9, n_bits, seed=1, n_free=9)
    weights = np.random.default_rng(0).integers(-3, 4, (9, n_bits))
    expected = asymmetric_oracle(codes, weights, n_bits, 70)
    for groups in (1, 3):
        monkeypatch.setattr(storage, "_STREAMED", groups * 128 * width)
        monkeypatch.setattr(storage, "_CALL", groups * 128 * width)
        for index in (
            HammingIndex.over(codes, n_bits, engine="native", n_threads=n_threads),
            filled_index(codes, n_bits, "native", n_threads=n_threads),
        ):
            for k in (1, 64, 65, 2000):
                check_search(index, codes, queries, k)
                check_search(index, codes, queries[:1], k)
            check_range(index, codes, queries, 4)
            check_search(index, codes, queries, 9, np.arange(500, 1200, 3))
            for got, right in zip(index.search_asymmetric(weights, 70), expected, strict=True):
                np.testing.assert_array_equal(got, right)


def test_a_range_fills_its_room_in_pieces_and_threads(monkeypatch, jobs):
    monkeypatch.setattr(storage, "_STREAMED", 1 << 15)
    codes = random_codes(70_000, 16, n_free=9)
    index = HammingIndex.over(codes, 16, engine="native", n_threads=2)
    check_range(index, codes, random_codes(9, 16, seed=1, n_free=9), 16)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_ties_do_not_depend_on_threads_or_batches(engine, n_threads):
    # more codes than FAISS scans in one block, and more queries than one thread takes at a time
    codes = random_codes(70_000, 8, n_free=6)
    queries = random_codes(70, 8, seed=1, n_free=8)
    index = filled_index(codes, 8, engine, n_threads=n_threads)
    expected = oracle(queries, codes, 50)
    for size in (1, 33, 70):
        parts = [index.search(queries[i : i + size], 50) for i in range(0, 70, size)]
        for got, right in zip(zip(*parts, strict=True), expected, strict=True):
            np.testing.assert_array_equal(np.concatenate(got), right)


@pytest.mark.parametrize("n_threads", [1, 3, None])
def test_the_number_of_threads_of_faiss_is_set_back(n_threads):
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        index, codes = made(n_threads=n_threads, engine="faiss")
        index.search(codes[:1], 3)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


# jobs


def test_jobs_return_in_their_order():
    assert run_jobs([]) == []
    assert run_jobs([lambda i=i: i * i for i in range(20)]) == [i * i for i in range(20)]
    assert run_jobs([threading.get_ident])[0] == threading.get_ident()


@pytest.mark.parametrize("place", [0, 3])
def test_a_job_that_fails_is_heard_of(place):
    def job(i):
        if i == place:
            raise ArithmeticError(f"job {i}")
        return i

    with pytest.raises(ArithmeticError, match=f"job {place}"):
        run_jobs([lambda i=i: job(i) for i in range(5)])
    assert run_jobs([lambda: 1, lambda: 2]) == [1, 2]


FORK = """
import os, sys
import numpy as np
from embcompress.index import HammingIndex, native, threads
native._JOB = native._JOB_ALONE = 1000
codes = np.random.default_rng(0).integers(0, 256, (2000, 32), np.uint8)
index = HammingIndex(256, engine="native", n_threads=3)
index.add(codes)
before = index.search(codes[:1], 5)
assert threads._pool is not None
child = os.fork()
after = index.search(codes[:1], 5)
same = all((a == b).all() for a, b in zip(before, after))
if child == 0:
    os._exit(0 if same and threads._pool is not None else 1)
assert same
pid, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# several threads that use an index


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_concurrent_searches_agree(kind):
    index, codes = made(kind, n=5000, n_threads=1)
    expected = index.search(codes[:40], 10)[1]
    with ThreadPoolExecutor(4) as pool:
        for indices in pool.map(lambda _: index.search(codes[:40], 10)[1], range(8)):
            np.testing.assert_array_equal(indices, expected)


def changes_of(codes):
    """Calls that change an index, and the ids that it has after each of them."""
    ids = list(range(100))
    calls, states = [], [list(ids)]
    for step in range(40):
        if step % 3 == 2:
            gone = ids[step % 7 :: 5][:60]
            ids = [i for i in ids if i not in gone]
            calls.append(("remove", gone))
        else:
            new = list(range(100 + step * 37, 100 + (step + 1) * 37))[::-1]
            ids = sorted(ids + new)
            calls.append(("add", new))
        states.append(list(ids))
    return calls, states


SEARCHES = {
    # more than there are codes, so that every code shows
    "search": lambda index, queries, weights: index.search(queries, 2000),
    "range": lambda index, queries, weights: index.range_search(queries, 7),
    "asymmetric": lambda index, queries, weights: index.search_asymmetric(weights, 2000),
}


def answers_during(calls, codes, index, answer):
    """What two threads get while another one makes changes, the last answers after them."""
    changed, seen = threading.Event(), []

    def look():
        last = False
        while not last:
            last = changed.is_set()
            seen.append(answer(index))

    def change():
        for name, ids in calls:
            if name == "add":
                index.add(codes[ids], ids)
            else:
                index.remove(ids)

    with ThreadPoolExecutor(3) as pool:
        lookers = [pool.submit(look) for _ in range(2)]
        try:
            pool.submit(change).result()
        finally:
            changed.set()
        for looker in lookers:
            looker.result()
    return seen


@pytest.mark.parametrize(
    ("engine", "what"),
    [(engine, what) for engine in ENGINES for what in SEARCHES][
        :-1
    ],  # FAISS has no asymmetric search
)
def test_a_search_sees_one_of_the_states(engine, what, monkeypatch):
    monkeypatch.setattr(native, "_JOB", 20_000)
    monkeypatch.setattr(native, "_JOB_ALONE", 20_000)
    codes = random_codes(2000, 60, n_free=14)
    queries = random_codes(9, 60, seed=5, n_free=14)
    weights = np.random.default_rng(0).integers(-3, 4, (9, 60))

    def answer(some):
        return tuple(part.tobytes() for part in SEARCHES[what](some, queries, weights))

    calls, states = changes_of(codes)
    index = filled_index(codes[:100], 60, engine, n_threads=2)
    seen = answers_during(calls, codes, index, answer)
    allowed = [answer(filled_index(codes[ids], 60, "numpy", ids=ids)) for ids in states]
    assert set(seen) <= set(allowed)
    assert seen[-1] == allowed[-1]


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_a_search_goes_on_with_what_there_was(engine, monkeypatch):
    """Codes are added and removed in the middle of a search, by itself as it were."""
    codes = random_codes(300, 60)
    index = filled_index(codes[:200], 60, engine)
    index.search(codes[:1], 1)
    module = {"native": native}.get(engine) or sys.modules["embcompress.index.plain"]
    original = module.nearest

    def nearest(*args, **options):
        index.add(codes[200:])
        index.remove(range(50))
        return original(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "nearest", nearest)
        check_search(index, codes[:200], codes[:9], 250)
    assert index.search(codes[:9], 250)[1].min() >= 0
    assert len(index) == 250


def test_a_file_holds_one_state(tmp_path, monkeypatch):
    codes = random_codes(300, 60)
    index = filled_index(codes[:200], 60, "numpy")
    from embcompress.index import flat

    original = flat.write_flat

    def write(*args, **options):
        index.add(codes[200:])
        original(*args, **options)

    monkeypatch.setattr(flat, "write_flat", write)
    index.save(tmp_path / "x")
    np.testing.assert_array_equal(HammingIndex.load(tmp_path / "x").codes, codes[:200])
    assert len(index) == 300


# the lock


def test_readers_share_and_a_writer_is_alone():
    lock, inside, most = SharedLock(), [], []
    meet = threading.Barrier(3, timeout=10)

    def read():
        with lock.shared():
            meet.wait()  # passes only if all three are in

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(read) for _ in range(3)]:
            future.result()

    def write(i):
        with lock.exclusive():
            inside.append(i)
            most.append(len(inside))
            inside.remove(i)

    def look(i):
        with lock.shared():
            most.append(1 + len(inside))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: (write if i % 3 else look)(i), range(400)))
    assert set(most) == {1}


def test_a_waiting_writer_goes_before_new_readers():
    lock, order = SharedLock(), []
    started = threading.Event()

    def write():
        started.set()
        with lock.exclusive():
            order.append("writer")

    def read():
        with lock.shared():
            order.append("reader")

    with ThreadPoolExecutor(2) as pool:
        with lock.shared():
            writer = pool.submit(write)
            started.wait(10)
            while not lock._writers:
                pass
            reader = pool.submit(read)
            threading.Event().wait(0.05)
            assert order == []
        writer.result(10)
        reader.result(10)
    assert order == ["writer", "reader"]


def test_a_lock_is_free_after_an_error_and_an_interrupt(monkeypatch):
    lock = SharedLock()
    for hold in (lock.shared, lock.exclusive):
        with pytest.raises(ArithmeticError), hold():
            raise ArithmeticError

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lock._changed, "wait_for", interrupted)
        for hold in (lock.shared, lock.exclusive):
            with pytest.raises(KeyboardInterrupt), hold():
                pass
    with ThreadPoolExecutor(1) as pool:
        for hold in (lock.shared, lock.exclusive, lock.shared):

            def take(hold=hold):
                with hold():
                    return True

            assert pool.submit(take).result(10)


def test_cores_are_those_of_the_process():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
