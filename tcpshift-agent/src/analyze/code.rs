//! The codes of findings: one table, which `analyze --list` and docs/analyze.md show.
//!
//! Codes that begin with `IST` have the meaning that they have in Istio; those that begin with `TS` are tcpshift's own. A number
//! never gets another meaning.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Perhaps not what is meant.
    Warning,
    /// Connections are refused, or lost to another object.
    Error,
}

impl Level {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }
}

/// One kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// As `IST0101`.
    pub id: &'static str,
    /// In one word.
    pub name: &'static str,
    /// How much it matters.
    pub level: Level,
    /// In one sentence.
    pub meaning: &'static str,
}

impl Code {
    /// Whether `validate` and `apply` report it too, for the objects that they see: problems that would show nowhere else.
    pub fn is_told_everywhere(&self) -> bool {
        TOLD_EVERYWHERE.iter().any(|code| code.id == self.id)
    }
}

const TOLD_EVERYWHERE: &[&Code] = &[SUBSETS_OVERLAP, NO_ADDRESS, PORT_NAME, SAME_ADDRESS];

macro_rules! codes {
    ($($constant:ident $id:literal $name:literal $level:ident $meaning:literal;)*) => {
        $(#[doc = $meaning]
        pub const $constant: &Code =
            &Code { id: $id, name: $name, level: Level::$level, meaning: $meaning };)*

        /// Every code, in the order of the table.
        pub const ALL: &[&Code] = &[$($constant),*];
    };
}

codes! {
    DEPRECATED "IST0002" "Deprecated" Warning
        "A field or word is an old one.";
    NOT_FOUND "IST0101" "ReferencedResourceNotFound" Error
        "A host, port, subset, gateway, listener or backend that is referred to does not exist.";
    SCHEMA_ERROR "IST0106" "SchemaValidationError" Error
        "An object is wrong by itself; it is left out of all other checks.";
    MESH_HOST_TWICE "IST0109" "ConflictingMeshGatewayVirtualServiceHosts" Error
        "Several VirtualServices for clients inside a mesh name one host.";
    PORT_NEEDED "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error
        "The service has several ports, and the destination does not say which.";
    SELECTS_NOTHING "IST0127" "NoMatchingWorkloadsFound" Warning
        "A selector selects no endpoint.";
    UNREACHABLE "IST0130" "VirtualServiceUnreachableRule" Warning
        "A rule is never reached: rules before it, of this object or of others, take all of its connections.";
    INEFFECTIVE "IST0131" "VirtualServiceIneffectiveMatch" Info
        "A match of a rule adds nothing: rules before it take all of its connections.";
    HOST_NOT_IN_GATEWAY "IST0132" "VirtualServiceHostNotFoundInGateway" Warning
        "No server of the gateway admits a host of the VirtualService.";
    SCHEMA_WARNING "IST0133" "SchemaWarning" Warning
        "Something to know of an object by itself.";
    ADDRESSES_NEEDED "IST0134" "ServiceEntryAddressesRequired" Warning
        "In a mesh, a TCP port of a ServiceEntry without addresses takes connections of others.";
    GATEWAY_CONFLICT "IST0145" "ConflictingGateways" Error
        "Two servers listen on one address and port; the older Gateway's is served.";
    SUBSET_EMPTY "IST0173" "DestinationRuleSubsetNotSelectPods" Error
        "A subset selects no endpoint of its host.";
    RULE_HOST_UNKNOWN "IST0174" "UnknownDestinationRuleHost" Warning
        "The host of a DestinationRule is no known service.";
    PROTOCOL_CONFLICT "IST0177" "ConflictingServiceEntryProtocol" Warning
        "ServiceEntries give one port of one host different protocols.";
    TWICE "TS0001" "ObjectTwice" Error
        "An object is defined twice; the first definition is analyzed.";
    SHARED_PORT "TS0002" "SharedGatewayPort" Warning
        "Several VirtualServices have rules for one port of a gateway; those of the oldest are looked at first.";
    WEIGHT_MISSING "TS0003" "MissingWeight" Warning
        "A destination without weight among others with: it gets nothing.";
    SHARE_ROUNDED "TS0004" "RoundedShare" Warning
        "Rounding to 10,000 slots moves a share by more than a tenth of itself.";
    WEIGHT_IDLE "TS0005" "WeightWithoutMeaning" Warning
        "The weight of a single destination does not do what it says.";
    HOST_IDLE "TS0006" "HostWithoutMeaning" Info
        "A host does not tell plain TCP connections apart.";
    IGNORED_AT_GATEWAY "TS0007" "IgnoredAtGateway" Warning
        "A condition on clients inside a mesh is ignored at gateways: the match takes everything.";
    SUBSET_TWICE "TS0008" "DuplicateSubset" Warning
        "DestinationRules of one host declare a subset twice; the oldest counts.";
    SECOND_POLICY "TS0009" "SecondPolicy" Warning
        "DestinationRules of one host have several policies for the whole host; the oldest counts.";
    SUBSETS_OVERLAP "TS0010" "OverlappingSubsets" Warning
        "Two subsets of one route share endpoints, so their shares are not those of the versions.";
    DESTINATION_TWICE "TS0011" "RepeatedDestination" Info
        "A route names one destination twice; the weights add up.";
    PORT_UNUSED "TS0012" "PortWithoutRoute" Warning
        "No route leads from a port of a gateway; it is not listened on.";
    MATCH_PORT_UNSERVED "TS0013" "MatchPortNotServed" Warning
        "A match is for a port that none of its gateways has.";
    MATCH_GATEWAY_UNBOUND "TS0014" "MatchGatewayNotBound" Warning
        "A match is for a gateway that the VirtualService does not name.";
    LOOP "TS0015" "EndpointIsListener" Warning
        "An endpoint is a listener of these gateways; it is not used, as connections would come back.";
    NOT_GRANTED "TS0016" "ReferenceNotGranted" Error
        "A route refers to another namespace, and no ReferenceGrant there allows it.";
    NOT_ALLOWED "TS0017" "RouteNotAllowed" Error
        "The listener does not take routes of this namespace or kind.";
    SELECTOR_FOREIGN "TS0018" "SelectorOfOtherAgents" Info
        "The selector of a Gateway does not select the running agent.";
    NOT_HONOURED "TS0019" "NotHonoured" Warning
        "A known field is not honoured by this version.";
    SHARED_LISTENER "TS0020" "SharedListener" Warning
        "Several TCPRoutes are attached to one listener; the oldest is served.";
    GATEWAYS_MEET "TS0021" "GatewaysMeet" Warning
        "Two gateways listen on one port, and an agent that both select serves the older.";
    WILDCARD_SERVICE "TS0022" "WildcardService" Warning
        "A host is known by a wildcard alone, which has no endpoints of its own.";
    NO_ENDPOINT "TS0023" "NoEndpoint" Warning
        "A service has no endpoint that could be dialled.";
    UNATTACHED "TS0025" "RouteWithoutParent" Warning
        "A TCPRoute is attached to nothing.";
    POLICY_PORT "TS0026" "PolicyPortNotFound" Warning
        "A policy is for a port that its host does not have.";
    MESH_NO_ADDRESS "TS0027" "MeshWithoutAddress" Warning
        "Clients inside a mesh cannot connect to a host: it has no address, or no service has it.";
    MESH_FAMILY "TS0028" "MeshFamilyUnreached" Warning
        "Clients inside a mesh reach no endpoint of a destination from their address family.";
    NO_ADDRESS "TS0029" "ResolutionNoneAtGateway" Error
        "A destination leaves connections with the address that clients asked for; at a gateway its share is refused.";
    PORT_NAME "TS0030" "PortNameNotFound" Warning
        "An endpoint names a port as no service of it does; the number is not used.";
    SAME_ADDRESS "TS0031" "SharedAddress" Warning
        "Two destinations of one route lead to one address and port.";
}

/// The code with this id.
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.id == id)
}
