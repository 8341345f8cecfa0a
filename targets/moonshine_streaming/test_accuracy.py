"""The accuracy contract: whatever hears must say what the model says of that audio, and never before it was spoken."""

from pytest_vibeserve.modalities import Judging


def test_transcripts_are_the_models_own(judge: Judging) -> None:
    """Of clips and of streams, spliced, shifted, padded and noisy: token by token, and by word errors."""
    judge.audit()


def test_refusals_are_refusals(judge: Judging) -> None:
    """What cannot be heard is refused with an error object, and the server goes on listening."""
    judge.interface()


def test_nothing_passes_between_clients(judge: Judging) -> None:
    """Clients that leave in the middle change nobody's transcript."""
    judge.sessions()


def test_clips_are_heard_again(judge: Judging) -> None:
    """A clip that comes again is transcribed again."""
    judge.repeats()


def test_the_weights_are_those_given(judge: Judging) -> None:
    """Relaunched on a secret perturbed checkpoint, the server hears as that does."""
    judge.canary()
