import os
import signal
import threading
import time

import pytest

from kansci.solvers.interrupt import Interrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def test_the_first_press_is_only_a_request():
    with Interrupt() as interrupt:
        assert not interrupt.pressed
        press()
        assert interrupt.pressed


def test_a_second_press_is_meant():
    with pytest.raises(KeyboardInterrupt), Interrupt():
        press()
        press()


def test_the_signal_is_given_back_even_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), Interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_catch_nothing():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Interrupt() as interrupt:
            seen.extend([signal.getsignal(signal.SIGINT), interrupt.pressed])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]


def test_blocks_around_learn_of_a_press():
    with Interrupt() as outer, Interrupt() as middle:
        with Interrupt() as inner:
            press()
        assert inner.pressed
    assert middle.pressed
    assert outer.pressed
