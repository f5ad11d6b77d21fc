"""What is fast, what is slow, and by how much; run each as `python -m benchmarks.<name>`."""
