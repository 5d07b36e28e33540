//! Harness for the end-to-end tests; each suite is a file in `tests/`.
