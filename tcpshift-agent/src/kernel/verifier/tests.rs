//! Logs as Linux 5.10.262 and 6.1.176 (Debian's) and 6.18 wrote them, and what is made of them.

use super::*;

fn refusal(errno: Errno, log: &str) -> ProgramRefusal {
    ProgramRefusal::new("assign", &errno.into(), log)
}

/// Of 6.1, of a loop that it cannot end.
const JUMPS: &str = "The sequence of 8193 jumps is too complex.
verification time 1438588 usec
stack depth 152
processed 262232 insns (limit 1000000) max_states_per_insn 19 total_states 2880 peak_states 2480 mark_read 137
";

/// Of 6.1, of a loop that it follows again and again.
const LARGE: &str = "BPF program is too large. Processed 1000001 insn
verification time 9560191 usec
stack depth 0+0+24+96+0+0
processed 1000001 insns (limit 1000000) max_states_per_insn 11 total_states 44168 peak_states 5075 mark_read 569
";

/// Of 5.10, of an atomic addition that gives what was there before.
const RESERVED: &str = "BPF_STX uses reserved fields
verification time 888 usec
stack depth 0
processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

/// Of 6.1, of a pointer that a global function was given, as the key of a map.
const TYPE: &str = "R2 type=mem expected=fp, pkt, pkt_meta, map_key, map_value
verification time 1029145 usec
stack depth 0+0+24+80+0+0+0
processed 73051 insns (limit 1000000) max_states_per_insn 9 total_states 2470 peak_states 444 mark_read 5
";

#[test]
fn a_program_that_is_too_complex_is_known_by_what_is_said() {
    for (errno, log, processed, name) in
        [(Errno::FAULT, JUMPS, 262_232, "EFAULT"), (Errno::TOOBIG, LARGE, 1_000_001, "E2BIG")]
    {
        let refusal = refusal(errno, log);
        assert_eq!(
            (refusal.reason.clone(), refusal.processed),
            (RefusalReason::TooComplex, Some(processed)),
            "{refusal:?}"
        );
        assert_eq!((refusal.errno.as_str(), refusal.said.len()), (name, 1), "{refusal:?}");
    }
    let line = refusal(Errno::FAULT, JUMPS).to_string();
    assert_eq!(
        line,
        "the kernel refuses the program `assign`: it is too complex for this kernel's verifier (EFAULT after 262232 \
         instructions: The sequence of 8193 jumps is too complex.)"
    );
}

#[test]
fn what_is_missing_is_named_with_the_linux_that_has_it() {
    let refusal = refusal(Errno::INVAL, RESERVED);
    assert_eq!(refusal.reason, RefusalReason::Lacks("atomic additions that return a value".to_owned(), Some("5.12")));
    assert!(refusal.cure().contains("Linux 5.12 or later"), "{}", refusal.cure());
    for (said, since) in [
        ("invalid func unknown#196", "5.19"),
        ("unknown func bpf_get_netns_cookie#122", "5.15"),
        ("program of this type cannot use helper bpf_set_retval#187", "5.18"),
    ] {
        let reason = self::refusal(Errno::INVAL, &format!("12: (85) call 1\n{said}\n{RESERVED}")).reason;
        assert!(matches!(&reason, RefusalReason::Lacks(_, Some(linux)) if *linux == since), "{said}: {reason:?}");
    }
    let reason = self::refusal(Errno::INVAL, "invalid func unknown#99999\n").reason;
    assert_eq!(reason, RefusalReason::Lacks("the helper with the number 99999 for such a program".to_owned(), None));
}

#[test]
fn a_missing_right_and_locked_memory_are_told_apart() {
    let refused = |locked| reason(&Errno::PERM.into(), &[], locked);
    assert_eq!((refused(None), refused(Some(65_536))), (RefusalReason::Right, RefusalReason::LockedMemory(65_536)));
    assert!(refused(Some(65_536)).to_string().contains("64 KiB"), "{}", refused(Some(65_536)));
    assert_eq!(reason(&Errno::INVAL.into(), &[], Some(1)), RefusalReason::Other);
    for (release, counts) in
        [("5.10.0-30-amd64", true), ("5.11.0", false), ("6.12.43", false), ("4.19.0", true), ("", false)]
    {
        assert_eq!(super::super::locked_memory::counts(release), counts, "{release}");
    }
    let refusal = refusal(Errno::ACCESS, TYPE);
    assert_eq!((refusal.errno.as_str(), refusal.reason), ("EACCES", RefusalReason::Other));
    assert_eq!(refusal.said, ["R2 type=mem expected=fp, pkt, pkt_meta, map_key, map_value"]);
}

#[test]
fn whatever_the_verifier_writes_the_last_lines_are_few_and_short() {
    let line = "0123456789".repeat(100_000);
    let log = format!("{}\u{1b}[2J{line}\n{}", "12: (bf) r6 = r1\n".repeat(1_000_000), JUMPS);
    let refusal = refusal(Errno::FAULT, &log);
    assert_eq!(refusal.said.len(), LINES);
    assert!(refusal.said.iter().all(|line| line.chars().count() <= LENGTH && !line.contains('\u{1b}')), "{refusal:?}");
    assert_eq!(refusal.said[LINES - 1], "The sequence of 8193 jumps is too complex.");
    let line = refusal.to_string();
    assert!(line.len() < 500 && !line.contains('\n'), "{line}");
    assert_eq!(
        self::refusal(Errno::NOMEM, "").to_string(),
        "the kernel refuses the program `assign`: the reason is not known here (ENOMEM)"
    );
}
