"""Studies are held until they are complete, within bounds, and are deleted then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vesalius.deploy.dicom.inbox import Full, Inbox, Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(clock: Clock) -> Iterator[Inbox]:
    made = Inbox(Limits(study_files=3, held_bytes=10, studies=2, quiet_seconds=2, idle_seconds=60), clock)
    yield made
    made.close()


def is_complete(inbox: Inbox) -> bool:
    return inbox._complete() is not None


def test_a_study_is_complete_when_its_associations_have_ended_and_it_is_quiet(inbox, clock) -> None:
    inbox.put(1, "study", "a", b"1")
    inbox.put(2, "study", "b", b"2")
    for association, now, complete in [(None, 50, False), (1, 51, False), (2, 52, True)]:
        clock.now = now
        inbox.end(association)
        assert is_complete(inbox) == complete
    inbox.put(3, "study", "c", b"3")  # the next association comes before anything is taken
    inbox.end(3)
    clock.now += 1
    assert not is_complete(inbox)
    clock.now += 1
    with inbox.take() as folder:
        assert sorted(one.read_bytes() for one in folder.iterdir()) == [b"1", b"2", b"3"]
    assert not folder.exists()


def test_an_association_that_neither_sends_nor_ends_holds_nothing_up(inbox, clock) -> None:
    inbox.put(1, "study", "a", b"1")
    clock.now = 59
    assert not is_complete(inbox)
    clock.now = 60
    assert is_complete(inbox)


def test_an_image_that_comes_again_replaces_the_first(inbox, clock) -> None:
    for _ in range(20):
        inbox.put(1, "study", "a", b"12345678")
    inbox.put(1, "study", "a", b"new")
    inbox.put(1, "study", "b", b"7 bytes")
    inbox.end(1)
    clock.now = 5
    with inbox.take() as folder:
        assert sorted(one.read_bytes() for one in folder.iterdir()) == [b"7 bytes", b"new"]


def test_limits_hold_and_are_free_again_afterwards(inbox, clock) -> None:
    for instance in "abc":
        inbox.put(1, "first", instance, b"1")
    with pytest.raises(Full):
        inbox.put(1, "first", "d", b"1")  # images of a study
    with pytest.raises(Full):
        inbox.put(1, "second", "a", b"12345678")  # bytes of all
    inbox.put(1, "second", "a", b"1234567")
    with pytest.raises(Full):
        inbox.put(1, "third", "a", b"")  # studies
    inbox.end(1)
    clock.now = 5
    for _ in range(2):
        with inbox.take():
            pass
    inbox.put(1, "third", "a", b"1234567890")


def test_nobody_else_can_read_what_is_held_and_nothing_stays(inbox) -> None:
    inbox.put(1, "study", "a", b"1")
    root: Path = inbox._root
    assert root.stat().st_mode & 0o077 == 0
    inbox.close()
    assert not root.exists()
    with inbox.take() as folder:
        assert folder is None
    with pytest.raises(Full):
        inbox.put(1, "study", "a", b"1")
