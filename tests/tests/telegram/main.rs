//! The Telegram channel against a Telegram on loopback: real sockets, and an intake that notes what it is handed.

mod arrivals;
mod bot;
mod desk;
mod files;
mod pace;
mod progress;
mod replies;
mod reply_to;
mod trouble;
mod waiting;
mod webhook;
