"""The accuracy contract: whatever serves this model must give the model's own answers, by the interface's rules."""

from pytest_vibeserve.judge import Judge


def test_answers_are_the_models_own(judge: Judge) -> None:
    """Greedy answers, alone and under load, lie within the honest noise of the fp32 reference."""
    judge.audit()


def test_sampling_follows_the_models_distribution(judge: Judge) -> None:
    """Sampled tokens are draws from the distribution that was asked for."""
    judge.sampled()


def test_interface_keeps_its_word(judge: Judge) -> None:
    """Lengths, stops, seeds, logprobs, ids, usage and errors mean what the contract says."""
    judge.interface()


def test_nothing_passes_between_requests(judge: Judge) -> None:
    """Alone or in a crowd, after others or in their place, an answer is the model's own for its own prompt."""
    judge.sessions()


def test_answers_are_not_stored(judge: Judge) -> None:
    """A prompt that comes again is computed again."""
    judge.repeats()


def test_the_weights_are_those_given(judge: Judge) -> None:
    """Relaunched on a secret perturbed checkpoint, the server answers as that does."""
    judge.canary()
