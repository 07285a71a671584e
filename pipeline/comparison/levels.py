"""Define which scores are compared, and the levels at which everything is tested and planned."""

SCORES = {  # name -> (split, metric), scored under each arm's test rule
    f"{split}_{metric}": (split, metric)
    for metric in ("accuracy", "nll", "brier", "calibration_error")
    for split in ("test", "validation")
}
COSTS = ("training_cost", "test_cost")  # FLOPs, as a multiple of the reference's
PRIMARY = "test_accuracy"  # the metric of the verdicts
ARM, AVERAGED, ENSEMBLE = "arm", "averaging at test", "ensemble"  # what has accuracy and cost
LEVEL = 0.05  # level of every test; intervals are at 1 - LEVEL
POWER = 0.8  # power at a detectable difference
LIKELY = 0.9  # chance of a verdict on test scores, from which an arm stops at a look
FUTILE = 0.1  # chance of a decision at the last look, below which an arm stops
UNSURE = 0.1  # chance on each side of the range of a detectable difference
RATE = "training.learning_rate"
WITHIN = 0.01  # validation accuracy, a fraction; a learning rate works this near to the best one
WIDER, NARROWER, UNDECIDED = "wider", "narrower", "undecided"  # a range of rates against another
SMALL_DESIGN = 50  # settings; of fewer, less than 5 are among the best tenth
BUDGET_COVERED = 0.9  # share of simulated designs in the band of chances (measure_searches.py)
MAJORITY = "majority class"  # the reference classifier that predicts the most frequent label
