//! The HTTP channel over real sockets: webhooks, the API, what callers may cost, and OpenAI's own client.

mod agent;
mod api;
mod bounds;
mod callbacks;
mod docs;
mod hooks;
mod official;
mod streams;
mod world;
