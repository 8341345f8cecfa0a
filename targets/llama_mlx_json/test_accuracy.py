"""The accuracy contract: answers are documents of their schema, every token the model's own among those allowed."""

from pytest_vibeserve.modalities import Judging


def test_answers_are_the_models_own_and_valid(judge: Judging) -> None:
    """Constrained and free, alone and under load: twins of schema and of wording, and decoys."""
    judge.audit()


def test_sampling_follows_the_models_distribution(judge: Judging) -> None:
    """Sampled tokens are draws from the distribution that was asked for."""
    judge.sampled()


def test_interface_keeps_its_word(judge: Judging) -> None:
    """Turns, lengths, stops, seeds, logprobs, ids, schemas and errors mean what the contract says."""
    judge.interface()


def test_nothing_passes_between_chats(judge: Judging) -> None:
    """What one chat was told is not told to another, and clients that leave change nobody's answer."""
    judge.sessions()


def test_answers_are_not_stored(judge: Judging) -> None:
    """A chat that comes again is computed again."""
    judge.repeats()


def test_the_weights_are_those_given(judge: Judging) -> None:
    """Relaunched on a secret perturbed checkpoint, the server answers as that does."""
    judge.canary()
