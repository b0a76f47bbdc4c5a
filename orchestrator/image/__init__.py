"""What is inside an image, proven from its bytes: device code per library, without a GPU and without running anything.

Data runs one way: source -> layers -> files -> folded profiles -> coverage -> verdict. Does not depend on how an
image was built or how a report looks.
"""
