//! `container.json`: what a group's sessions run in.
