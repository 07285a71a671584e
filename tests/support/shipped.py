"""The protocols of this project, by name: what a user adds to the folder is not the suite's.

`tests/check_project.py` checks that.
"""

SHIPPED = (
    *("breast_cancer", "cifar10", "cifar10_gpu", "digits", "fashion_mnist", "fashion_mnist_resnet"),
    *("mnist_5k", "mnist_mlp", "search_digits", "transfer_digits", "transfer_fashion"),
)
