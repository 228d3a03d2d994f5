"""Running ahead changes when items are made, and nothing else."""

import threading

import pytest

from deepfake_core.serving.ahead import read_ahead


def test_all_items_come_in_their_order():
    assert list(read_ahead(iter(range(50)), ahead=3)) == list(range(50))


def test_no_more_than_agreed_is_made_ahead():
    made = []
    go_on = threading.Event()

    def items():
        for number in range(100):
            made.append(number)
            if len(made) == 4:  # one taken, two waiting, one in hand
                go_on.set()
            yield number

    reader = read_ahead(items(), ahead=2)
    next(reader)
    assert go_on.wait(timeout=10)
    reader.close()

    assert len(made) == 4


def test_an_error_arrives_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("broken")

    reader = read_ahead(items(), ahead=4)

    assert next(reader) == 1
    with pytest.raises(ValueError, match="broken"):
        next(reader)


def test_a_consumer_that_stops_early_closes_the_source():
    closed = threading.Event()

    def items():
        try:
            yield from range(100)
        finally:
            closed.set()

    reader = read_ahead(items(), ahead=1)
    next(reader)
    reader.close()

    assert closed.is_set()
