"""The accuracy contract: whatever paints must paint what the model draws of these words from this noise."""

from pytest_vibeserve.modalities import Judging


def test_images_are_the_models_own(judge: Judging) -> None:
    """Alone and under load, twins of noise and of words: within the noise of honest arithmetic of the reference."""
    judge.audit()


def test_refusals_are_refusals(judge: Judging) -> None:
    """What cannot be drawn is refused with an error object, and the server goes on."""
    judge.interface()


def test_nothing_passes_between_clients(judge: Judging) -> None:
    """Clients that leave in the middle change nobody's image."""
    judge.sessions()


def test_images_are_drawn_again(judge: Judging) -> None:
    """An image that is asked for again is drawn again."""
    judge.repeats()


def test_the_weights_are_those_given(judge: Judging) -> None:
    """Relaunched on a secret perturbed checkpoint, the server draws as that does."""
    judge.canary()
