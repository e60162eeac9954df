//! The route room: what the user's files and requests say, as checked objects in one store.
//!
//! [`read`] turns a text into objects and problems: [`yaml`] makes a tree, [`schema`] checks its fields,
//! [`model`] is what it means. [`store`] holds every object with its origin; what feeds it is in [`source`]:
//! [`files`](source::files), which the user names and which are watched, and [`state`](source::state), which `apply` writes.

pub mod annotations;
pub mod duration;
pub mod key;
pub mod kind;
pub mod metadata;
pub mod model;
pub mod names;
pub mod node;
pub mod object;
pub mod problem;
pub mod read;
pub mod report;
pub mod schema;
pub mod shift;
pub mod source;
pub mod spelling;
pub mod store;
pub mod stored_document;
pub mod variable;
pub mod write;
pub mod yaml;
