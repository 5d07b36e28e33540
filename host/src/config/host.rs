//! The host's own configuration.
