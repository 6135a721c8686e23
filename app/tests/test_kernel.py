"""The kernel calculates what it says."""

from ballast.kernel import fib


def test_every_n_that_may_be_asked_for() -> None:
    expected, following = 0, 1
    for n in range(43):
        result = fib(n)
        assert type(result) is int
        assert result == expected, n
        expected, following = following, (expected + following) % 10037
