"""What was read of an image, judged against what was promised: kernels, headers, policy, explanation."""
