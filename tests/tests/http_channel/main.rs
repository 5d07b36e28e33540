//! The HTTP channel over real sockets: webhooks, the API, what callers may cost, and OpenAI's own client.

mod agent;
mod api;
mod bounds;
mod browsers;
mod callbacks;
mod docs;
mod forms;
mod hooks;
mod official;
mod repeated;
mod streams;
mod world;
