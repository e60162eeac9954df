//! How many instructions the verifier may follow in each program, by kernel: verifiers differ, and a kernel refuses a program
//! at a million (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h).

use serde_json::Value;

use super::version::Version;

/// Budgets of a kernel's programs.
struct Budget {
    /// The last kernel that they are for.
    until: Version,
    programs: &'static [(&'static str, u64)],
}

const BUDGETS: [Budget; 3] = [
    // A function that takes a pointer is followed for each call there.
    Budget {
        until: Version::new(5, 11, u32::MAX),
        programs: &[
            ("assign", 30_000),
            ("explain", 30_000),
            ("connect4", 30_000),
            ("connect6", 30_000),
            ("lookup", 80_000),
        ],
    },
    Budget {
        until: Version::new(6, 11, u32::MAX),
        programs: &[
            ("assign", 30_000),
            ("explain", 30_000),
            ("connect4", 30_000),
            ("connect6", 30_000),
            ("lookup", 34_000),
        ],
    },
    // As tcpshift-ebpf/budget.txt, which the kernel that tests run on is held to.
    Budget {
        until: Version::new(u32::MAX, u32::MAX, u32::MAX),
        programs: &[
            ("assign", 28_000),
            ("explain", 28_000),
            ("connect4", 28_000),
            ("connect6", 28_000),
            ("lookup", 32_000),
        ],
    },
];

/// What all other programs may have.
const SMALL: u64 = 26_000;

/// How many instructions of each program the kernel's verifier followed, as doctor says it; none of one that it refused
/// without a number.
pub(crate) fn verified(doctor: &Value) -> Vec<(String, Option<u64>)> {
    let programs = doctor["programs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |program: &Value| Some((program["name"].as_str()?.to_owned(), program["verified"].as_u64()));
    programs.iter().filter_map(named).collect()
}

/// Programs that are above their budgets, in words.
pub(crate) fn exceeded(kernel: Version, doctor: &Value) -> Vec<String> {
    let budget = BUDGETS.iter().find(|budget| kernel <= budget.until);
    let of = |name: &str| {
        let own = budget.and_then(|budget| budget.programs.iter().find(|(program, _)| *program == name));
        own.map_or(SMALL, |(_, most)| *most)
    };
    let above = verified(doctor).into_iter().filter_map(|(name, count)| Some((of(&name), name, count?)));
    let above = above.filter(|(most, _, count)| count > most);
    above
        .map(|(most, name, count)| format!("{name}: {count} instructions verified, of {most} that it may have"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_above_its_budget_is_named() {
        let doctor = |assign: u64, record: u64| {
            json!({ "programs": [
                { "name": "assign", "verified": assign }, { "name": "record", "verified": record },
                { "name": "lookup", "verified": null },
            ]})
        };
        for kernel in [Version::new(6, 1, 192), Version::new(7, 3, 4)] {
            assert_eq!(exceeded(kernel, &doctor(1_000, 1_000)), [""; 0]);
            let above = exceeded(kernel, &doctor(1_000_000, 26_001));
            assert_eq!(above.len(), 2, "{above:?}");
            assert!(above[0].starts_with("assign: 1000000 instructions"), "{above:?}");
        }
    }
}
