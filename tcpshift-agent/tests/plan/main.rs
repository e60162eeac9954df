//! From route files to plans: addresses that are listened on, rules, destinations and endpoints.

mod destinations;
mod dns;
mod edits;
mod ejected;
mod policies;
mod rules;
mod world;
