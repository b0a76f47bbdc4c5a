"""Where layers live between builds."""
