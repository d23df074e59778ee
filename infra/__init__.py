"""Servers to run the pipeline on: compose, images, Kubernetes, and the checks of all three."""
