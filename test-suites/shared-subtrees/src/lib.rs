//! Scenarios of shared subtrees that a container host really makes, each as a test below `tests/`.
