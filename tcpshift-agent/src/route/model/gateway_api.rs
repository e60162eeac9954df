//! The Gateway API's objects (group `gateway.networking.k8s.io`), under the rules of its own schemas.

pub mod gateway;
pub mod reference_grant;
pub mod tcp_route;

pub use gateway::{GatewayApiGateway, GatewayListener};
pub use reference_grant::ReferenceGrant;
pub use tcp_route::{BackendRef, ParentRef, TcpRoute};

use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// The group, which is the default of some references.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The syntax of a field of a reference.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Empty for the core group, or a DNS name.
    Group,
    /// A word of letters, digits and inner hyphens that begins with a letter.
    Kind,
    /// Anything of 1 to 253 characters.
    Name,
    /// A DNS name: of a listener, a rule or a port.
    Section,
    /// A label in lower case.
    Namespace,
}

impl Form {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Group => text.is_empty() || text.len() <= 253 && is_subdomain(text),
            Self::Kind => names::is_host_label(text) && text.starts_with(|first: char| first.is_ascii_alphabetic()),
            Self::Name => (1..=253).contains(&text.chars().count()),
            Self::Section => text.len() <= 253 && is_subdomain(text),
            Self::Namespace => names::is_dns_label(text),
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::Group => "a group, as gateway.networking.k8s.io, or \"\" for the core",
            Self::Kind => "a kind, as Service",
            Self::Name => "a name of 1 to 253 characters",
            Self::Section => "a name in lower case, of letters, digits, inner hyphens and dots",
            Self::Namespace => "a namespace",
        }
    }

    fn cure(self) -> &'static str {
        match self {
            Self::Group => "write for example gateway.networking.k8s.io",
            Self::Kind => "write for example Service",
            Self::Name => "write a name, or shorten it",
            Self::Section => "use lower-case letters, digits, inner hyphens and dots",
            Self::Namespace => "use lower-case letters, digits and inner hyphens, at most 63",
        }
    }
}

/// The schemas do not limit the labels of such names.
fn is_subdomain(text: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('.').all(|label| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(lower)
            && bytes.last().copied().is_some_and(lower)
            && bytes.iter().all(|byte| lower(*byte) || *byte == b'-')
    })
}

/// A field that may be absent.
fn optional<'n>(node: &'n Node, name: &str, form: Form, path: &Path<'_>, report: &mut Report<'_>) -> Option<&'n str> {
    let field = node.get(name)?;
    let text = field.as_str()?;
    if !form.fits(text) {
        let message = format!("{} is not {}", names::shown(text), form.described());
        report.error(&path.name(name), message, form.cure());
    }
    Some(text)
}

/// A field that has to be there.
fn required(node: &Node, name: &str, form: Form, path: &Path<'_>, report: &mut Report<'_>) -> String {
    if node.get(name).is_none() {
        report.error(&path.name(name), format!("{name} is needed"), format!("add {}", form.described()));
    }
    optional(node, name, form, path, report).unwrap_or_default().to_owned()
}

/// Checks the number of items of a list.
fn count(node: &Node, name: &str, (least, most): (usize, usize), path: &Path<'_>, report: &mut Report<'_>) {
    let found = node.items(name).len();
    if (least..=most).contains(&found) {
        return;
    }
    let wanted = match (least, most) {
        (least, most) if least == most => format!("exactly {least}"),
        (0, most) => format!("at most {most}"),
        (least, most) => format!("{least} to {most}"),
    };
    let cure = if found < least { "add one" } else { "remove some" };
    report.error(&path.name(name), format!("{wanted} of them can be here, and there are {found}"), cure);
}
