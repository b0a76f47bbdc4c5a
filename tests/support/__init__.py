"""What the tests share: real input, a real engine, throw-away repositories."""
