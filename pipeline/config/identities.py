"""List the claims of lectures that no data can contradict: identities, each with its test."""

IDENTITIES: dict[str, str] = {  # what is said -> the test that verifies it, in the project Gapwise
    "Scaled weights are the normalized geometric mean over all dropout masks of one layer.": (
        "tests/regularizers/test_dropout.py::test_normalised_geometric_mean_is_weight_scaling"
    ),
    "Dropout of the inputs of a linear regression is, on average, a ridge penalty.": (
        "tests/regularizers/test_dropout.py::test_ridge_identity"
    ),
    "Inverted dropout leaves the mean as it is, with variance r / (1 - r).": (
        "tests/regularizers/test_dropout.py::test_mean_and_variance_by_enumeration"
    ),
    "Momentum with and without the factor 1 - beta has the same path at rescaled rates.": (
        "tests/optimizers/test_oracles.py"
        "::test_both_forms_of_momentum_are_one_path_with_rescaled_rates"
    ),
    "Both ways to write Nesterov's momentum are equivalent.": (
        "tests/optimizers/test_oracles.py::test_both_forms_of_nesterov_agree"
    ),
    "Without bias correction the first step of Adam is several times as long.": (
        "tests/optimizers/test_oracles.py::test_the_first_step_without_bias_correction"
    ),
    "With equal gradients, the steps of AdaGrad fall as the square root of their number.": (
        "tests/optimizers/test_oracles.py::test_adagrad_s_steps_fall_as_the_root_of_time"
    ),
    "For no example is the loss of an average above the mean loss of its members.": (
        "tests/evaluation/test_ensembles.py"
        "::test_jensen_no_example_of_the_mean_is_worse_than_its_members_on_average"
    ),
    "A softmax of two classes is a logistic function of their difference.": (
        "tests/evaluation/test_averaging.py::test_softmax_of_two_classes_is_logistic"
    ),
    "The error of a two-sided difference of the loss is proportional to the square of the step.": (
        "tests/training/test_gradients.py::test_two_sided_differences_err_by_the_square_of_the_step"
    ),
}
