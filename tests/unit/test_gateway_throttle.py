"""How many commands are looked at: rates, and lanes that are served in turn."""

from __future__ import annotations

from daq.gateway.throttle import CLIENT_BURST, LANE_LENGTH, MOST_CLIENTS, Bucket, Lanes, Throttle


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(10.0, 5.0)
    assert sum(bucket.take(100.0) for _ in range(50)) == 5
    assert sum(bucket.take(100.0 + tick / 100) for tick in range(200)) in (19, 20)
    assert sum(bucket.take(1e6) for _ in range(50)) == 5  # it never holds more than its burst


def test_each_client_has_a_rate_of_its_own():
    throttle = Throttle()
    assert sum(throttle.may_ask("flood", 0.0) for _ in range(1000)) == CLIENT_BURST
    assert throttle.may_ask("ana", 0.0)


def test_names_that_are_never_the_same_do_not_grow_memory():
    throttle = Throttle()
    for number in range(10 * MOST_CLIENTS):
        throttle.may_ask(f"eve-{number}", 0.0)
    assert len(throttle._clients) == MOST_CLIENTS


def test_all_together_are_read_at_a_rate():
    throttle = Throttle()
    assert sum(throttle.may_read(now / 10_000) for now in range(20_000)) <= 3000


def test_one_clients_thousand_hold_up_anothers_by_one():
    lanes: Lanes[str] = Lanes()
    kept = sum(lanes.put("flood", f"f{number}") for number in range(1000))
    assert kept == LANE_LENGTH
    assert lanes.put("ana", "a")
    assert [lanes.take() for _ in range(3)] == ["f0", "a", "f1"]


def test_lanes_are_bounded_and_end():
    lanes: Lanes[int] = Lanes()
    assert sum(lanes.put(f"eve-{n}", n) for n in range(10 * MOST_CLIENTS)) == MOST_CLIENTS
    assert len(list(iter(lanes.take, None))) == MOST_CLIENTS
    assert lanes.take() is None
